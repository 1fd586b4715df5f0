"""Idempotency keys: how they are read, what makes two requests one, and that a record keeps a reply exactly."""

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest

from invoicing.contract.errors import InvalidRequest
from invoicing.contract.idempotency_key import parse_idempotency_key
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import DirectInvoiceRequest, InvoiceRequest
from invoicing.keys import _AS_TEXT, IdempotencyKey, _fingerprint


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("A-1001", "A-1001"),
        ('"A-1001"', "A-1001"),
        ("  A-1001\t", "A-1001"),
        (r'"a\"b\\c"', r"a\"b\c".replace(r"\"", '"')),
        ('A"1', 'A"1'),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
        ("!", "!"),
    ],
)
def test_a_key_is_read_bare_or_quoted(header: str, key: str) -> None:
    assert parse_idempotency_key(header) == key


@pytest.mark.parametrize(
    "header", ["", "   ", '""', "a b", '"a b"', "x" * 256, "clé", "a\tb", "\x7f", '"' + "x" * 256 + '"']
)
def test_what_is_no_key_is_refused_and_not_taken_for_none(header: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_idempotency_key(header)
    assert "Idempotency-Key" in refusal.value.fields[0].detail


@pytest.mark.parametrize(
    "same",
    [
        {"amount": "100.00", "currency": "EUR", "order_id": "A"},
        {"order_id": "A", "currency": "EUR", "amount": 100},
        {"amount": 100.0, "currency": "EUR", "order_id": "A", "email": None},
        {"amount": Decimal("1E+2"), "currency": "EUR", "order_id": "A", "shop_id": "ours"},
    ],
)
def test_the_same_request_written_otherwise_is_the_same(same: dict[str, Any]) -> None:
    first = InvoiceRequest.model_validate({"amount": Decimal("100.0"), "currency": "EUR", "order_id": "A"})
    assert json.dumps(_fingerprint(InvoiceRequest.model_validate(same)), sort_keys=True) == json.dumps(
        _fingerprint(first), sort_keys=True
    )


@pytest.mark.parametrize(
    "other",
    [
        {"amount": "100.01", "currency": "EUR"},
        {"amount": 100},
        {"amount": 100, "currency": "EUR", "order_id": "B"},
        {"amount": 100, "currency": "EUR", "email": "a@b.example"},
    ],
)
def test_another_request_is_another(other: dict[str, Any]) -> None:
    first = InvoiceRequest.model_validate({"amount": 100, "currency": "EUR"})
    assert _fingerprint(InvoiceRequest.model_validate(other)) != _fingerprint(first)


def test_a_direct_callers_key_is_not_part_of_the_request() -> None:
    with_key = DirectInvoiceRequest.model_validate({"amount": 1, "idempotency_key": "k"})
    assert _fingerprint(with_key) == _fingerprint(InvoiceRequest.model_validate({"amount": 1}))


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, 17, "é"])
def test_a_direct_callers_key_has_the_rule_of_the_header(key: object) -> None:
    with pytest.raises(ValueError, match="idempotency_key"):
        DirectInvoiceRequest.model_validate({"amount": 1, "idempotency_key": key})


def test_a_record_keeps_the_reply_exactly() -> None:
    invoice = Invoice(
        pay_url="https://pay.cryptocloud.plus/DZLF4212",
        invoice_id="DZLF4212",
        currency="BTC",
        amount=Decimal("100.10"),
        amount_usd="100.10",
    )
    stored = json.loads(json.dumps(_AS_TEXT.to_dict(invoice)))
    assert repr(_AS_TEXT.from_dict(stored)) == repr(invoice)


def test_the_id_in_the_log_is_that_of_the_record_and_not_the_key() -> None:
    record_id = IdempotencyKey("http", "A-1001").record_id
    assert record_id == "http#" + hashlib.sha256(b'"A-1001"').hexdigest()
    assert record_id != IdempotencyKey("direct", "A-1001").record_id
