"""One invoice as the table of invoices has it: what was asked for, how far the payment is, and when to ask again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from invoicing.contract.errors import InternalError
from invoicing.contract.statuses import STATUSES, Status, status_or_none

# How long after its creation an invoice is asked about, if nobody says sooner that it was paid.
_HOURS = (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 26)
SCHEDULE_S = (10 * 60, 30 * 60, *(hours * 60 * 60 for hours in _HOURS))
# Partitions of the index: what cannot wait, and the schedule's, by a hash of the invoice's id.
NOW = "now"
SHARDS = tuple("0123456789")


@dataclass(frozen=True, slots=True)
class InvoiceRecord:
    """One invoice as the table has it.

    Args:
        invoice_id: The provider's id, without ``INV-``.
        amount: What was asked for, as a plain decimal, in whole units of the currency.
        currency: The currency that it was asked for in.
        api: The version of the provider's API that created it.
        created_s: When it was created, in whole seconds since 1970.
        order_id: The caller's id of the order.
        items: What was bought, if the shop sets the prices: id and quantity of each.
        status: The highest status that was seen.
        seen_s: When each status was first seen, in whole seconds since 1970.
        unpublished: The statuses whose events may not have been published yet.
        due_s: When the provider is to be asked again; ``None`` when it is not.
        late_since_s: When it was due first, if it was put behind others since; else ``due_s``.
        hurried: How often it was made due at once.
    """

    invoice_id: str
    amount: str
    currency: str
    api: str
    created_s: int
    order_id: str | None = None
    items: tuple[tuple[str, int], ...] = ()
    status: Status = "created"
    seen_s: dict[Status, int] = field(default_factory=dict)
    unpublished: frozenset[Status] = frozenset()
    due_s: int | None = None
    late_since_s: int | None = None
    hurried: int = 0


def new_item(invoice: InvoiceRecord, *, retention_s: int) -> dict[str, Any]:
    """Returns a new invoice as the table keeps it, in DynamoDB's JSON.

    Args:
        invoice: The invoice; nothing has happened to it yet.
        retention_s: How long it is kept after its creation, in seconds.
    """
    item: dict[str, Any] = {
        "invoice_id": {"S": invoice.invoice_id},
        "amount": {"S": invoice.amount},
        "currency": {"S": invoice.currency},
        "api": {"S": invoice.api},
        "status": {"S": "created"},
        "created_at": number(invoice.created_s),
        "expiration": number(invoice.created_s + retention_s),
        "queue": {"S": shard_of(invoice.invoice_id)},
        "due": number(invoice.created_s + SCHEDULE_S[0]),
    }
    if invoice.order_id is not None:
        item["order_id"] = {"S": invoice.order_id}
    if invoice.items:
        item["items"] = {
            "L": [{"M": {"id": {"S": name}, "quantity": number(quantity)}} for name, quantity in invoice.items]
        }
    return item


def next_due_s(created_s: int, now_s: float) -> int | None:
    """Returns when an invoice is due next by the schedule, or ``None`` after its last time.

    Args:
        created_s: When it was created, in seconds since 1970.
        now_s: Now, likewise.
    """
    return next((created_s + after_s for after_s in SCHEDULE_S if created_s + after_s > now_s), None)


def shard_of(invoice_id: str) -> str:
    """Returns the partition of the index that an invoice waits in: a hot one would be throttled."""
    return SHARDS[hashlib.sha256(invoice_id.encode()).digest()[0] % len(SHARDS)]


def record_of(item: Mapping[str, Any]) -> InvoiceRecord:
    """Returns an invoice from what the table keeps, in DynamoDB's JSON.

    Raises:
        InternalError: It is damaged.
    """
    try:
        status = status_or_none(item["status"]["S"])
        seen_s = {other: int(item[seen_at(other)]["N"]) for other in STATUSES if seen_at(other) in item}
        unpublished: frozenset[Status] = frozenset(
            filter(None, map(status_or_none, item.get("unpublished", {"SS": []})["SS"]))
        )
        due_s = int(item["due"]["N"]) if "due" in item else None
        # An event needs amount and times.
        if status is None or unpublished - seen_s.keys() or not Decimal(item["amount"]["S"]).is_finite():
            raise ValueError("no status, no amount, or no time of a status")  # noqa: TRY301 - the same as any other damage
        return InvoiceRecord(
            invoice_id=item["invoice_id"]["S"],
            amount=item["amount"]["S"],
            currency=item["currency"]["S"],
            api=item["api"]["S"],
            created_s=int(item["created_at"]["N"]),
            order_id=item["order_id"]["S"] if "order_id" in item else None,
            items=tuple((line["M"]["id"]["S"], int(line["M"]["quantity"]["N"])) for line in item["items"]["L"])
            if "items" in item
            else (),
            status=status,
            seen_s=seen_s,
            unpublished=unpublished,
            due_s=due_s,
            late_since_s=int(item["late_since"]["N"]) if due_s and item.get("behind_at") == item["due"] else due_s,
            hurried=int(item.get("hurried", {"N": "0"})["N"]),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        invoice_id = item.get("invoice_id", {}).get("S", "of no id")
        raise InternalError(f"the record of invoice {invoice_id} is damaged: {type(error).__name__}") from None


def number(value: int) -> dict[str, str]:
    """Returns a whole number in DynamoDB's JSON."""
    return {"N": str(value)}


def seen_at(status: Status) -> str:
    """Returns the attribute that has the time at which a status was first seen."""
    return f"{status}_at"
