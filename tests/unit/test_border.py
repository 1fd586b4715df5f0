"""The border: what is a request over HTTP, how it is read, and what becomes of a result or of any exception."""

import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from invoicing.border import Handler, HttpAnswer, HttpRequest, Invocation, handler
from invoicing.contract.errors import (
    FieldError,
    InternalError,
    InvalidRequest,
    InvoiceInProgress,
    InvoicingError,
    OriginNotAllowed,
    PayloadTooLarge,
    ProviderUnavailable,
    ServiceNotConfigured,
    UnsupportedMediaType,
)
from invoicing.contract.settings import BorderSettings
from invoicing.observability import logger
from tests.support.events import SITE, http_event, lambda_context
from tests.support.metrics import emitted, metrics_in

# As the function itself does: most of these stories count nothing.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

DOCUMENTED = (
    InvalidRequest,
    InvoiceInProgress,
    OriginNotAllowed,
    PayloadTooLarge,
    UnsupportedMediaType,
    ServiceNotConfigured,
    ProviderUnavailable,
    InternalError,
)
BY_VERSION = frozenset({"service", "function", "version"})
JSON = {"content-type": "application/json"}


def answering(story: Callable[[Any, Invocation], Any]) -> Handler:
    """A handler that does the same with both kinds of event."""

    def over_http(request: HttpRequest, invocation: Invocation) -> HttpAnswer:
        return HttpAnswer(json.dumps(story(request, invocation)))

    return handler(errors=DOCUMENTED, failure="nothing done", http=over_http, direct=story)


def raising(error: Exception) -> Handler:
    def story(*_: Any) -> Any:
        raise error

    return answering(story)


def seen_by(event: dict[str, Any]) -> HttpRequest:
    """The request that a function gets for an event."""
    seen: list[HttpRequest] = []
    answering(lambda request, _: seen.append(request))(event, lambda_context())
    return seen[0]


HTTP_CONTEXT = {"http": {"method": "POST", "path": "/"}, "requestId": "gateway-1"}


@pytest.mark.parametrize(
    "event",
    [
        # https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": {"amount": 1}},
        {"version": "1.0", "requestContext": HTTP_CONTEXT},
        {"requestContext": HTTP_CONTEXT},
        {"version": 2.0, "requestContext": HTTP_CONTEXT},
        {"version": "2.0", "requestContext": {"traceparent": "00-1"}},
        {"version": "2.0", "requestContext": {"http": "POST"}},
        {"version": "2.0", "requestContext": "http"},
        {"version": "2.0", "amount": 1},
        {"amount": 1},
        {},
        [{"version": "2.0", "requestContext": HTTP_CONTEXT}],
        "2.0",
        5,
        None,
    ],
)
def test_what_is_not_api_gateways_is_a_direct_event(event: Any) -> None:
    assert answering(lambda event, _: {"given": event})(event, lambda_context()) == {"given": event}


def test_a_request_over_http_has_its_headers_in_lower_case_and_its_body_as_it_was_sent() -> None:
    request = seen_by({**http_event("{é}", origin=None), "headers": {"Content-Type": "x", "IDEMPOTENCY-KEY": "K"}})
    assert request.headers == {"content-type": "x", "idempotency-key": "K"}
    assert request.body == "{é}".encode()
    assert seen_by(http_event(b"\xff\x00binary")).body == b"\xff\x00binary"
    assert seen_by(http_event(None)).body == b""
    assert seen_by({**http_event(None), "headers": None, "body": None}) == HttpRequest({}, b"")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"headers": 5}, "the request's headers must be text"),
        ({"headers": ["a"]}, "the request's headers must be text"),
        ({"headers": {"origin": 5}}, "the request's headers must be text"),
        ({"headers": {"origin": ["https://shop.example"]}}, "the request's headers must be text"),
        ({"headers": {"origin": None}}, "the request's headers must be text"),
        ({"queryStringParameters": {"uuid": 5}}, "the request's query must be text"),
        ({"queryStringParameters": "uuid=5"}, "the request's query must be text"),
        ({"body": {"amount": 1}}, "the request's body must be text"),
        ({"body": 5}, "the request's body must be text"),
        ({"body": "\ud800"}, "must be valid JSON in UTF-8"),
        ({"body": "e!30=", "isBase64Encoded": True}, "must be valid JSON in UTF-8"),
        ({"body": "é", "isBase64Encoded": True}, "must be valid JSON in UTF-8"),
        ({"body": "YQ", "isBase64Encoded": True}, "must be valid JSON in UTF-8"),
    ],
)
def test_an_event_of_odd_types_is_the_callers_400_and_never_our_500(changes: dict[str, Any], rule: str) -> None:
    reply = answering(lambda *_: pytest.fail("was read"))({**http_event({}), **changes}, lambda_context())
    assert (reply["statusCode"], json.loads(reply["body"])["errors"]) == (400, [{"pointer": "", "detail": rule}])


