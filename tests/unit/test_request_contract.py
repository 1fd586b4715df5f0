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
from invoicing.contract.requests import DirectInvoiceRequest, InvoiceRequest, Item, ItemsRequest


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
        ("currency", 1),
        ("order_id", "x" * 256),
        ("order_id", 1001.5),
        ("order_id", 1001.0),
        ("order_id", Decimal("1001.0")),
        ("order_id", Decimal("1e3")),
        ("order_id", True),
        ("order_id", 2**53),
        ("order_id", Decimal(-(2**53))),
        ("order_id", "a\nb"),
        ("order_id", "a\x00b"),
        ("order_id", "a\u200bb"),
        ("order_id", "\ud800"),
        ("order_id", ["A-1"]),
        ("email", "nobody"),
        ("email", "a@b@c.example"),
        ("email", "a b@c.example"),
        ("email", "a@b.example\n"),
        ("email", "a@" + "b" * 250 + ".example"),
        ("email", {}),
        ("email", "buyer@stra\u00dfe.example"),
        ("email", "buyer@\u1e9e.example"),
        ("email", "buyer@\u03c2.example"),
        ("email", "buyer@a\u200db.example"),
        ("email", "b\u00fcyer@shop.example"),
        ("email", "buyer@\u00fc..example"),
        ("email", "buyer@" + "\u00fc" * 60 + ".example"),
        ("email", "a" * 230 + "@" + "\u00fc" * 10 + ".example"),
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
        ("description", "all\r\nline\rbreaks\x0b\x0c\x85\u2028\u2029"),
        ("order_id", "no\u00a0break"),
        ("order_id", "newer than this Python: \U0001fae9\U0003ffff"),
        ("shop_id", "shop"),
    ],
)
def test_a_field_at_the_edge_of_its_rule_is_accepted(field: str, value: str) -> None:
    assert getattr(InvoiceRequest.model_validate({"amount": 1, field: value}), field) == value


@pytest.mark.parametrize(
    ("written", "amount"),
    [("19.990", "19.99"), ('"19.990000"', "19.99"), ('"100.000"', "100.00"), ("0.0100", "0.01"), ('"7.10"', "7.10")],
)
def test_zeros_behind_the_cents_are_no_decimals(written: str, amount: str) -> None:
    assert str(accepted(f'{{"amount": {written}}}').amount) == amount


def test_decimals_are_compared_exactly_however_many_there_are() -> None:
    assert refused_pointers({"amount": "1." + "0" * 5_000 + "1"}) == ["/amount"]
    assert accepted('{"amount": 1.' + "0" * 5_000 + "}").amount == 1


def test_float_noise_is_refused_with_what_to_send_instead() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        validated(InvoiceRequest, {"amount": 0.1 + 0.2})
    assert refusal.value.fields[0].detail == 'must have at most 2 decimals: round it, or send a string such as "19.99"'


@pytest.mark.parametrize(
    ("sent", "order_id"), [(1001, "1001"), (Decimal(1001), "1001"), (0, "0"), (Decimal("-0"), "0"), (-7, "-7")]
)
def test_an_integer_order_id_counts_as_its_digits(sent: object, order_id: str) -> None:
    assert InvoiceRequest.model_validate({"amount": 1, "order_id": sent}).order_id == order_id


@pytest.mark.parametrize(
    ("sent", "ascii_form"),
    [
        ("buyer@b\u00fccher.example", "buyer@xn--bcher-kva.example"),
        ("buyer@B\u00dcCHER.example", "buyer@xn--bcher-kva.example"),
        ("buyer@\u043f\u043e\u0447\u0442\u0430.\u0440\u0444", "buyer@xn--80a1acny.xn--p1ai"),
        ("buyer@xn--bcher-kva.example", "buyer@xn--bcher-kva.example"),
    ],
)
def test_an_international_domain_is_sent_in_its_ascii_form(sent: str, ascii_form: str) -> None:
    assert InvoiceRequest.model_validate({"amount": 1, "email": sent}).email == ascii_form


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_optional_field_without_a_value_counts_as_left_out(nothing: str | None) -> None:
    optional = dict.fromkeys(InvoiceRequest.model_fields.keys() - {"amount"}, nothing)
    assert InvoiceRequest.model_validate({"amount": 1, **optional}).model_dump(exclude_none=True) == {
        "amount": 1,
        "currency": "USD",
    }


