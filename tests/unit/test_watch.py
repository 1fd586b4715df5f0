"""The watcher: it finds a payment without a postback too, in time and in order."""

import time
from typing import Any

import pytest

from invoicing.aws import EVENTS_LIMIT_S, TABLE_LIMIT_S
from invoicing.contract.errors import OutcomeUnknown, ProviderUnavailable
from invoicing.invoice_record import NOW, SCHEDULE_S, SHARDS, InvoiceRecord, new_item
from invoicing.invoices import InvoiceTable
from invoicing.payments import ASK_LIMIT_S
from invoicing.watch import MOST_FAILURES, ROUND_S, Watcher
from tests.support.payments import FakeProvider
from tests.support.samples import Clock

SERVICE = frozenset({"service"})


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
    assert provider.asked == [[ids[1]], [ids[0]]]


def test_a_provider_that_fails_ends_the_asking_and_everything_stays_due(
    run, invoices, provider, clock, monkeypatch
) -> None:
    monkeypatch.setattr("invoicing.watch.time.time", clock)
    ids = record(invoices, clock, provider, 8)
    clock.now_s += SCHEDULE_S[0] + 60
    provider.failure = ProviderUnavailable("down")
    result = run()
    assert (result.asked, len(provider.asked)) == (0, MOST_FAILURES)
    assert result.oldest_due_s == 68
    # However often they were put behind the others, they are as late as they are.
    for minutes in range(10, 60, 10):
        clock.now_s += 600
        assert run().oldest_due_s == 68 + 60 * minutes
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


