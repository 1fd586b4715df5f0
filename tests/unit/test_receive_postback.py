"""The entry point of PostbackFunction: what of a request reaches the receiver, and what the provider is answered."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import pytest

from invoicing.contract.errors import InvalidRequest, InvoiceNotFound
from tests.support.entries import entry_file
from tests.support.events import http_event, lambda_context

# As the function itself does: the receiver is what counts.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

PATH = "/v1/invoice/postback"
FORM = "application/x-www-form-urlencoded"
LIMIT = 64 * 1024


@dataclass
class FakeReceiver:
    """Receives everything, or raises ``error``; remembers what came."""

    error: Exception | None = None
    received: list[bytes] = field(default_factory=list)

    def receive(self, body: bytes) -> None:
        self.received.append(body)
        if self.error:
            raise self.error


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with entry_file("receive_postback", monkeypatch) as function:
        yield function


@pytest.fixture
def receiver(function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeReceiver:
    receiver = FakeReceiver()
    monkeypatch.setattr(function, "_receiver", lambda: receiver)
    return receiver


@pytest.fixture
def handle(function: ModuleType, receiver: FakeReceiver) -> Any:  # noqa: ARG001 - in place of the real one
    return lambda event: function.lambda_handler(event, lambda_context())


def post(body: object, **changes: Any) -> dict[str, Any]:
    return http_event(body, path=PATH, origin=None, **changes)


def test_what_was_received_is_answered_as_the_provider_asks_for(handle) -> None:
    reply = handle(post({"invoice_id": "DZLF4212", "token": "t"}))
    assert (reply["statusCode"], json.loads(reply["body"])) == (200, {"message": "Postback received"})


FIELDS = {"status": "success", "invoice_id": "DZLF4212", "token": "a.b.c"}


@pytest.mark.parametrize("body", [json.dumps(FIELDS), urlencode(FIELDS), "", "[]", "\ufeff{}"])
@pytest.mark.parametrize("content_type", ["application/json", FORM, "text/plain", None])
def test_a_body_arrives_byte_for_byte_whatever_it_is_said_to_be(handle, receiver, body, content_type) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    handle(post(body, headers=headers))
    # API Gateway passes on in base64 what it does not take for text.
    handle(post(body.encode(), headers=headers))
    assert receiver.received == [body.encode(), body.encode()]


def test_a_request_without_a_body_is_an_empty_one(handle, receiver) -> None:
    handle(post(None))
    assert receiver.received == [b""]


@pytest.mark.parametrize("text", ["x", "é"])
def test_a_body_has_at_most_64_kib_in_bytes(handle, receiver, text) -> None:
    largest = text * (LIMIT // len(text.encode()))
    for body in (largest, largest.encode()):
        assert handle(post(body))["statusCode"] == 200
    for body in (largest + "x", largest.encode() + b"x"):
        reply = handle(post(body))
        assert (reply["statusCode"], json.loads(reply["body"])["code"]) == (413, "payload_too_large")
    assert receiver.received == [largest.encode(), largest.encode()]


def test_what_is_said_to_be_base64_and_is_not_reaches_nobody(handle, receiver) -> None:
    assert handle({**post("not base64!"), "isBase64Encoded": True})["statusCode"] == 400
    assert receiver.received == []


@pytest.mark.parametrize("event", [FIELDS, {}, [], "text", None, {"body": json.dumps(FIELDS)}])
def test_nobody_can_post_back_but_over_http(handle, receiver, event) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        handle(event)
    [error] = json.loads(str(refusal.value))["errors"]
    assert error == {"pointer": "", "detail": "must be a request from the HTTP API"}
    assert receiver.received == []


def test_every_documented_error_passes_as_it_is(function, handle, receiver) -> None:
    for error in function.ERRORS:
        receiver.error = error()
        reply = handle(post(FIELDS))
        assert (reply["statusCode"], json.loads(reply["body"])["code"]) == (error.http_status, error.code)


def test_an_error_that_is_not_documented_here_is_our_own(handle, receiver) -> None:
    receiver.error = InvoiceNotFound()
    assert json.loads(handle(post(FIELDS))["body"])["code"] == "internal_error"


def test_the_line_of_a_failure_has_nothing_of_the_body(handle, log) -> None:
    handle(post("canary" + "x" * LIMIT))
    [line] = log()
    assert (line["message"], line["level"], line["code"]) == ("postback not received", "INFO", "payload_too_large")
    assert "canary" not in json.dumps(line)
