"""Lambda entry point: an HTTP request or a direct invocation in, an invoice or an error out."""

import base64
import functools
import json
import re
import time
import traceback
from typing import TYPE_CHECKING, Annotated, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Body
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from pydantic import ValidationError

from invoicing.errors import (
    FieldError,
    InternalError,
    InvalidRequest,
    InvoicingError,
    OriginNotAllowed,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from invoicing.idempotency import Delivery, IdempotencyKey
from invoicing.models import (
    DirectInvoiceRequest,
    Invoice,
    InvoiceRequest,
    encode_json_object,
    invalid_request,
    parse_idempotency_key,
    parse_json_object,
)
from invoicing.observability import logger, metrics
from invoicing.service import InvoiceService
from invoicing.settings import load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_PATH = "/v1/invoice/create"
_MAX_BODY_BYTES = 16 * 1024
_JSON_MEDIA_TYPE = re.compile(r"\s*application/json\s*(;|$)", re.IGNORECASE)

app = APIGatewayHttpResolver(enable_validation=True, json_body_deserializer=parse_json_object, debug=False)


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP, log_event=False, clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    """Answers an API Gateway request (payload 2.0) with an HTTP response, any other event as a direct invocation.

    Raises:
        InvoicingError: To a direct caller only: the class name is the error type, the message a problem in JSON.
    """
    if isinstance(event, dict) and isinstance(event.get("requestContext"), dict):
        return _answer_http(event, context)
    return _answer_direct(event, context)


@app.post(
    _PATH,
    responses={200: {"description": "The invoice", "content": {"application/json": {"model": Invoice}}}},
)
def create_over_http(request: Annotated[InvoiceRequest, Body()]) -> Response[str]:
    """Create an invoice."""
    delivery = _create(request, app.context["idempotency_key"], app.lambda_context)
    headers = _headers(app.lambda_context) | ({"Idempotent-Replayed": "true"} if delivery.replayed else {})
    # A string: the resolver's own serializer writes a Decimal as a string.
    return Response(200, "application/json", encode_json_object(delivery.invoice.payload()), headers)


@app.exception_handler(RequestValidationError)  # type: ignore[untyped-decorator]
def _refuse_fields(error: RequestValidationError) -> Response[str]:
    raise invalid_request([{**fault, "loc": fault["loc"][1:]} for fault in error.errors()])


def _answer_http(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    try:
        app.append_context(idempotency_key=_admit(APIGatewayProxyEventV2(event)))  # type: ignore[no-untyped-call]
        return app.resolve(_routed(event), context)
    except Exception as exception:
        error = _as_outcome(exception)
    headers = {"Content-Type": "application/problem+json", **_headers(context)}
    if retry_after_s := error.retry_after_s or error.default_retry_after_s:
        headers["Retry-After"] = str(retry_after_s)
    body = json.dumps(error.problem(context.aws_request_id))
    return {"statusCode": error.http_status, "headers": headers, "body": body}


def _routed(event: dict[str, Any]) -> dict[str, Any]:
    """Returns the event as the resolver needs it, whatever the caller's letters look like.

    API Gateway has matched the route already; a custom domain's mapping may still stand in the path. The content type
    is the one header that the resolver looks at, and it compares by letter; no other header goes further than this.
    """
    http = {**event["requestContext"].get("http", {}), "method": "POST"}
    return {
        **event,
        "rawPath": _PATH,
        "headers": {"content-type": "application/json"},
        "requestContext": {**event["requestContext"], "http": http, "stage": "$default"},
    }


def _answer_direct(event: Any, context: "LambdaContext") -> dict[str, Any]:
    try:
        request = DirectInvoiceRequest.model_validate(event)
        key = request.idempotency_key or request.order_id
        delivery = _create(request, IdempotencyKey("direct", key) if key else None, context)
        # The runtime encodes a Decimal as an exact number.
        return delivery.invoice.payload()
    except Exception as exception:
        error = _as_outcome(exception)
    raise error.for_direct_caller(context.aws_request_id) from None


def _admit(event: APIGatewayProxyEventV2) -> IdempotencyKey | None:
    """Returns the request's idempotency key, if it has one.

    Refuses what need not be parsed for that: a foreign page, another media type, a body too large or not text.
    """
    origin = event.headers.get("origin")
    if origin is not None and not load_settings().allows_origin(origin):
        raise OriginNotAllowed
    if not _JSON_MEDIA_TYPE.match(event.headers.get("content-type", "")):
        raise UnsupportedMediaType
    try:
        # API Gateway passes a body that it does not take for text in base64.
        body = base64.b64decode(event.body or "") if event.is_base64_encoded else (event.body or "").encode()
        if len(body) > _MAX_BODY_BYTES:
            raise PayloadTooLarge
        body.decode()
    except ValueError as error:
        raise InvalidRequest(type(error).__name__, fields=[FieldError("", "must be valid JSON in UTF-8")]) from None
    if not body:
        raise InvalidRequest(fields=[FieldError("", "must be a JSON object")])
    header = event.headers.get("idempotency-key")
    return None if header is None else IdempotencyKey("http", parse_idempotency_key(header))


def _create(request: InvoiceRequest, key: IdempotencyKey | None, context: "LambdaContext") -> Delivery:
    lambda_deadline_s = time.monotonic() + context.get_remaining_time_in_millis() / 1000
    return _service().create(request, key, lambda_deadline_s=lambda_deadline_s)


def _as_outcome(exception: Exception) -> InvoicingError:
    """Returns the row of the error table that this exception is, logged and counted."""
    match exception:
        case InvoicingError():
            error = exception
        case ValidationError():
            error = invalid_request(exception.errors())
        case _:
            # Only type and place: the message of an exception that nobody foresaw may hold anything, a key included.
            frames = traceback.extract_tb(exception.__traceback__)
            places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
            error = InternalError(f"{type(exception).__name__} at {' > '.join(places)}")
    log = logger.error if error.http_status >= 500 else logger.info
    log("invoice not created", code=error.code, reason=error.reason)
    metrics.add_metric(type(error).__name__, "Count", 1)
    return error


def _headers(context: "LambdaContext") -> dict[str, str]:
    return {"Cache-Control": "no-store", "X-Request-Id": context.aws_request_id}


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