@pytest.mark.parametrize("strange_count", [1, 2, 7])
def test_invoices_that_cannot_be_asked_about_do_not_keep_the_others_waiting_for_ever(
    invoices, payments, provider, bus, clock, monkeypatch, strange_count
) -> None:
    watcher = Watcher(invoices, payments, ids_in_a_call=1)
    ids = record(invoices, clock, provider, strange_count + 3)
    strange, others = ids[:strange_count], ids[strange_count:]
    clock.now_s += SCHEDULE_S[0]
    provider.statuses |= dict.fromkeys(others, "paid")
    real = provider.perform

    def perform(call: Any, *arguments: Any, **named: Any) -> Any:
        if call.path in strange:
            raise OutcomeUnknown("provider answered 500")
        return real(call, *arguments, **named)

    monkeypatch.setattr(provider, "perform", perform)
    for _ in range(1 + strange_count // MOST_FAILURES):
        watcher.run(deadline_s=time.monotonic() + 300)
        clock.now_s += 600
    assert bus.ids == [f"{invoice_id}:paid" for invoice_id in others]
    # And nothing is forgotten.
    monkeypatch.undo()
    provider.statuses |= dict.fromkeys(strange, "paid")
    watcher.run(deadline_s=time.monotonic() + 300)
    assert set(bus.ids) == {f"{invoice_id}:paid" for invoice_id in ids}


def test_a_damaged_record_does_not_keep_the_others_waiting(run, invoices, provider, bus, clock, account) -> None:
    ids = record(invoices, clock, provider, 3)
    invoices.hurry(ids[0])
    for invoice_id, damage in ((ids[0], "unpublished"), (ids[1], "amount")):
        account.update_item(
            TableName="InvoiceTable",
            Key={"invoice_id": {"S": invoice_id}},
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": damage},
            ExpressionAttributeValues={":value": {"SS": ["paid"]}},
        )
    clock.now_s += SCHEDULE_S[0]
    provider.statuses[ids[2]] = "paid"
    assert run().stepped == 1
    assert bus.ids == [f"{ids[2]}:paid"]


def test_what_was_hurried_is_asked_about_in_the_run_that_publishes_what_came_before(
    run, invoices, provider, bus, clock
) -> None:
    [invoice_id] = record(invoices, clock, provider, 1)
    invoices.step(invoice_id, "canceled")
    invoices.hurry(invoice_id)
    provider.statuses[invoice_id] = "paid"
    run()
    assert bus.ids == [f"{invoice_id}:canceled", f"{invoice_id}:paid"]


def test_the_watcher_goes_on_asking_while_the_bus_is_down(run, invoices, provider, bus, clock) -> None:
    ids = record(invoices, clock, provider, 4)
    clock.now_s += SCHEDULE_S[0]
    provider.statuses |= dict.fromkeys(ids, "paid")
    bus.refuse = True
    assert run().stepped == 4
    bus.refuse = False
    assert run().published == 4
    assert sorted(bus.ids) == [f"{invoice_id}:paid" for invoice_id in ids]


def test_one_call_that_fails_each_time_does_not_keep_the_invoices_behind_it_waiting(
    run, invoices, provider, clock, monkeypatch
) -> None:
    monkeypatch.setattr("invoicing.watch.time.time", clock)
    ids = record(invoices, clock, provider, 5)
    clock.now_s += SCHEDULE_S[0]
    real = provider.perform

    def perform(call: Any, *arguments: Any, **named: Any) -> Any:
        answer = real(call, *arguments, **named)
        if ids[0] in call.path:
            raise ProviderUnavailable("provider answered 500")
        return answer

    monkeypatch.setattr(provider, "perform", perform)
    assert run().asked == 3
    result = run()
    assert (result.asked, result.oldest_due_s) == (0, 5)


def test_a_damaged_record_keeps_no_other_waiting_and_the_oldest_due_says_that_it_waits(
    run, invoices, provider, bus, clock, account, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("invoicing.watch.time.time", clock)
    ids = record(invoices, clock, provider, 6)
    for invoice_id in ids[:2]:
        invoices.step(invoice_id, "paid")
    # One has no time of its payment, so there can be no event, and one has no amount.
    for invoice_id, name in ((ids[0], "paid_at"), (ids[2], "amount")):
        account.update_item(
            TableName="InvoiceTable",
            Key={"invoice_id": {"S": invoice_id}},
            UpdateExpression="REMOVE #name",
            ExpressionAttributeNames={"#name": name},
        )
    clock.now_s += SCHEDULE_S[0]
    for _ in range(2):
        caplog.clear()
        result = run()
        reasons = [getattr(line, "reason", "") for line in caplog.records if "damaged" in line.message]
        assert [reason.split()[4] for reason in reasons] == [ids[0], ids[2]]
        assert result.oldest_due_s == SCHEDULE_S[0]
    assert bus.ids == [f"{ids[1]}:paid"]
    assert {name for batch in provider.asked for name in batch} == {ids[3], ids[4], ids[5]}


def test_the_oldest_due_counts_what_was_not_published(run, invoices, provider, bus, clock, monkeypatch) -> None:
    monkeypatch.setattr("invoicing.watch.time.time", clock)
    ids = record(invoices, clock, provider, 4)
    for invoice_id in ids[:3]:
        invoices.step(invoice_id, "paid")
    clock.now_s += SCHEDULE_S[0]
    # Neither when the bus fails,
    bus.refuse = True
    result = run()
    assert (result.published, result.asked, result.oldest_due_s) == (0, 1, SCHEDULE_S[0])
    # nor when the time is over before the first of them.
    bus.refuse = False
    assert run(ROUND_S - 1).oldest_due_s == SCHEDULE_S[0]
    result = run()
    assert (result.published, result.oldest_due_s) == (3, 0)


def test_a_run_whose_time_ends_among_what_cannot_wait_says_how_late_the_schedule_is(
    run, invoices, provider, clock, monkeypatch
) -> None:
    monkeypatch.setattr("invoicing.watch.time.time", clock)
    ids = record(invoices, clock, provider, 3)
    clock.now_s += SCHEDULE_S[0] + 60
    invoices.hurry(ids[2])
    result = run(ROUND_S - 1)
    assert (result.asked, result.oldest_due_s) == (0, 63)


def test_what_another_run_has_done_meanwhile_is_not_asked_again(run, invoices, provider, clock, monkeypatch) -> None:
    record(invoices, clock, provider, 3)
    clock.now_s += SCHEDULE_S[0]
    real = invoices.due

    def late(queue: str) -> Any:
        """The index as it was before the other run."""
        return iter(before[queue])

    before = {queue: list(real(queue)) for queue in (NOW, *SHARDS)}
    assert run().asked == 3
    monkeypatch.setattr(invoices, "due", late)
    assert run().asked == 0
    assert len(provider.asked) == 2


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


def test_a_run_that_could_not_ask_is_counted_logged_and_says_how_late_the_oldest_is(
    run, invoices, provider, clock, monkeypatch, counted, log
) -> None:
    monkeypatch.setattr("invoicing.watch.time.time", clock)
    ids = record(invoices, clock, provider, 2)
    clock.now_s += SCHEDULE_S[0] + 60
    provider.failure = ProviderUnavailable("down")
    run()
    assert counted() == {("OldestDue", SERVICE): [62.0], ("WatchStopped", SERVICE): [1.0]}
    failure, summary = log()
    assert (failure["level"], failure["message"]) == ("ERROR", "invoices not asked about")
    assert (failure["reason"], failure["first"]) == ("down", ids[0])
    assert (summary["level"], summary["message"]) == ("INFO", "watched")
    assert {name: summary[name] for name in ("published", "asked", "stepped", "oldest_due_s")} == {
        "published": 0, "asked": 0, "stepped": 0, "oldest_due_s": 62,
    }  # fmt: skip
    provider.failure = None
    run()
    assert counted() == {("OldestDue", SERVICE): [0.0]}


def test_an_invoice_that_the_provider_does_not_know_is_counted_and_logged(
    run, invoices, provider, clock, counted, log
) -> None:
    [invoice_id] = record(invoices, clock, provider, 1)
    clock.now_s += SCHEDULE_S[0]
    del provider.statuses[invoice_id]
    run()
    assert counted()["InvoiceUnknown", SERVICE] == [1.0]
    line = log()[0]
    assert (line["level"], line["message"]) == ("WARNING", "the provider does not say the status of an invoice")
    assert line["invoice_id"] == invoice_id


def test_the_log_says_which_events_wait_for_the_next_run_and_why(run, invoices, provider, bus, clock, log) -> None:
    [invoice_id] = record(invoices, clock, provider, 1)
    clock.now_s += SCHEDULE_S[0]
    provider.statuses[invoice_id] = "paid"
    bus.refuse = True
    for message in ("event left to the next run", "watcher did not publish"):
        seen = len(log())
        run()
        line = log()[seen]
        assert (line["level"], line["message"], line["invoice_id"]) == ("ERROR", message, invoice_id)
        assert line["reason"] == "events not published: ThrottlingException"


@pytest.fixture
def bus_that(bus, monkeypatch):
    """Makes the bus refuse some calls, by their place; returns the places of those that came."""

    def refuse(*places: int) -> list[int]:
        real, came = bus.put_events, []

        def put_events(**arguments: Any) -> Any:
            came.append(len(came))
            bus.refuse = came[-1] in places
            return real(**arguments)

        monkeypatch.setattr(bus, "put_events", put_events)
        return came

    return refuse


def test_a_bus_that_fails_three_times_in_a_row_is_left_alone_until_the_next_run(
    run, invoices, provider, bus_that, clock
) -> None:
    for invoice_id in record(invoices, clock, provider, 5):
        invoices.step(invoice_id, "paid")
    came = bus_that(0, 1, 2)
    assert run().published == 0
    assert came == [0, 1, 2]
    assert run().published == 5


def test_events_that_fail_here_and_there_do_not_keep_the_others_waiting(
    run, invoices, provider, bus_that, clock
) -> None:
    for invoice_id in record(invoices, clock, provider, 7):
        invoices.step(invoice_id, "paid")
    came = bus_that(0, 1, 3, 4)
    assert run().published == 3
    assert len(came) == 7


def test_calls_that_fail_here_and_there_do_not_keep_the_others_waiting(
    run, invoices, provider, clock, monkeypatch
) -> None:
    record(invoices, clock, provider, 12)
    clock.now_s += SCHEDULE_S[0]
    real, came = provider.perform, []

    def perform(*arguments: Any, **named: Any) -> Any:
        came.append(len(came))
        if came[-1] in (0, 1, 3, 4):
            raise ProviderUnavailable("down")
        return real(*arguments, **named)

    monkeypatch.setattr(provider, "perform", perform)
    assert run().asked == 4
    assert len(came) == 6


def test_the_last_call_begins_while_the_time_of_one_is_left(run, invoices, provider, clock) -> None:
    ids = record(invoices, clock, provider, 2)
    invoices.step(ids[0], "paid")
    clock.now_s += SCHEDULE_S[0]
    result = run(ROUND_S - 0.5)
    assert (result.published, result.asked) == (0, 0)
    result = run(ROUND_S)
    assert (result.published, result.asked) == (1, 1)


def test_a_call_that_begins_has_the_time_to_be_answered_written_and_published() -> None:
    assert ROUND_S >= ASK_LIMIT_S + TABLE_LIMIT_S + EVENTS_LIMIT_S


def test_a_paid_invoice_that_was_hurried_before_is_published_and_not_asked_about(
    run, invoices, provider, bus, clock
) -> None:
    [invoice_id] = record(invoices, clock, provider, 1)
    invoices.hurry(invoice_id)
    invoices.step(invoice_id, "paid")
    run()
    assert (bus.ids, provider.asked) == ([f"{invoice_id}:paid"], [])


def test_an_invoice_that_the_index_has_twice_is_asked_about_once(run, invoices, provider, clock, monkeypatch) -> None:
    [invoice_id] = record(invoices, clock, provider, 1)
    invoices.hurry(invoice_id)
    real = invoices.due
    monkeypatch.setattr(invoices, "due", lambda _: real(NOW))
    provider.failure = ProviderUnavailable("down")
    run()
    assert provider.asked == [[invoice_id]]


def test_a_table_that_cannot_put_an_invoice_behind_ends_no_run(run, invoices, provider, clock, monkeypatch) -> None:
    def fail(_: InvoiceRecord) -> None:
        raise ProviderUnavailable("table down")

    monkeypatch.setattr(invoices, "put_behind", fail)
    record(invoices, clock, provider, 4)
    clock.now_s += SCHEDULE_S[0]
    provider.failure = ProviderUnavailable("down")
    run()
    assert len(provider.asked) == 2
