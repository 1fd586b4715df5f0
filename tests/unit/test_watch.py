"""The watcher: a payment that no postback told is learned all the same, in time and in order."""

from typing import Any

import pytest

from invoicing.contract.errors import ProviderUnavailable
from invoicing.invoices import SCHEDULE_S, InvoiceRecord, InvoiceTable, new_item
from invoicing.watch import ROUND_S, Watcher
from tests.support.payments import FakeProvider
from tests.support.samples import Clock


@pytest.fixture
def watcher(invoices, payments) -> Watcher:
    return Watcher(invoices, payments, ids_in_a_call=2)


@pytest.fixture
def run(watcher, monkeypatch):
    """Runs the watcher with so many seconds, of which each call to the provider takes one."""
    now_s = Clock(0.0)
    monkeypatch.setattr("invoicing.watch.time.monotonic", now_s)

    def run_for(seconds: float = 300.0) -> Any:
        return watcher.run(deadline_s=now_s() + seconds)

    run_for.clock = now_s  # type: ignore[attr-defined]
    return run_for


def record(invoices: InvoiceTable, clock: Clock, provider: FakeProvider, count: int) -> list[str]:
    ids = [f"INVOICE{number:03}" for number in range(count)]
    for invoice_id in ids:
        invoices.record(new_item(InvoiceRecord(invoice_id, "5", "EUR", "v1", int(clock())), retention_s=60))
        provider.statuses[invoice_id] = "created"
        clock.now_s += 1
    return ids


def test_the_watcher_learns_of_every_payment_that_no_postback_told(run, invoices, provider, bus, clock) -> None:
    ids = record(invoices, clock, provider, 9)
    clock.now_s += SCHEDULE_S[0]
    for invoice_id in ids[::2]:
        provider.statuses[invoice_id] = "paid"
    result = run()
    assert (result.asked, result.stepped, result.published, result.oldest_due_s) == (9, 5, 0, 0)
    assert sorted(bus.ids) == [f"{invoice_id}:paid" for invoice_id in ids[::2]]
    # The oldest first, as many as fit into a call, none twice.
    assert provider.asked == [ids[0:2], ids[2:4], ids[4:6], ids[6:8], ids[8:9]]
    assert run().asked == 0


def test_the_watcher_publishes_before_it_asks_and_begins_with_what_cannot_wait(
    run, invoices, provider, bus, clock
) -> None:
    ids = record(invoices, clock, provider, 3)
    invoices.step(ids[2], "paid")
    invoices.hurry(ids[1])
    clock.now_s += SCHEDULE_S[0]
    provider.failure = ProviderUnavailable("down")
    assert run().published == 1
    assert bus.ids == [f"{ids[2]}:paid"]
    assert provider.asked == [[ids[1], ids[0]]]


def test_a_provider_that_fails_ends_the_asking_and_everything_stays_due(
    run, invoices, provider, clock, monkeypatch
) -> None:
    monkeypatch.setattr("invoicing.watch.time.time", clock)
    ids = record(invoices, clock, provider, 6)
    clock.now_s += SCHEDULE_S[0] + 60
    provider.failure = ProviderUnavailable("down")
    result = run()
    assert (result.asked, len(provider.asked)) == (0, 1)
    assert result.oldest_due_s == 66
    provider.failure = None
    assert run().asked == len(ids)


def test_a_run_ends_in_its_time_and_the_next_begins_where_it_stopped(
    run, invoices, provider, clock, monkeypatch
) -> None:
    ids = record(invoices, clock, provider, 9)
    clock.now_s += SCHEDULE_S[0]
    real = provider.perform

    def slow(*arguments: Any, **named: Any) -> Any:
        run.clock.now_s += 1
        return real(*arguments, **named)

    monkeypatch.setattr(provider, "perform", slow)
    asked = [run(ROUND_S + 1.5).asked for _ in range(3)]
    assert asked == [4, 4, 1]
    assert [name for batch in provider.asked for name in batch] == ids


def test_one_strange_invoice_does_not_keep_the_others_waiting(run, invoices, provider, bus, clock) -> None:
    ids = record(invoices, clock, provider, 4)
    clock.now_s += SCHEDULE_S[0]
    provider.statuses[ids[0]] = None
    del provider.statuses[ids[1]]
    provider.statuses[ids[3]] = "paid"
    assert run().stepped == 1
    assert bus.ids == [f"{ids[3]}:paid"]
    assert run().asked == 0


def test_the_watcher_goes_on_asking_while_the_bus_is_down(run, invoices, provider, bus, clock) -> None:
    ids = record(invoices, clock, provider, 4)
    clock.now_s += SCHEDULE_S[0]
    provider.statuses |= dict.fromkeys(ids, "paid")
    bus.refuse = True
    assert run().stepped == 4
    bus.refuse = False
    assert run().published == 4
    assert sorted(bus.ids) == [f"{invoice_id}:paid" for invoice_id in ids]


def test_two_runs_at_once_publish_every_payment_and_lose_none(run, invoices, provider, bus, clock, monkeypatch) -> None:
    ids = record(invoices, clock, provider, 6)
    clock.now_s += SCHEDULE_S[0]
    provider.statuses |= dict.fromkeys(ids, "paid")
    real, second = provider.perform, []

    def perform(*arguments: Any, **named: Any) -> Any:
        answer = real(*arguments, **named)
        if not second:
            second.append(True)
            run()
        return answer

    monkeypatch.setattr(provider, "perform", perform)
    run()
    assert set(bus.ids) == {f"{invoice_id}:paid" for invoice_id in ids}
    assert len({str(detail) for detail in bus.details}) == len(ids)
