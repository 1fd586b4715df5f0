"""The events of a payment: what other systems learn, by EventBridge. Their schema is docs/invoice-event.schema.json.

An event may be published twice, and twins are equal in every field. Consumers know them by ``event_id``.
"""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from invoicing.aws import LASTING_ERRORS
from invoicing.contract.errors import ProviderUnavailable, ServiceNotConfigured
from invoicing.contract.statuses import Status
from invoicing.invoice_record import InvoiceRecord
from invoicing.observability import EVENT_NOT_PUBLISHED, EVENT_PUBLISHED, logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "cryptocloud-invoices"
VERSION = "1"
DETAIL_TYPES: dict[Status, str] = {
    "partial": "Invoice Partially Paid",
    "canceled": "Invoice Canceled",
    "paid": "Invoice Paid",
    "overpaid": "Invoice Paid",
}


class EventBus:
    """EventBridge.

    Args:
        name: Name or ARN of the bus.
        stack: The name of this stack, so that a consumer can tell two shops apart.
        client: An EventBridge client.
    """

    def __init__(self, name: str, stack: str, client: "EventBridgeClient") -> None:
        self._name = name
        self._stack = stack
        self._client = client

    def publish(self, invoice: InvoiceRecord) -> None:
        """Publishes an event for each status of an invoice that may not have been published yet.

        Raises:
            ProviderUnavailable: At least one event was not accepted. All of them stay unpublished.
            ServiceNotConfigured: There is no such bus, or it is not for this function to write.
        """
        self._put([(status, self._detail(invoice, status)) for status in DETAIL_TYPES if status in invoice.unpublished])

    def publish_unrecorded(self, invoice_id: str, status: Status) -> None:
        """Publishes what is known of a payment of an invoice that this stack has no record of.

        Raises:
            ProviderUnavailable: The event was not accepted.
            ServiceNotConfigured: As ``publish``.
        """
        detail: dict[str, Any] = {
            "version": VERSION,
            # An id of its own: under the recorded one, a consumer would take the true event for a twin of this.
            "event_id": f"{invoice_id}:{status}:unrecorded",
            "stack": self._stack,
            "invoice_id": invoice_id,
            "order_id": None,
            "items": None,
            "status": status,
            "amount": None,
            "currency": None,
            "recorded": False,
            # Without a record nobody remembers when it was seen first, and twins must be equal.
            "time": None,
        }
        self._put([(status, detail)])

    def _detail(self, invoice: InvoiceRecord, status: Status) -> dict[str, Any]:
        return {
            "version": VERSION,
            "event_id": f"{invoice.invoice_id}:{status}",
            "stack": self._stack,
            "invoice_id": invoice.invoice_id,
            "order_id": invoice.order_id,
            "items": [{"id": name, "quantity": quantity} for name, quantity in invoice.items] or None,
            "status": status,
            "amount": invoice.amount,
            "currency": invoice.currency,
            "recorded": True,
            "time": datetime.fromtimestamp(invoice.seen_s[status], UTC).isoformat().replace("+00:00", "Z"),
        }

    def _put(self, events: list[tuple[Status, dict[str, Any]]]) -> None:
        entries = [
            {
                "EventBusName": self._name,
                "Source": SOURCE,
                "DetailType": DETAIL_TYPES[status],
                "Detail": json.dumps(detail),
            }
            for status, detail in events
        ]
        try:
            answer = self._client.put_events(Entries=entries)  # type: ignore[arg-type]
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in LASTING_ERRORS:
                metrics.add_metric(EVENT_NOT_PUBLISHED, "Count", len(events))
                raise ServiceNotConfigured(f"the event bus answered {code}: see EventBus and the role") from None
            self._failed(code, events)
        except BotoCoreError as error:
            self._failed(type(error).__name__, events)
        # A call that succeeds may still have refused an entry:
        # https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
        if answer["FailedEntryCount"]:
            codes = {entry["ErrorCode"] for entry in answer["Entries"] if "ErrorCode" in entry}
            self._failed(", ".join(sorted(codes)), events)
        metrics.add_metric(EVENT_PUBLISHED, "Count", len(events))
        for _, detail in events:
            logger.info("event published", event_id=detail["event_id"])

    @staticmethod
    def _failed(reason: str, events: list[tuple[Status, dict[str, Any]]]) -> NoReturn:
        metrics.add_metric(EVENT_NOT_PUBLISHED, "Count", len(events))
        raise ProviderUnavailable(f"events not published: {reason}")
