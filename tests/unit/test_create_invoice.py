"""The entry point of CreateInvoiceFunction: what it asks of the service, and what it answers, in both ways in."""

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

from invoicing.contract.errors import InvalidRequest, InvoicingError
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceRequest
from invoicing.contract.settings import load
from invoicing.keys import Delivery, IdempotencyKey
from tests.support.events import SITE, http_event, lambda_context

# As the function itself does: the service is what counts.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

INVOICE = Invoice(
    pay_url="https://pay.cryptocloud.plus/DZLF4212",
    invoice_id="DZLF4212",
    currency="BTC",
    amount=Decimal("100.10"),
    test_mode=True,
)
PAYLOAD = (
    '{"status": "success", "pay_url": "https://pay.cryptocloud.plus/DZLF4212", "currency": "BTC", '
    '"invoice_id": "DZLF4212", "amount": 100.10}'
)


NEW = Delivery(INVOICE, replayed=False)


@dataclass
class FakeService:
    """Delivers ``delivery``, or raises ``error``; remembers what it was asked for."""

    delivery: Delivery = NEW
    error: Exception | None = None
    asked: list[tuple[InvoiceRequest, IdempotencyKey | None, float]] = field(default_factory=list)

    def create(self, request: InvoiceRequest, key: IdempotencyKey | None, *, lambda_deadline_s: float) -> Delivery:
        self.asked.append((request, key, lambda_deadline_s))
        if self.error:
            raise self.error
        return self.delivery


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    environment = {
        "ALLOWED_ORIGINS": SITE,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "CRYPTOCLOUD_SECRET_ARN": "arn",
        "IDEMPOTENCY_TABLE": "table",
        "INVOICE_TABLE": "table",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    load.cache_clear()
    yield importlib.import_module("create_invoice")
    load.cache_clear()


@pytest.fixture
def service(function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeService:
    service = FakeService()
    monkeypatch.setattr(function, "_service", lambda: service)
    return service


@pytest.fixture
def handle(function: ModuleType, service: FakeService) -> Any:  # noqa: ARG001 - in place of the real one
    return lambda event: function.lambda_handler(event, lambda_context())


def test_an_invoice_over_http_is_the_exact_payload(handle) -> None:
    reply = handle(http_event({"amount": 19.99}))
    assert (reply["statusCode"], reply["body"]) == (200, PAYLOAD)
    assert reply["headers"] == {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Request-Id": "request-1",
    }


def test_a_replay_over_http_says_so(handle, service) -> None:
    service.delivery = Delivery(INVOICE, replayed=True)
    reply = handle(http_event({"amount": 19.99}, key="K-1"))
    assert (reply["body"], reply["headers"]["Idempotent-Replayed"]) == (PAYLOAD, "true")


def test_an_invoice_for_a_direct_caller_is_the_same_payload_with_exact_numbers(handle) -> None:
    assert handle({"amount": 19.99}) == {**json.loads(PAYLOAD), "amount": Decimal("100.10")}


def test_what_takes_time_on_the_network_is_read_while_the_sandbox_starts(function, monkeypatch) -> None:
    prepared: list[Any] = []
    read: list[bool] = []
    monkeypatch.setattr("invoicing.startup.finish", lambda *, prepare: prepared.append(prepare))
    monkeypatch.setattr("invoicing.create.InvoiceService.prepare", lambda _: read.append(True))
    importlib.reload(function)
    assert read == []
    [prepare] = prepared
    prepare()
    assert read == [True]


FIELDS = {"amount": "0.10", "currency": "EUR", "order_id": "A-1"}


@pytest.mark.parametrize("event", [http_event(FIELDS), FIELDS], ids=["http", "direct"])
@pytest.mark.usefixtures("standing_clock")
def test_the_service_gets_the_validated_request_and_the_time_that_lambda_has_left(handle, service, event) -> None:
    handle(event)
    [(request, _, deadline_s)] = service.asked
    assert request.model_dump(exclude_none=True) == {"amount": Decimal("0.10"), "currency": "EUR", "order_id": "A-1"}
    assert deadline_s == 1000.0 + 28


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (http_event({"amount": 1}), None),
        (http_event({"amount": 1, "order_id": "A-1"}), None),
        (http_event({"amount": 1}, key="K-1"), IdempotencyKey("http", "K-1")),
        (http_event({"amount": 1}, key='"K-1"'), IdempotencyKey("http", "K-1")),
        ({"amount": 1}, None),
        ({"amount": 1, "order_id": "A-1"}, IdempotencyKey("direct", "A-1")),
        ({"amount": 1, "idempotency_key": "A-1"}, IdempotencyKey("direct-key", "A-1")),
    ],
)
def test_the_key_is_the_header_or_the_order_of_a_direct_caller(handle, service, event, key) -> None:
    handle(event)
    assert [asked for _, asked, _ in service.asked] == [key]


MUG = {"items": [{"id": "mug"}]}