@pytest.mark.parametrize("request_id", [5, None, ["x"], {}])
def test_an_odd_request_id_of_api_gateway_does_not_matter(request_id: object) -> None:
    event = http_event({})
    event["requestContext"]["requestId"] = request_id
    assert answering(lambda *_: {})(event, lambda_context())["statusCode"] == 200


@pytest.mark.parametrize(
    ("media_type", "accepted"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON ;charset=utf-8", True),
        (" application/json", True),
        ("application/json-patch", False),
        ("application/jsonx", False),
        ("text/plain; application/json", False),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("", False),
        (None, False),
    ],
)
def test_only_what_says_that_it_is_json_is_read(media_type: str | None, accepted: bool) -> None:
    request = HttpRequest({} if media_type is None else {"content-type": media_type}, b'{"a": 1}')
    if accepted:
        assert request.json_object(max_bytes=8) == {"a": 1}
    else:
        with pytest.raises(UnsupportedMediaType):
            request.json_object(max_bytes=8)


def test_a_body_may_have_so_many_bytes_and_not_one_more() -> None:
    body = '{"a": "é"}'.encode()
    assert HttpRequest(JSON, body).json_object(max_bytes=len(body)) == {"a": "é"}
    with pytest.raises(PayloadTooLarge):
        HttpRequest(JSON, body).json_object(max_bytes=len(body) - 1)
    # Parsing comes last: it is what a large body makes expensive.
    with pytest.raises(PayloadTooLarge):
        HttpRequest(JSON, b"{" * 100).json_object(max_bytes=99)
    with pytest.raises(UnsupportedMediaType):
        HttpRequest({}, b"{" * 100).json_object(max_bytes=99)


@pytest.mark.parametrize(
    ("body", "pointer", "rule"),
    [
        (b"", "", "must be a JSON object"),
        (b"[]", "", "must be a JSON object"),
        (b"{", "", "must be valid JSON in UTF-8"),
        (b"\xff", "", "must be valid JSON in UTF-8"),
        (b'{"a": 1, "a": 2}', "/a", "must be in the request only once"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_by_its_rule(body: bytes, pointer: str, rule: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        HttpRequest(JSON, body).json_object(max_bytes=100)
    assert refusal.value.fields == (FieldError(pointer, rule),)


def test_a_page_of_a_foreign_site_is_refused_and_a_caller_that_is_no_page_is_not() -> None:
    settings = BorderSettings.model_validate({"allowed_origins": SITE})
    HttpRequest({"origin": SITE}, b"").require_origin(settings)
    HttpRequest({}, b"").require_origin(settings)
    for origin in ("https://evil.example", "null", ""):
        with pytest.raises(OriginNotAllowed):
            HttpRequest({"origin": origin}, b"").require_origin(settings)


def test_an_answer_is_json_that_nobody_may_cache_under_the_id_that_the_log_has() -> None:
    answer = HttpAnswer('{"amount": 19.990}', {"Idempotent-Replayed": "true"})
    function = handler(errors=(), failure="", http=lambda *_: answer, direct=lambda *_: {})
    assert function(http_event({}), lambda_context(aws_request_id="request-9")) == {
        "statusCode": 200,
        "headers": {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "X-Request-Id": "request-9",
            "Idempotent-Replayed": "true",
        },
        "body": '{"amount": 19.990}',
    }


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (InvalidRequest(fields=[FieldError("/amount", "is required")]), None),
        (InvoiceInProgress(), "1"),
        (ProviderUnavailable(), "5"),
        (ProviderUnavailable(retry_after_s=60), "60"),
        (ProviderUnavailable(retry_after_s=0), "5"),
    ],
)
def test_over_http_an_error_is_a_problem_with_its_status(error: InvoicingError, retry_after: str | None) -> None:
    reply = raising(error)(http_event({}), lambda_context(aws_request_id="request-9"))
    waiting = {"Retry-After": retry_after} if retry_after else {}
    assert reply == {
        "statusCode": error.http_status,
        "headers": {
            "Content-Type": "application/problem+json",
            "Cache-Control": "no-store",
            "X-Request-Id": "request-9",
            **waiting,
        },
        "body": json.dumps(error.problem("request-9")),
    }


def test_to_a_direct_caller_an_error_is_raised_under_its_name_and_shows_nothing_of_what_led_there() -> None:
    with pytest.raises(ProviderUnavailable) as raised:
        raising(ProviderUnavailable("the reason"))({}, lambda_context(aws_request_id="request-9"))
    assert json.loads(str(raised.value)) == ProviderUnavailable().problem("request-9")
    assert raised.value.__suppress_context__
    places = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert "lambda_handler" in places
    assert "story" not in places


class OfItsOwn(InvalidRequest):
    """A kind of error that the function does not document."""


@pytest.mark.parametrize(
    ("fault", "name"),
    [(KeyError("buyer@shop.example"), "KeyError"), (OfItsOwn("buyer@shop.example"), "OfItsOwn")],
)
@pytest.mark.parametrize("event", [http_event({}), {}], ids=["http", "direct"])
def test_what_a_function_does_not_document_is_our_error_and_the_log_has_its_place_and_not_its_words(
    log, event, fault: Exception, name: str
) -> None:
    function = raising(fault)
    if event:
        problem = json.loads(function(event, lambda_context())["body"])
    else:
        with pytest.raises(InternalError) as raised:
            function(event, lambda_context())
        problem = json.loads(str(raised.value))
    assert problem == InternalError().problem("request-1")
    [line] = log()
    assert line["reason"].startswith(f"{name} at ")
    assert line["reason"].endswith(" story")
    assert f"{__file__}:" in line["reason"]
    assert "buyer" not in json.dumps(line)


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (InvalidRequest(), "INFO"),
        (InvoiceInProgress(), "INFO"),
        (OriginNotAllowed(), "INFO"),
        (ServiceNotConfigured(), "ERROR"),
        (ProviderUnavailable(), "ERROR"),
        (KeyError(), "ERROR"),
    ],
)
def test_only_failures_of_ours_and_the_providers_are_errors_in_the_log(log, error: Exception, level: str) -> None:
    raising(error)(http_event({}), lambda_context())
    assert [(line["level"], line["message"]) for line in log()] == [(level, "nothing done")]


