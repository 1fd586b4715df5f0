"""One run of the watcher: the safety net under postbacks. It publishes what waits, and asks about what is due.

Nothing depends on a run being whole. What it does not reach stays due, the next run begins with the oldest, and two
runs at once only ask twice: every step has its condition.
"""

import contextlib
import heapq
import time
from collections.abc import Iterable, Iterator
from itertools import batched, chain
from typing import NamedTuple

from invoicing.contract.errors import InternalError, InvoicingError
from invoicing.contract.settings import PaymentSettings
from invoicing.contract.statuses import DELIVERABLE
from invoicing.invoices import NOW, SHARDS, InvoiceRecord, InvoiceTable
from invoicing.observability import OLDEST_DUE, WATCH_STOPPED, logger, metrics
from invoicing.payments import ASK_LIMIT_S, Payments

# So many calls that fail in a row are the provider's failure. Fewer may be that of the invoices that they are about.
MOST_FAILURES = 3
# What must be left of the run's time to begin something: a call to the provider, and the writes that follow from it.
ROUND_S = ASK_LIMIT_S + 6.0


class Run(NamedTuple):
    """What a run did, in numbers of invoices.

    Args:
        published: Those whose waiting events were published.
        asked: Those that the provider was asked about.
        stepped: Those of them that had news.
        oldest_due_s: For how long the oldest one that the run left has been due, in seconds; 0 if it left none.
    """

    published: int
    asked: int
    stepped: int
    oldest_due_s: int


class Watcher:
    """Runs the watch.

    Args:
        table: The table of invoices.
        payments: The story of a payment.
        ids_in_a_call: How many invoices the provider can be asked about at once.
    """

    def __init__(self, table: InvoiceTable, payments: Payments, *, ids_in_a_call: int) -> None:
        self._table = table
        self._payments = payments
        self._ids_in_a_call = ids_in_a_call

    @classmethod
    def from_settings(cls, settings: PaymentSettings) -> "Watcher":
        """Returns a watcher with real clients; calls nobody yet."""
        payments = Payments.from_settings(settings)
        return cls(payments.table, payments, ids_in_a_call=payments.api.ids_in_a_call)

    def run(self, *, deadline_s: float) -> Run:
        """Does what is due, the oldest first, within its time.

        Args:
            deadline_s: ``time.monotonic()`` by which the run has ended.

        Raises:
            ProviderUnavailable: The table was not reached. What was done until then is done.
        """
        seen: set[str] = set()
        published, urgent = self._publish(self._records(self._table.due(NOW), seen), deadline_s)
        scheduled = heapq.merge(*map(self._table.due, SHARDS), key=lambda entry: entry[1])
        asked, stepped, left = self._ask(chain(urgent, self._records(scheduled, seen)), deadline_s)
        oldest_due_s = max(0, int(time.time()) - left.due_s) if left and left.due_s else 0
        metrics.add_metric(OLDEST_DUE, "Seconds", oldest_due_s)
        run = Run(published, asked, stepped, oldest_due_s)
        logger.info("watched", **run._asdict())
        return run

    def _records(self, due: Iterable[tuple[str, int]], seen: set[str]) -> Iterator[InvoiceRecord]:
        # An invoice whose due time changes while we read may come a second time.
        for invoice_id, _ in due:
            if invoice_id not in seen:
                seen.add(invoice_id)
                try:
                    record = self._table.read(invoice_id)
                except InternalError as error:
                    # A damaged record, which must not keep the others waiting.
                    logger.error("invoice left out", reason=error.reason)
                    metrics.add_metric(type(error).__name__, "Count", 1)
                    continue
                if record:
                    yield record

    def _publish(self, waiting: Iterator[InvoiceRecord], deadline_s: float) -> tuple[int, list[InvoiceRecord]]:
        """Returns how many invoices it published, and those that wait to be asked about."""
        published, urgent, bus_fails = 0, [], False
        for invoice in waiting:
            if deadline_s - time.monotonic() < ROUND_S:
                break
            if not invoice.unpublished:
                urgent.append(invoice)
            elif not bus_fails:
                try:
                    self._payments.publish(invoice)
                    published += 1
                    if invoice.hurried and invoice.status not in DELIVERABLE:
                        # Somebody said that more has happened since.
                        urgent.append(invoice)
                except InvoicingError as error:
                    # The others would fail likewise. Asking does not need the bus.
                    logger.error("watcher stopped publishing", reason=error.reason)
                    bus_fails = True
        return published, urgent

    def _ask(self, due: Iterator[InvoiceRecord], deadline_s: float) -> tuple[int, int, InvoiceRecord | None]:
        """Returns how many invoices it asked about, how many had news, and the first one that it left."""
        asked = stepped = failures = 0
        left: InvoiceRecord | None = None
        for batch in batched(due, self._ids_in_a_call, strict=False):
            if deadline_s - time.monotonic() < ROUND_S:
                return asked, stepped, left or batch[0]
            try:
                stepped += self._payments.follow_all(batch)
            except InvoicingError as error:
                logger.error("invoices not asked about", reason=error.reason, first=batch[0].invoice_id)
                left = left or batch[0]
                self._put_behind(batch)
                failures += 1
                if failures == MOST_FAILURES:
                    # The next call would fail likewise. What is due stays due.
                    metrics.add_metric(WATCH_STOPPED, "Count", 1)
                    break
            else:
                asked += len(batch)
                failures = 0
        return asked, stepped, left

    def _put_behind(self, batch: Iterable[InvoiceRecord]) -> None:
        # Otherwise the same ones would fail first in each run, and those behind them would never be asked about.
        with contextlib.suppress(InvoicingError):
            for invoice in batch:
                self._table.put_behind(invoice)
