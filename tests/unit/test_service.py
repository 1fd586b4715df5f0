"""The flow: bounds, shop, credentials, deadline, and a rotated key that costs no invoice."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from invoicing.aws import SECRETS_LIMIT_S
from invoicing.contract.errors import (
    InternalError,
    InvalidRequest,
    OutcomeUnknown,
    PayLinkRefused,
    PricesUnavailable,
    ProviderCredentialsRejected,
    ProviderUnavailable,
    ServiceNotConfigured,
)
from invoicing.contract.invoice import Invoice
from invoicing.contract.origins import origin_of
from invoicing.contract.price_list import PriceList, parse_price_list
from invoicing.contract.requests import InvoiceRequest, ItemsRequest
from invoicing.contract.settings import CreateInvoiceSettings
from invoicing.create import RESERVE_S, InvoiceService
from invoicing.credentials import Credentials
from invoicing.invoice_record import shard_of
from invoicing.keys import Delivery, IdempotencyKey
from invoicing.observability import INVOICE_NOT_RECORDED, TEST_INVOICE_CREATED, logger, metrics
from invoicing.patience import IMPATIENT_AFTER
from invoicing.provider.outcomes import Api, Call
from invoicing.provider.v1 import V1
from invoicing.provider.v2 import v2
from tests.support import ROOT
from tests.support.price_lists import as_file
from tests.support.samples import INVOICE

OLD = Credentials.model_validate({"api_key": "old", "shop_id": "shop-1"})
NEW = Credentials.model_validate({"api_key": "new", "shop_id": "shop-1"})
SETTINGS = CreateInvoiceSettings(
    cryptocloud_secret_arn="arn",
    idempotency_table="table",
    invoice_table="invoices",
    min_amount=Decimal(1),
    max_amount=Decimal(500),
    provider_timeout=20,
)


class FakeStore:
    def __init__(self, current: Credentials = OLD, after_reading_again: Credentials = OLD) -> None:
        self.current, self.after_reading_again = current, after_reading_again
        self.read_again_calls = 0

    def get(self) -> Credentials:
        return self.current

    def read_again(self) -> Credentials:
        self.read_again_calls += 1
        return self.after_reading_again


class FakeInvoices:
    """The table of invoices, which remembers what it was given, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.items: list[dict[str, Any]] = []

    def record(self, item: dict[str, Any]) -> None:
        self.items.append(item)
        if self.failure:
            raise self.failure


class FakeProvider:
    """Knows one key; remembers the keys and deadlines of its calls."""

    held_s, answered = 0.0, True

    def __init__(self, valid: Credentials = OLD, failure: Exception | None = None, invoice: Invoice = INVOICE) -> None:
        self.valid, self.failure, self.invoice = valid, failure, invoice
        self.keys: list[str] = []
        self.deadlines_s: list[float] = []

    def perform(self, _: Call[Invoice], credentials: Credentials, *, deadline_s: float) -> Invoice:
        self.keys.append(credentials.api_key.get_secret_value())
        self.deadlines_s.append(deadline_s)
        if self.failure:
            raise self.failure
        if credentials != self.valid:
            raise ProviderCredentialsRejected
        return self.invoice


def create(
    store: FakeStore,
    provider: FakeProvider,
    *,
    lambda_s: float = 28.0,
    api: Api = V1,
    invoices: "FakeInvoices | None" = None,
    **fields: Any,
) -> Invoice:
    request = InvoiceRequest.model_validate({"amount": 100, **fields})
    service = InvoiceService(SETTINGS, store, None, invoices or FakeInvoices(), provider, api)  # type: ignore[arg-type]
    delivery = service.create(request, None, lambda_deadline_s=time.monotonic() + lambda_s)
    assert not delivery.replayed
    return delivery.invoice


@pytest.mark.parametrize("amount", ["1", "1.00", "500", "500.00", "19.99"])
def test_an_amount_within_the_bounds_is_accepted(amount: str) -> None:
    assert create(FakeStore(), FakeProvider(), amount=amount) == INVOICE


@pytest.mark.parametrize("amount", ["0.99", "500.01", 10**15, 1e300])
def test_an_amount_out_of_bounds_is_refused_and_the_provider_not_called(amount: object) -> None:
    provider = FakeProvider()
    with pytest.raises(InvalidRequest) as refusal:
        create(FakeStore(), provider, amount=amount)
    assert [(field.pointer, field.detail) for field in refusal.value.fields] == [("/amount", "must be from 1 to 500")]
    assert provider.keys == []


