"""Version 1 of CryptoCloud's API: ``POST /v1/invoice/create`` and ``GET /v1/invoice/info``, as its pages have them."""

from collections.abc import Sequence

from invoicing.contract.errors import InvoiceRejected, OutcomeUnknown
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceRequest
from invoicing.contract.statuses import status_or_none
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


def judge(reply: Reply) -> Invoice:
    """Returns the invoice in a reply that can be believed.

    Args:
        reply: What came back.

    Raises:
        InvoiceRejected: Not created, for good.
        ProviderCredentialsRejected: Not created, the key is wrong.
        ProviderUnavailable: Not created, now.
        OutcomeUnknown: Anything else: no other code says for sure that nothing was created.
    """
    match reply.status:
        case 200:
            return _invoice_in(reply)
        case 400:
            raise InvoiceRejected("provider answered 400")
    raise error_of(reply)


def _invoice_in(reply: Reply) -> Invoice:
    payload = success_in(reply)
    return created(
        payload.get("invoice_id"),
        payload.get("pay_url"),
        currency=code_or_none(payload.get("currency")),
        amount=amount_or_none(payload.get("amount")),
        amount_usd=amount_or_none(payload.get("amount_usd")),
    )


def _create(request: InvoiceRequest, shop_id: str) -> Call[Invoice]:
    return Call("POST", "/v1/invoice/create", request_body(request, shop_id), judge)


def _info(invoice_ids: Sequence[str]) -> Call[Statuses]:
    [invoice_id] = invoice_ids

    def judge_status(reply: Reply) -> Statuses:
        if reply.status == 400:  # there is no such invoice
            return {}
        if reply.status != 200:
            raise error_of(reply)
        payload = object_in(reply)
        if "status_invoice" not in payload:
            raise OutcomeUnknown("provider answered 200 without a status")
        return {invoice_id: status_or_none(payload["status_invoice"])}

    return Call("GET", f"/v1/invoice/info?uuid=INV-{invoice_id}", b"", judge_status)


V1 = Api(
    name="v1",
    currencies=("USD", "RUB", "EUR", "GBP", "UAH"),
    create=_create,
    info=_info,
    ids_in_a_call=1,
)
