"""Each row of the error table by both ways in, with the real gateway, runtime and provider in between."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from invoicing.contract.errors import ERROR_TABLE, InvoicingError
from invoicing.keys import IdempotencyKey
from tests.support.stack import Answer, Stack

BY_CODE = {error.code: error for error in ERROR_TABLE}
Arrange = Callable[[Stack], None]

# What makes each error happen on the shared stack, by either way in.
ARRANGED: dict[str, tuple[Arrange, dict[str, Any]]] = {
    "invalid_request": (lambda _: None, {"amount": -1}),
    "invoice_rejected": (lambda stack: stack.misbehave("status", value=400), {"amount": 1}),
    "provider_credentials_rejected": (lambda stack: stack.misbehave("status", value=401), {"amount": 1}),
    "provider_unavailable": (lambda stack: stack.misbehave("status", value=503, times=3), {"amount": 1}),
    "pay_link_refused": (lambda stack: stack.misbehave("foreign"), {"amount": 1}),
    "outcome_unknown": (lambda stack: stack.misbehave("html"), {"amount": 1}),
}
# Those that come from how the stack is set up.
SET_UP: dict[str, dict[str, Any]] = {
    "service_not_configured": {"fill_secret": False},
    # No client can be created for such an endpoint: a ValueError that nobody foresees.
    # Nothing listens there.
    "prices_unavailable": {"parameters": {"PriceListUrl": "http://127.0.0.1:1/prices.json"}},
    "internal_error": {"environment": {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "no-url-canary"}},
}
# By code, and not from the class: the contract's own figures.
RETRY_AFTER = {"provider_unavailable": "5", "prices_unavailable": "10", "invoice_in_progress": "1"}
# Those of the status route: what makes them happen, and the query.
OF_STATUS: dict[str, tuple[Arrange, str]] = {
    "invalid_request": (lambda _: None, "uuid=DZLF4212,DZLF4213"),
    "invoice_not_found": (lambda _: None, "uuid=DZLF4212"),
    "provider_unavailable": (lambda stack: stack.tell("/table/fail", operation="GetItem", times=2), "uuid=DZLF4212"),
    "service_not_configured": (
        lambda stack: stack.tell("/table/fail", operation="GetItem", error="AccessDeniedException"),
        "uuid=DZLF4212",
    ),
}
# Those that only HTTP knows: headers and body of the request.
HTTP_ONLY: dict[str, tuple[dict[str, str], str]] = {
    "origin_not_allowed": ({"Origin": "https://foreign.example"}, '{"amount": 1}'),
    "payload_too_large": ({}, '{"amount": 1, "description": "' + "x" * 16_400 + '"}'),
    "unsupported_media_type": ({"Content-Type": "text/plain"}, '{"amount": 1}'),
}


def assert_is(error: type[InvoicingError], answer: Answer) -> None:
    problem = answer.problem
    request_id = problem["request_id"]
    assert {**problem, "errors": ()} == {**error().problem(request_id), "errors": ()}
    if answer.error_type:
        assert answer.error_type == error.__name__
        assert "\n" not in answer.payload["errorMessage"]
        return
    assert answer.status == error.http_status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"] == request_id
    assert answer.headers.get("Retry-After") == RETRY_AFTER.get(error.code)


def test_every_row_of_the_table_is_tried_here() -> None:
    of_keys = {"invoice_in_progress", "idempotency_key_reused"}
    of_payments = {"postback_refused", *OF_STATUS}
    assert ARRANGED.keys() | SET_UP.keys() | HTTP_ONLY.keys() | of_keys | of_payments == BY_CODE.keys()
    assert HTTP_ONLY.keys() | {"postback_refused"} == {error.code for error in ERROR_TABLE if error.http_only}


@pytest.mark.parametrize("code", ARRANGED)
def test_an_error_is_the_same_by_both_ways_in_and_in_both_dialects(either_stack, way_in, code) -> None:
    arrange, fields = ARRANGED[code]
    arrange(either_stack)
    assert_is(BY_CODE[code], way_in(either_stack, fields))


def asked_for_status(stack: Stack, way_in: Callable[..., Answer], query: str) -> Answer:
    if way_in is Stack.post:
        return stack.status(query)
    return stack.invoke({"uuid": query.removeprefix("uuid=")}, stack.endpoints["status_function_name"])


@pytest.mark.parametrize("code", OF_STATUS)
def test_an_error_of_the_status_route_is_the_same_by_both_ways_in_and_in_both_dialects(
    either_stack, way_in, code
) -> None:
    arrange, query = OF_STATUS[code]
    arrange(either_stack)
    assert_is(BY_CODE[code], asked_for_status(either_stack, way_in, query))
    assert either_stack.seen()["asked"] == []


def test_a_page_of_another_site_gets_no_status(stack) -> None:
    answer = stack.status("uuid=DZLF4212", {"Origin": "https://foreign.example"})
    assert_is(BY_CODE["origin_not_allowed"], answer)


def test_an_unforeseen_error_of_the_status_route_is_the_same_by_both_ways_in(set_up_for, way_in) -> None:
    code, stack = set_up_for
    # Without a secret, what is in the table is still said.
    expected = code if code == "internal_error" else "invoice_not_found"
    assert_is(BY_CODE[expected], asked_for_status(stack, way_in, "uuid=DZLF4212"))


@pytest.mark.parametrize("body", ['{"invoice_id": "DZLF4212"}', "invoice_id=DZLF4212&token=a.b.c"])
def test_a_postback_without_a_valid_token_is_refused_in_both_formats(stack, body) -> None:
    assert_is(BY_CODE["postback_refused"], stack.postback(body))
    assert stack.seen()["asked"] == []


def taken(stack: Stack, way_in: Callable[..., Answer], key: str, fields: dict[str, Any]) -> Answer:
    headers = {"Idempotency-Key": key}
    return stack.post(fields, headers) if way_in is Stack.post else stack.invoke({**fields, "idempotency_key": key})


def test_a_key_that_is_taken_is_the_same_error_by_both_ways_in(stack, way_in, fresh) -> None:
    assert taken(stack, way_in, fresh, {"amount": 1}).payload["status"] == "success"
    assert_is(BY_CODE["idempotency_key_reused"], taken(stack, way_in, fresh, {"amount": 2}))


def test_a_key_that_is_running_is_the_same_error_by_both_ways_in(stack, way_in, fresh) -> None:
    taken(stack, way_in, fresh, {"amount": 1})
    stack.table.update_item(
        Key={"id": IdempotencyKey("http" if way_in is Stack.post else "direct-key", fresh).record_id},
        UpdateExpression="SET #status = :running, in_progress_expiration = :later",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":running": "INPROGRESS", ":later": int(time.time() * 1000) + 20_000},
    )
    assert_is(BY_CODE["invoice_in_progress"], taken(stack, way_in, fresh, {"amount": 1}))


@pytest.fixture(scope="module", params=SET_UP)
def set_up_for(request, start_lasting_stack) -> tuple[str, Stack]:
    return request.param, start_lasting_stack(**SET_UP[request.param])


def test_an_error_of_the_set_up_is_the_same_by_both_ways_in(set_up_for, way_in) -> None:
    code, stack = set_up_for
    answer = way_in(stack, {"items": [{"id": "mug"}]} if code == "prices_unavailable" else {"amount": 1})
    assert_is(BY_CODE[code], answer)
    assert stack.seen()["calls"] == []


def test_nothing_of_an_unforeseen_exception_reaches_an_http_caller(start_stack) -> None:
    stack = start_stack(**SET_UP["internal_error"])
    text = json.dumps(stack.post({"amount": 1}).payload)
    assert not any(word in text for word in ("canary", "ValueError", "Traceback", ".py", "botocore"))
    assert "ValueError at " in stack.log_text()
    assert "no-url-canary" not in stack.log_text()


@pytest.mark.parametrize("code", HTTP_ONLY)
def test_an_error_that_only_http_knows(stack, code) -> None:
    headers, body = HTTP_ONLY[code]
    assert_is(BY_CODE[code], stack.post(body, headers))
    assert stack.seen()["calls"] == []


def test_what_is_too_large_for_http_is_invalid_directly(stack) -> None:
    answer = stack.invoke(HTTP_ONLY["payload_too_large"][1])
    assert answer.error_type == "InvalidRequest"
    assert answer.problem["errors"] == [{"pointer": "/description", "detail": "must have at most 255 characters"}]


def test_the_owner_fills_the_secret_and_the_next_request_succeeds(start_stack, way_in) -> None:
    stack = start_stack(fill_secret=False)
    assert way_in(stack, {"amount": 1}).problem["code"] == "service_not_configured"
    stack.tell("/secrets/fill", secret_string='{"api_key": "local-api-key"}')
    assert way_in(stack, {"amount": 1}).problem["code"] == "service_not_configured"
    stack.tell("/secrets/fill", secret_string='{"api_key": "local-api-key", "shop_id": "local-shop"}')
    assert way_in(stack, {"amount": 1}).payload["status"] == "success"


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/jsonp", "application/json-patch+json", "text/json", "application"]
)
def test_only_json_is_taken_for_json(stack, content_type) -> None:
    assert stack.post({"amount": 1}, {"Content-Type": content_type}).problem["code"] == "unsupported_media_type"
    assert stack.seen()["calls"] == []


def test_a_sandbox_that_is_not_ready_says_so_at_its_start(start_stack) -> None:
    stack = start_stack(fill_secret=False)
    stack.post({"amount": 1})
    assert '"message":"not ready at start"' in stack.log_text()


@pytest.mark.parametrize("origin", ["null", "http://localhost:8001", "https://localhost:8000", "http://localhost", ""])
def test_only_exactly_the_listed_origins_pass(stack, origin) -> None:
    assert stack.post({"amount": 1}, {"Origin": origin}).problem["code"] == "origin_not_allowed"


@pytest.mark.parametrize(
    "event",
    [
        [], '"text"', 1, None, True, {}, {"body": "{}"}, {"requestContext": 1}, {"Records": []},
        # API Gateway's only if both are there. A destination record of Lambda, for one, has a requestContext too.
        {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": {"amount": 1}},
        {"version": "2.0", "requestContext": {}, "amount": 1},
        {"requestContext": {"http": {}}, "amount": 1},
        {"version": "2.0", "requestContext": {"http": 5}, "amount": 1},
        {"version": 2.0, "requestContext": {"http": {}}, "amount": 1},
    ],
)  # fmt: skip
def test_a_direct_event_that_is_no_request_fails_and_names_its_strange_fields(stack, event) -> None:
    answer = stack.invoke(event)
    assert answer.error_type == "InvalidRequest"
    if isinstance(event, dict) and event:
        assert {error["pointer"] for error in answer.problem["errors"]} >= {
            f"/{name}" for name in event if name != "amount"
        }


@pytest.mark.parametrize(
    "strange",
    [
        {"headers": 5}, {"headers": ["content-type"]}, {"headers": {"content-type": ["application/json"]}},
        {"headers": {"content-type": None}}, {"body": {}}, {"body": 5}, {"body": ["{}"]}, {"body": None},
        {"isBase64Encoded": True, "body": "not base64!"}, {"isBase64Encoded": True, "body": "/w=="},
        {"body": "\ud800"}, {"requestContext": {"http": {}, "requestId": 5}, "body": "[]"},
    ],
)  # fmt: skip
def test_an_http_event_of_odd_types_is_the_callers_mistake_and_no_crash(stack, strange) -> None:
    event = {
        "version": "2.0",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"content-type": "application/json"},
        "body": '{"amount": 1}',
        **strange,
    }
    reply = stack.invoke(event).payload
    assert reply["statusCode"] in (400, 415)
    assert json.loads(reply["body"])["code"] in ("invalid_request", "unsupported_media_type")
