"""The request: what is accepted, and that whatever is not is refused with the field named."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.contract.errors import InvalidRequest
from invoicing.contract.exact_json import NotAJsonObject, encode_json_object, parse_json_object
from invoicing.contract.field_errors import read_json_object, validated
from invoicing.contract.requests import InvoiceRequest


def accepted(body: str) -> InvoiceRequest:
    return InvoiceRequest.model_validate(parse_json_object(body))


def refused_pointers(fields: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequest) as refusal:
        validated(InvoiceRequest, fields)
    return [field.pointer for field in refusal.value.fields]


@pytest.mark.parametrize(
    ("written", "sent_upstream"),
    [
        ("100.0", "100.0"),
        ('"0.10"', "0.10"),
        ("19.99", "19.99"),
        ("1e2", "100"),
        ("1.5E+1", "15"),
        ("0.1e1", "1"),
        ("12345678.90", "12345678.90"),
        ('"0.01"', "0.01"),
        ("7", "7"),
    ],
)
def test_an_amount_reaches_the_provider_as_the_exact_number_that_was_written(written: str, sent_upstream: str) -> None:
    request = accepted(f'{{"amount": {written}}}')
    assert encode_json_object({"amount": request.amount}) == f'{{"amount": {sent_upstream}}}'


@given(st.integers(1, 10**11))
def test_every_amount_in_cents_survives_as_number_string_and_float(cents: int) -> None:
    amount = Decimal(cents) / 100
    assert accepted(f'{{"amount": {amount:.2f}}}').amount == amount
    assert accepted(f'{{"amount": "{amount:.2f}"}}').amount == amount
    # A direct caller's JSON has been through the runtime's parser, which makes floats.
    assert InvoiceRequest(amount=json.loads(f"{amount:.2f}")).amount == amount


@pytest.mark.parametrize(
    "written",
    [
        "0", "-1", "-0.0", "0.001", "1.999", "1e-3", "1e-400", "true", "false", "null", "[]", "[1]", "{}",
        "NaN", "Infinity", "-Infinity", "1e99999999999999999999",
        '""', '" 1"', '"1 "', '"1e2"', '"+1"', '"-1"', '"1,5"', '"1_000"', '"0x10"', '"NaN"', '"Infinity"', '".5"',
        '"5."', '"\u0663"', '"1.999"', '"0"', '"0.00"',
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused_by_name(written: str) -> None:
    assert refused_pointers(parse_json_object(f'{{"amount": {written}}}')) == ["/amount"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("currency", "usd"),
        ("currency", "BTC"),
        ("currency", ""),
        ("currency", 1),
        ("order_id", ""),
        ("order_id", "x" * 256),
        ("order_id", 17),
        ("order_id", "a\nb"),
        ("order_id", "a\x00b"),
        ("order_id", "a\u200bb"),
        ("order_id", "\ud800"),
        ("order_id", ["A-1"]),
        ("email", ""),
        ("email", "nobody"),
        ("email", "a@b@c.example"),
        ("email", "a b@c.example"),
        ("email", "a@b.example\n"),
        ("email", "a@" + "b" * 250 + ".example"),
        ("email", {}),
        ("description", "x" * 256),
        ("description", "a\x07b"),
        ("description", 1),
        ("shop_id", "x" * 256),
        ("shop_id", False),
        ("idempotency_key", "k"),
        ("add_fields", {}),
        ("a/b~c", 1),
    ],
)
def test_a_field_that_breaks_its_rule_is_refused_by_name(field: str, value: Any) -> None:
    pointer = "/" + field.replace("~", "~0").replace("/", "~1")
    assert refused_pointers({"amount": 1, field: value}) == [pointer]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("currency", "UAH"),
        ("order_id", "x" * 255),
        ("order_id", "Pedido nº 17 / café"),
        ("email", "first.last+tag@sub.example.com"),
        ("email", "a@b.example".rjust(254, "a")),
        ("description", "x" * 255),
        ("description", "two\nlines"),
        ("shop_id", "shop"),
    ],
)
def test_a_field_at_the_edge_of_its_rule_is_accepted(field: str, value: str) -> None:
    assert getattr(InvoiceRequest.model_validate({"amount": 1, field: value}), field) == value


def test_currency_is_usd_unless_said_and_an_optional_null_counts_as_left_out() -> None:
    request = InvoiceRequest.model_validate({"amount": 1, "currency": None, "order_id": None, "email": None})
    assert request.model_dump(exclude_none=True) == {"amount": 1, "currency": "USD"}


def test_an_unknown_field_is_refused_also_when_it_is_null() -> None:
    assert refused_pointers({"amount": 1, "curency": None}) == ["/curency"]


def test_all_faults_are_named_at_once() -> None:
    assert refused_pointers({"currency": "X", "email": "x", "nonsense": 1}) == [
        "/amount", "/currency", "/email", "/nonsense",
    ]  # fmt: skip


def test_a_refusal_stays_small_however_much_is_wrong() -> None:
    pointers = refused_pointers({f"{number:0300}": 1 for number in range(500)})
    assert len(pointers) == 20
    assert all(len(pointer) <= 100 for pointer in pointers)


def test_an_email_address_in_place_of_a_fields_name_is_not_repeated() -> None:
    assert refused_pointers({"amount": 1, "buyer@example.com": 1}) == ["/(an e-mail address)"]


@pytest.mark.parametrize("value", ["secret@example.com extra", "x" * 256, "AB", 17])
def test_a_refusal_never_repeats_the_value(value: Any) -> None:
    fields = dict.fromkeys(InvoiceRequest.model_fields, value)
    with pytest.raises(InvalidRequest) as refusal:
        validated(InvoiceRequest, fields)
    assert str(value) not in str([field.detail for field in refusal.value.fields])


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        '{"amount": 1',
        "{'amount': 1}",
        "[" * 16_000,
        '{"a":' * 3_000,
        "\x00",
        '"text"',
        "1",
        "null",
        "[]",
        "[{}]",
    ],
)
def test_what_is_no_json_object_is_refused(body: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_json_object(body)
    assert [field.pointer for field in refusal.value.fields] == [""]


def test_invalid_utf8_is_refused() -> None:
    with pytest.raises(NotAJsonObject):
        parse_json_object(b'{"amount": 1, "order_id": "\xff"}')


def test_a_field_that_stands_twice_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_json_object('{"amount": 1, "currency": "USD", "amount": 2}')
    assert [field.pointer for field in refusal.value.fields] == ["/amount"]


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.decimals(allow_nan=False, allow_infinity=False))))
def test_an_encoded_object_is_json_that_reads_back_the_same(fields: dict[str, Any]) -> None:
    assert json.loads(encode_json_object(fields), parse_float=Decimal, parse_int=Decimal) == fields
