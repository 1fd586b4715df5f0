"""What every version of the provider's API shares: a call, its reply, and what of a reply is valid.

A call has one of three outcomes: it succeeded, the provider certainly did nothing, or nobody knows. Only the second may
be tried again: creating an invoice is not idempotent at the provider.
"""

import codecs
import math
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeGuard

import urllib3

from invoicing.contract.errors import (
    InvoicingError,
    OutcomeUnknown,
    ProviderCredentialsRejected,
    ProviderUnavailable,
)
from invoicing.contract.exact_json import NotAJsonObject, encode_json_object, parse_json_object
from invoicing.contract.invoice import Invoice, is_invoice_id
from invoicing.contract.origins import origin_of
from invoicing.contract.requests import InvoiceRequest
from invoicing.contract.statuses import Status
from invoicing.observability import PROVIDER_MOVED, metrics

MAX_REPLY_BYTES = 64 * 1024
_CURRENCY = re.compile(r"[\x21-\x7e]{1,32}")
_MAX_AMOUNT_DIGITS = 24
_AMOUNT = re.compile(rf"[0-9]{{1,{_MAX_AMOUNT_DIGITS}}}(\.[0-9]{{1,{_MAX_AMOUNT_DIGITS}}})?")
_MAX_URL_LENGTH = 2048
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider answered.

    Args:
        status: The HTTP status.
        body: The body; ``None`` when it was too large or did not come to its end in time.
        content_type: The header ``Content-Type``; empty without one.
        retry_after: The header ``Retry-After``, if there is one.
        location: The header ``Location``, if there is one.
        etag: The header ``ETag``, if there is one.
    """

    status: int
    body: bytes | None
    content_type: str = "application/json"
    retry_after: str | None = None
    location: str | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Call[Result]:
    """One request, to the provider in the words of one version of its API.

    Args:
        method: The HTTP method.
        path: The path on the host, with the query if there is one.
        body: JSON, or empty.
        judge: Returns what a reply that can be believed says, or raises the error that the reply means.
        reads: The statuses whose bodies ``judge`` looks at. The body of any other reply is not waited for.
        max_reply_bytes: How long a body may be.
        headers: Headers in addition to those of every call.
    """

    method: Literal["GET", "POST"]
    path: str
    body: bytes
    judge: Callable[[Reply], Result]
    reads: frozenset[int] = frozenset({200})
    max_reply_bytes: int = MAX_REPLY_BYTES
    headers: Mapping[str, str] = field(default_factory=dict)


# What the provider says of invoices, by id without ``INV-``. One that it does not know is left out; one whose status it
# does not document is ``None``, because that is a failure and no answer.
type Statuses = Mapping[str, Status | None]


@dataclass(frozen=True, slots=True)
class Api:
    """One version of the provider's API, a dialect.

    Args:
        name: What owners call it: ``v1``.
        currencies: What an invoice may be asked for in, by code.
        create: Returns the call that creates an invoice, for a validated request and the shop's id.
        info: Returns the call that asks for the statuses of invoices, for their ids without ``INV-``.
        ids_in_a_call: How many ids ``info`` takes at the most.
    """

    name: str
    currencies: tuple[str, ...]
    create: Callable[[InvoiceRequest, str], Call[Invoice]]
    info: Callable[[Sequence[str]], Call[Statuses]]
    ids_in_a_call: int


def error_of(reply: Reply) -> InvoicingError:
    """Returns what a reply means in every version of the API by its status alone, when it is not 200.

    Not for 400 and 403: each version says what they mean.

    Args:
        reply: What came back.

    Returns:
        ``ProviderCredentialsRejected`` or ``ProviderUnavailable``, which say that nothing was created; for any other
        status ``OutcomeUnknown``, because no document says what happened.
    """
    match reply.status:
        case 401:
            return ProviderCredentialsRejected("provider answered 401")
        case 406 | 429 | 503:
            return ProviderUnavailable(
                f"provider answered {reply.status}", retry_after_s=retry_after_s(reply.retry_after)
            )
    reason = f"provider answered {reply.status}"
    if 300 <= reply.status < 400 or reply.status in (404, 410):
        # Every request gets this answer until the owner names the provider's new address.
        metrics.add_metric(PROVIDER_MOVED, "Count", 1)
        reason += f"{_to_where(reply.location)}: its API is not at this address, ask `make provider`"
    return OutcomeUnknown(reason)


def _to_where(location: str | None) -> str:
    # Only the origin: the rest of an address may hold anything.
    try:
        return f" to {origin_of(location or '')}"
    except ValueError:
        return ""


def object_in(reply: Reply) -> dict[str, Any]:
    """Returns the JSON object in a reply.

    Raises:
        OutcomeUnknown: The body is too large, did not come to its end, or is not such an object.
    """
    if reply.body is None:
        raise OutcomeUnknown(f"provider answered {reply.status} with a body that is too large or did not come whole")
    if _media_types(reply.content_type) != {"application/json"}:
        raise OutcomeUnknown(f"provider answered {reply.status} with another media type than JSON")
    try:
        # RFC 8259, 8.1: a sender must not add the mark, a reader may ignore it.
        return parse_json_object(reply.body.removeprefix(codecs.BOM_UTF8))
    except NotAJsonObject:
        raise OutcomeUnknown(f"provider answered {reply.status} without a JSON object") from None


def _media_types(header: str) -> set[str]:
    # The header has one value, but a proxy may add another after a comma: RFC 9110, 8.3.
    values = _QUOTED.sub("", header).split(",")
    return {value.partition(";")[0].strip().lower() for value in values} - {""}


def request_body(request: InvoiceRequest, shop_id: str, *, without: Set[str] = frozenset(), **more: object) -> bytes:
    """Returns the body of a request to create: the caller's fields, the shop, and the amount as an exact JSON number.

    Args:
        request: What the caller asks for.
        shop_id: The shop.
        without: Fields that this version of the API does not have.
        more: Fields that are not the caller's.
    """
    # Not all fields of the object: a direct caller's request also has its idempotency key.
    fields = request.model_dump(include=set(InvoiceRequest.model_fields) - without, exclude_none=True)
    return encode_json_object({**fields, "shop_id": shop_id, **more}).encode()


def success_in(reply: Reply) -> dict[str, Any]:
    """Returns the JSON object in a reply with status 200.

    Raises:
        OutcomeUnknown: As ``object_in``, or the object says that it is an error.
    """
    payload = object_in(reply)
    if payload.get("status") == "error":
        raise OutcomeUnknown("provider answered 200 with status error")
    return payload


def created(invoice_id: object, pay_url: object, **others: Any) -> Invoice:
    """Returns the invoice that a reply describes.

    Args:
        invoice_id: Its id, as far as the reply has one.
        pay_url: Its link, likewise.
        others: The optional fields of ``Invoice``.

    Raises:
        OutcomeUnknown: Without a usable id and link it is no invoice that a buyer can pay.
    """
    if not is_invoice_id(invoice_id):
        raise OutcomeUnknown("provider answered 200 without an invoice id")
    if not is_link(pay_url):
        raise OutcomeUnknown("provider answered 200 without a pay link")
    return Invoice(pay_url=pay_url, invoice_id=invoice_id, **others)


def is_link(value: object) -> TypeGuard[str]:
    """Returns whether this can be a link to a pay page. Delivery decides whether buyers may be sent there."""
    try:
        return isinstance(value, str) and len(value) <= _MAX_URL_LENGTH and bool(origin_of(value))
    except ValueError:
        return False


def code_or_none(value: object) -> str | None:
    """Returns a currency code, or ``None`` for anything strange: it only informs."""
    return value if isinstance(value, str) and _CURRENCY.fullmatch(value) else None


def amount_or_none(value: object) -> Decimal | str | None:
    """Returns an amount as the provider sent it, or ``None`` for anything strange: it only informs."""
    text = f"{value:f}" if isinstance(value, Decimal) and abs(value.adjusted()) < _MAX_AMOUNT_DIGITS else value
    return value if isinstance(text, str) and _AMOUNT.fullmatch(text) else None  # type: ignore[return-value]


def retry_after_s(header: str | None) -> int | None:
    """Returns the whole seconds that a header ``Retry-After`` asks for, or ``None`` without a readable one."""
    if header is None:
        return None
    try:
        return math.ceil(urllib3.Retry().parse_retry_after(header))
    except (urllib3.exceptions.HTTPError, ValueError, OverflowError):
        return None
