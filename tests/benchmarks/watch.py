"""How many open invoices the watch can follow, by simulation: ``make docs`` prints it into docs/scaling.md.

Time is simulated, so nothing waits, and the figures are the same each time. The code under test is the shipped one:
``Watcher``, ``Payments``, ``EventBus`` and the schedule. The table is a model in memory, which a test holds to the real
``InvoiceTable``.
"""

import bisect
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from invoicing.contract.errors import ProviderUnavailable
from invoicing.contract.statuses import Status, lower_than
from invoicing.credentials import Credentials
from invoicing.events import EventBus
from invoicing.invoice_record import NOW, SCHEDULE_S, SHARDS, InvoiceRecord, next_due_s, shard_of
from invoicing.invoices import InvoiceTable
from invoicing.observability import logger, metrics
from invoicing.payments import Payments
from invoicing.provider.dialects import chosen_api
from invoicing.watch import Watcher
from tests.benchmarks.cost import LAMBDA_ARM64_GB_S, TABLE_READ_UNIT, TABLE_WRITE_UNIT
from tests.support import ROOT
from tests.support.marks import with_part
from tests.support.report import table as markdown_table

PAGE = ROOT / "docs" / "scaling.md"
OPEN = 100_000
# What the template gives: a run every ten minutes, and its time less the reserve.
EVERY_S, RUN_S = 600, 298
MEMORY_GB = 1
RUNS = 6
# Assumed of DynamoDB and EventBridge, with what our own code takes beside it: measured 1.3 ms of processor time for a
# write and 6.5 ms for a hundred reads at once, twice that with the share of a processor that 1024 MB have.
QUERY_S, READ_HUNDRED_S, WRITE_S, EVENT_S = 0.02, 0.025, 0.008, 0.015
# A write of a due time is one unit for the table and two for the index, which deletes the old entry and puts the new:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.ThroughputConsiderations.Writes
WRITE_UNITS, READ_UNITS = 3, 1
DAY_S = 24 * 60 * 60


class Clock:
    """Both clocks of ``time``; it goes on only when something takes time."""

    def __init__(self) -> None:
        self.now_s = 1_000_000_000.0

    def time(self) -> float:
        return self.now_s

    monotonic = time


