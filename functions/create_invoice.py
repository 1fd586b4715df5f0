"""Lambda entry point of CreateInvoiceFunction: an HTTP request or a direct event in, an invoice or an error out."""

from invoicing import startup

# isort: split
# The line above comes first: it begins what takes time on the network while everything else is imported.
import functools
from typing import Any

from invoicing import border
from invoicing.contract import errors
from invoicing.contract.exact_json import encode_json_object
from invoicing.contract.field_errors import validated
from invoicing.contract.idempotency_key import parse_idempotency_key
from invoicing.contract.requests import (
    DirectInvoiceRequest,
    DirectItemsRequest,
    InvoiceRequest,
    ItemsRequest,
)
from invoicing.contract.settings import CreateInvoiceSettings, load
from invoicing.create import InvoiceService
from invoicing.keys import IdempotencyKey
from invoicing.observability import logger, order_in_log

ERRORS = (
    errors.InvalidRequest,
    errors.InvoiceRejected,
    errors.OriginNotAllowed,
    errors.InvoiceInProgress,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
    errors.IdempotencyKeyReused,
    errors.InternalError,
    errors.ServiceNotConfigured,
    errors.ProviderCredentialsRejected,
    errors.PayLinkRefused,
    errors.ProviderUnavailable,
    errors.PricesUnavailable,
    errors.OutcomeUnknown,
)
MAX_BODY_BYTES = 16 * 1024


def _over_http(request: border.HttpRequest, invocation: border.Invocation) -> border.HttpAnswer:
    settings = load(CreateInvoiceSettings)
    request.require_origin(settings)
    fields = request.json_object(max_bytes=MAX_BODY_BYTES)
    logger.append_keys(order_id=order_in_log(fields.get("order_id")))
    header = request.headers.get("idempotency-key")
    key = None if header is None else IdempotencyKey("http", parse_idempotency_key(header))
    # Where the shop has a price list, no page says what something costs.
    model: type[InvoiceRequest | ItemsRequest] = ItemsRequest if settings.price_list_url else InvoiceRequest
    delivery = _service().create(validated(model, fields), key, lambda_deadline_s=invocation.deadline_s)
    replayed = {"Idempotent-Replayed": "true"} if delivery.replayed else {}
    return border.HttpAnswer(encode_json_object(delivery.invoice.payload()), replayed)


def _directly(event: Any, invocation: border.Invocation) -> dict[str, Any]:
    model: type[DirectInvoiceRequest | DirectItemsRequest] = DirectInvoiceRequest
    if isinstance(event, dict):
        logger.append_keys(order_id=order_in_log(event.get("order_id")))
        if load(CreateInvoiceSettings).price_list_url and event.get("items") not in (None, ""):
            model = DirectItemsRequest
    request = validated(model, event)
    key = None
    if request.idempotency_key:
        key = IdempotencyKey("direct-key", request.idempotency_key)
    elif request.order_id:
        key = IdempotencyKey("direct", request.order_id)
    # The runtime encodes a Decimal as an exact number.
    return _service().create(request, key, lambda_deadline_s=invocation.deadline_s).invoice.payload()


def _prepare() -> None:
    # While the secret is on its way. What a page sends, and what items become once they have a price.
    InvoiceRequest.model_rebuild()
    if load(CreateInvoiceSettings).price_list_url:
        ItemsRequest.model_rebuild()
    _service().prepare()


@functools.cache
def _service() -> InvoiceService:
    return InvoiceService.from_settings(load(CreateInvoiceSettings))


lambda_handler = border.handler(errors=ERRORS, failure="invoice not created", http=_over_http, direct=_directly)
startup.finish(prepare=_prepare)
