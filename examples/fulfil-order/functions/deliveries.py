"""What was delivered, and which events were handled. Copy this file.

An order is delivered for one invoice, which claims it by a conditional write. The claim lasts as long as the invocation
that made it: if that one dies, the next takes the order over, and if it lives, no twin delivers at the same time.
"""

import os
import time
from typing import Any, Literal

import boto3
from botocore.config import Config

# Twins of an event come within minutes. From a dead-letter queue one may come 14 days later.
_REMEMBER_EVENTS_S = 30 * 24 * 60 * 60
# Lambda ends the function after 30 s, so a call must not wait longer than that for an answer.
_dynamodb = boto3.client("dynamodb", config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard"}))


class DeliveryUnderWay(Exception):
    """Another invocation is delivering this order for this invoice."""


def is_done(event_id: str) -> bool:
    """Returns whether an event, or a twin of it, was handled."""
    return bool(_read(f"event {event_id}"))


def note_done(event_id: str) -> None:
    """Notes that an event was handled."""
    expires = {"N": str(int(time.time()) + _REMEMBER_EVENTS_S)}
    _dynamodb.put_item(
        TableName=os.environ["DELIVERIES"], Item={"id": {"S": f"event {event_id}"}, "expiration": expires}
    )


def is_delivered(order_id: str, invoice_id: str) -> bool:
    """Returns whether an order was delivered for this invoice."""
    order = _read(f"order {order_id}")
    return "delivered_at" in order and order["invoice_id"]["S"] == invoice_id


def claim(order_id: str, invoice_id: str, *, for_s: float) -> Literal["claimed", "delivered", "other invoice"]:
    """Claims an order for an invoice.

    Args:
        order_id: The order.
        invoice_id: The invoice that was paid for it.
        for_s: How long this invocation may still run, in seconds.

    Returns:
        ``claimed``: deliver now. ``delivered``: it was, for this invoice. ``other invoice``: another one has the order.

    Raises:
        DeliveryUnderWay: A twin of the event has the claim.
    """
    now = int(time.time())
    try:
        _dynamodb.put_item(
            TableName=os.environ["DELIVERIES"],
            Item={
                "id": {"S": f"order {order_id}"},
                "invoice_id": {"S": invoice_id},
                "claimed_until": {"N": str(now + int(for_s) + 1)},
            },
            ConditionExpression=(
                "attribute_not_exists(id) OR "
                "(invoice_id = :invoice AND attribute_not_exists(delivered_at) AND claimed_until < :now)"
            ),
            ExpressionAttributeValues={":invoice": {"S": invoice_id}, ":now": {"N": str(now)}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException as refused:
        response: Any = refused.response
        order = response["Item"]
        if order["invoice_id"]["S"] != invoice_id:
            return "other invoice"
        if "delivered_at" in order:
            return "delivered"
        raise DeliveryUnderWay(invoice_id) from None
    return "claimed"


def note_delivered(order_id: str, invoice_id: str) -> None:
    """Notes that an order was delivered for an invoice, which has claimed it."""
    _dynamodb.update_item(
        TableName=os.environ["DELIVERIES"],
        Key={"id": {"S": f"order {order_id}"}},
        UpdateExpression="SET delivered_at = :now",
        # The claim of another invocation for the same invoice may have replaced ours. Delivered is delivered.
        ConditionExpression="invoice_id = :invoice",
        ExpressionAttributeValues={":now": {"N": str(int(time.time()))}, ":invoice": {"S": invoice_id}},
    )


def _read(item_id: str) -> dict[str, Any]:
    found = _dynamodb.get_item(TableName=os.environ["DELIVERIES"], Key={"id": {"S": item_id}}, ConsistentRead=True)
    return found.get("Item", {})
