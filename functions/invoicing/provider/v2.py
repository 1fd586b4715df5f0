"""Version 2 of CryptoCloud's API, which Trybit also speaks: ``POST /v2/invoice/create``.

https://docs.cryptocloud.plus/en/api-reference-v2/create-invoice
"""

import re
from collections.abc import Sequence
from typing import Any, get_args

from invoicing.contract.currencies import Currency
from invoicing.contract.errors import InvoiceRejected, OutcomeUnknown, ProviderCredentialsRejected
from invoicing.contract.exact_json import encode_json_object
from invoicing.contract.invoice import Invoice, bare_id, is_invoice_id
from invoicing.contract.requests import InvoiceRequest
from invoicing.contract.statuses import Status, status_or_none
from invoicing.provider.outcomes import (
    Api,
    Call,
    Reply,
    Statuses,
    amount_or_none,
    code_or_none,
    error_of,
    is_link,
    object_in,
)

# This version has no place for a description.
_FIELDS = set(InvoiceRequest.model_fields) - {"description"}
# https://docs.cryptocloud.plus/en/api-reference-v2/invoice-information
MAX_IDS_IN_A_CALL = 100
# What the provider prints of one invoice is 2 KB, without the transactions and currencies that it may list beside.
_MAX_INFO_BYTES = 2 * 1024 * 1024
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def v2(*, lifetime_minutes: int | None = None, coins: Sequence[str] | None = None) -> Api:
    """Returns version 2 of the API as an owner wants it spoken.

    Args:
        lifetime_minutes: How long buyers have to pay; ``None`` leaves that to the project's settings.
        coins: The only cryptocurrencies to offer, by code; ``None`` leaves that to the project's settings.
    """
    add_fields: dict[str, Any] = {}
    if lifetime_minutes is not None:
        hours, minutes = divmod(lifetime_minutes, 60)
        add_fields["time_to_pay"] = {"hours": hours, "minutes": minutes}
    if coins:
        add_fields["available_currencies"] = list(coins)

    def create(request: InvoiceRequest, shop_id: str) -> Call[Invoice]:
        body = encode_request(request, shop_id, add_fields)
        # A refused key is recognized by the body alone.
        return Call("POST", "/v2/invoice/create", body, judge, reads=frozenset({200, 400, 403}))

    return Api(name="v2", currencies=get_args(Currency), create=create, info=_info, ids_in_a_call=MAX_IDS_IN_A_CALL)


def encode_request(request: InvoiceRequest, shop_id: str, add_fields: dict[str, Any]) -> bytes:
    """Returns the body for the provider: the caller's fields, the shop, and the amount as an exact JSON number.

    Args:
        request: What the caller asks for. Its ``description`` is not sent.
        shop_id: The shop.
        add_fields: What the owner wants of every invoice.
    """
    fields = request.model_dump(include=_FIELDS, exclude_none=True)
    fields["shop_id"] = shop_id
    if add_fields:
        fields["add_fields"] = add_fields
    return encode_json_object(fields).encode()


def judge(reply: Reply) -> Invoice:
    """Returns the invoice in a reply that can be believed.

    Args:
        reply: What came back.

    Raises:
        InvoiceRejected: Not created, for good.
        ProviderCredentialsRejected: Not created, the key is wrong.
        ProviderUnavailable: Not created, now.
        OutcomeUnknown: Anything else: no other reply says for sure that nothing was created.
    """
    match reply.status:
        case 200:
            return _invoice_in(reply)
        case 400:
            if _names_the_key(reply):
                raise ProviderCredentialsRejected("provider answered 400 and named the key")
            # Whatever the body is: that the request was refused is what a 400 means (RFC 9110, section 15.5.1), and the
            # provider documents it so. A proxy in front of the API says 400 of what it did not pass on.
            raise InvoiceRejected("provider answered 400")
        case 403 if _has_detail(reply):
            raise ProviderCredentialsRejected("provider answered 403 in JSON")
    # A 403 in HTML is a firewall's, and that is no "not created": a firewall may also read replies and hold back one of
    # a request that went through (https://ngrok.com/docs/traffic-policy/actions/owasp-crs-response).
    raise error_of(reply)


def _info(invoice_ids: Sequence[str]) -> Call[Statuses]:
    body = encode_json_object({"uuids": [f"INV-{invoice_id}" for invoice_id in invoice_ids]}).encode()
    return Call(
        "POST",
        "/v2/invoice/merchant/info",
        body,
        _judge_statuses,
        reads=frozenset({200, 400, 403}),
        max_reply_bytes=_MAX_INFO_BYTES,
    )


def _judge_statuses(reply: Reply) -> Statuses:
    if (reply.status == 400 and _names_the_key(reply)) or (reply.status == 403 and _has_detail(reply)):
        raise ProviderCredentialsRejected(f"provider answered {reply.status} and named the key")
    if reply.status != 200:
        raise error_of(reply)
    result = object_in(reply).get("result")
    if not isinstance(result, list) or not all(isinstance(invoice, dict) for invoice in result):
        raise OutcomeUnknown("provider answered 200 without a list of invoices")
    statuses: dict[str, Status | None] = {}
    for invoice in result:
        uuid = invoice.get("uuid")
        if isinstance(uuid, str):
            statuses[bare_id(uuid)] = status_or_none(invoice.get("status"))
    return statuses


def _names_the_key(reply: Reply) -> bool:
    result = _json_of(reply).get("result")
    return isinstance(result, dict) and "authorization" in result


def _has_detail(reply: Reply) -> bool:
    return "detail" in _json_of(reply)


def _json_of(reply: Reply) -> dict[str, Any]:
    try:
        return object_in(reply)
    except OutcomeUnknown:
        return {}


def _invoice_in(reply: Reply) -> Invoice:
    payload = object_in(reply)
    result = payload.get("result")
    if payload.get("status") == "error":
        raise OutcomeUnknown("provider answered 200 with status error")
    if not isinstance(result, dict):
        raise OutcomeUnknown("provider answered 200 without a result")
    uuid, link, currency = result.get("uuid"), result.get("link"), result.get("currency")
    invoice_id = bare_id(uuid) if isinstance(uuid, str) else None
    if not is_invoice_id(invoice_id):
        raise OutcomeUnknown("provider answered 200 without an invoice id")
    # The provider's page prints it with and without the scheme.
    pay_url = f"https://{link}" if isinstance(link, str) and not _SCHEME.match(link) else link
    if not is_link(pay_url):
        raise OutcomeUnknown("provider answered 200 without a pay link")
    code = code_or_none(currency)
    return Invoice(
        pay_url=pay_url,
        invoice_id=invoice_id,
        currency=code,
        # In cryptocurrency once one is chosen. Without its code, nobody could say what the amount counts.
        amount=amount_or_none(result.get("amount")) if code or currency is None else None,
        amount_usd=amount_or_none(result.get("amount_usd")),
        test_mode=result.get("test_mode") is True,
    )
