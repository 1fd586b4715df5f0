"""One run of the watcher: the safety net under postbacks. It publishes what waits, and asks about what is due.

Nothing depends on a run being whole. What it does not reach stays due, the next run begins with the oldest, and two
runs at once only ask twice: every step has its condition.
"""

import contextlib
import heapq
import time
from collections.abc import Iterable, Iterator
from itertools import batched
from operator import itemgetter
from typing import NamedTuple

from invoicing.contract.errors import InvoicingError
from invoicing.contract.settings import PaymentSettings
from invoicing.contract.statuses import DELIVERABLE
from invoicing.invoice_record import NOW, SHARDS, InvoiceRecord
from invoicing.invoices import MAX_READ_AT_ONCE, InvoiceTable
from invoicing.observability import OLDEST_DUE, WATCH_STOPPED, logger, metrics
from invoicing.payments import ASK_LIMIT_S, Payments

# What must be left of the run's time to begin something: a call to the provider, and the writes that follow from it.
ROUND_S = ASK_LIMIT_S + 6.0
# One call that fails says little about the next, so many in a row say that it fails likewise.
MOST_FAILURES = 3


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
        left_s: list[int] = []  # when something that the run leaves was due, of each kind at least the oldest
        published, urgent = self._publish(self._records(self._table.due(NOW), seen, left_s), deadline_s, left_s)
        scheduled = heapq.merge(*map(self._table.due, SHARDS), key=itemgetter(1))
        asked, stepped = self._ask((urgent, self._records(scheduled, seen, left_s)), deadline_s, left_s)
        oldest_due_s = max(0, int(time.time()) - min(left_s)) if left_s else 0
        metrics.add_metric(OLDEST_DUE, "Seconds", oldest_due_s)
        run = Run(published, asked, stepped, oldest_due_s)
        logger.info("watched", **run._asdict())
        return run

    def _records(self, due: Iterable[tuple[str, int]], seen: set[str], left_s: list[int]) -> Iterator[InvoiceRecord]:
        # An invoice whose due time changes while we read may come a second time.
        new = (entry for entry in due if entry[0] not in seen)
        for entries in batched(new, MAX_READ_AT_ONCE, strict=False):
            due_s = dict(entries)
            seen.update(due_s)  # not |= with keys(): that would make another set
            records, unread = self._table.read_due(list(due_s))
            left_s += [due_s[invoice_id] for invoice_id in unread]
            yield from records

    def _publish(
        self, waiting: Iterator[InvoiceRecord], deadline_s: float, left_s: list[int]
    ) -> tuple[int, list[InvoiceRecord]]:
        """Returns how many invoices it published, and those that wait to be asked about."""
        published, urgent, failures = 0, [], 0
        for invoice in waiting:
            if deadline_s - time.monotonic() < ROUND_S:
                left_s += _late_since([invoice])
                break
            if not invoice.unpublished:
                urgent.append(invoice)
            elif failures == MOST_FAILURES:
                # Asking does not need the bus.
                left_s += _late_since([invoice])
            else:
                try:
                    self._payments.publish(invoice)
                    published, failures = published + 1, 0
                    if invoice.hurried and invoice.status not in DELIVERABLE:
                        # Somebody said that more has happened since.
                        urgent.append(invoice)
                except InvoicingError as error:
                    left_s += _late_since([invoice])
                    failures += 1
                    logger.error("watcher did not publish", reason=error.reason, invoice_id=invoice.invoice_id)
        return published, urgent

    def _ask(self, queues: Iterable[Iterable[InvoiceRecord]], deadline_s: float, left_s: list[int]) -> tuple[int, int]:
        """Returns how many invoices it asked about, and how many had news."""
        asked = stepped = failures = 0
        failed = False
        for queue in queues:
            for invoices in batched(queue, self._ids_in_a_call, strict=False):
                if failures == MOST_FAILURES or deadline_s - time.monotonic() < ROUND_S:
                    left_s += _late_since(invoices)
                    break
                try:
                    stepped += self._payments.follow_all(invoices)
                    asked, failures = asked + len(invoices), 0
                except InvoicingError as error:
                    left_s += _late_since(invoices)
                    failures, failed = failures + 1, True
                    logger.error("invoices not asked about", reason=error.reason, first=invoices[0].invoice_id)
                    self._put_behind(invoices)
        if failed:
            metrics.add_metric(WATCH_STOPPED, "Count", 1)
        return asked, stepped

    def _put_behind(self, invoices: Iterable[InvoiceRecord]) -> None:
        # Otherwise the same ones would fail first in each run, and those behind them would never be asked about.
        with contextlib.suppress(InvoicingError):
            for invoice in invoices:
                self._table.put_behind(invoice)


def _late_since(invoices: Iterable[InvoiceRecord]) -> list[int]:
    return [invoice.late_since_s for invoice in invoices if invoice.late_since_s is not None]
