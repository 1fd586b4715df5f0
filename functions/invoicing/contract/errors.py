"""Every way in which an invoice is not delivered: one exception per outcome, and ``ERROR_TABLE`` of them all.

The table in docs/errors.md is printed from here, and a test fails when the two differ.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a request.

    Args:
        pointer: JSON pointer (RFC 6901) to the field; ``""`` is the whole body.
        detail: The rule that the field breaks. Never the value that was sent: it may be personal data.
    """

    pointer: str
    detail: str


class InvoicingError(Exception):
    """Base of the error table; never raised itself.

    The class name of a subclass is the error type that a direct caller (``lambda:Invoke``) sees.

    Args:
        reason: What happened, for our log only: never sent to a caller.
        fields: For bad input, the fields at fault.
        retry_after_s: Whole seconds to wait before the request is sent again, when the provider said so.
    """

    code: ClassVar[str]
    http_status: ClassVar[int]
    title: ClassVar[str]
    detail: ClassVar[str]
    when: ClassVar[str]
    retryable: ClassVar[bool] = False
    default_retry_after_s: ClassVar[int | None] = None
    # A direct caller never gets it: it cannot happen there, or it is another error there.
    http_only: ClassVar[bool] = False
    # Whether a new version of a function may be what is wrong, and is rolled back for it.
    blames_version: bool = True

    def __init__(
        self, reason: str = "", *, fields: Sequence[FieldError] = (), retry_after_s: int | None = None
    ) -> None:
        super().__init__(self.code)
        self.reason = reason
        self.fields = tuple(fields)
        self.retry_after_s = retry_after_s

    def problem(self, request_id: str) -> dict[str, Any]:
        """Returns the problem details object (RFC 9457, section 3) that a caller gets.

        Args:
            request_id: The Lambda request id, which is also on every log line of the request.
        """
        problem: dict[str, Any] = {
            "type": f"urn:cryptocloud-invoices:problem:{self.code}",
            "title": self.title,
            "status": self.http_status,
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
            "request_id": request_id,
        }
        if self.fields:
            problem["errors"] = [asdict(field) for field in self.fields]
        return problem

    def for_direct_caller(self, request_id: str) -> "InvoicingError":
        """Returns this error with the problem as its message, in one line of JSON.

        The runtime reports ``str(error)`` as ``errorMessage``. The runtime adds a ``stackTrace``. Without the traceback
        it shows only the line in the entry point that raised the error.
        """
        self.args = (json.dumps(self.problem(request_id)),)
        return self.with_traceback(None)


class InvalidRequest(InvoicingError):
    code = "invalid_request"
    http_status = 400
    title = "The request is not valid"
    detail = "Correct the fields named in errors and send the request again."
    when = "not JSON, an unknown or wrong field, an amount out of bounds, an item that is not in the price list"


class InvoiceRejected(InvoicingError):
    code = "invoice_rejected"
    http_status = 400
    title = "CryptoCloud rejected the invoice"
    detail = "CryptoCloud refused this invoice and did not create it. Check the amount and the currency."
    when = "CryptoCloud answered 400: the invoice was not created"


class PostbackRefused(InvoicingError):
    code = "postback_refused"
    http_only = True
    http_status = 401
    title = "The postback is not CryptoCloud's"
    detail = "The token of the postback is missing, has expired, or was not signed with the secret key of the project."
    when = "a postback without a valid token"


class OriginNotAllowed(InvoicingError):
    code = "origin_not_allowed"
    http_only = True
    http_status = 403
    title = "This site may not use the service"
    detail = "The Origin header is not among the allowed origins of this service."
    when = "the `Origin` header is not in `AllowedOrigins`"


class InvoiceNotFound(InvoicingError):
    code = "invoice_not_found"
    http_status = 404
    title = "There is no such invoice"
    detail = "This service did not create an invoice of this id."
    when = "the status was asked of an invoice that this stack did not create"


class InvoiceInProgress(InvoicingError):
    code = "invoice_in_progress"
    http_status = 409
    title = "This invoice is being created"
    detail = "A request with the same idempotency key is still running. Send yours again after the time in Retry-After."
    when = "a request with the same idempotency key is still running; has `Retry-After`"
    retryable = True
    default_retry_after_s = 1


