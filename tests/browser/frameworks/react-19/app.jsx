import "crypto-pay";
import { useState } from "react";
import { createRoot } from "react-dom/client";

function Shop() {
  const [order, setOrder] = useState(1);
  const [invoice, setInvoice] = useState("none");
  const onCreated = (event) => {
    if (order === 1) event.preventDefault();
    setInvoice(event.detail.invoice_id);
  };
  return (
    <main>
      <crypto-pay endpoint="https://endpoint.invalid" pay-origin="https://pay.invalid" amount={19.99} order-id={`order-of-the-test-${order}`} new-tab={false}
        oncrypto-pay:created={onCreated}>
        Pay order {order}
      </crypto-pay>
      <button id="next" onClick={() => setOrder(order + 1)}>Next</button>
      <output>{invoice}</output>
    </main>
  );
}

createRoot(document.body).render(<Shop />);
