"""The entry point of InvoiceInfoFunction: what it asks of the payments, and what it answers, in both ways in."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from invoicing.contract.errors import InvalidRequest, InvoiceNotFound, InvoicingError, ProviderCredentialsRejected
from invoicing.contract.statuses import STATUSES, Status
from tests.support.entries import entry_file
from tests.support.events import http_event, lambda_context

# As the function itself does: the payments are what counts.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

PATH = "/v1/invoice/info"


@dataclass
class FakePayments:
    """Says ``status``, or raises ``error``; remembers what it was asked about."""

    status: Status | None = "paid"
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def status_of(self, invoice_id: str) -> Status | None:
        self.asked.append(invoice_id)
        if self.error:
            raise self.error
        return self.status


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with entry_file("invoice_info", monkeypatch) as function:
        yield function


@pytest.fixture
def payments(function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakePayments:
    payments = FakePayments()
    monkeypatch.setattr(function, "_payments", lambda: payments)
    return payments


@pytest.fixture
def handle(function: ModuleType, payments: FakePayments) -> Any:  # noqa: ARG001 - in place of the real ones
    return lambda event: function.lambda_handler(event, lambda_context())


def get(query: str, **changes: Any) -> dict[str, Any]:
    return http_event(method="GET", path=PATH, query=query, **changes)


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_said_as_on_the_providers_page_by_both_ways_in(handle, payments, status) -> None:
    payments.status = status
    reply = handle(get("uuid=DZLF4212"))
    assert (reply["statusCode"], json.loads(reply["body"])) == (200, {"status": "success", "status_invoice": status})
    assert reply["headers"] == {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Request-Id": "request-1",
    }
    assert handle({"uuid": "DZLF4212"}) == {"status": "success", "status_invoice": status}


@pytest.mark.parametrize("uuid", ["DZLF4212", "INV-DZLF4212"])
def test_an_id_is_the_same_with_and_without_its_prefix(handle, payments, uuid) -> None:
    handle(get(f"uuid={uuid}"))
    handle({"uuid": uuid})
    assert payments.asked == ["DZLF4212", "DZLF4212"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "uuid=",
        "uuid=INV-",
        "UUID=DZLF4212",
        "invoice_id=DZLF4212",
        # What API Gateway makes of uuid=DZLF4212&uuid=DZLF4212.
        "uuid=DZLF4212,DZLF4212",
        "uuid=DZLF4212%0A",
        "uuid=../create",
        f"uuid={'a' * 65}",
        "uuid=%D0%96",
    ],
)
def test_a_query_without_one_id_is_refused_by_the_parameters_name_and_nobody_is_asked(handle, payments, query) -> None:
    reply = handle(get(query))
    assert reply["statusCode"] == 400
    assert [error["pointer"] for error in json.loads(reply["body"])["errors"]] == ["/uuid"]
    assert payments.asked == []


def test_a_request_without_a_query_is_refused_by_the_parameters_name(handle) -> None:
    # What API Gateway leaves out, and what other senders of its events set to null.
    for event in (get(""), {**get(""), "queryStringParameters": None}):
        assert json.loads(handle(event)["body"])["errors"] == [{"pointer": "/uuid", "detail": "is required"}]


def test_parameters_that_scripts_add_to_an_address_change_no_answer(handle, payments) -> None:
    assert handle(get("_=1795597200&gclid=x&uuid=DZLF4212&utm_source=mail"))["statusCode"] == 200
    assert payments.asked == ["DZLF4212"]


@pytest.mark.parametrize(
    ("event", "pointers"),
    [
        ({}, ["/uuid"]),
        ({"uuid": None}, ["/uuid"]),
        ({"uuid": 4212}, ["/uuid"]),
        ({"uuid": ["DZLF4212"]}, ["/uuid"]),
        ({"uuid": "DZLF4212", "amount": 1}, ["/amount"]),
        ({"uuid": "DZLF4212", "requestContext": {"http": {}}}, ["/requestContext"]),
        ([], [""]),
        ("DZLF4212", [""]),
        (None, [""]),
    ],
)
def test_a_direct_event_that_is_no_question_is_refused_by_its_fields(handle, payments, event, pointers) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        handle(event)
    assert [error["pointer"] for error in json.loads(str(refusal.value))["errors"]] == pointers
    assert payments.asked == []


def test_an_invoice_that_this_stack_did_not_create_is_not_found_by_either_way_in(handle, payments) -> None:
    payments.status = None
    reply = handle(get("uuid=DZLF4212"))
    assert (reply["statusCode"], json.loads(reply["body"])["code"]) == (404, "invoice_not_found")
    with pytest.raises(InvoiceNotFound):
        handle({"uuid": "DZLF4212"})


def test_only_pages_of_the_shop_and_what_is_no_page_may_ask(handle, payments) -> None:
    reply = handle(get("uuid=DZLF4212", origin="https://evil.example"))
    assert json.loads(reply["body"])["code"] == "origin_not_allowed"
    assert payments.asked == []
    assert handle(get("uuid=DZLF4212", origin=None))["statusCode"] == 200


def test_every_documented_error_passes_as_it_is(function, handle, payments) -> None:
    for error in function.ERRORS:
        assert_passes(error, handle, payments)


def assert_passes(error: type[InvoicingError], handle, payments) -> None:
    payments.error = error()
    reply = handle(get("uuid=DZLF4212"))
    assert (reply["statusCode"], json.loads(reply["body"])["code"]) == (error.http_status, error.code)
    with pytest.raises(error):
        handle({"uuid": "DZLF4212"})


def test_an_error_that_is_not_documented_here_is_our_own(handle, payments) -> None:
    payments.error = ProviderCredentialsRejected()
    assert json.loads(handle(get("uuid=DZLF4212"))["body"])["code"] == "internal_error"


def test_the_line_of_a_failure_has_the_invoice_that_was_asked_about(handle, payments, log) -> None:
    payments.status = None
    handle(get("uuid=INV-DZLF4212"))
    [line] = log()
    assert (line["message"], line["level"], line["code"]) == ("no status", "INFO", "invoice_not_found")
    assert line["invoice_id"] == "DZLF4212"


def test_a_line_never_has_the_invoice_of_the_request_before(handle, payments, log) -> None:
    payments.status = None
    handle(get("uuid=DZLF4212"))
    handle(get("uuid=a%20b"))
    assert ["invoice_id" in line for line in log()] == [True, False]