def test_an_amount_or_a_direct_callers_key_without_a_value_is_refused() -> None:
    assert refused_pointers({"amount": ""}) == ["/amount"]
    with pytest.raises(InvalidRequest) as refusal:
        validated(DirectInvoiceRequest, {"amount": 1, "order_id": "A-1", "idempotency_key": ""})
    assert [field.pointer for field in refusal.value.fields] == ["/idempotency_key"]


def test_currency_is_usd_unless_said_and_an_optional_null_counts_as_left_out() -> None:
    request = InvoiceRequest.model_validate({"amount": 1, "currency": None, "order_id": None, "email": None})
    assert request.model_dump(exclude_none=True) == {"amount": 1, "currency": "USD"}


def test_an_unknown_field_is_refused_also_when_it_is_null() -> None:
    assert refused_pointers({"amount": 1, "curency": None}) == ["/curency"]


def test_a_name_that_is_no_unicode_is_refused_with_the_whole_body() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        validated(InvoiceRequest, read_json_object(b'{"amount": 1, "x\\ud800": 1}'))
    assert [field.pointer for field in refusal.value.fields] == [""]


def test_all_faults_are_named_at_once() -> None:
    assert refused_pointers({"currency": "X", "email": "x", "nonsense": 1}) == [
        "/amount", "/currency", "/email", "/nonsense",
    ]  # fmt: skip


def test_a_refusal_stays_small_however_much_is_wrong() -> None:
    pointers = refused_pointers({f"{number:0300}": 1 for number in range(500)})
    assert len(pointers) == 20
    assert all(len(pointer) <= 100 for pointer in pointers)


@pytest.mark.parametrize("at", ["@", "%40", "\uff20", "&#64;", "\\u0040", "=40"])
def test_an_email_address_in_place_of_a_fields_name_is_not_repeated_however_it_is_written(at: str) -> None:
    assert refused_pointers({"amount": 1, f"buyer{at}example.com": 1}) == ["/(may be an e-mail address)"]


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
        read_json_object(body.encode())
    assert [field.pointer for field in refusal.value.fields] == [""]


def test_invalid_utf8_is_refused() -> None:
    with pytest.raises(NotAJsonObject):
        parse_json_object(b'{"amount": 1, "order_id": "\xff"}')


def test_a_repeated_field_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_json_object(b'{"amount": 1, "currency": "USD", "amount": 2}')
    assert [field.pointer for field in refusal.value.fields] == ["/amount"]


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.decimals(allow_nan=False, allow_infinity=False))))
def test_an_encoded_object_is_json_that_reads_back_the_same(fields: dict[str, Any]) -> None:
    assert json.loads(encode_json_object(fields), parse_float=Decimal, parse_int=Decimal) == fields


@pytest.mark.parametrize(
    ("order_id", "accepted"), [(2**53 - 1, True), (-(2**53) + 1, True), (2**53, False), (-(2**53), False)]
)
def test_an_integer_is_an_order_as_far_as_every_json_parser_keeps_it_exact(order_id: int, accepted: bool) -> None:
    for number in (order_id, Decimal(order_id)):
        if accepted:
            assert InvoiceRequest.model_validate({"amount": 1, "order_id": number}).order_id == str(order_id)
        else:
            with pytest.raises(ValueError, match="an integer of at most 9007199254740991"):
                InvoiceRequest.model_validate({"amount": 1, "order_id": number})


def test_a_number_with_an_exponent_beyond_all_bounds_is_no_number_of_money() -> None:
    assert parse_json_object('{"amount": 1e9999999999999999999}') == {"amount": Decimal("Infinity")}