def test_a_shop_id_may_be_sent_only_if_it_is_ours() -> None:
    assert create(FakeStore(), FakeProvider(), shop_id="shop-1") == INVOICE
    provider = FakeProvider()
    with pytest.raises(InvalidRequest) as refusal:
        create(FakeStore(), provider, shop_id="shop-2")
    assert [field.pointer for field in refusal.value.fields] == ["/shop_id"]
    assert "shop-1" not in refusal.value.fields[0].detail
    assert provider.keys == []


def test_a_currency_is_accepted_only_where_the_dialect_knows_it() -> None:
    provider = FakeProvider()
    with pytest.raises(InvalidRequest) as refusal:
        create(FakeStore(), provider, currency="KZT")
    [field] = refusal.value.fields
    assert (field.pointer, field.detail) == ("/currency", "must be one of USD, RUB, EUR, GBP, UAH")
    assert provider.keys == []
    assert create(FakeStore(), provider, api=v2(), currency="KZT") == INVOICE


def test_an_invoice_of_a_test_project_is_counted_and_every_further_line_of_the_log_says_so() -> None:
    for test_mode, counted in ((None, 0), (True, 1)):
        logger.clear_state()
        metrics.clear_metrics()
        create(FakeStore(), FakeProvider(invoice=INVOICE.model_copy(update={"test_mode": bool(test_mode)})))
        assert logger.get_current_keys().get("test_mode") is test_mode
        assert len(metrics.metric_set.get(TEST_INVOICE_CREATED, {}).get("Value", [])) == counted


def test_the_line_of_a_created_invoice_leads_to_its_order_and_to_the_record_of_its_key(log) -> None:
    class Records:
        def deliver_once(
            self, key: IdempotencyKey, request: InvoiceRequest, create: Any, *, remaining_s: Any
        ) -> Delivery:
            asked.append((key, request.order_id, remaining_s()))
            return Delivery(create(), replayed=False)

    asked: list[tuple[IdempotencyKey, str | None, float]] = []
    key = IdempotencyKey("http", "K-1")
    service = InvoiceService(SETTINGS, FakeStore(), Records(), FakeInvoices(), FakeProvider(), V1)  # type: ignore[arg-type]
    request = InvoiceRequest.model_validate({"amount": 100, "order_id": "A-1001"})
    logger.clear_state()
    assert service.create(request, key, lambda_deadline_s=time.monotonic() + 28).invoice == INVOICE
    assert asked == [(key, "A-1001", pytest.approx(28, abs=1))]
    [line] = log()
    assert (line["message"], line["invoice_id"]) == ("invoice created", "DZLF4212")
    assert (line["order_id"], line["idempotency_record"]) == ("A-1001", key.record_id)


def test_the_secret_is_read_ahead_of_the_first_request() -> None:
    class Unfilled(FakeStore):
        def get(self) -> Credentials:
            raise ServiceNotConfigured

    with pytest.raises(ServiceNotConfigured):
        InvoiceService(SETTINGS, Unfilled(), None, None, FakeProvider(), V1).prepare()  # type: ignore[arg-type]


