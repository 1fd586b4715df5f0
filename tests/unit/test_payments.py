"""The story of a payment: whoever asks, each status is published, none is lost, and nobody believes too much."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from invoicing.contract.errors import OutcomeUnknown, ProviderCredentialsRejected, ProviderUnavailable
from invoicing.contract.settings import PaymentSettings
from invoicing.invoice_record import NOW, InvoiceRecord, new_item
from invoicing.invoices import InvoiceTable
from invoicing.payments import Payments
from invoicing.provider.transport import MAX_ATTEMPTS
from invoicing.watch import Watcher
from tests.support.payments import ID, NEW

SERVICE = frozenset({"service"})


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
@pytest.mark.parametrize("status", ["partial", "canceled"])
@pytest.mark.parametrize("is_news", [True, False])
def test_a_status_that_lags_behind_a_postback_is_published_and_the_invoice_stays_due_at_once(
    payments, provider, bus, invoices, status, is_news
) -> None:
    provider.statuses[ID] = status
    if not is_news:
        invoices.step(ID, status)
    assert payments.follow(ID) == status
    assert bus.ids == [f"{ID}:{status}"]
    assert due(invoices) == [ID]


@pytest.mark.usefixtures("recorded")
def test_a_paid_invoice_is_not_asked_for_again_and_again_by_postbacks(payments, provider, invoices) -> None:
    provider.statuses[ID] = "paid"
    payments.follow(ID)
    payments.follow(ID)
    assert due(invoices) == []


@pytest.mark.usefixtures("recorded")
def test_what_the_bus_refuses_is_published_by_whoever_comes_next(payments, provider, bus, invoices) -> None:
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
def test_an_invoice_that_cannot_be_asked_about_is_due_at_once(payments, provider, invoices, bus, failure) -> None:
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


@pytest.mark.usefixtures("recorded")
def test_an_answer_of_no_use_after_a_rotation_is_unavailable_too(payments, provider, credentials, monkeypatch) -> None:
    provider.valid, credentials.after_reading_again = NEW, NEW
    perform = type(provider).perform

    def unusable(self: Any, call: Any, key: Any, **named: Any) -> Any:
        perform(self, call, key, **named)
        raise OutcomeUnknown("provider answered 200 without a status")

    monkeypatch.setattr(type(provider), "perform", unusable)
    with pytest.raises(ProviderUnavailable, match="provider_unavailable"):
        payments.follow(ID)


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
        invoices.record(new_item(InvoiceRecord(ID, "19.99", "USD", "v1", int(clock())), retention_s=60))
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
def test_a_page_asks_in_one_attempt_and_a_postback_in_several(payments, provider, monkeypatch) -> None:
    attempts = []

    def perform(*_: Any, **named: Any) -> dict[str, str]:
        attempts.append(named["attempts"])
        return {ID: "created"}

    monkeypatch.setattr(provider, "perform", perform)
    payments.status_of(ID)
    payments.follow(ID)
    assert attempts == [1, MAX_ATTEMPTS]


@pytest.mark.usefixtures("recorded")
def test_a_paid_invoice_is_answered_from_the_table(payments, provider, clock) -> None:
    provider.statuses[ID] = "overpaid"
    payments.status_of(ID)
    clock.now_s += 60
    assert payments.status_of(ID) == "overpaid"
    assert len(provider.asked) == 1


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("failure", [OutcomeUnknown("x"), ProviderUnavailable("x"), ProviderCredentialsRejected("x")])
def test_a_page_gets_the_last_known_status_while_nobody_can_be_asked(payments, provider, clock, failure) -> None:
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


@pytest.mark.usefixtures("recorded")
def test_a_payment_is_counted_once_with_its_amount_and_a_part_of_it_is_not(payments, provider, counted) -> None:
    provider.statuses[ID] = "partial"
    payments.follow(ID)
    assert counted() == {("EventPublished", SERVICE): [1.0]}
    provider.statuses[ID] = "paid"
    payments.follow(ID)
    payments.follow(ID)
    assert counted() == {
        ("InvoicePaid", SERVICE): [1.0],
        ("AmountPaidUSD", SERVICE): [19.99],
        ("EventPublished", SERVICE): [1.0],
    }


def test_a_payment_without_a_record_is_counted_and_the_log_names_the_invoice(payments, provider, counted, log) -> None:
    provider.statuses[ID] = "paid"
    payments.follow(ID)
    assert counted() == {("InvoiceUnknown", SERVICE): [1.0], ("EventPublished", SERVICE): [1.0]}
    line = log()[0]
    assert (line["level"], line["message"]) == ("WARNING", "a payment of an invoice without a record")
    assert (line["invoice_id"], line["status"]) == (ID, "paid")


def test_the_provider_has_four_seconds_to_answer_whoever_asks(payments, provider, recorded, monkeypatch) -> None:
    deadlines_s = []

    def perform(*_: Any, deadline_s: float, **__: Any) -> dict[str, str]:
        deadlines_s.append(deadline_s)
        return {ID: "created"}

    monkeypatch.setattr(provider, "perform", perform)
    monkeypatch.setattr("invoicing.payments.time", SimpleNamespace(monotonic=lambda: 1000.0))
    payments.status_of(ID)
    payments.follow(ID)
    payments.follow_all([recorded])
    assert deadlines_s == [1004.0] * 3


def test_a_refused_key_that_was_not_rotated_is_not_sent_again(payments, provider) -> None:
    provider.valid = NEW
    with pytest.raises(ProviderCredentialsRejected):
        payments.follow(ID)
    assert len(provider.asked) == 1


def test_a_failure_is_reported_as_it_was_even_if_the_table_fails_after_it(
    payments, provider, invoices, monkeypatch
) -> None:
    def fail(_: str) -> None:
        raise ProviderUnavailable("table down")

    monkeypatch.setattr(invoices, "hurry", fail)
    provider.failure = ProviderCredentialsRejected("401")
    with pytest.raises(ProviderCredentialsRejected):
        payments.follow(ID)


@pytest.mark.usefixtures("recorded")
def test_the_log_says_why_a_page_got_the_last_known_status(payments, provider, log) -> None:
    provider.failure = ProviderUnavailable("down")
    payments.status_of(ID)
    [line] = log()
    assert (line["level"], line["message"]) == ("WARNING", "status not asked")
    assert (line["invoice_id"], line["reason"]) == (ID, "down")


@pytest.mark.usefixtures("recorded")
def test_the_log_says_why_a_page_did_not_publish_a_payment(payments, provider, bus, log) -> None:
    provider.statuses[ID] = "paid"
    bus.refuse = True
    payments.status_of(ID)
    [line] = log()
    assert (line["level"], line["message"]) == ("WARNING", "event left to the watcher")
    assert (line["invoice_id"], line["reason"]) == (ID, "events not published: ThrottlingException")


def test_payments_are_followed_with_the_settings_of_the_owner_and_the_secret_that_was_read_ahead(monkeypatch) -> None:
    calls: list[dict[str, Any]] = []

    def answer(**call: Any) -> dict[str, Any]:
        calls.append(call)
        return {"FailedEntryCount": 0}

    client = SimpleNamespace(get_item=answer, put_events=answer, get_secret_value=None)
    for name in ("dynamodb_client", "events_client", "secrets_manager_client"):
        monkeypatch.setattr(f"invoicing.payments.{name}", lambda: client)
    secret: Future[Any] = Future()
    secret.set_result({"SecretString": '{"api_key": "key", "shop_id": "read-ahead"}'})
    monkeypatch.setattr("invoicing.ahead.secret", secret)
    settings = PaymentSettings(
        cryptocloud_api="v2",
        cryptocloud_secret_arn="arn",
        invoice_table="invoices",
        event_bus="shop-bus",
        powertools_service_name="shop-stack",
    )
    payments = Payments.from_settings(settings)
    assert payments.api.name == "v2"
    assert payments.credentials.get().shop_id == "read-ahead"
    payments.table.read(ID)
    assert calls.pop()["TableName"] == "invoices"
    payments._bus.publish_unrecorded(ID, "paid")
    [entry] = calls.pop()["Entries"]
    assert entry["EventBusName"] == "shop-bus"
    assert '"stack": "shop-stack"' in entry["Detail"]
    watcher = Watcher.from_settings(settings)
    assert watcher._ids_in_a_call == payments.api.ids_in_a_call
