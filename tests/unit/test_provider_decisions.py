"""The rare, hard decisions about the provider: is it an invoice, what went wrong, may it be tried again."""

import json
from decimal import Decimal
from typing import Any

import pytest

from invoicing.contract.errors import (
    InvoiceRejected,
    InvoicingError,
    OutcomeUnknown,
    ProviderCredentialsRejected,
    ProviderUnavailable,
)
from invoicing.contract.requests import DirectInvoiceRequest, InvoiceRequest
from invoicing.provider.outcomes import Reply
from invoicing.provider.transport import retry_delay_s
from invoicing.provider.v1 import encode_request, judge

PAYLOAD = {
    "status": "success",
    "pay_url": "https://pay.cryptocloud.plus/DZLF4212",
    "currency": "BTC",
    "invoice_id": "DZLF4212",
}


STRANGE = [
    {"currency": "\ud800"},
    {"currency": "B\nC"},
    {"currency": "x" * 33},
    {"amount": "about 100"},
    {"amount": "\ud800"},
    {"amount": "1" * 25},
    {"amount_usd": 10**30},
]


def reply(code: int = 200, /, retry_after: str | None = None, **changes: Any) -> Reply:
    payload = {name: value for name, value in {**PAYLOAD, **changes}.items() if value is not ...}
    return Reply(code, json.dumps(payload).encode(), retry_after=retry_after)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"currency": "USDT_TRC20", "invoice_id": "INV-DZLF4212"},
        {"pay_url": "https://pay.cryptocloud.plus:443/DZLF4212?lang=pt"},
        {"amount": "100.00", "amount_usd": "100.00"},
    ],
)
def test_a_good_reply_is_returned_untouched(changes: dict[str, Any]) -> None:
    assert judge(reply(**changes)).payload() == {**PAYLOAD, **changes}


def test_amounts_in_a_reply_stay_exact() -> None:
    body = json.dumps(PAYLOAD)[:-1] + ', "amount": 100.10, "amount_usd": 0.1}'
    payload = judge(Reply(200, body.encode())).payload()
    assert (str(payload["amount"]), payload["amount_usd"]) == ("100.10", Decimal("0.1"))


@pytest.mark.parametrize("changes", [{"status": ...}, {"status": "sucesso"}, {"estado": "sucesso", "status": ...}])
def test_a_missing_or_translated_status_does_not_matter(changes: dict[str, Any]) -> None:
    assert judge(reply(**changes)).payload() == PAYLOAD


@pytest.mark.parametrize(
    "changes", [{"currency": ...}, {"currency": 1}, {"amount": None}, {"amount": [1], "new": {}}, *STRANGE]
)
def test_strange_side_information_does_not_cost_the_invoice(changes: dict[str, Any]) -> None:
    payload = judge(reply(**changes)).payload()
    assert payload == {name: PAYLOAD[name] for name in payload}
    assert payload.keys() >= {"status", "pay_url", "invoice_id"}


@pytest.mark.parametrize("number", ["1e9999999999999999", "1e7000000", "1e-7000000", "NaN", "-Infinity", "1e400"])
def test_a_number_that_no_caller_could_bear_is_left_out(number: str) -> None:
    body = json.dumps(PAYLOAD)[:-1] + f', "amount": {number}}}'
    assert judge(Reply(200, body.encode())).payload() == PAYLOAD


@pytest.mark.parametrize(
    "unusable",
    [
        reply(status="error"),
        reply(invoice_id=...),
        reply(invoice_id=""),
        reply(invoice_id=12345678),
        reply(invoice_id="A B"),
        reply(pay_url=...),
        reply(pay_url=1),
        reply(pay_url=""),
        reply(pay_url="https://pay.cryptocloud.plus@evil.example/DZLF4212"),
        reply(pay_url="https://user@pay.cryptocloud.plus/DZLF4212"),
        reply(pay_url="https://pay.cryptocloud.plus/" + "x" * 2048),
        reply(pay_url="javascript:alert(1)//pay.cryptocloud.plus"),
        Reply(200, None),
        Reply(200, b""),
        Reply(200, b"[]"),
        Reply(200, b"<!doctype html>"),
        Reply(200, json.dumps(PAYLOAD).encode()[:40]),
        Reply(200, b"\xff\xfe"),
        Reply(200, json.dumps(PAYLOAD).encode(), "text/html"),
        Reply(200, json.dumps(PAYLOAD).encode(), ""),
    ],
)
def test_a_200_that_cannot_be_believed_is_unknown(unusable: Reply) -> None:
    with pytest.raises(OutcomeUnknown):
        judge(unusable)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, InvoiceRejected),
        (401, ProviderCredentialsRejected),
        (406, ProviderUnavailable),
        (429, ProviderUnavailable),
        (503, ProviderUnavailable),
        *[(status, OutcomeUnknown) for status in (201, 204, 301, 302, 307, 403, 404, 409, 422, 500, 502, 504, 520)],
    ],
)
def test_only_documented_codes_say_that_nothing_was_created(status: int, outcome: type[InvoicingError]) -> None:
    with pytest.raises(outcome) as raised:
        judge(reply(status))
    assert type(raised.value) is outcome


@pytest.mark.parametrize(
    ("header", "retry_after_s"),
    [(None, None), ("7", 7), ("0", 0), ("soon", None), ("-5", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after_is_read_in_seconds_or_as_a_date(header: str | None, retry_after_s: int | None) -> None:
    with pytest.raises(ProviderUnavailable) as raised:
        judge(reply(503, retry_after=header))
    assert raised.value.retry_after_s == retry_after_s


@pytest.mark.parametrize(
    ("attempt", "retry_after_s", "time_left_s", "delay_s"),
    [
        (1, None, 20.0, 0.2),
        (2, None, 20.0, 0.4),
        (3, None, 20.0, None),  # three attempts at most
        (1, 7, 20.0, 7),  # the provider's word wins over ours
        (1, 0, 20.0, 0.2),
        (1, 19, 20.0, 19),
        (1, 20, 20.0, None),  # could not finish before the deadline
        (1, None, 1.2, 0.2),
        (1, None, 1.1, None),
        (1, None, -1.0, None),
    ],
)
def test_what_was_not_created_is_tried_again_while_there_is_time(
    attempt: int, retry_after_s: int | None, time_left_s: float, delay_s: float | None
) -> None:
    error = ProviderUnavailable(retry_after_s=retry_after_s)
    assert retry_delay_s(error, attempt=attempt, time_left_s=time_left_s, jitter=lambda: 0.5) == delay_s


def test_the_request_carries_the_callers_fields_and_the_shop() -> None:
    request = InvoiceRequest.model_validate({"amount": "0.10", "order_id": "Pedido nº 1", "shop_id": "ours"})
    assert encode_request(request, "ours") == (
        b'{"amount": 0.10, "currency": "USD", "order_id": "Pedido n\\u00ba 1", "shop_id": "ours"}'
    )


def test_a_direct_callers_key_does_not_go_upstream() -> None:
    request = DirectInvoiceRequest.model_validate({"amount": 1, "idempotency_key": "k"})
    assert encode_request(request, "ours") == b'{"amount": 1, "currency": "USD", "shop_id": "ours"}'
