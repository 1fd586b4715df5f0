// JSX for React 19 and 18; React 18 has no events of custom elements.
import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type { CryptoPay, CryptoPayAttributes, CryptoPayEvents, CryptoPayStatus, CryptoPayTexts } from "./crypto-pay.js";

export * from "./crypto-pay.js";

type Handlers = { [Name in keyof CryptoPayEvents as `on${Name}`]?: (event: CryptoPayEvents[Name]) => void };

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "crypto-pay": DetailedHTMLProps<HTMLAttributes<CryptoPay>, CryptoPay> & CryptoPayAttributes & Handlers;
      "crypto-pay-status": DetailedHTMLProps<HTMLAttributes<CryptoPayStatus>, CryptoPayStatus> &
        CryptoPayTexts &
        Pick<Handlers, "oncrypto-pay:paid">;
    }
  }
}
