"""The payment of an invoice, from a hint that something happened to the event that says so.

Postbacks, pages and the watcher all do the same: ask the provider, take the step if it is one, publish what became
true. They may do it at the same moment: each event is published at least once, and twins are equal.
"""

import contextlib
import time
from collections.abc import Sequence
from decimal import Decimal

from invoicing import ahead
from invoicing.aws import dynamodb_client, events_client, secrets_manager_client
from invoicing.contract.errors import InvoicingError, OutcomeUnknown, ProviderCredentialsRejected, ProviderUnavailable
from invoicing.contract.settings import PaymentSettings
from invoicing.contract.statuses import DELIVERABLE, Status
from invoicing.credentials import CredentialStore
from invoicing.events import EventBus
from invoicing.invoice_record import InvoiceRecord
from invoicing.invoices import InvoiceTable
from invoicing.observability import AMOUNT_PAID, INVOICE_PAID, INVOICE_UNKNOWN, logger, metrics
from invoicing.provider.dialects import chosen_api
from invoicing.provider.outcomes import Api, Call, Statuses
from invoicing.provider.transport import MAX_ATTEMPTS, Transport

# What the provider may take to say a status, in seconds. A page waits for it, and a postback must be answered in 10 s.
ASK_LIMIT_S = 4.0


