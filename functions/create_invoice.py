"""Lambda entry point: an HTTP request or a direct invocation in, an invoice or an error out."""

import gc

# Nearly all that the imports make stays for good; to look it through for garbage, again and again, took 8 % of the
# start-up. On again below.
gc.disable()

import base64
import functools
import json
import re
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from invoicing.contract.errors import (
    FieldError,
    InternalError,
    InvalidRequest,
    InvoicingError,
    OriginNotAllowed,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from invoicing.contract.exact_json import encode_json_object
from invoicing.contract.field_errors import read_json_object, validated
from invoicing.contract.idempotency_key import parse_idempotency_key
from invoicing.contract.requests import DirectInvoiceRequest, InvoiceRequest
from invoicing.contract.settings import load_settings
from invoicing.create import InvoiceService
from invoicing.keys import Delivery, IdempotencyKey
from invoicing.observability import ERROR_RAISED, count_for_version, logger, metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_MAX_BODY_BYTES = 16 * 1024
_JSON_MEDIA_TYPE = re.compile(r"\s*application/json\s*(;|$)", re.IGNORECASE)


@logger.inject_lambda_context(log_event=False, clear_state=True)
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    """Answers an API Gateway request (payload 2.0) with an HTTP response, any other event as a direct invocation.

    Raises:
        InvoicingError: To a direct caller only: the class name is the error type, the message a problem in JSON.
    """
    if isinstance(event, dict) and isinstance(event.get("requestContext"), dict):
        return _answer_http(event, context)
    return _answer_direct(event, context)


def _answer_http(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    logger.set_correlation_id(event["requestContext"].get("requestId"))
    headers = {"Cache-Control": "no-store", "X-Request-Id": context.aws_request_id}
    try:
        request, key = _read_http(event)
        delivery = _create(request, key, context)
        if delivery.replayed:
            headers["Idempotent-Replayed"] = "true"
        return _response(200, "application/json", headers, encode_json_object(delivery.invoice.payload()))
    except Exception as exception:
        error = _as_outcome(exception, context)
    if retry_after_s := error.retry_after_s or error.default_retry_after_s:
        headers["Retry-After"] = str(retry_after_s)
    problem = json.dumps(error.problem(context.aws_request_id))
    return _response(error.http_status, "application/problem+json", headers, problem)


def _response(status: int, media_type: str, headers: Mapping[str, str], body: str) -> dict[str, Any]:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    return {"statusCode": status, "headers": {"Content-Type": media_type, **headers}, "body": body}


def _answer_direct(event: Any, context: "LambdaContext") -> dict[str, Any]:
    try:
        request, key = _read_direct(event)
        delivery = _create(request, key, context)
        # The runtime encodes a Decimal as an exact number.
        return delivery.invoice.payload()
    except Exception as exception:
        error = _as_outcome(exception, context)
    # Lambda counts it as an error of the function; the difference of the two is what crashed or ran out of time.
    count_for_version(ERROR_RAISED, context.function_version)
    raise error.for_direct_caller(context.aws_request_id) from None


def _read_http(event: dict[str, Any]) -> tuple[InvoiceRequest, IdempotencyKey | None]:
    """Returns what an HTTP request asks for, and its idempotency key if it has one.

    What need not be parsed for that is refused first: a foreign page, another media type, a body too large or not text.
    """
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    origin = headers.get("origin")
    if origin is not None and not load_settings().allows_origin(origin):
        raise OriginNotAllowed
    if not _JSON_MEDIA_TYPE.match(headers.get("content-type", "")):
        raise UnsupportedMediaType
    body = event.get("body") or ""
    try:
        # API Gateway passes a body that it does not take for text in base64.
        content = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        if len(content) > _MAX_BODY_BYTES:
            raise PayloadTooLarge
        text = content.decode()
    except ValueError as error:
        raise InvalidRequest(type(error).__name__, fields=[FieldError("", "must be valid JSON in UTF-8")]) from None
    if not text:
        raise InvalidRequest(fields=[FieldError("", "must be a JSON object")])
    header = headers.get("idempotency-key")
    key = None if header is None else IdempotencyKey("http", parse_idempotency_key(header))
    return validated(InvoiceRequest, read_json_object(text)), key


def _read_direct(event: Any) -> tuple[InvoiceRequest, IdempotencyKey | None]:
    """Returns what a direct caller asks for, and its idempotency key if it has one."""
    request = validated(DirectInvoiceRequest, event)
    if request.idempotency_key:
        return request, IdempotencyKey("direct-key", request.idempotency_key)
    return request, IdempotencyKey("direct", request.order_id) if request.order_id else None


def _create(request: InvoiceRequest, key: IdempotencyKey | None, context: "LambdaContext") -> Delivery:
    lambda_deadline_s = time.monotonic() + context.get_remaining_time_in_millis() / 1000
    return _service().create(request, key, lambda_deadline_s=lambda_deadline_s)


def _as_outcome(exception: Exception, context: "LambdaContext") -> InvoicingError:
    """Returns the row of the error table that this exception is, logged and counted."""
    match exception:
        case InvoicingError():
            error = exception
        case _:
            # Only type and place: the message of an exception that nobody foresaw may hold anything, a key included.
            frames = traceback.extract_tb(exception.__traceback__)
            places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
            error = InternalError(f"{type(exception).__name__} at {' > '.join(places)}")
    log = logger.error if error.http_status >= 500 else logger.info
    log("invoice not created", code=error.code, reason=error.reason)
    metrics.add_metric(type(error).__name__, "Count", 1)
    if error.http_status >= 500:  # to Lambda, a reply like any other
        count_for_version(type(error).__name__, context.function_version)
    return error


@functools.cache
def _service() -> InvoiceService:
    return InvoiceService.from_settings(load_settings())


def _prepare() -> None:
    # While the sandbox starts, so that the first buyer does not wait for it. Whatever fails here is tried again by the
    # first request, which can tell its caller.
    try:
        _service().read_secret()
    except Exception as exception:
        logger.warning("not ready at start", reason=getattr(exception, "reason", type(exception).__name__))


_prepare()
gc.freeze()  # what is there now is never looked through again
gc.enable()