class Table(InvoiceTable):
    """The table of invoices in memory, as far as the watch uses it."""

    def __init__(self, clock: Clock, invoices: Iterable[tuple[InvoiceRecord, str]] = ()) -> None:
        super().__init__("simulated", None, clock=clock.time)  # type: ignore[arg-type]
        self._simulated = clock
        self._records: dict[str, InvoiceRecord] = {}
        self._queues: dict[str, list[tuple[int, str]]] = {queue: [] for queue in (NOW, *SHARDS)}
        self.lateness_s: list[float] = []
        for invoice, queue in invoices:
            self._records[invoice.invoice_id] = invoice
            if invoice.due_s is not None:
                self._queues[queue].append((invoice.due_s, invoice.invoice_id))
        for entries in self._queues.values():
            entries.sort()

    def put(self, invoice: InvoiceRecord, queue: str | None = None) -> None:
        """Keeps an invoice as it is; without a queue it is not due any more."""
        if (before := self._records.get(invoice.invoice_id)) and before.due_s is not None:
            for entries in (self._queues[shard_of(invoice.invoice_id)], self._queues[NOW]):
                place = bisect.bisect_left(entries, (before.due_s, invoice.invoice_id))
                if entries[place : place + 1] == [(before.due_s, invoice.invoice_id)]:
                    del entries[place]
                    break
        self._records[invoice.invoice_id] = invoice
        if queue is not None and invoice.due_s is not None:
            bisect.insort(self._queues[queue], (invoice.due_s, invoice.invoice_id))

    def read(self, invoice_id: str) -> InvoiceRecord | None:
        return self._records.get(invoice_id)

    def read_due(self, invoice_ids: Sequence[str]) -> tuple[list[InvoiceRecord], list[str]]:
        self._simulated.now_s += READ_HUNDRED_S
        found = [self._records[invoice_id] for invoice_id in invoice_ids]
        return [it for it in found if it.due_s is not None and it.due_s <= self._simulated.now_s], []

    def due(self, queue: str) -> Iterator[tuple[str, int]]:
        self._simulated.now_s += QUERY_S
        entries = self._queues[queue]
        page = entries[: bisect.bisect_right(entries, (int(self._simulated.now_s), "~"))]
        return iter([(invoice_id, due_s) for due_s, invoice_id in page])

    def step(self, invoice_id: str, status: Status) -> InvoiceRecord | None:
        if not lower_than(status):
            return None
        self._simulated.now_s += WRITE_S
        invoice = self._records[invoice_id]
        if invoice.status not in lower_than(status):
            return None
        now_s = int(self._simulated.now_s)
        stepped = dataclasses.replace(
            invoice,
            status=status,
            seen_s={status: now_s} | invoice.seen_s,
            unpublished=invoice.unpublished | {status},
            due_s=now_s,
            late_since_s=now_s,
        )
        self.put(stepped, NOW)
        return stepped

    def published(self, invoice: InvoiceRecord) -> None:
        self._simulated.now_s += WRITE_S
        kept = self._records[invoice.invoice_id]
        if kept.unpublished == invoice.unpublished:
            self._put_next(dataclasses.replace(kept, unpublished=frozenset()), self._next_due_s(invoice))

    def postpone(self, invoice: InvoiceRecord) -> None:
        self._simulated.now_s += WRITE_S
        kept = self._records[invoice.invoice_id]
        if not kept.unpublished:
            self.lateness_s.append(self._simulated.now_s - (invoice.late_since_s or 0))
            self._put_next(kept, self._next_due_s(invoice))

    def put_behind(self, invoice: InvoiceRecord) -> None:
        self._simulated.now_s += WRITE_S
        kept, now_s = self._records[invoice.invoice_id], int(self._simulated.now_s)
        if kept.due_s is not None and kept.due_s <= now_s:
            behind = dataclasses.replace(kept, due_s=now_s, late_since_s=invoice.late_since_s)
            self.put(behind, NOW if (kept.due_s, kept.invoice_id) in self._queues[NOW] else shard_of(kept.invoice_id))

    def _put_next(self, invoice: InvoiceRecord, due_s: int | None) -> None:
        self.put(dataclasses.replace(invoice, due_s=due_s, late_since_s=due_s), shard_of(invoice.invoice_id))


def _invoice(number: int, created_s: float, now_s: float) -> tuple[InvoiceRecord, str]:
    """Returns an invoice that was asked about whenever it was due, and its queue."""
    invoice_id = f"{number:08}"
    due_s = next_due_s(int(created_s), now_s)
    invoice = InvoiceRecord(invoice_id, "5", "USD", "v2", int(created_s), due_s=due_s, late_since_s=due_s)
    return invoice, shard_of(invoice_id)


@functools.cache
def _steady(now_s: float, count: int) -> list[tuple[InvoiceRecord, str]]:
    """Returns so many open invoices of all ages."""
    first_s, every_s = now_s - SCHEDULE_S[-1], SCHEDULE_S[-1] / count
    return [_invoice(number, first_s + number * every_s, now_s) for number in range(1, count + 1)]


class Provider:
    """CryptoCloud, which takes its time and says of every invoice that it is not paid yet."""

    def __init__(self, clock: Clock, answer_s: float) -> None:
        self._clock, self._answer_s = clock, answer_s
        self.calls, self.is_down = 0, False

    def perform(self, invoice_ids: Sequence[str], *_: object, **__: object) -> dict[str, Status]:
        self.calls += 1
        self._clock.now_s += self._answer_s
        if self.is_down:
            raise ProviderUnavailable("down")
        return dict.fromkeys(invoice_ids, "created")