class Payments:
    """Learns of payments and publishes them.

    Args:
        table: The table of invoices.
        credentials: Where the API key comes from.
        provider: The provider.
        api: The version of its API to speak. It need not be the one that created an invoice.
        bus: Where events go.
    """

    def __init__(
        self, table: InvoiceTable, credentials: CredentialStore, provider: Transport, api: Api, bus: EventBus
    ) -> None:
        self.table = table
        self.credentials = credentials
        self._provider = provider
        self.api = api
        self._bus = bus

    @classmethod
    def from_settings(cls, settings: PaymentSettings) -> "Payments":
        """Returns payments with real clients; calls nobody yet."""
        return cls(
            InvoiceTable(settings.invoice_table, dynamodb_client()),
            CredentialStore(secrets_manager_client(), settings.cryptocloud_secret_arn, first=ahead.secret),
            Transport(settings.cryptocloud_api_url, opened=ahead.provider),
            chosen_api(settings.cryptocloud_api),
            EventBus(settings.event_bus, settings.powertools_service_name, events_client()),
        )

    def read_secret(self) -> None:
        """Reads the secret ahead of the first request.

        Raises:
            InvoicingError: As ``CredentialStore.get``.
        """
        self.credentials.get()

    def follow(self, invoice_id: str) -> Status | None:
        """Asks the provider about an invoice that something happened to, takes the step forward, and publishes it.

        Where that fails, or the provider's status does not show it yet, the invoice is due for the watcher at once.

        Args:
            invoice_id: The provider's id, without ``INV-``. It need not be an invoice of this stack.

        Returns:
            The status that is known now, or ``None`` if neither the provider nor this stack knows the invoice.

        Raises:
            ProviderUnavailable: The provider, the table or the event bus was not reached, or the provider's answer is
                of no use.
            InvoicingError: The key is refused, or the record is damaged.
        """
        try:
            return self._follow(invoice_id)
        except InvoicingError:
            with contextlib.suppress(InvoicingError):
                self.table.hurry(invoice_id)
            raise

    def _follow(self, invoice_id: str) -> Status | None:
        answer = self.ask([invoice_id], deadline_s=time.monotonic() + ASK_LIMIT_S)
        if invoice_id in answer and answer[invoice_id] is None:
            raise ProviderUnavailable("the provider says a status that it does not document")
        status = answer.get(invoice_id)
        # Read only now: the invoice may have been recorded while we asked.
        invoice = (status and self._take_step(invoice_id, status)) or self.table.read(invoice_id)
        if invoice is None:
            return self._follow_unrecorded(invoice_id, status)
        if status is None:
            # The provider does not know what it created: another shop's key, or a fault of its own.
            raise ProviderUnavailable("the provider does not know an invoice that it created here")
        if invoice.unpublished:
            self.publish(invoice)
        if invoice.status not in DELIVERABLE:
            # Something happened, and this is not it: what the provider says may lag behind what it does. Last, because
            # what was just published may be the end by the schedule.
            self.table.hurry(invoice_id)
        return invoice.status

    def status_of(self, invoice_id: str) -> Status | None:
        """Returns the status of an invoice for a page, asking the provider at most once in a few seconds.

        Args:
            invoice_id: The provider's id, without ``INV-``.

        Returns:
            The status, the last known one while the provider cannot be asked. ``None`` if this stack did not create the
            invoice: then nobody is asked.

        Raises:
            ProviderUnavailable: The table was not reached.
            InternalError: The record is damaged.
        """
        invoice = self.table.read(invoice_id)
        if invoice is None:
            return None
        if invoice.status in DELIVERABLE:
            return invoice.status
        try:
            if not self.table.take_turn(invoice_id):
                return invoice.status
            # In one attempt: a page asks again by itself.
            status = self.ask([invoice_id], deadline_s=time.monotonic() + ASK_LIMIT_S, attempts=1).get(invoice_id)
            stepped = status and self._take_step(invoice_id, status)
        except InvoicingError as error:
            logger.warning("status not asked", reason=error.reason, invoice_id=invoice_id)
            return invoice.status
        if not stepped:
            return invoice.status
        try:
            self.publish(stepped)
        except InvoicingError as error:
            # The watcher publishes it: the page only wants to know.
            logger.warning("event left to the watcher", reason=error.reason, invoice_id=invoice_id)
        return stepped.status

    def follow_all(self, invoices: Sequence[InvoiceRecord]) -> int:
        """Asks the provider about several invoices at once, and does for each what ``follow`` does for one.

        Args:
            invoices: What is due, at most ``Api.ids_in_a_call`` of them.

        Returns:
            How many had news.

        Raises:
            InvoicingError: As ``ask``, or the table was not reached.
        """
        answer = self.ask([invoice.invoice_id for invoice in invoices], deadline_s=time.monotonic() + ASK_LIMIT_S)
        return sum(self._follow_answer(invoice, answer) for invoice in invoices)

    def ask(self, invoice_ids: Sequence[str], *, deadline_s: float, attempts: int = MAX_ATTEMPTS) -> Statuses:
        """Returns what the provider says of invoices.

        One that it does not know is left out; one whose status it does not document is ``None``.

        Args:
            invoice_ids: The provider's ids, at most ``Api.ids_in_a_call`` of them.
            deadline_s: ``time.monotonic()`` by which the answer must be there.
            attempts: How many there may be, 1 or more.

        Raises:
            ProviderUnavailable: There was no answer, or none of use.
            ProviderCredentialsRejected: The key is refused, also after it was read again.
            InvoicingError: As ``CredentialStore.get``.
        """
        try:
            return self._asked(self.api.info(invoice_ids), deadline_s, attempts)
        except OutcomeUnknown as error:
            # To ask creates nothing, so what is unknown is only the status.
            raise ProviderUnavailable(f"status not learned: {error.reason}") from None

    def _asked(self, call: Call[Statuses], deadline_s: float, attempts: int) -> Statuses:
        credentials = self.credentials.get()
        try:
            return self._provider.perform(call, credentials, deadline_s=deadline_s, attempts=attempts)
        except ProviderCredentialsRejected:
            rotated = self.credentials.read_again()
            if rotated == credentials:
                raise
            return self._provider.perform(call, rotated, deadline_s=deadline_s, attempts=attempts)

    def publish(self, invoice: InvoiceRecord) -> None:
        """Publishes what is unpublished of an invoice, and notes it.

        Raises:
            InvoicingError: The event bus or the table was not reached, or refused. The invoice stays due.
        """
        self._bus.publish(invoice)
        self.table.published(invoice)

    def _follow_answer(self, invoice: InvoiceRecord, answer: Statuses) -> bool:
        status = answer.get(invoice.invoice_id)
        if status is None:
            # One strange invoice must not keep the others waiting: it has its turn again by the schedule.
            metrics.add_metric(INVOICE_UNKNOWN, "Count", 1)
            logger.warning("the provider does not say the status of an invoice", invoice_id=invoice.invoice_id)
        elif stepped := self._take_step(invoice.invoice_id, status):
            try:
                self.publish(stepped)
            except InvoicingError as error:
                # The step is written, so the next run publishes it. The others need no bus to be asked about.
                logger.error("event left to the next run", reason=error.reason, invoice_id=invoice.invoice_id)
            return True
        self.table.postpone(invoice)
        return False

    def _take_step(self, invoice_id: str, status: Status) -> InvoiceRecord | None:
        stepped = self.table.step(invoice_id, status)
        if stepped and status in DELIVERABLE:
            metrics.add_metric(INVOICE_PAID, "Count", 1)
            metrics.add_metric(AMOUNT_PAID + stepped.currency, "None", float(Decimal(stepped.amount)))
        return stepped

    def _follow_unrecorded(self, invoice_id: str, status: Status | None) -> Status | None:
        if status is None or status == "created":
            return status
        metrics.add_metric(INVOICE_UNKNOWN, "Count", 1)
        logger.warning("a payment of an invoice without a record", invoice_id=invoice_id, status=status)
        self._bus.publish_unrecorded(invoice_id, status)
        return status