class PayloadTooLarge(InvoicingError):
    code = "payload_too_large"
    http_only = True
    http_status = 413
    title = "The request is too large"
    detail = "A request body may have at most 16 KiB, a postback 64 KiB."
    when = "the body is over 16 KiB, that of a postback over 64 KiB (direct: the field that is too long is named)"


class UnsupportedMediaType(InvoicingError):
    code = "unsupported_media_type"
    http_only = True
    http_status = 415
    title = "The request is not JSON"
    detail = "Send the header Content-Type: application/json."
    when = "the `Content-Type` is not `application/json`"


class IdempotencyKeyReused(InvoicingError):
    code = "idempotency_key_reused"
    http_status = 422
    title = "The idempotency key belongs to another invoice"
    detail = "The idempotency key was used with another request. Use a new key for a new invoice."
    when = "the idempotency key was used with another body"


class InternalError(InvoicingError):
    code = "internal_error"
    http_status = 500
    title = "Something went wrong on our side"
    detail = "An unforeseen error happened. Report the request_id to the owner of this service."
    when = "anything unforeseen; the log has it under the request id"


class ServiceNotConfigured(InvoicingError):
    code = "service_not_configured"
    http_status = 500
    title = "The service is not set up yet"
    detail = "The owner of this service has not set it up completely; its log says what is missing."
    when = (
        "the secret is missing, empty or malformed, a setting is wrong, or a table or the event bus may not be written"
    )


class ProviderCredentialsRejected(InvoicingError):
    code = "provider_credentials_rejected"
    http_status = 502
    title = "CryptoCloud refused our API key"
    detail = "CryptoCloud refused the API key of this service. Nothing was created."
    when = "CryptoCloud refused the API key (401; in version 2 also 400 or 403), also after the secret was read again"


class PayLinkRefused(InvoicingError):
    code = "pay_link_refused"
    http_status = 502
    title = "The pay link is of an unknown site"
    detail = (
        "CryptoCloud created the invoice, but its link leads to a site that this service may not send buyers to. The "
        "owner of this service can allow that site; then the same idempotency key gets the link."
    )
    when = (
        "CryptoCloud created the invoice, and its pay link is not of `PayOrigins`; trying again helps only after the "
        "owner has allowed that origin"
    )


class ProviderUnavailable(InvoicingError):
    code = "provider_unavailable"
    http_status = 503
    title = "The service is not available right now"
    detail = "Nothing was created. Send the request again after the time in Retry-After."
    when = (
        "CryptoCloud answered 406, 429 or 503, or CryptoCloud, the secret, a table or the event bus could not be "
        "reached: nothing was created; has `Retry-After`"
    )
    retryable = True
    default_retry_after_s = 5


class PricesUnavailable(InvoicingError):
    code = "prices_unavailable"
    http_status = 503
    title = "The prices are not known right now"
    detail = (
        "The shop's price list cannot be read, or cannot be believed. The invoice was not created. Send the request "
        "again after the time in Retry-After."
    )
    when = "no price list that can be believed was read in the last 24 hours; has `Retry-After`"
    retryable = True
    default_retry_after_s = 10
    blames_version = False  # the list is the site's, and a slip there is a slip of no function


class OutcomeUnknown(InvoicingError):
    code = "outcome_unknown"
    http_status = 504
    title = "It is not known whether the invoice was created"
    detail = "CryptoCloud gave no usable answer. Sending the request again may create a second invoice."
    when = "the request went out and no usable answer came back"
    retryable = True


ERROR_TABLE: tuple[type[InvoicingError], ...] = (
    InvalidRequest,
    InvoiceRejected,
    PostbackRefused,
    OriginNotAllowed,
    InvoiceNotFound,
    InvoiceInProgress,
    PayloadTooLarge,
    UnsupportedMediaType,
    IdempotencyKeyReused,
    InternalError,
    ServiceNotConfigured,
    ProviderCredentialsRejected,
    PayLinkRefused,
    ProviderUnavailable,
    PricesUnavailable,
    OutcomeUnknown,
)
