"""Delivers an order when its invoice is paid, and writes to a person where a person must decide."""

import logging
import os
from decimal import Decimal
from typing import Any

import boto3
import deliveries
import shop
from botocore.config import Config

logger = logging.getLogger()
logger.setLevel(logging.INFO)
_sns = boto3.client("sns", config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard"}))


def lambda_handler(event: dict[str, Any], context: Any) -> str:
    """Returns what was done about an event of the invoices stack.

    Args:
        event: From EventBridge; docs/invoice-event.schema.json of the invoices stack has its form.

    Raises:
        DeliveryUnderWay: A twin of the event is being handled. Lambda runs this one again a minute later.
        ValueError: This code does not know such events. The event ends in the dead-letter queue.
    """
    invoice = event["detail"]
    if invoice["version"] != "1":
        raise ValueError(f"version {invoice['version']} of the event is not known here")
    if deliveries.is_done(invoice["event_id"]):
        outcome = "twin"
    else:
        outcome = _outcome(invoice, remaining_s=context.get_remaining_time_in_millis() / 1000)
        deliveries.note_done(invoice["event_id"])
    # Not the order id: some shops use the buyer's e-mail address.
    logger.info("%s: %s", invoice["event_id"], outcome)
    return outcome


def _outcome(invoice: dict[str, Any], *, remaining_s: float) -> str:
    status, order_id = invoice["status"], invoice["order_id"]
    if status == "canceled":
        return "nothing to do"  # a place for a step of yours: put the goods back on the shelf
    if status not in ("partial", "paid", "overpaid"):
        raise ValueError(f"the status {status} is not known here")
    if not invoice["recorded"]:
        return _write(invoice, "Nobody here knows its order: look it up at CryptoCloud.")
    if status == "partial":
        if order_id and deliveries.is_delivered(order_id, invoice["invoice_id"]):
            return "late news"  # events come in any order
        return _write(invoice, "A part arrived: wait for the rest, or give it back.")
    price = shop.price_of(order_id, invoice["items"]) if order_id else None
    if price is None:
        return _write(invoice, "The shop has no such order, so nothing was delivered.")
    if (Decimal(invoice["amount"]), invoice["currency"]) != price:
        return _write(invoice, f"The order costs {price.amount} {price.currency}, so nothing was delivered.")
    return _deliver(invoice, remaining_s=remaining_s)


def _deliver(invoice: dict[str, Any], *, remaining_s: float) -> str:
    order_id, invoice_id = invoice["order_id"], invoice["invoice_id"]
    match deliveries.claim(order_id, invoice_id, for_s=remaining_s):
        case "delivered":
            return "delivered before"
        case "other invoice":
            return _write(invoice, "Another invoice of this order was paid too: give one of the two back.")
    # If the function dies from here on, the same is done once more a minute later.
    shop.deliver(order_id, invoice["items"])
    if invoice["status"] == "overpaid":
        _write(invoice, "More than that arrived. The order is delivered: give the rest back.")
    deliveries.note_delivered(order_id, invoice_id)
    return "delivered"


def _write(invoice: dict[str, Any], advice: str) -> str:
    what = (
        f" for {invoice['amount']} {invoice['currency']} (order {invoice['order_id']})" if invoice["recorded"] else ""
    )
    message = f"Invoice {invoice['invoice_id']}{what} is {invoice['status']}. {advice}"
    _sns.publish(TopicArn=os.environ["TOPIC"], Subject="An order needs you", Message=message)
    return "a person was asked"