@pytest.fixture
def with_prices(function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - its settings come first
    monkeypatch.setenv("PRICE_LIST_URL", "https://shop.example/prices.json")
    load.cache_clear()


def pointers(handle: Any, event: Any) -> list[str]:
    """The fields that are refused, in whichever way in."""
    if "version" in event:
        return [error["pointer"] for error in json.loads(handle(event)["body"])["errors"]]
    with pytest.raises(InvalidRequest) as refusal:
        handle(event)
    return [error["pointer"] for error in json.loads(str(refusal.value))["errors"]]


@pytest.mark.usefixtures("with_prices")
def test_with_a_price_list_a_page_says_what_is_bought_and_not_what_it_costs(handle, service) -> None:
    assert handle(http_event(MUG))["statusCode"] == 200
    assert [asked.items[0].id for asked, _, _ in service.asked] == ["mug"]
    assert pointers(handle, http_event({"amount": "0.01"})) == ["/items", "/amount"]
    assert pointers(handle, http_event({**MUG, "amount": "0.01"})) == ["/amount"]
    assert pointers(handle, http_event({"order_id": "A-1"})) == ["/items"]
    # A page is a page also without an Origin: curl must not get the price that it asks for.
    assert pointers(handle, http_event({"amount": "0.01"}, origin=None)) == ["/items", "/amount"]
    assert len(service.asked) == 1


@pytest.mark.usefixtures("with_prices")
def test_with_a_price_list_a_lambda_says_either_and_never_both(handle, service) -> None:
    handle({**MUG, "order_id": "A-1"})
    handle({"amount": 19.99, "items": None, "idempotency_key": "K-1"})
    assert [(type(asked).__name__, key) for asked, key, _ in service.asked] == [
        ("DirectItemsRequest", IdempotencyKey("direct", "A-1")),
        ("DirectInvoiceRequest", IdempotencyKey("direct-key", "K-1")),
    ]
    assert pointers(handle, {**MUG, "amount": 19.99}) == ["/amount"]
    assert pointers(handle, {"order_id": "A-1"}) == ["/amount"]


@pytest.mark.parametrize("event", [http_event(MUG), MUG, http_event({**MUG, "amount": 1}), {**MUG, "amount": 1}])
def test_without_a_price_list_items_are_refused_by_name(handle, service, event) -> None:
    assert "/items" in pointers(handle, event)
    assert service.asked == []


def test_a_direct_callers_own_key_wins_over_the_order(handle, service) -> None:
    handle({"amount": 1, "idempotency_key": "K-1", "order_id": "A-1"})
    [(request, key, _)] = service.asked
    assert (key, request.order_id) == (IdempotencyKey("direct-key", "K-1"), "A-1")


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (http_event({"amount": 1}, origin="https://evil.example"), "origin_not_allowed"),
        (http_event({"amount": 1}, headers={"content-type": "text/plain"}), "unsupported_media_type"),
        (http_event(" " * 16 * 1024 + "{}"), "payload_too_large"),
        (http_event(b"\xff"), "invalid_request"),
        (http_event(None), "unsupported_media_type"),
        (http_event(""), "invalid_request"),
        (http_event({"amount": 1}, key=""), "invalid_request"),
        (http_event({"amount": 1}, key="a b"), "invalid_request"),
        (http_event({"amount": 1}, key="K-1,K-1"), "invalid_request"),
        (http_event({"amount": -1}), "invalid_request"),
        (http_event({"amount": 1, "requestContext": {}}), "invalid_request"),
    ],
)
def test_what_is_not_a_request_reaches_no_service(handle, service, event, code) -> None:
    assert json.loads(handle(event)["body"])["code"] == code
    assert service.asked == []


def test_a_body_has_at_most_16_kib(handle) -> None:
    body = '{"amount": 1}'
    assert handle(http_event(body + " " * (16 * 1024 - len(body))))["statusCode"] == 200
    assert handle(http_event(body + " " * (16 * 1024 - len(body) + 1)))["statusCode"] == 413


def test_a_caller_that_is_no_page_needs_no_origin_and_base64_is_read(handle, service) -> None:
    assert handle(http_event(b'{"amount": 1}', origin=None))["statusCode"] == 200
    assert service.asked[0][0].amount == 1


@pytest.mark.parametrize(
    "event",
    [
        # A record of a Lambda destination, a field of a tracing library, and no object at all.
        {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": {"amount": 1}},
        {"amount": 1, "requestContext": {"traceparent": "00-1"}},
        {"amount": 1, "currency": "usd"},
        [{"amount": 1}],
        "19.99",
        19.99,
        None,
    ],
)
def test_a_direct_event_that_is_no_request_is_refused_to_its_caller(handle, service, event) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        handle(event)
    assert json.loads(str(refusal.value))["errors"]
    assert service.asked == []


def test_a_field_that_is_no_field_of_a_direct_request_is_named(handle) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        handle({"amount": 1, "requestContext": {"http": {}}})
    errors = json.loads(str(refusal.value))["errors"]
    assert errors == [{"pointer": "/requestContext", "detail": "is not a field of this request"}]


def test_every_documented_error_passes_as_it_is(function, handle, service) -> None:
    for error in function.ERRORS:
        assert_passes(error, handle, service)


def assert_passes(error: type[InvoicingError], handle, service) -> None:
    service.error = error()
    reply = handle(http_event({"amount": 1}))
    assert (reply["statusCode"], json.loads(reply["body"])["code"]) == (error.http_status, error.code)
    with pytest.raises(error):
        handle({"amount": 1})


@pytest.mark.parametrize(
    "event",
    [http_event({"amount": 0, "order_id": "A-1001"}), {"amount": 0, "order_id": "A-1001"}],
    ids=["http", "direct"],
)
def test_a_refused_requests_line_has_its_order_and_the_fields_at_fault(handle, log, event) -> None:
    if "version" in event:
        handle(event)
    else:
        with pytest.raises(InvalidRequest):
            handle(event)
    [line] = log()
    assert line["message"] == "invoice not created"
    assert (line["level"], line["order_id"], line["fields"]) == ("INFO", "A-1001", ["/amount"])


def test_an_order_that_is_an_email_address_is_in_no_line(handle, log) -> None:
    for order_id in ("buyer@shop.example", "buyer%40shop.example", "buyer\uff20shop.example"):
        handle(http_event({"amount": 0, "order_id": order_id}))
    assert len(log()) == 3
    assert "shop.example" not in json.dumps(log())