def refused_items(items: object, **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as refusal:
        validated(ItemsRequest, {"items": items, **fields})
    return [(field.pointer, field.detail) for field in refusal.value.fields]


@pytest.mark.parametrize(
    ("written", "quantity"),
    [
        ("", 1),
        (', "quantity": null', 1),
        (', "quantity": ""', 1),
        (', "quantity": 1', 1),
        (', "quantity": 999', 999),
        (', "quantity": 2.0', 2),
        (', "quantity": 2e1', 20),
    ],
)
def test_a_quantity_is_a_whole_number_and_one_if_left_out(written: str, quantity: int) -> None:
    text = f'{{"items": [{{"id": "mug"{written}}}]}}'
    for fields in (parse_json_object(text), json.loads(text)):  # over HTTP, and as the runtime reads a direct event
        [item] = validated(ItemsRequest, fields).items
        assert item == Item(id="mug", quantity=quantity)


@pytest.mark.parametrize(
    "written",
    [
        "0", "-1", "1000", "1.5", "0.5", "1e3", "1e-400", "1e999999", "NaN", "Infinity", "true", '"2"', "[]", "{}",
        "999.00000000000000000000000000000000000000001", "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_quantity_is_refused_by_its_place(written: str) -> None:
    fields = parse_json_object(f'{{"items": [{{"id": "mug"}}, {{"id": "tee", "quantity": {written}}}]}}')
    assert refused_items(fields["items"]) == [("/items/1/quantity", "must be a whole number from 1 to 999")]


@pytest.mark.parametrize(
    ("items", "pointer", "detail"),
    [
        ([], "/items", "must have at least 1 entry"),
        ([{"id": f"i{number}"} for number in range(51)], "/items", "must have at most 50 entries"),
        ("mug", "/items", "must be a JSON array"),
        ({"mug": 1}, "/items", "must be a JSON array"),
        (["mug"], "/items/0", "must be a JSON object"),
        ([{"quantity": 1}], "/items/0/id", "is required"),
        ([{"id": None}], "/items/0/id", "is required"),
        ([{"id": ""}], "/items/0/id", "must not be empty"),
        ([{"id": 1001}], "/items/0/id", "must be a string of Unicode characters"),
        ([{"id": "\ud800"}], "/items/0/id", "must be a string of Unicode characters"),
        ([{"id": "x" * 65}], "/items/0/id", "must have at most 64 characters"),
        ([{"id": "mug", "price": "0.01"}], "/items/0/price", "is not a field of this request"),
        ([{"id": "mug", "amount": 1}], "/items/0/amount", "is not a field of this request"),
        (
            [{"id": "mug"}, {"id": "tee"}, {"id": "tee"}, {"id": "mug"}],
            "/items/2/id",
            "must be in items only once: send a quantity",
        ),
    ],
)
def test_items_that_break_a_rule_are_refused_by_their_place(items: object, pointer: str, detail: str) -> None:
    assert refused_items(items) == [(pointer, detail)]


def test_fifty_items_are_taken() -> None:
    assert len(validated(ItemsRequest, {"items": [{"id": f"i{number}"} for number in range(50)]}).items) == 50


def test_a_request_has_an_amount_or_items_and_never_both() -> None:
    both = {"amount": 1, "items": [{"id": "mug"}]}
    for model, refused in ((ItemsRequest, "amount"), (InvoiceRequest, "items")):
        with pytest.raises(InvalidRequest) as refusal:
            validated(model, both)
        [field] = refusal.value.fields
        assert field.pointer == f"/{refused}"
        assert "price list" in field.detail
        assert validated(model, {**both, refused: None})  # null counts as left out
        with pytest.raises(InvalidRequest):
            validated(model, {refused: both[refused]})


def test_an_optional_field_of_a_request_with_items_may_be_null_or_empty() -> None:
    plain = validated(ItemsRequest, {"items": [{"id": "mug"}]})
    for nothing in (None, ""):
        fields = dict.fromkeys(ItemsRequest.model_fields.keys() - {"items"}, nothing)
        assert validated(ItemsRequest, {"items": [{"id": "mug"}], **fields}) == plain
    assert plain.currency is None  # it is the list's, and not USD
