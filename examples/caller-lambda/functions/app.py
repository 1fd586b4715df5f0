"""Gives an order its payment link."""

import logging
from decimal import Decimal
from typing import Any

from invoices import RequestRefused, create_invoice

logger = logging.getLogger()


def lambda_handler(order: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Returns where the buyer pays, or why there is nowhere to.

    Args:
        order: ``id``, ``total`` as decimal text, and optionally ``currency`` and ``email``.

    Raises:
        TryAgainLater: What runs this function, a queue for example, runs it again later with the same order.
        ServiceBroken: Nobody can pay now. The error is in the log, and counted by the metric ``Errors`` for an alarm.
    """
    request = {"order_id": order["id"], "amount": Decimal(order["total"])}
    request |= {name: order[name] for name in ("currency", "email") if name in order}
    try:
        invoice = create_invoice(request)
    except RequestRefused as error:
        # Never the request itself in a log: it has the buyer's e-mail address.
        logger.warning("order %s refused: %s %s", order["id"], error, error.problem.get("errors", ""))
        return {"order_id": order["id"], "refused": error.problem["code"]}
    return {"order_id": order["id"], "pay_url": invoice["pay_url"], "invoice_id": invoice["invoice_id"]}