def test_a_refusal_names_the_fields_at_fault_by_pointer_and_never_what_they_held(log) -> None:
    fields = [FieldError("/amount", "must be less than 500"), FieldError("/email", "must be an e-mail address")]
    raising(InvalidRequest("the reason", fields=fields))(http_event({}), lambda_context())
    raising(ServiceNotConfigured("the reason"))(http_event({}), lambda_context())
    refused, failed = log()
    assert (refused["code"], refused["reason"], refused["fields"]) == (
        "invalid_request",
        "the reason",
        ["/amount", "/email"],
    )
    assert "must be" not in json.dumps(refused)
    assert failed["code"] == "service_not_configured"
    assert "fields" not in failed


def test_a_line_never_carries_the_keys_of_the_request_before(log) -> None:
    def first(*_: Any) -> Any:
        logger.append_keys(order_id="A-1001", idempotency_record="http#1")
        raise InvalidRequest

    event = http_event({})
    event["requestContext"]["requestId"] = "gateway-1"
    answering(first)(event, lambda_context())
    with pytest.raises(InvalidRequest):
        raising(InvalidRequest())({}, lambda_context(aws_request_id="request-2"))
    before, after = log()
    assert (before["order_id"], before["correlation_id"]) == ("A-1001", "gateway-1")
    assert after["function_request_id"] == "request-2"
    assert not {"order_id", "idempotency_record", "correlation_id"} & after.keys()


@pytest.mark.parametrize("error", [*(error() for error in DOCUMENTED), KeyError()], ids=lambda it: type(it).__name__)
def test_each_error_is_counted_once_and_ours_for_the_version_that_raised_it_too(capsys, error: Exception) -> None:
    name, is_ours = type(error).__name__, not isinstance(error, InvoicingError) or error.http_status >= 500
    name = name if isinstance(error, InvoicingError) else "InternalError"
    raising(error)(http_event({}), lambda_context(function_name="invoices-X", function_version="12"))
    over_http = capsys.readouterr().out
    with pytest.raises(InvoicingError):
        raising(error)({}, lambda_context(function_name="invoices-X", function_version="12"))
    directly = capsys.readouterr().out
    of_the_version = {(name, BY_VERSION): [1.0]} if is_ours else {}
    cold_start = {("ColdStart", frozenset({"function_name", "service"})): [1.0]}
    once = {(name, frozenset({"service"})): [1.0], **of_the_version}
    assert {**cold_start, **emitted(over_http)} == {**cold_start, **once}
    # Over HTTP, an error is an ordinary reply to Lambda.
    assert emitted(directly) == {**once, ("ErrorRaised", BY_VERSION): [1.0]}
    for line in metrics_in(over_http + directly):
        if "version" in line:
            assert (line["service"], line["function"], line["version"]) == ("unit-tests", "invoices-X", "12")


@pytest.mark.usefixtures("standing_clock")
def test_a_function_has_until_lambda_ends_the_invocation_and_no_longer() -> None:
    deadlines_s: list[float] = []
    function = answering(lambda _, invocation: deadlines_s.append(invocation.deadline_s))
    for event in (http_event({}), {}):
        function(event, lambda_context(get_remaining_time_in_millis=lambda: 2_500))
    assert deadlines_s == [1002.5, 1002.5]


def test_what_is_compared_with_lambdas_own_errors_has_the_time_of_the_start(
    capsys, standing_clock, monkeypatch
) -> None:
    def story(*_: Any) -> Any:
        monkeypatch.setattr("time.time", lambda: standing_clock + 20)
        raise ServiceNotConfigured

    with pytest.raises(ServiceNotConfigured):
        answering(story)({}, lambda_context())
    stamps = {
        metric["Name"]: line["_aws"]["Timestamp"]
        for line in metrics_in(capsys.readouterr().out)
        if "version" in line
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }
    assert stamps == dict.fromkeys(("ServiceNotConfigured", "ErrorRaised"), int(standing_clock * 1000))
