"""Lambda entry point of PostbackFunction: CryptoCloud says that an invoice was paid, and the shop learns it."""

from invoicing import startup

# isort: split
# The line above comes first: it begins what takes time on the network while everything else is imported.
import functools

from invoicing import border
from invoicing.contract import errors
from invoicing.contract.settings import PaymentSettings, load
from invoicing.postbacks import PostbackReceiver

ERRORS = (
    errors.InvalidRequest,
    errors.PostbackRefused,
    errors.PayloadTooLarge,
    errors.InternalError,
    errors.ServiceNotConfigured,
    errors.ProviderCredentialsRejected,
    errors.ProviderUnavailable,
)
# Version 2 sends the whole invoice.
MAX_BODY_BYTES = 64 * 1024


def _over_http(request: border.HttpRequest, _: border.Invocation) -> border.HttpAnswer:
    _receiver().receive(request.bounded_body(max_bytes=MAX_BODY_BYTES))
    return border.HttpAnswer('{"message": "Postback received"}')


@functools.cache
def _receiver() -> PostbackReceiver:
    return PostbackReceiver.from_settings(load(PaymentSettings))


lambda_handler = border.handler(errors=ERRORS, failure="postback not received", http=_over_http)
startup.finish(prepare=lambda: _receiver().read_secret())
