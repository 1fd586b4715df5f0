"""The main job, shown in both versions of the provider's API: an invoice over HTTP, one by direct invocation, one for
two clicks, a bad request refused; then a payment, as the shop hears of it.
"""

import json
from typing import Any

import boto3
import urllib3

from infra.local.stack import Endpoints

# Longer than the control port waits for a postback.
_CONTROL_TIMEOUT_S = 60


class DemoFailed(Exception):
    """Something did not go as promised."""


def show(endpoints: Endpoints) -> None:
    """Prints each request and reply of a stack that speaks v1.

    Args:
        endpoints: The running stack.

    Raises:
        DemoFailed: A reply was not the promised one.
    """
    print("\n1. A static site posts what CryptoCloud's page documents, without key and shop\n")
    status, invoice = _post(endpoints, {"amount": 100.0, "currency": "USD", "description": "Pay"})
    _promise(status == 200 and _is_invoice(invoice, endpoints), "the invoice over HTTP")

    print("\n2. Another Lambda invokes the alias with boto3\n")
    client = boto3.client("lambda", endpoint_url=endpoints.lambda_url)
    event = {"amount": "19.99", "currency": "EUR", "order_id": "A-1001"}
    print(f"   lambda:Invoke {endpoints.function_name}\n{_indented(event)}")
    response = client.invoke(FunctionName=endpoints.function_name, Payload=json.dumps(event))
    payload = json.load(response["Payload"])
    print(f"   -> {response.get('FunctionError', 'success')}\n{_indented(payload)}")
    _promise("FunctionError" not in response and _is_invoice(payload, endpoints), "the invoice by direct invocation")

    print("\n3. A buyer clicks twice: under one idempotency key both get the same invoice\n")
    clicks = [_post(endpoints, {"amount": 7, "currency": "USD"}, {"Idempotency-Key": "demo-1"}) for _ in range(2)]
    _promise(clicks[0] == clicks[1] and _is_invoice(clicks[0][1], endpoints), "one invoice for two clicks")

    print("\n4. A bad request is refused, with the fields named; the provider is not called\n")
    status, problem = _post(endpoints, {"amount": -5, "curency": "USD"})
    pointers = {error["pointer"] for error in problem.get("errors", [])}
    _promise(status == 400 and pointers == {"/amount", "/curency"}, "the refusal of a bad request")

    seen = _control(endpoints, "GET", "/provider")
    _promise(len(seen["calls"]) == len(seen["invoices"]) == 3, "three invoices at the provider, and no other call")

    print("\n5. The buyer of order A-1001 pays, and the shop learns of it\n")
    _show_payment(endpoints, payload)
    print(
        "\nAll went as promised: 3 invoices at the provider, 1 bad request refused, 1 payment heard of. Next: make run"
    )


def show_v2(endpoints: Endpoints) -> None:
    """Prints the same request and what becomes of it with ``ProviderApi=v2``.

    Args:
        endpoints: A running stack that speaks v2.

    Raises:
        DemoFailed: A reply was not the promised one.
    """
    print("\n6. With ProviderApi=v2 callers notice nothing: CryptoCloud is asked in other words, in 25 currencies\n")
    status, invoice = _post(endpoints, {"amount": 100.0, "currency": "KZT", "order_id": "A-1002"})
    _promise(status == 200 and _is_invoice(invoice, endpoints, currency=None), "the invoice of v2")
    [call] = _control(endpoints, "GET", "/provider")["calls"]
    print(f"\n   CryptoCloud got, at {endpoints.provider_url}/v2/invoice/create\n{_indented(json.loads(call['body']))}")
    print("\n   Its buyer pays, and this project sends postbacks as forms\n")
    _control(endpoints, "POST", "/provider/project", postback_format="form")
    _show_payment(endpoints, invoice)
    print("\nAll went as promised in v2 too: 1 invoice at the provider, 1 payment heard of.")


def _show_payment(endpoints: Endpoints, invoice: dict[str, Any]) -> None:
    """Prints what becomes of a press of Pay: the postback, the status, the event, the mail."""
    pressed = urllib3.request("POST", invoice["pay_url"], body="action=pay", redirect=False, retries=False)
    print(f"   Pay pressed on {invoice['pay_url']}")
    _promise(pressed.status == 303, "the press of Pay")

    _control(endpoints, "POST", "/provider/postbacks/wait")
    answers = [postback["status"] for postback in _control(endpoints, "GET", "/provider/postbacks")["postbacks"]]
    print(f"   CryptoCloud posts to {endpoints.postback_url} -> {', '.join(map(str, answers)) or 'nothing'}")
    _promise(answers == [200], "the answer to the postback")

    url = f"{endpoints.status_url}?uuid=INV-{invoice['invoice_id']}"
    status = urllib3.request("GET", url, retries=False).json()
    print(f"   GET {url}\n{_indented(status)}")
    _promise(status == {"status": "success", "status_invoice": "paid"}, "the status")

    delivered = _control(endpoints, "GET", "/events")
    events = delivered.pop("events")
    _promise([event["detail"]["event_id"] for event in events] == [f"{invoice['invoice_id']}:paid"], "one event")
    print(f"   EventBridge: {events[0]['detail-type']}\n{_indented(events[0]['detail'])}")
    for mail in [mail for mails in delivered.values() for mail in mails]:
        print(f"   With PaidEmail the owner is mailed: {mail}")


def _control(endpoints: Endpoints, method: str, path: str, **arguments: Any) -> dict[str, Any]:
    body = json.dumps(arguments) if method == "POST" else None
    response = urllib3.request(
        method, f"{endpoints.control_url}{path}", body=body, retries=False, timeout=_CONTROL_TIMEOUT_S
    )
    reply: dict[str, Any] = response.json()
    _promise(response.status == 200, f"{path[1:]} ({reply})")
    return reply


def _post(
    endpoints: Endpoints, body: dict[str, Any], headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    print(f"   POST {endpoints.invoice_url}{_lines(headers or {})}\n{_indented(body)}")
    all_headers = {"Content-Type": "application/json", **(headers or {})}
    response = urllib3.request("POST", endpoints.invoice_url, json=body, headers=all_headers, retries=False)
    reply: dict[str, Any] = response.json()
    replayed = {name: value for name, value in response.headers.items() if name == "Idempotent-Replayed"}
    print(f"   -> {response.status} {response.headers['Content-Type']}{_lines(replayed)}\n{_indented(reply)}")
    return response.status, reply


def _is_invoice(payload: dict[str, Any], endpoints: Endpoints, *, currency: str | None = "BTC") -> bool:
    link = f"{endpoints.provider_url}/pay/{payload.get('invoice_id')}"
    promised = {"status": "success", "pay_url": link, "currency": currency}
    return all(payload.get(name) == value for name, value in promised.items())


def _promise(kept: bool, what: str) -> None:
    if not kept:
        raise DemoFailed(f"Not as promised: {what}. The function's log: .aws-sam/local.log")


def _lines(headers: dict[str, str]) -> str:
    return "".join(f"\n   {name}: {value}" for name, value in headers.items())


def _indented(payload: dict[str, Any]) -> str:
    return "\n".join(f"   {line}" for line in json.dumps(payload, indent=2).splitlines())
