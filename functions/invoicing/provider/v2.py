"""Version 2 of CryptoCloud's API, which Trybit also speaks: ``POST /v2/invoice/create``.

https://docs.cryptocloud.plus/en/api-reference-v2/create-invoice
"""

import re
from collections.abc import Sequence
from typing import Any, get_args

from invoicing.contract.currencies import Currency
from invoicing.contract.errors import InvoiceRejected, OutcomeUnknown, ProviderCredentialsRejected
from invoicing.contract.exact_json import encode_json_object
from invoicing.contract.invoice import Invoice, bare_id
from invoicing.contract.requests import InvoiceRequest
from invoicing.contract.statuses import Status, status_or_none
from invoicing.provider.outcomes import (
    Api,
    Call,
    Reply,
    Statuses,
    amount_or_none,
    code_or_none,
    created,
    error_of,
    object_in,
    request_body,
    success_in,
)

# https://docs.cryptocloud.plus/en/api-reference-v2/invoice-information
MAX_IDS_IN_A_CALL = 100
# What the provider prints of one invoice is 2 KB, without the transactions and currencies that it may list beside.
_MAX_INFO_BYTES = 2 * 1024 * 1024
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def v2(*, lifetime_minutes: int | None = None, coins: Sequence[str] | None = None) -> Api:
    """Returns version 2 of the API with the owner's settings.

    Args:
        lifetime_minutes: How long buyers have to pay; ``None`` leaves that to the project's settings.
        coins: The only cryptocurrencies to offer, by code; ``None`` leaves that to the project's settings.
    """
    add_fields: dict[str, object] = {}
    if lifetime_minutes is not None:
        hours, minutes = divmod(lifetime_minutes, 60)
        add_fields["time_to_pay"] = {"hours": hours, "minutes": minutes}
    if coins:
        add_fields["available_currencies"] = list(coins)

    def create(request: InvoiceRequest, shop_id: str) -> Call[Invoice]:
        # This version has no field for a description.
        more = {"add_fields": add_fields} if add_fields else {}
        body = request_body(request, shop_id, without={"description"}, **more)
        # A refused key is recognized by the body alone.
        return Call("POST", "/v2/invoice/create", body, judge, reads=frozenset({200, 400, 403}))

    return Api(name="v2", currencies=get_args(Currency), create=create, info=_info, ids_in_a_call=MAX_IDS_IN_A_CALL)


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
    _see_the_key(reply)
    match reply.status:
        case 200:
            return _invoice_in(reply)
        case 400:
            # Whatever the body is: a 400 means that the request was refused (RFC 9110, section 15.5.1), and the
            # provider documents it so. A proxy in front of the API says 400 of what it did not pass on.
            raise InvoiceRejected("provider answered 400")
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
    _see_the_key(reply)
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


def _see_the_key(reply: Reply) -> None:
    """Raises ``ProviderCredentialsRejected`` if the reply refuses the key by its body."""
    result = _json_of(reply).get("result") if reply.status == 400 else None
    if isinstance(result, dict) and "authorization" in result:
        raise ProviderCredentialsRejected("provider answered 400 and named the key")
    if reply.status == 403 and "detail" in _json_of(reply):
        raise ProviderCredentialsRejected("provider answered 403 in JSON")


def _json_of(reply: Reply) -> dict[str, Any]:
    try:
        return object_in(reply)
    except OutcomeUnknown:
        return {}


def _invoice_in(reply: Reply) -> Invoice:
    result = success_in(reply).get("result")
    if not isinstance(result, dict):
        raise OutcomeUnknown("provider answered 200 without a result")
    uuid, link, currency = result.get("uuid"), result.get("link"), result.get("currency")
    invoice_id = bare_id(uuid) if isinstance(uuid, str) else None
    # The provider's page prints it with and without the scheme.
    pay_url = f"https://{link}" if isinstance(link, str) and not _SCHEME.match(link) else link
    code = code_or_none(currency)
    return created(
        invoice_id,
        pay_url,
        currency=code,
        # Once the buyer has chosen a coin, the amount is in that coin. If the coin is unknown, the amount is left out.
        amount=amount_or_none(result.get("amount")) if code or currency is None else None,
        amount_usd=amount_or_none(result.get("amount_usd")),
        test_mode=result.get("test_mode") is True,
    )
