"""The story of a payment: whoever asks, each status is published, none is lost, and nobody believes too much."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from invoicing.contract.errors import (
    OutcomeUnknown,
    ProviderCredentialsRejected,
    ProviderUnavailable,
)
from invoicing.credentials import Credentials
from invoicing.events import EventBus
from invoicing.invoices import NOW, SCHEDULE_S, InvoiceRecord, InvoiceTable
from invoicing.payments import Payments
from invoicing.provider.outcomes import Api, Call
from invoicing.watch import ROUND_S, Watcher
from tests.support.samples import Clock
from tests.support.tables import table

ID = "DZLF4212"
OLD = Credentials.model_validate({"api_key": "old", "shop_id": "shop"})
NEW = Credentials.model_validate({"api_key": "new", "shop_id": "shop"})


class FakeCredentials:
    def __init__(self) -> None:
        self.current, self.after_reading_again = OLD, OLD

    def get(self) -> Credentials:
        return self.current

    def read_again(self) -> Credentials:
        return self.after_reading_again


class FakeProvider:
    """Answers with what ``statuses`` says, or raises ``failure``; remembers what it was asked."""

    def __init__(self) -> None:
        self.statuses: dict[str, Any] = {}
        self.failure: Exception | None = None
        self.valid = OLD
        self.asked: list[list[str]] = []

    def info(self, ids: Sequence[str]) -> Call[Any]:
        return Call("GET", ",".join(ids), b"", lambda _: None)

    def perform(self, call: Call[Any], credentials: Credentials, **_: float) -> dict[str, Any]:
        ids = call.path.split(",")
        self.asked.append(ids)
        if credentials != self.valid:
            raise ProviderCredentialsRejected
        if self.failure:
            raise self.failure
        return {invoice_id: self.statuses[invoice_id] for invoice_id in ids if invoice_id in self.statuses}


class FakeBus:
    """EventBridge, which accepts everything or answers as it is told to."""

    def __init__(self) -> None:
        self.details: list[dict[str, Any]] = []
        self.refuse = 0

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if self.refuse:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
        self.details += [json.loads(entry["Detail"]) for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}

    @property
    def ids(self) -> list[str]:
        return [detail["event_id"] for detail in self.details]


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    with table("InvoiceTable") as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def invoices(account: Any, clock: Clock) -> InvoiceTable:
    for item in account.scan(TableName="InvoiceTable")["Items"]:
        account.delete_item(TableName="InvoiceTable", Key={"invoice_id": item["invoice_id"]})
    return InvoiceTable("InvoiceTable", account, retention_s=90 * 24 * 60 * 60, clock=clock)


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def credentials() -> FakeCredentials:
    return FakeCredentials()


@pytest.fixture
def payments(invoices, provider, bus, credentials) -> Payments:
    api = Api("v1", ("USD",), create=None, info=provider.info, ids_in_a_call=2)  # type: ignore[arg-type]
    return Payments(invoices, credentials, provider, api, EventBus("default", "shop-stack", bus))  # type: ignore[arg-type]


@pytest.fixture
def recorded(invoices, clock, provider) -> InvoiceRecord:
    record = InvoiceRecord(ID, "19.99", "USD", "v1", int(clock()), order_id="A-1001", items=(("mug", 2),))
    invoices.record(record)
    provider.statuses[ID] = "created"
    return record


def due(invoices: InvoiceTable) -> list[str]:
    return [invoice_id for invoice_id, _ in invoices.due(NOW)]


@pytest.mark.usefixtures("recorded")
def test_a_payment_is_published_with_what_was_asked_for(payments, provider, bus, clock) -> None:
    clock.now_s = 1_800_000_000.0
    provider.statuses[ID] = "paid"
    assert payments.follow(ID) == "paid"
    assert bus.details == [
        {
            "version": "1",
            "event_id": f"{ID}:paid",
            "stack": "shop-stack",
            "invoice_id": ID,
            "order_id": "A-1001",
            "items": [{"id": "mug", "quantity": 2}],
            "status": "paid",
            "amount": "19.99",
            "currency": "USD",
            "recorded": True,
            "time": "2027-01-15T08:00:00Z",
        }
    ]


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("status", ["partial", "canceled", "paid", "overpaid"])
def test_each_status_is_an_event_once_however_often_it_is_followed(payments, provider, bus, status) -> None:
    provider.statuses[ID] = status
    assert [payments.follow(ID) for _ in range(3)] == [status] * 3
    assert bus.ids == [f"{ID}:{status}"]


@pytest.mark.usefixtures("recorded")
def test_an_unpaid_invoice_is_no_event_and_due_at_once_because_something_happened(payments, invoices, bus) -> None:
    assert payments.follow(ID) == "created"
    assert bus.ids == []
    assert due(invoices) == [ID]


@pytest.mark.usefixtures("recorded")
def test_a_paid_invoice_is_not_asked_for_again_and_again_by_postbacks(payments, provider, invoices) -> None:
    provider.statuses[ID] = "paid"
    payments.follow(ID)
    payments.follow(ID)
    assert due(invoices) == []


@pytest.mark.usefixtures("recorded")
def test_what_the_bus_refuses_stays_unpublished_and_is_published_by_whoever_comes_next(
    payments, provider, bus, invoices
) -> None:
    provider.statuses[ID] = "paid"
    bus.refuse = True
    with pytest.raises(ProviderUnavailable) as raised:
        payments.follow(ID)
    assert raised.value.reason == "events not published: ThrottlingException"
    assert due(invoices) == [ID]
    bus.refuse = False
    assert payments.follow(ID) == "paid"
    assert bus.ids == [f"{ID}:paid"]
    assert due(invoices) == []


@pytest.mark.usefixtures("recorded")
def test_twins_are_equal_in_every_field(payments, provider, bus, invoices, monkeypatch, clock) -> None:
    provider.statuses[ID] = "paid"
    monkeypatch.setattr(invoices, "published", lambda _: None)  # as if the process ended here
    payments.follow(ID)
    clock.now_s += 3_600
    payments.follow(ID)
    assert bus.details[0] == bus.details[1]


@pytest.mark.usefixtures("recorded")
def test_all_statuses_on_the_way_are_published_when_the_bus_is_back(payments, provider, bus) -> None:
    bus.refuse = True
    for status in ("partial", "canceled"):
        provider.statuses[ID] = status
        with pytest.raises(ProviderUnavailable):
            payments.follow(ID)
    bus.refuse = False
    provider.statuses[ID] = "paid"
    payments.follow(ID)
    assert sorted(bus.ids) == sorted(f"{ID}:{status}" for status in ("partial", "canceled", "paid"))


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    "failure", [OutcomeUnknown("strange"), ProviderUnavailable("down"), ProviderCredentialsRejected("401")]
)
def test_a_provider_that_cannot_be_asked_is_a_failure_and_the_invoice_is_due_at_once(
    payments, provider, invoices, bus, failure
) -> None:
    provider.failure = failure
    expected = ProviderUnavailable if isinstance(failure, OutcomeUnknown) else type(failure)
    with pytest.raises(expected):
        payments.follow(ID)
    assert bus.ids == []
    assert due(invoices) == [ID]


@pytest.mark.usefixtures("recorded")
def test_a_status_that_nobody_documents_is_a_failure_and_no_unknown_invoice(payments, provider) -> None:
    provider.statuses[ID] = None
    with pytest.raises(ProviderUnavailable, match="provider_unavailable"):
        payments.follow(ID)


@pytest.mark.usefixtures("recorded")
def test_an_invoice_that_the_provider_does_not_know_any_more_is_a_failure(payments, provider) -> None:
    del provider.statuses[ID]
    with pytest.raises(ProviderUnavailable):
        payments.follow(ID)


@pytest.mark.usefixtures("recorded")
def test_a_rotated_key_costs_no_payment(payments, provider, credentials, bus) -> None:
    provider.valid, credentials.after_reading_again = NEW, NEW
    provider.statuses[ID] = "paid"
    assert payments.follow(ID) == "paid"
    assert bus.ids == [f"{ID}:paid"]


def test_a_payment_of_an_invoice_without_a_record_is_an_event_that_says_so(payments, provider, bus) -> None:
    provider.statuses[ID] = "paid"
    assert [payments.follow(ID), payments.follow(ID)] == ["paid", "paid"]
    assert bus.details[0] == bus.details[1]
    assert bus.details[0]["event_id"] == f"{ID}:paid:unrecorded"
    assert {name for name, value in bus.details[0].items() if value is None} == {
        "order_id", "items", "amount", "currency", "time",
    }  # fmt: skip
    assert bus.details[0]["recorded"] is False


def test_an_invoice_that_nobody_knows_is_no_event(payments, provider, bus) -> None:
    assert payments.follow(ID) is None
    provider.statuses[ID] = "created"
    assert payments.follow(ID) == "created"
    assert bus.ids == []


def test_an_invoice_recorded_while_the_provider_was_asked_is_not_taken_for_foreign(
    payments, provider, bus, invoices, clock, monkeypatch
) -> None:
    def perform(*_: Any, **__: Any) -> dict[str, str]:
        invoices.record(InvoiceRecord(ID, "19.99", "USD", "v1", int(clock())))
        return {ID: "paid"}

    monkeypatch.setattr(provider, "perform", perform)
    payments.follow(ID)
    assert bus.ids == [f"{ID}:paid"]


def test_a_page_that_asks_about_a_foreign_invoice_costs_no_call(payments, provider) -> None:
    assert payments.status_of(ID) is None
    assert provider.asked == []


@pytest.mark.usefixtures("recorded")
def test_pages_learn_of_a_payment_and_publish_it(payments, provider, bus) -> None:
    provider.statuses[ID] = "paid"
    assert payments.status_of(ID) == "paid"
    assert bus.ids == [f"{ID}:paid"]


@pytest.mark.usefixtures("recorded")
def test_many_pages_ask_the_provider_once_in_five_seconds(payments, provider, clock) -> None:
    for _ in range(100):
        assert payments.status_of(ID) == "created"
    assert len(provider.asked) == 1
    clock.now_s += 6
    payments.status_of(ID)
    assert len(provider.asked) == 2


@pytest.mark.usefixtures("recorded")
def test_a_paid_invoice_is_answered_from_the_table(payments, provider, clock) -> None:
    provider.statuses[ID] = "overpaid"
    payments.status_of(ID)
    clock.now_s += 60
    assert payments.status_of(ID) == "overpaid"
    assert len(provider.asked) == 1


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("failure", [OutcomeUnknown("x"), ProviderUnavailable("x"), ProviderCredentialsRejected("x")])
def test_a_page_gets_the_last_known_status_while_the_provider_cannot_be_asked(
    payments, provider, clock, failure
) -> None:
    provider.statuses[ID] = "partial"
    assert payments.status_of(ID) == "partial"
    clock.now_s += 60
    provider.failure = failure
    assert payments.status_of(ID) == "partial"


@pytest.mark.usefixtures("recorded")
def test_a_page_gets_its_status_also_when_the_bus_is_down(payments, provider, bus, invoices) -> None:
    provider.statuses[ID] = "paid"
    bus.refuse = True
    assert payments.status_of(ID) == "paid"
    assert due(invoices) == [ID]


@pytest.mark.usefixtures("recorded")
def test_a_page_publishes_only_a_step_that_it_wrote_itself(payments, provider, bus, invoices) -> None:
    provider.statuses[ID] = "partial"
    invoices.step(ID, "partial")
    assert payments.status_of(ID) == "partial"
    assert bus.ids == []


# The watcher


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
        invoices.record(InvoiceRecord(invoice_id, "5", "EUR", "v1", int(clock())))
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


def test_the_watcher_publishes_before_it_asks_and_asks_first_about_what_cannot_wait(
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
