"""Asks for CryptoCloud invoices: one function and three errors. Copy this file."""

import json
import os
from decimal import Decimal
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

# The invoice function has 28 s, and up to 10 s more to start. boto3 sends a request again when the answer was lost;
# that is safe because the order_id is the idempotency key.
_lambda = boto3.client(
    "lambda",
    config=Config(connect_timeout=5, read_timeout=40, retries={"mode": "standard", "total_max_attempts": 2}),
)


class InvoiceError(Exception):
    """No invoice was delivered. What to do depends on the subclass.

    Args:
        error_type: The direct error type, such as ``InvalidRequest``; or what Lambda or boto3 called the failure.
        problem: The problem details of the service; empty when the failure was not its own.
    """

    def __init__(self, error_type: str, problem: dict[str, Any] | None = None) -> None:
        self.error_type = error_type
        self.problem = problem or {}
        said = f"{problem['detail']} ({problem['request_id']})" if problem else "no answer from the invoice service"
        super().__init__(f"{error_type}: {said}")


class TryAgainLater(InvoiceError):
    """Send the same request with the same ``order_id`` again, in a minute or so: the buyer gets one link."""


class RequestRefused(InvoiceError):
    """The same request fails again: correct what ``problem`` names, or tell whoever made the order."""


class ServiceBroken(InvoiceError):
    """The service needs its owner: raise an alarm with the error's text, and try again afterwards."""


ERRORS: dict[str, type[InvoiceError]] = {
    # A request with this order_id is still running: for 28 s at most, then the next one gets its invoice.
    "InvoiceInProgress": TryAgainLater,
    # CryptoCloud is down: nothing was created.
    "ProviderUnavailable": TryAgainLater,
    # The shop's price list cannot be read, or is none: nothing was created. Only requests with items hear of it.
    "PricesUnavailable": TryAgainLater,
    # CryptoCloud may have created an invoice whose link never arrived. Nobody can pay that one.
    "OutcomeUnknown": TryAgainLater,
    # A mistake of this program: problem["errors"] names the fields.
    "InvalidRequest": RequestRefused,
    # CryptoCloud does not take this amount or currency.
    "InvoiceRejected": RequestRefused,
    # The order has an invoice of another amount, currency or buyer. For a new one send a new idempotency_key.
    "IdempotencyKeyReused": RequestRefused,
    # The secret was not filled, or a parameter of the stack is wrong.
    "ServiceNotConfigured": ServiceBroken,
    # CryptoCloud does not take the API key (any more).
    "ProviderCredentialsRejected": ServiceBroken,
    # CryptoCloud moved its pay pages: the invoice exists, and the owner must allow the new site before it can be paid.
    "PayLinkRefused": ServiceBroken,
    # A bug: the service's log has it.
    "InternalError": ServiceBroken,
    # Lambda's own: the function timed out, its process ended, or Lambda did not say. The order_id is free after 28 s.
    "Sandbox.Timedout": TryAgainLater,
    "Runtime.ExitError": TryAgainLater,
    "Lambda.Unknown": TryAgainLater,
}


def create_invoice(request: dict[str, Any]) -> dict[str, Any]:
    """Returns the invoice of an order: ``pay_url``, ``invoice_id`` and whatever else CryptoCloud sends.

    Args:
        request: ``order_id`` and ``amount``, or ``items`` where the shop has a price list; optionally ``currency``,
            ``email`` and ``description``. Amounts are ``Decimal`` or text: a float would not be exact.

    Raises:
        TryAgainLater: Nothing is wrong with the request.
        RequestRefused: Something is.
        ServiceBroken: The service cannot create any invoice now.
    """
    try:
        reply = _lambda.invoke(FunctionName=os.environ["INVOICE_FUNCTION"], Payload=json.dumps(request, default=_exact))
        payload: dict[str, Any] = json.loads(reply["Payload"].read(), parse_float=Decimal)
    except (HTTPClientError, NoConnection) as error:
        raise TryAgainLater(type(error).__name__) from error
    except ClientError as error:
        # From Lambda itself: 429 when it throttles, 5xx when it fails; else no such function, or no permission.
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        kind = TryAgainLater if status == 429 or status >= 500 else ServiceBroken
        raise kind(error.response["Error"]["Code"]) from error
    if "FunctionError" in reply:
        raise _error(payload)
    return payload


def _exact(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"  # str() may say 1E+2, which is no amount
    raise TypeError(f"{type(value).__name__} is not JSON: send text, numbers and Decimal")


def _error(payload: dict[str, Any]) -> InvoiceError:
    error_type = payload.get("errorType", "Lambda.Unknown")
    message = payload.get("errorMessage", "")
    # The service's own message is its problem details in JSON; Lambda's is plain text.
    problem = json.loads(message) if error_type in ERRORS and message.startswith("{") else {}
    return ERRORS.get(error_type, ServiceBroken)(error_type, problem)
