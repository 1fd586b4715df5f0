"""The statuses of an invoice, and which one comes after which."""

from typing import Literal, get_args

type Status = Literal["created", "partial", "canceled", "paid", "overpaid"]

STATUSES: tuple[Status, ...] = get_args(Status.__value__)
# News may arrive in any order. A status is believed over another if its rank is higher. Canceled is not the end: the
# buyer may have paid late, or the owner confirmed the payment by hand.
_RANKS: dict[Status, int] = {"created": 0, "partial": 1, "canceled": 2, "paid": 3, "overpaid": 3}
# The goods may be delivered, and nothing that comes later is news.
DELIVERABLE: frozenset[Status] = frozenset({"paid", "overpaid"})


def status_or_none(value: object) -> Status | None:
    """Returns a status that the provider documents, or ``None`` for anything else."""
    return next((status for status in STATUSES if status == value), None)


def lower_than(status: Status) -> list[Status]:
    """Returns the statuses from which this one is a step forward."""
    return [other for other in STATUSES if _RANKS[other] < _RANKS[status]]
