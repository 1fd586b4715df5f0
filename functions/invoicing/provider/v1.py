"""Version 1 of CryptoCloud's API: ``POST /v1/invoice/create``, as the provider's page has it."""

from invoicing.contract.errors import (
    InvoiceRejected,
    OutcomeUnknown,
    ProviderCredentialsRejected,
    ProviderUnavailable,
)
from invoicing.contract.exact_json import encode_json_object
from invoicing.contract.invoice import Invoice, is_invoice_id
from invoicing.contract.requests import InvoiceRequest
from invoicing.provider.outcomes import (
    Api,
    Call,
    Reply,
    amount_or_none,
    code_or_none,
    is_link,
    object_in,
    retry_after_s,
)


def encode_request(request: InvoiceRequest, shop_id: str) -> bytes:
    """Returns the body for the provider: the caller's fields, the shop, and the amount as an exact JSON number."""
    # A direct caller's request also has its idempotency key.
    fields = request.model_dump(include=set(InvoiceRequest.model_fields), exclude_none=True)
    fields["shop_id"] = shop_id
    return encode_json_object(fields).encode()


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
            raise InvoiceRejected("provider answered 400", answered=True)
        case 401:
            raise ProviderCredentialsRejected("provider answered 401", answered=True)
        case 406 | 429 | 503:
            raise ProviderUnavailable(
                f"provider answered {reply.status}", retry_after_s=retry_after_s(reply.retry_after)
            )
    # A redirect or a 4xx is about this request, and anybody can send one that gets it.
    raise OutcomeUnknown(f"provider answered {reply.status}", answered=reply.status < 500)


def _invoice_in(reply: Reply) -> Invoice:
    payload = object_in(reply)
    invoice_id, pay_url = payload.get("invoice_id"), payload.get("pay_url")
    if payload.get("status") == "error":
        raise OutcomeUnknown("provider answered 200 with status error")
    if not is_invoice_id(invoice_id):
        raise OutcomeUnknown("provider answered 200 without an invoice id")
    if not is_link(pay_url):
        raise OutcomeUnknown("provider answered 200 without a pay link")
    return Invoice(
        pay_url=pay_url,
        invoice_id=invoice_id,
        currency=code_or_none(payload.get("currency")),
        amount=amount_or_none(payload.get("amount")),
        amount_usd=amount_or_none(payload.get("amount_usd")),
    )


def _create(request: InvoiceRequest, shop_id: str) -> Call[Invoice]:
    return Call("POST", "/v1/invoice/create", encode_request(request, shop_id), judge)


V1 = Api(name="v1", create=_create)
