import "crypto-pay/react";
import { CryptoPay } from "crypto-pay";
import { useRef } from "react";

const element = document.querySelector("crypto-pay");
if (element) {
  element.amount = 19.99;
  element.orderId = null;
  element.newTab = true;
  element.quantity = 2;
  const text: string = element.amount;
  void element.pay().then(() => element.reset());
  element.addEventListener("crypto-pay:error", (event) => console.error(text, event.detail.code.length));
}
document.addEventListener("crypto-pay:paid", ({ detail }) => console.log(detail.invoice_id, detail.status === "overpaid"));
document.addEventListener("crypto-pay:request", ({ detail }) => console.log(detail.items?.map(({ id }) => id)));
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

export function ShopWithList({ count }: { count: number }) {
  return (
    <>
      <crypto-pay endpoint="https://api.example" items="mug tee-l:2" quantity={count} prices="/prices.json" />
      <crypto-pay-status text-paid="All yours." oncrypto-pay:paid={(event) => console.log(event.detail.status)} />
    </>
  );
}

// @ts-expect-error Either an amount or items.
export const both = <crypto-pay endpoint="https://api.example" amount="19.99" items="mug" />;

// @ts-expect-error Either an amount or items.
export const neither = <crypto-pay endpoint="https://api.example" />;

// @ts-expect-error An endpoint is needed.
export const wrong = <crypto-pay amount="19.99" />;
