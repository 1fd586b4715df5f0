"""The simulation of the watch: its page, its promises, and that its table does what the real one does."""

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import pytest

import watch_invoices
from invoicing.invoice_record import NOW, SCHEDULE_S, SHARDS, InvoiceRecord, new_item, shard_of
from invoicing.invoices import InvoiceTable
from tests.benchmarks import cost
from tests.benchmarks import watch as simulation
from tests.support import ROOT
from tests.support.tables import table
from tests.support.templates import of_type, read_template

IDS = ("INVOICE0", "INVOICE1", "INVOICE2")


@pytest.fixture(scope="module")
def figures() -> simulation.Figures:
    return simulation.figures()


@pytest.fixture
def real(clock: simulation.Clock) -> Iterator[InvoiceTable]:
    with table("InvoiceTable") as client:
        yield InvoiceTable("InvoiceTable", client, clock=clock.time)


@pytest.fixture
def clock() -> simulation.Clock:
    return simulation.Clock()


def test_the_page_has_the_figures_of_the_simulation(figures: simulation.Figures) -> None:
    assert simulation.PAGE.read_text() == simulation.put_into(simulation.PAGE, figures), "run `make docs`"


def test_a_run_has_the_time_that_lambda_gives_it() -> None:
    function = of_type(read_template(ROOT / "template.yaml"), "AWS::Serverless::Function")["WatchFunction"]
    assert function["Timeout"] - watch_invoices.RESERVE_S == simulation.RUN_S
    assert function["MemorySize"] / 1024 == simulation.MEMORY_GB
    [schedule] = function["Events"].values()
    assert schedule["Properties"]["ScheduleExpression"] == f"rate({simulation.EVERY_S // 60} minutes)"


def test_the_page_says_what_the_simulation_assumes() -> None:
    text = " ".join(simulation.PAGE.read_text().split())
    for phrase in (
        f"{len(SCHEDULE_S)} times in {SCHEDULE_S[-1] // 3600} hours",
        f"that may take {simulation.RUN_S} s",
        f"{simulation.QUERY_S * 1000:g} ms for a page of the index",
        f"{simulation.READ_HUNDRED_S * 1000:g} ms for a hundred invoices",
        f"{simulation.WRITE_S * 1000:g} ms for a write; an event takes {simulation.EVENT_S * 1000:g} ms",
    ):
        assert phrase in text


def test_with_v2_every_open_invoice_is_asked_about_in_time(figures: simulation.Figures) -> None:
    for case in figures.followed:
        if case.name.startswith("v2"):
            assert case.in_time > 0.99
            assert {run.oldest_due_s for run in case.runs} == {0}


def test_every_run_ends_in_its_time_however_much_there_is_to_do(figures: simulation.Figures) -> None:
    runs = [*(run for case in figures.followed for run in case.runs), figures.full_run, figures.events_run]
    assert max(run.took_s for run in runs) <= simulation.RUN_S


def test_the_watch_says_how_far_it_is_behind(figures: simulation.Figures) -> None:
    for case in figures.followed:
        if case.name.startswith("v1"):
            late_s = [run.oldest_due_s for run in case.runs]
            assert late_s == sorted(late_s)
            assert late_s[-1] > simulation.EVERY_S


def test_the_costs_assume_what_watch_and_button_take(figures: simulation.Figures) -> None:
    assert figures.full_run.took_s / figures.full_run.asked == pytest.approx(cost.WATCH_S, rel=0.02)
    assert SCHEDULE_S[cost.WATCH_ASKS - 2] <= cost.PAID_AFTER_S < SCHEDULE_S[cost.WATCH_ASKS - 1]
    assert (cost.RECORD_UNITS, cost.MOVE_UNITS) == (2, simulation.WRITE_UNITS)
    button = (ROOT / "button" / "crypto-pay.js").read_text()
    assert f"POLL_MS = {cost.POLL_S * 1000:.0f};" in button
    assert f"waitMs *= {cost.POLL_FACTOR}" in button


@pytest.mark.parametrize("seed", range(3))
def test_the_simulated_table_does_what_the_real_one_does(
    real: InvoiceTable, clock: simulation.Clock, seed: int
) -> None:
    dice = random.Random(seed)
    model = simulation.Table(clock)
    old: list[InvoiceRecord] = []
    for invoice_id in IDS:
        invoice = InvoiceRecord(invoice_id, "5", "USD", "v2", int(clock.time()))
        real.record(new_item(invoice, retention_s=60))
        kept = real.read(invoice_id)
        assert kept is not None
        model.put(kept, shard_of(invoice_id))
        old.append(kept)
    for _ in range(40):
        now_s = clock.now_s = clock.now_s + dice.choice((0, 1, 600, 7200))
        invoice_id, stale = dice.choice(IDS), dice.choice(old)
        status = dice.choice(("created", "partial", "canceled", "paid", "overpaid"))
        write: Any = dice.choice(
            (
                lambda it, status=status, name=invoice_id: it.step(name, status),
                lambda it, stale=stale: stale.unpublished and it.published(stale),
                lambda it, stale=stale: it.postpone(stale),
                lambda it, stale=stale: stale.late_since_s and it.put_behind(stale),
                # What a run does: it writes about what it has just read.
                lambda it, name=invoice_id: it.postpone(it.read(name)),
            )
        )
        for invoices in (real, model):
            # Nothing takes time in this test, or the two would not be at the same time.
            clock.now_s = now_s
            write(invoices)
        clock.now_s = now_s
        for name in IDS:
            assert model.read(name) == real.read(name)
        for queue in (NOW, *SHARDS):
            assert list(model.due(queue)) == list(real.due(queue))
            clock.now_s = now_s
        assert model.read_due(IDS) == real.read_due(IDS)
        clock.now_s = now_s
        old.append(dataclasses.replace(real.read(invoice_id)))  # type: ignore[type-var]
