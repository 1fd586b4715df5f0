import "crypto-pay";
import { useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

function Shop() {
  const ref = useRef(null);
  const [order, setOrder] = useState(1);
  const [invoice, setInvoice] = useState("none");
  useEffect(() => {
    const element = ref.current;
    const onCreated = (event) => {
      if (order === 1) event.preventDefault();
      setInvoice(event.detail.invoice_id);
    };
    element.addEventListener("crypto-pay:created", onCreated);
    return () => element.removeEventListener("crypto-pay:created", onCreated);
  }, [order]);
  return (
    <main>
      <crypto-pay ref={ref} endpoint="https://endpoint.invalid" pay-origin="https://pay.invalid" amount={19.99} order-id={`order-of-the-test-${order}`}
        new-tab={false}>
        Pay order {order}
      </crypto-pay>
      <button id="next" onClick={() => setOrder(order + 1)}>Next</button>
      <output>{invoice}</output>
    </main>
  );
}

createRoot(document.body).render(<Shop />);
