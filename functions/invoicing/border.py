"""The border: an API Gateway request in, an answer or a problem out, and what happens around every invocation.

The only module that knows API Gateway's events. ``handler`` gets what a function does with a request.
"""

import base64
import json
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from invoicing.contract.errors import (
    FieldError,
    InternalError,
    InvalidRequest,
    InvoicingError,
    OriginNotAllowed,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from invoicing.contract.field_errors import read_json_object
from invoicing.contract.settings import BorderSettings
from invoicing.observability import ERROR_RAISED, count_for_version, let_pass, logger, metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_JSON_MEDIA_TYPE = re.compile(r"\s*application/json\s*(;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An API Gateway request (payload version 2.0), read but not yet validated.

    Args:
        headers: By name in lower case.
        body: The body as it was sent.
        query: The parameters of the query string; API Gateway joins a repeated one with commas.
    """

    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)

    def require_origin(self, settings: BorderSettings) -> None:
        """Refuses a browser page of a foreign origin.

        Raises:
            OriginNotAllowed: There is an ``Origin`` header, and it is not allowed.
        """
        origin = self.headers.get("origin")
        if origin is not None and not settings.allows_origin(origin):
            raise OriginNotAllowed

    def json_object(self, *, max_bytes: int) -> dict[str, Any]:
        """Returns the JSON object in the body. Cheap checks come first, parsing last.

        Args:
            max_bytes: How long the body may be.

        Raises:
            UnsupportedMediaType: The request does not say that it is JSON. A form needs no preflight, so any site
                could post one.
            PayloadTooLarge: The body is too long.
            InvalidRequest: It is not a JSON object in UTF-8.
        """
        if not _JSON_MEDIA_TYPE.match(self.headers.get("content-type", "")):
            raise UnsupportedMediaType
        body = self.bounded_body(max_bytes=max_bytes)
        if not body:
            raise InvalidRequest(fields=[FieldError("", "must be a JSON object")])
        return read_json_object(body)

    def bounded_body(self, *, max_bytes: int) -> bytes:
        """Returns the body.

        Args:
            max_bytes: How long it may be.

        Raises:
            PayloadTooLarge: It is longer.
        """
        if len(self.body) > max_bytes:
            raise PayloadTooLarge
        return self.body


class HttpAnswer(NamedTuple):
    """A success over HTTP: JSON text, and the headers that only this answer has."""

    body: str
    headers: Mapping[str, str] = {}


class Invocation(NamedTuple):
    """What a function needs to know of its invocation.

    Args:
        deadline_s: ``time.monotonic()`` at which Lambda ends it.
    """

    deadline_s: float


type AnswerHttp = Callable[[HttpRequest, Invocation], HttpAnswer]
type AnswerDirect = Callable[[Any, Invocation], dict[str, Any]]
type Handler = Callable[[Any, "LambdaContext"], dict[str, Any]]


def handler(
    *,
    errors: Sequence[type[InvoicingError]],
    failure: str,
    http: AnswerHttp | None = None,
    direct: AnswerDirect | None = None,
) -> Handler:
    """Returns the handler of a function: logger and metrics around it, every exception a row of the error table.

    Args:
        errors: What the function documents. Anything else that it raises is an ``InternalError``.
        failure: What the log says when the function did not do what it is for, such as ``invoice not created``.
        http: Answers a request from API Gateway; ``None`` where nothing routes to the function, which refuses one.
        direct: Answers any other event: the result for ``lambda:Invoke``, which ``json`` can encode. ``None`` where the
            function answers API Gateway only.

    The handler raises an ``InvoicingError`` to direct callers only: the name of its class is the error type, and its
    message is the problem as one line of JSON.
    """

    @logger.inject_lambda_context(log_event=False, clear_state=True)
    @metrics.log_metrics(capture_cold_start_metric=True)
    def lambda_handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
        started_s = time.time()
        let_pass(metrics)
        invocation = Invocation(time.monotonic() + context.get_remaining_time_in_millis() / 1000)
        is_http = _is_http(event)
        try:
            if not is_http:
                return (direct or _refuse)(event, invocation)
            logger.set_correlation_id(event["requestContext"].get("requestId"))
            answer = (http or _refuse_http)(_read_request(event), invocation)
            return _response(200, "application/json", context, answer.headers, answer.body)
        except Exception as exception:
            error = _outcome(exception, errors)
        _report(error, failure, context, started_s)
        if is_http:
            return _problem(error, context)
        # Lambda counts every exception that a function raises as its error. Its count minus this metric is what crashed
        # or timed out.
        count_for_version(ERROR_RAISED, context, started_s=started_s)
        raise error.for_direct_caller(context.aws_request_id) from None

    return lambda_handler  # type: ignore[no-any-return] # the decorators have no types


def _refuse(_: Any, __: Invocation) -> dict[str, Any]:
    raise InvalidRequest(fields=[FieldError("", "must be a request from the HTTP API")])


def _refuse_http(_: HttpRequest, __: Invocation) -> HttpAnswer:
    raise InvalidRequest(fields=[FieldError("", "must not be a request from the HTTP API")])


def _is_http(event: Any) -> bool:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    # A direct event may have a field requestContext too: Lambda's own destination records do.
    if not isinstance(event, dict) or event.get("version") != "2.0":
        return False
    context = event.get("requestContext")
    return isinstance(context, dict) and isinstance(context.get("http"), dict)


def _read_request(event: Mapping[str, Any]) -> HttpRequest:
    headers, query = event.get("headers") or {}, event.get("queryStringParameters") or {}
    for name, texts in (("headers", headers), ("query", query)):
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise InvalidRequest(fields=[FieldError("", f"the request's {name} must be text")])
    body = event.get("body") or ""
    if not isinstance(body, str):
        raise InvalidRequest(fields=[FieldError("", "the request's body must be text")])
    try:
        # API Gateway passes a body that it does not consider text in base64.
        content = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError:
        raise InvalidRequest(fields=[FieldError("", "must be valid JSON in UTF-8")]) from None
    return HttpRequest({name.lower(): value for name, value in headers.items()}, content, query)


def _outcome(exception: Exception, errors: Sequence[type[InvoicingError]]) -> InvoicingError:
    if isinstance(exception, InvoicingError) and type(exception) in errors:
        return exception
    # Only type and place: the message of an unforeseen exception may hold anything, even a key.
    frames = traceback.extract_tb(exception.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return InternalError(f"{type(exception).__name__} at {' > '.join(places)}")


def _report(error: InvoicingError, failure: str, context: "LambdaContext", started_s: float) -> None:
    details: dict[str, Any] = {"code": error.code, "reason": error.reason}
    if error.fields:
        details["fields"] = [field.pointer for field in error.fields]
    is_ours = error.http_status >= 500
    # A caller's mistake is not an error of ours.
    (logger.error if is_ours else logger.info)(failure, **details)
    metrics.add_metric(type(error).__name__, "Count", 1)
    if is_ours and error.blames_version:  # to Lambda, a reply like any other
        count_for_version(type(error).__name__, context, started_s=started_s)


def _problem(error: InvoicingError, context: "LambdaContext") -> dict[str, Any]:
    retry_after_s = error.retry_after_s or error.default_retry_after_s
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
    body = json.dumps(error.problem(context.aws_request_id))
    return _response(error.http_status, "application/problem+json", context, headers, body)


def _response(
    status: int, media_type: str, context: "LambdaContext", headers: Mapping[str, str], body: str
) -> dict[str, Any]:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    every = {"Content-Type": media_type, "Cache-Control": "no-store", "X-Request-Id": context.aws_request_id}
    return {"statusCode": status, "headers": {**every, **headers}, "body": body}