class FakePrices:
    """Knows a list, or raises ``failure``; remembers by when it was to answer."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.deadlines_s: list[float] = []

    def current(self, *, deadline_s: float) -> PriceList:
        self.deadlines_s.append(deadline_s)
        if self.failure:
            raise self.failure
        return parse_price_list(as_file())


def sent_for(
    items: list[dict[str, Any]], prices: FakePrices | None, invoices: FakeInvoices | None = None, **fields: Any
) -> dict[str, Any]:
    """What the provider is sent."""

    class Provider(FakeProvider):
        def perform(self, call: Call[Invoice], credentials: Credentials, *, deadline_s: float) -> Invoice:
            bodies.append(json.loads(call.body, parse_float=Decimal))
            return super().perform(call, credentials, deadline_s=deadline_s)

    bodies: list[dict[str, Any]] = []
    table = invoices or FakeInvoices()
    service = InvoiceService(SETTINGS, FakeStore(), None, table, Provider(), V1, prices)  # type: ignore[arg-type]
    request = ItemsRequest.model_validate({"items": items, **fields})
    service.create(request, None, lambda_deadline_s=time.monotonic() + 28)
    [body] = bodies
    return body


def test_items_reach_the_provider_as_what_they_cost(counted) -> None:
    body = sent_for([{"id": "mug", "quantity": 2}, {"id": "tee-l"}], FakePrices(), order_id="A-1")
    assert body == {
        "amount": Decimal("64.98"),
        "currency": "USD",
        "order_id": "A-1",
        "description": "2 \u00d7 Enamel mug, tee-l",
        "shop_id": "shop-1",
    }
    assert counted()["AmountAskedUSD", frozenset({"service"})] == [64.98]


def test_the_invoice_is_recorded_with_the_items_and_what_they_cost_then() -> None:
    invoices = FakeInvoices()
    sent_for([{"id": "mug", "quantity": 2}, {"id": "tee-l"}], FakePrices(), invoices)
    [item] = invoices.items
    assert (item["amount"], item["currency"]) == ({"S": "64.98"}, {"S": "USD"})
    assert item["items"] == {
        "L": [
            {"M": {"id": {"S": "mug"}, "quantity": {"N": "2"}}},
            {"M": {"id": {"S": "tee-l"}, "quantity": {"N": "1"}}},
        ]
    }


def test_the_bounds_of_an_amount_hold_for_the_sum() -> None:
    assert sent_for([{"id": "mug", "quantity": 25}], FakePrices())["amount"] == Decimal("499.75")
    with pytest.raises(InvalidRequest) as refusal:
        sent_for([{"id": "mug", "quantity": 26}], FakePrices())
    [field] = refusal.value.fields
    assert (field.pointer, field.detail) == ("/items", "must together be from 1 to 500")


def test_without_prices_nobody_is_called_and_the_caller_may_try_again() -> None:
    with pytest.raises(PricesUnavailable) as refusal:
        sent_for([{"id": "mug"}], FakePrices(PricesUnavailable("price list not read")))
    assert refusal.value.retryable


def test_the_list_is_read_within_what_lambda_leaves() -> None:
    prices = FakePrices()
    sent_for([{"id": "mug"}], prices)
    assert prices.deadlines_s[0] - time.monotonic() == pytest.approx(28 - RESERVE_S, abs=0.2)


def test_a_request_with_items_where_there_is_no_list_is_our_own_fault() -> None:
    with pytest.raises(InternalError):
        sent_for([{"id": "mug"}], None)


@pytest.mark.parametrize(
    ("secret", "prices", "expected"),
    [
        (None, None, None),
        (ServiceNotConfigured(), None, ServiceNotConfigured),
        (None, PricesUnavailable(), PricesUnavailable),
        (ServiceNotConfigured(), PricesUnavailable(), ServiceNotConfigured),
    ],
)
def test_secret_and_list_are_read_ahead_and_no_failure_keeps_the_other_from_being_read(
    secret, prices, expected
) -> None:
    class Store(FakeStore):
        def get(self) -> Credentials:
            self.read_again_calls += 1
            if secret:
                raise secret
            return super().get()

    store, price_list = Store(), FakePrices(prices)
    service = InvoiceService(SETTINGS, store, None, None, FakeProvider(), V1, price_list)  # type: ignore[arg-type]
    with pytest.raises(expected) if expected else contextlib.nullcontext():
        service.prepare()
    assert (store.read_again_calls, len(price_list.deadlines_s)) == (1, 1)


@pytest.mark.parametrize(("url", "imported"), [("", False), ("http://127.0.0.1:1/prices.json", True)])
def test_what_only_a_price_list_needs_is_imported_only_with_one(url: str, imported: bool) -> None:
    program = (
        "import sys, create_invoice; print({'invoicing.prices', 'invoicing.contract.price_list'} & {*sys.modules})"
    )
    environment = {
        "PYTHONPATH": str(ROOT / "functions"),
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "CRYPTOCLOUD_SECRET_ARN": "arn",
        "IDEMPOTENCY_TABLE": "table",
        "INVOICE_TABLE": "invoices",
        "PRICE_LIST_URL": url,
    }
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert (run.stdout.splitlines()[-1] != "set()") is imported


def test_only_a_call_that_has_the_short_time_is_counted_as_impatient(counted) -> None:
    class Hanging(FakeProvider):
        held_s, answered = 20.0, False

    provider = Hanging(failure=OutcomeUnknown())
    service = InvoiceService(SETTINGS, FakeStore(), None, FakeInvoices(), provider, V1)  # type: ignore[arg-type]
    request = InvoiceRequest.model_validate({"amount": 100})
    for _ in range(IMPATIENT_AFTER + 1):
        with pytest.raises(OutcomeUnknown):
            service.create(request, None, lambda_deadline_s=time.monotonic() + 28)
    assert counted() == {("Impatient", frozenset({"service"})): [1.0]}


def test_the_log_names_the_dialect_and_the_host() -> None:
    for api in (V1, v2()):
        create(FakeStore(), FakeProvider(), api=api)
        keys = logger.get_current_keys()
        assert (keys["provider_api"], keys["provider_host"]) == (api.name, "api.cryptocloud.plus")


def test_a_rotated_key_costs_no_invoice() -> None:
    provider = FakeProvider(valid=NEW)
    assert create(FakeStore(OLD, after_reading_again=NEW), provider) == INVOICE
    assert provider.keys == ["old", "new"]
    # Both calls have one timeout together.
    assert provider.deadlines_s[1] - provider.deadlines_s[0] < 0.2


def test_a_refused_key_that_did_not_change_is_not_tried_again() -> None:
    provider = FakeProvider(valid=NEW)
    with pytest.raises(ProviderCredentialsRejected):
        create(FakeStore(OLD, after_reading_again=OLD), provider)
    assert provider.keys == ["old"]


def test_the_secret_is_not_read_again_when_that_could_outlast_the_lambda() -> None:
    store = FakeStore(OLD, after_reading_again=NEW)
    with pytest.raises(ProviderCredentialsRejected):
        create(store, FakeProvider(valid=NEW), lambda_s=RESERVE_S + SECRETS_LIMIT_S - 0.5)
    assert store.read_again_calls == 0


def test_both_calls_share_the_providers_time_and_reading_the_secret_does_not_spend_it(monkeypatch) -> None:
    class Clock:
        now_s = 0.0

        def monotonic(self) -> float:
            return self.now_s

        time = monotonic

    class SlowProvider(FakeProvider):
        def perform(self, call: Call[Invoice], credentials: Credentials, *, deadline_s: float) -> Invoice:
            allowed_s.append(deadline_s - clock.now_s)
            clock.now_s += 15
            return super().perform(call, credentials, deadline_s=deadline_s)

    class SlowStore(FakeStore):
        def read_again(self) -> Credentials:
            clock.now_s += 3
            return super().read_again()

    clock, allowed_s = Clock(), []
    monkeypatch.setattr("invoicing.create.time", clock)
    monkeypatch.setattr(f"{__name__}.time", clock)
    assert create(SlowStore(OLD, after_reading_again=NEW), SlowProvider(valid=NEW), lambda_s=60.0) == INVOICE
    assert allowed_s == [20.0, 5.0]


def test_a_lambda_that_is_nearly_over_calls_nobody_and_does_not_blame_the_provider() -> None:
    provider = FakeProvider()
    with pytest.raises(ProviderUnavailable):
        create(FakeStore(), provider, lambda_s=RESERVE_S + 0.5)
    assert provider.keys == []


def test_an_unknown_outcome_is_never_tried_again() -> None:
    provider = FakeProvider(failure=OutcomeUnknown())
    with pytest.raises(OutcomeUnknown):
        create(FakeStore(), provider)
    assert provider.keys == ["old"]


@pytest.mark.parametrize(("lambda_s", "allowed_s"), [(28.0, 20.0), (10.0, 6.0), (5.5, 1.5)])
def test_the_provider_has_its_timeout_or_what_lambda_leaves_less_a_reserve(lambda_s: float, allowed_s: float) -> None:
    provider = FakeProvider()
    before_s = time.monotonic()
    create(FakeStore(), provider, lambda_s=lambda_s)
    assert provider.deadlines_s[0] - before_s == pytest.approx(allowed_s, abs=0.2)


@pytest.mark.parametrize(
    "link",
    [
        "https://pay.cryptocloud.plus.evil.example/DZLF4212",
        "https://evil.example/https://pay.cryptocloud.plus/",
        "https://pay.cryptocloud.plus:8443/DZLF4212",
        "https://pay.cryptocloud.plus:0/DZLF4212",
        "http://pay.cryptocloud.plus/DZLF4212",
    ],
)
def test_a_link_of_another_origin_reaches_no_buyer_and_the_log_names_the_origin(link: str) -> None:
    provider = FakeProvider(invoice=Invoice(pay_url=link, invoice_id="DZLF4212"))
    with pytest.raises(PayLinkRefused) as refusal:
        create(FakeStore(), provider)
    assert str(origin_of(link)) in refusal.value.reason
    assert not refusal.value.retryable


def test_links_of_both_hosts_of_the_provider_are_delivered() -> None:
    for link in ("https://pay.cryptocloud.plus/DZLF4212", "https://pay.trybit.com/DZLF4212"):
        invoice = Invoice(pay_url=link, invoice_id="DZLF4212")
        assert create(FakeStore(), FakeProvider(invoice=invoice)) == invoice


def test_a_created_invoice_is_recorded_as_it_was_asked_for(monkeypatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.9)
    invoices = FakeInvoices()
    create(
        FakeStore(),
        FakeProvider(),
        invoices=invoices,
        amount="19.990",
        currency="EUR",
        order_id="A-1001",
        email="b@x.io",
    )
    [item] = invoices.items
    assert item == {
        "invoice_id": {"S": INVOICE.invoice_id},
        "order_id": {"S": "A-1001"},
        "amount": {"S": "19.99"},
        "currency": {"S": "EUR"},
        "api": {"S": "v1"},
        "status": {"S": "created"},
        "created_at": {"N": "1800000000"},
        "expiration": {"N": str(1_800_000_000 + 90 * 24 * 60 * 60)},
        "queue": {"S": shard_of(INVOICE.invoice_id)},
        "due": {"N": str(1_800_000_000 + 10 * 60)},
    }


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ProviderUnavailable("table of invoices not reached: ConnectTimeoutError"), "table of invoices not reached"),
        (ServiceNotConfigured("the table of invoices answered AccessDeniedException"), "AccessDeniedException"),
        (KeyError("a bug"), "KeyError"),
    ],
)
def test_an_invoice_that_cannot_be_recorded_is_delivered_and_its_record_is_in_the_log(log, failure, reason) -> None:
    metrics.clear_metrics()
    invoices = FakeInvoices(failure)
    assert create(FakeStore(), FakeProvider(), invoices=invoices, order_id="A-1001") == INVOICE
    [line] = [line for line in log() if line["message"] == "invoice not recorded"]
    assert line["level"] == "ERROR"
    assert reason in line["reason"]
    assert json.loads(line["record"]) == invoices.items[0]
    assert metrics.metric_set[INVOICE_NOT_RECORDED]["Value"] == [1.0]


def test_the_record_in_the_log_leaves_out_an_order_that_may_be_an_email_address(log) -> None:
    create(FakeStore(), FakeProvider(), invoices=FakeInvoices(KeyError()), order_id="buyer@shop.example")
    [line] = [line for line in log() if line["message"] == "invoice not recorded"]
    assert "order_id" not in json.loads(line["record"])
    assert "buyer" not in json.dumps(line)


def test_an_invoice_that_was_not_created_is_not_recorded() -> None:
    invoices = FakeInvoices()
    with pytest.raises(OutcomeUnknown):
        create(FakeStore(), FakeProvider(failure=OutcomeUnknown("lost")), invoices=invoices)
    assert invoices.items == []


def test_an_invoice_is_recorded_while_the_record_of_its_key_is_completed() -> None:
    completed = threading.Event()

    class Records:
        def deliver_once(self, _: object, __: object, create: Callable[[], Invoice], **___: object) -> Delivery:
            invoice = create()
            completed.set()
            return Delivery(invoice, replayed=False)

    class Invoices(FakeInvoices):
        def record(self, item: dict[str, Any]) -> None:
            assert completed.wait(10), "the key waits for the record"
            super().record(item)

    invoices = Invoices()
    service = InvoiceService(SETTINGS, FakeStore(), Records(), invoices, FakeProvider(), V1)  # type: ignore[arg-type]
    request = InvoiceRequest.model_validate({"amount": 100})
    service.create(request, IdempotencyKey("http", "K-1"), lambda_deadline_s=time.monotonic() + 28)
    assert len(invoices.items) == 1