class Bus:
    """EventBridge, which takes every event."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def put_events(self, **_: object) -> Mapping[str, Any]:
        self._clock.now_s += EVENT_S
        return {"FailedEntryCount": 0, "Entries": []}


class Secret:
    """The secret, which is cached."""

    _credentials = Credentials.model_validate({"api_key": "key", "shop_id": "shop"})

    def get(self) -> Credentials:
        return self._credentials

    read_again = get


@dataclass
class OneRun:
    """What one run did, and how long it took."""

    asked: int
    published: int
    calls: int
    took_s: float
    oldest_due_s: int


class Shop:
    """A shop whose invoices nobody pays and whose postbacks never come: the most that the watch can have to do.

    Args:
        api: Which version of CryptoCloud's API it uses.
        answer_s: What CryptoCloud takes for an answer, in seconds.
        count: How many of its invoices are open, at any time: as many are created as come to an end.
    """

    def __init__(self, api: str, answer_s: float, count: int = OPEN) -> None:
        self.clock = Clock()
        self.table = Table(self.clock, _steady(self.clock.now_s, count))
        self.provider = Provider(self.clock, answer_s)
        dialect = dataclasses.replace(chosen_api(api), info=lambda invoice_ids: invoice_ids)  # type: ignore[arg-type, return-value]
        bus = EventBus("default", "shop", Bus(self.clock))  # type: ignore[arg-type]
        payments = Payments(self.table, Secret(), self.provider, dialect, bus)  # type: ignore[arg-type]
        self._watcher = Watcher(self.table, payments, ids_in_a_call=dialect.ids_in_a_call)
        self._every_s = SCHEDULE_S[-1] / count
        self._started_s = self.clock.now_s
        self._created, self._open = count, count

    def _create(self) -> None:
        self.clock.now_s = self._created_s()
        self._created += 1
        self.table.put(*_invoice(self._created, self.clock.now_s, self.clock.now_s))

    def run(self, number: int) -> OneRun:
        """Runs the watch for the ``number``-th time, the first is 1, and says what it did."""
        # No run begins before the one before has ended: it has five of ten minutes.
        starts_s = self._started_s + number * EVERY_S
        assert self.clock.now_s <= starts_s
        while self._created_s() <= starts_s:
            self._create()
        self.clock.now_s, calls = starts_s, self.provider.calls
        with mock.patch("invoicing.watch.time", self.clock), mock.patch("invoicing.payments.time", self.clock):
            done = self._watcher.run(deadline_s=starts_s + RUN_S)
        took_s = self.clock.now_s - starts_s
        return OneRun(done.asked, done.published, self.provider.calls - calls, took_s, done.oldest_due_s)

    def _created_s(self) -> float:
        return self._started_s + (self._created + 1 - self._open) * self._every_s

    def wait_for_events(self, count: int) -> None:
        """Makes so many invoices paid and their events unpublished, as an outage of the bus leaves them."""
        for invoice_id in [f"{number:08}" for number in range(1, count + 1)]:
            self.table.step(invoice_id, "paid")
        self.clock.now_s = self._started_s


@dataclass(frozen=True)
class Followed:
    """How a shop's invoices were followed for an hour.

    Args:
        name: The case, as the page says it.
        runs: Its runs.
        in_time: The share of what was due in that hour that was asked about within one period and one run.
    """

    name: str
    runs: list[OneRun]
    in_time: float


def follow(name: str, shop: Shop) -> Followed:
    """Runs the watch of a shop for an hour."""
    runs = [shop.run(number) for number in range(1, RUNS + 1)]
    waits_s = shop.table.lateness_s
    due = OPEN * len(SCHEDULE_S) * RUNS * EVERY_S / SCHEDULE_S[-1]
    return Followed(name, runs, sum(wait_s <= EVERY_S + RUN_S for wait_s in waits_s) / due)


@dataclass(frozen=True)
class Figures:
    """All that the page says.

    Args:
        followed: The rows of its table.
        full_run: A run that has as much to ask as it can, with v2 and a CryptoCloud that answers in 0.1 s.
        runs_to_catch_up: How many runs it takes then, after CryptoCloud was down for an hour.
        outage_due_s: The oldest due time at the end of that.
        events_run: A run that finds more payments to publish than it can.
    """

    followed: list[Followed]
    full_run: OneRun
    runs_to_catch_up: int
    outage_due_s: int
    events_run: OneRun


def figures() -> Figures:
    """Simulates everything."""
    # A run of ours logs and counts; thousands of simulated ones need not.
    with (
        mock.patch.object(logger, "info"),
        mock.patch.object(logger, "error"),
        mock.patch.object(metrics, "add_metric"),
    ):
        cases = [(api, answer_s) for api in ("v1", "v2") for answer_s in (0.1, 1.0)]
        followed = [follow(f"{api}, {answer_s:g} s", Shop(api, answer_s)) for api, answer_s in cases]
        shop = Shop("v2", 0.1)
        shop.provider.is_down = True
        down = [shop.run(number) for number in range(1, RUNS + 1)]
        shop.provider.is_down = False
        after: list[OneRun] = []
        while not after or after[-1].oldest_due_s:
            after.append(shop.run(RUNS + len(after) + 1))
        paid = Shop("v2", 0.1)
        paid.wait_for_events(OPEN // 4)
        return Figures(followed, after[0], len(after), down[-1].oldest_due_s, paid.run(1))


def as_markdown(of: Figures) -> str:
    """Returns the figures as the page has them."""
    head = (
        f"{OPEN:,} open invoices",
        "calls of CryptoCloud a run",
        "invoices asked about a run",
        "a run takes",
        "the oldest waits after an hour",
        "of what was due, asked in time",
    )
    rows = [
        (
            case.name,
            f"{case.runs[-1].calls:,}",
            f"{case.runs[-1].asked:,}",
            f"{case.runs[-1].took_s:.0f} s",
            f"{case.runs[-1].oldest_due_s / 60:.0f} min",
            f"{case.in_time:.0%}",
        )
        for case in of.followed
    ]
    return "\n\n".join([markdown_table(head, rows), *_sentences(of)])


def _sentences(of: Figures) -> list[str]:
    asks = len(SCHEDULE_S)
    runs_a_day = DAY_S // EVERY_S
    per_run = round(of.full_run.asked, -3)
    slow, quick = ((case.runs[-1].asked * runs_a_day // asks) for case in (of.followed[1], of.followed[0]))
    day = 10_000_000
    asked = day * asks
    parallel = -(-asked // runs_a_day // per_run)
    writes, reads = asked * WRITE_UNITS, asked * READ_UNITS
    watched_s = asked / of.full_run.asked * of.full_run.took_s
    dollars = writes * TABLE_WRITE_UNIT + reads * TABLE_READ_UNIT + watched_s * MEMORY_GB * LAMBDA_ARM64_GB_S
    enough = per_run * runs_a_day // asks
    published = round(of.events_run.published, -3)
    by_writes = writes * TABLE_WRITE_UNIT / dollars
    lines = [
        f"- **A run can ask about {per_run:,} invoices** with v2 and a CryptoCloud that answers in 0.1 s, or publish "
        f"{published:,} events. That is enough for {enough:,} invoices a day that nobody pays. With v1 it is enough "
        f"for {quick:,}, or for {slow:,} when CryptoCloud takes 1 s. For more, use v2.",
        f"- **After an outage** of an hour the oldest invoice has waited for {of.outage_due_s // 60} minutes. The next "
        f"{of.runs_to_catch_up} runs make up for all of it, the oldest first.",
        f"- **{day:,} invoices a day** that nobody pays are {asked / 1e6:.0f} million questions a day. With v2 these "
        f"are {asked / 100 / DAY_S:.1f} calls of CryptoCloud a second (with v1 {asked / DAY_S:,.0f}), "
        f"{writes / DAY_S:,.0f} write units and {reads / DAY_S:,.0f} read units of DynamoDB a second, and the work of "
        f"{parallel} runs at a time. They cost {dollars:,.0f} USD a day, {by_writes:.0%} of it for writing when each "
        "invoice is due next.",
    ]
    return ["\n".join(lines)]


def put_into(page: Path, of: Figures) -> str:
    """Returns the page's text with these figures in it."""
    return with_part(page, "watch", "make docs", as_markdown(of))


if __name__ == "__main__":
    simulated = figures()
    PAGE.write_text(put_into(PAGE, simulated))
    print(as_markdown(simulated))
