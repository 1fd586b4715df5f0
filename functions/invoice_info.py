"""Lambda entry point of InvoiceInfoFunction: the status of an invoice, for a page or another Lambda."""

from invoicing import startup

# isort: split
# The line above comes first: it begins what takes time on the network while everything else is imported.
import functools
import json
from typing import Any

from invoicing import border
from invoicing.contract import errors
from invoicing.contract.field_errors import validated
from invoicing.contract.requests import InvoiceInfoRequest
from invoicing.contract.settings import InvoiceInfoSettings, load
from invoicing.observability import logger
from invoicing.payments import Payments

ERRORS = (
    errors.InvalidRequest,
    errors.OriginNotAllowed,
    errors.InvoiceNotFound,
    errors.InternalError,
    errors.ServiceNotConfigured,
    errors.ProviderUnavailable,
)


def _over_http(request: border.HttpRequest, _: border.Invocation) -> border.HttpAnswer:
    request.require_origin(load(InvoiceInfoSettings))
    # Cache breakers and the marks of advertisements, which scripts add to any address, change no answer.
    return border.HttpAnswer(json.dumps(_info({name: text for name, text in request.query.items() if name == "uuid"})))


def _directly(event: Any, _: border.Invocation) -> dict[str, Any]:
    return _info(event)


def _info(fields: Any) -> dict[str, Any]:
    invoice_id = validated(InvoiceInfoRequest, fields).uuid
    logger.append_keys(invoice_id=invoice_id)
    status = _payments().status_of(invoice_id)
    if status is None:
        raise errors.InvoiceNotFound
    # As the provider's own page has it.
    return {"status": "success", "status_invoice": status}


def _prepare() -> None:
    InvoiceInfoRequest.model_rebuild()  # while the secret is on its way
    _payments().read_secret()


@functools.cache
def _payments() -> Payments:
    return Payments.from_settings(load(InvoiceInfoSettings))


lambda_handler = border.handler(errors=ERRORS, failure="no status", http=_over_http, direct=_directly)
startup.finish(prepare=_prepare)
