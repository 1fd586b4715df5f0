"""Your shop. Replace this file: here, one order is known, and to deliver it is a line in the log."""

import logging
from decimal import Decimal
from typing import Any, NamedTuple

logger = logging.getLogger()


class Price(NamedTuple):
    """What an order costs.

    Args:
        amount: In whole units of the currency. Never a float: it would not be exact.
        currency: Its code, such as ``USD``.
    """

    amount: Decimal
    currency: str


def price_of(order_id: str, items: list[dict[str, Any]] | None) -> Price | None:
    """Returns what an order costs, or ``None`` if there is no such order.

    Replace it: look the order up where your shop keeps its orders. Never take the price from the event: that is the
    amount that the buyer's browser asked for.

    Args:
        order_id: The order.
        items: ``id`` and ``quantity`` of what was bought, or ``None`` where the shop has no price list. A shop that
            keeps no orders returns the sum of its prices for these.
    """
    del items  # this shop keeps its orders
    return {"A-1001": Price(Decimal("19.99"), "USD")}.get(order_id)


def deliver(order_id: str, items: list[dict[str, Any]] | None) -> None:
    """Delivers an order.

    Replace it. The same order may come twice, if the function died the first time. So hand the order id on to whatever
    delivers, as its idempotency key.

    Args:
        order_id: The order.
        items: ``id`` and ``quantity`` of what was bought, or ``None`` where the shop has no price list.
    """
    # The order ids of this shop are no e-mail addresses. Yours may be: those never go into a log.
    logger.info("delivering order %s: %s", order_id, items)
