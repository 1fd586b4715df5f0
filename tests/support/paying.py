"""What a buyer, the provider and the schedule do on the local stack, and what the shop hears of it."""

import functools
from typing import Any

import boto3

from tests.support.account import NOBODY
from tests.support.stack import Answer, Stack


def press(stack: Stack, invoice: dict[str, Any], action: str = "pay") -> None:
    """Presses a button on an invoice's pay page.

    Args:
        stack: The stack with the sandbox.
        invoice: The reply that created the invoice.
        action: ``pay``, ``pay-part``, ``pay-too-much``, ``cancel`` or ``expire``.
    """
    response = stack._http.request("POST", invoice["pay_url"], body=f"action={action}", redirect=False)
    assert response.status == 303, response.data


def postbacks(stack: Stack) -> list[dict[str, Any]]:
    """Returns the postbacks that the sandbox sent, when all have their answer."""
    stack.tell("/provider/postbacks/wait")
    return _control(stack, "/provider/postbacks")["postbacks"]


def deliveries(stack: Stack) -> dict[str, list[Any]]:
    """Returns what EventBridge delivered: the ``events``, and by each rule of the template what its target got."""
    return _control(stack, "/events")


def details(stack: Stack) -> list[dict[str, Any]]:
    """Returns the detail of each event, the oldest first."""
    return [event["detail"] for event in deliveries(stack)["events"]]


def status_of(stack: Stack, invoice_id: str) -> Answer:
    """Asks for the status of an invoice as a page does."""
    response = stack._http.request("GET", f"{stack.endpoints['status_url']}?uuid=INV-{invoice_id}")
    return Answer(response.json(), response.status, response.headers)


def make_due(stack: Stack, invoice_id: str, by_s: int = 601) -> None:
    """Lets time pass for an invoice: its next turn with the watcher comes earlier.

    Args:
        stack: The stack.
        invoice_id: The provider's id, without ``INV-``.
        by_s: How much earlier, in seconds.
    """
    invoice_table(stack).update_item(
        Key={"invoice_id": invoice_id},
        UpdateExpression="SET due = due - :by",
        ConditionExpression="attribute_exists(due)",
        ExpressionAttributeValues={":by": by_s},
    )


def let_pass(stack: Stack, invoice_id: str, seconds: int) -> None:
    """Lets time pass for one invoice: all that its record says of time comes that much earlier.

    Args:
        stack: The stack.
        invoice_id: The provider's id, without ``INV-``. An invoice without a record has no time.
        seconds: How much time.
    """
    table = invoice_table(stack)
    item = table.get_item(Key={"invoice_id": invoice_id}, ConsistentRead=True).get("Item", {})
    if names := [name for name in ("created_at", "due", "asked_at") if name in item]:
        table.update_item(
            Key={"invoice_id": invoice_id},
            UpdateExpression="SET " + ", ".join(f"{name} = {name} - :seconds" for name in names),
            ExpressionAttributeValues={":seconds": seconds},
        )


def post_postback(stack: Stack, invoice_id: str, token: str) -> int:
    """Posts a postback with a token of the caller's making; returns the status of the answer."""
    fields = {"status": "success", "invoice_id": invoice_id, "token": token}
    return stack._http.request("POST", stack.endpoints["postback_url"], json=fields).status


@functools.cache
def invoice_table(stack: Stack) -> Any:
    """Returns the table of invoices, as the owner of the stack reaches it."""
    resource = boto3.resource("dynamodb", endpoint_url=stack.endpoints["table_url"], **NOBODY)
    return resource.Table(stack.endpoints["invoice_table_name"])


def _control(stack: Stack, path: str) -> Any:
    return stack._http.request("GET", stack.endpoints["control_url"] + path).json()
