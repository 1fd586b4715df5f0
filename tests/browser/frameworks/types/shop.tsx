import "crypto-pay/react";
import { CryptoPay } from "crypto-pay";
import { useRef } from "react";

const element = document.querySelector("crypto-pay");
if (element) {
  element.amount = 19.99;
  element.orderId = null;
  element.newTab = true;
  const text: string = element.amount;
  void element.pay().then(() => element.reset());
  element.addEventListener("crypto-pay:error", (event) => console.error(text, event.detail.code.length));
}
document.addEventListener("crypto-pay:created", (event) => location.assign(event.detail.pay_url));

// @ts-expect-error An amount is no object.
document.createElement("crypto-pay").amount = {};

export function Shop() {
  const ref = useRef<CryptoPay>(null);
  return (
    <crypto-pay ref={ref} endpoint="https://api.example" amount="19.99" order-id={1} new-tab text-busy="Wait…"
      oncrypto-pay:created={(event) => console.log(event.detail.invoice_id)} />
  );
}

// @ts-expect-error An endpoint is needed.
export const wrong = <crypto-pay amount="19.99" />;
