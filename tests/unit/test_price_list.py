"""The form of a price list: what is one, what is said of what is none, and the JSON Schema that says the same."""

import json
from decimal import Decimal
from typing import get_args

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.contract.currencies import Currency
from invoicing.contract.price_list import MAX_NAME_LENGTH, MAX_PRICE_LIST_BYTES, NotAPriceList, parse_price_list
from tests.support import ROOT
from tests.support.price_lists import BAD, BEYOND_THE_SCHEMA, MUG_AND_TEE, as_file, with_item

SCHEMA = json.loads((ROOT / "docs" / "price-list.schema.json").read_text())
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)

GOOD: dict[str, bytes] = {
    "smallest": as_file({"currency": "USD", "items": {"a": {"price": "0.01"}}}),
    "with names": as_file(),
    "cents of one digit": with_item(price="19.9"),
    "ten cents": with_item(price="0.10"),
    "five cents": with_item(price="0.05"),
    "highest": with_item(price="999999999.99"),
    "longest id": as_file({"currency": "RUB", "items": {"x" * 64: {"price": "1"}}}),
    "id of all that it may have": as_file({"currency": "EUR", "items": {"0-a_B.9": {"price": "1"}}}),
    "longest name, in any script": with_item(price="1", name="\u0447" * 100),
    "more than we look at": as_file({"$schema": "x", "stock": 3, **MUG_AND_TEE, "other": {"price": "1", "image": []}}),
    "byte order mark": b"\xef\xbb\xbf" + as_file(),
    "1 MiB": as_file().ljust(MAX_PRICE_LIST_BYTES),
}


def is_price_list(text: bytes) -> bool:
    try:
        parse_price_list(text)
    except NotAPriceList:
        return False
    return True


def test_a_list_says_what_each_item_costs_exactly_and_what_buyers_know_it_by() -> None:
    prices = parse_price_list(as_file())
    assert prices.currency == "USD"
    assert (prices.price_of("mug"), prices.price_of("tee-l")) == (Decimal("19.99"), Decimal(25))
    assert (prices.name_of("mug"), prices.name_of("tee-l")) == ("Enamel mug", "tee-l")


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_good_list_is_believed_and_the_schema_says_so_too(text: bytes) -> None:
    assert is_price_list(text)
    assert VALIDATOR.is_valid(json.loads(text.decode("utf-8-sig")))


@pytest.mark.parametrize("fault", BAD)
def test_what_is_no_price_list_is_refused_in_a_sentence_that_names_the_item(fault: str) -> None:
    text, said = BAD[fault]
    with pytest.raises(NotAPriceList) as refusal:
        parse_price_list(text)
    assert any(said in sentence for sentence in refusal.value.faults), refusal.value.faults
    for sentence in refusal.value.faults:
        assert sentence.endswith(".")
        assert sentence.isprintable()
        assert len(sentence) < 400


@pytest.mark.parametrize("fault", [fault for fault in BAD if fault not in BEYOND_THE_SCHEMA])
def test_the_schema_refuses_what_the_code_refuses(fault: str) -> None:
    try:
        parsed = json.loads(BAD[fault][0])
    except (ValueError, RecursionError):
        return  # no JSON at all
    assert not VALIDATOR.is_valid(parsed)


def test_every_fault_is_named_at_once() -> None:
    text = as_file({"currency": "usd", "items": {"mug": {"price": "0"}, "a b": {"price": 1, "name": 2}, "tee": []}})
    with pytest.raises(NotAPriceList) as refusal:
        parse_price_list(text)
    assert len(refusal.value.faults) == 6


JSON_TEXTS = st.text(alphabet=st.sampled_from("0123456789.-+eE ,\u0661\n"), max_size=14) | st.decimals(
    allow_nan=False, allow_infinity=False
).map(str)


@given(price=JSON_TEXTS | st.none() | st.booleans() | st.integers() | st.lists(st.none(), max_size=1))
def test_code_and_schema_agree_on_every_price(price: object) -> None:
    text = with_item(price=price)
    assert is_price_list(text) == VALIDATOR.is_valid(json.loads(text))


@given(name=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=MAX_NAME_LENGTH + 1))
def test_code_and_schema_agree_on_every_name(name: str) -> None:
    text = with_item(price="1", name=name)
    assert is_price_list(text) == VALIDATOR.is_valid(json.loads(text))


@given(item_id=st.text(max_size=66).filter(str.isprintable) | st.text(alphabet="aZ09._- :/", max_size=66))
def test_code_and_schema_agree_on_every_id(item_id: str) -> None:
    text = as_file({"currency": "USD", "items": {item_id: {"price": "1"}}})
    assert is_price_list(text) == VALIDATOR.is_valid(json.loads(text))


def test_the_schema_has_the_currencies_of_invoices_and_its_examples_are_valid() -> None:
    assert SCHEMA["properties"]["currency"]["enum"] == list(get_args(Currency))
    jsonschema_rs.meta.validate(SCHEMA)
    for example in SCHEMA["examples"]:
        assert VALIDATOR.is_valid(example)
        assert is_price_list(as_file(example))
