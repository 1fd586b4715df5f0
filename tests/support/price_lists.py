"""Price lists for tests: good ones, and bad ones with what is said of them."""

import json
from typing import Any

MUG_AND_TEE: dict[str, Any] = {
    "currency": "USD",
    "items": {"mug": {"price": "19.99", "name": "Enamel mug"}, "tee-l": {"price": "25"}},
}


def as_file(price_list: object = MUG_AND_TEE) -> bytes:
    """Returns a price list as the shop publishes it."""
    return json.dumps(price_list).encode()


def with_item(**item: Any) -> bytes:
    """Returns a list that sells a mug and one thing more, ``other``."""
    return as_file({**MUG_AND_TEE, "items": {**MUG_AND_TEE["items"], "other": item}})


def with_id(item_id: str) -> bytes:
    """Returns a list that sells one thing of this id."""
    return as_file({"currency": "USD", "items": {item_id: {"price": "1"}}})


#: What is no price list, by its fault; and a part of what is said of it. JSON Schema finds all but those in
#: ``BEYOND_THE_SCHEMA``.
BAD: dict[str, tuple[bytes, str]] = {
    "HTML": (b"<!doctype html><title>Shop</title>", "a web page and not JSON"),
    "no JSON": (b"currency: USD", "must be valid JSON"),
    "empty": (b"", "must be valid JSON"),
    "truncated": (as_file()[:-9], "must be valid JSON"),
    "no UTF-8": (as_file().replace(b"Enamel", b"\xff"), "must be valid JSON in UTF-8"),
    "too deep": (b"[" * 100_000, "must be valid JSON"),
    "an array": (as_file([MUG_AND_TEE]), "must be a JSON object"),
    "no currency": (as_file({"items": MUG_AND_TEE["items"]}), "currency must be one of USD"),
    "currency of no invoice": (as_file({**MUG_AND_TEE, "currency": "BTC"}), "currency must be one of USD"),
    "currency in small letters": (as_file({**MUG_AND_TEE, "currency": "usd"}), "currency must be one of USD"),
    "currency of another type": (as_file({**MUG_AND_TEE, "currency": ["USD"]}), "currency must be one of USD"),
    "no items": (as_file({"currency": "USD"}), "items must be an object with at least one item"),
    "empty items": (as_file({"currency": "USD", "items": {}}), "items must be an object with at least one item"),
    "items as an array": (as_file({"currency": "USD", "items": [{"id": "mug"}]}), "items must be an object"),
    "an item that is a price": (as_file({"currency": "USD", "items": {"mug": "19.99"}}), "Item 'mug': must be an"),
    "no price": (with_item(name="Mug"), "Item 'other': has no price."),
    "price as a number": (with_item(price=19.99), "Item 'other': its price must be a text"),
    "price that is true": (with_item(price=True), "Item 'other': its price must be a text"),
    "price that is null": (with_item(price=None), "Item 'other': its price must be a text"),
    "price in an array": (with_item(price=["1"]), "Item 'other': its price must be a text"),
    "price that is NaN": (with_item(price=float("nan")), "Item 'other': its price must be a text"),
    "three decimals": (with_item(price="19.999"), "It is '19.999'."),
    "three decimals of which one is a zero": (with_item(price="19.990"), "at most 2 decimals"),
    "negative": (with_item(price="-19.99"), "above 0"),
    "for nothing": (with_item(price="0"), "above 0"),
    "for nothing in cents": (with_item(price="0.00"), "above 0"),
    "NaN as text": (with_item(price="NaN"), "It is 'NaN'."),
    "Infinity as text": (with_item(price="Infinity"), "Item 'other'"),
    "exponent": (with_item(price="1e3"), "Item 'other'"),
    "decimal comma": (with_item(price="19,99"), "Item 'other'"),
    "sign of a currency": (with_item(price="$19.99"), "Item 'other'"),
    "blank behind": (with_item(price="19.99 "), "It is '19.99 '."),
    "digits of another script": (with_item(price="\u0661"), "Item 'other'"),
    "zero before": (with_item(price="019.99"), "Item 'other'"),
    "no whole part": (with_item(price=".99"), "Item 'other'"),
    "no decimals behind the point": (with_item(price="19."), "Item 'other'"),
    "a billion": (with_item(price="1000000000"), "below 1000000000"),
    "no name": (with_item(price="1", name=""), "Item 'other': its name must be 1 to 100"),
    "name of 101 characters": (with_item(price="1", name="x" * 101), "Item 'other': its name must be 1 to 100"),
    "name of two lines": (with_item(price="1", name="a\nb"), "Item 'other': its name must be 1 to 100"),
    "name of another type": (with_item(price="1", name=1), "Item 'other': its name must be 1 to 100"),
    "name that is null": (with_item(price="1", name=None), "Item 'other': its name must be 1 to 100"),
    "name of half a character": (with_item(price="1", name="\ud83d"), "Item 'other': its name must be 1 to 100"),
    "id with a blank": (with_id("a mug"), "Item 'a mug': its id must be 1 to 64 letters"),
    "id with a colon": (with_id("mug:2"), "Item 'mug:2': its id"),
    "id that is empty": (with_id(""), "Item '': its id"),
    "id of 65 characters": (with_id("x" * 65), "its id must be 1 to 64"),
    "id of JavaScript": (with_id("__proto__"), "Item '__proto__': its id"),
    "id in other letters": (with_id("\u043c\u0443\u0433"), "its id must be 1 to 64 letters (A to Z)"),
    "id twice": (b'{"currency": "USD", "items": {"mug": {"price": "1"}, "mug": {"price": "2"}}}', "'mug' is twice"),
    "price twice": (b'{"currency": "USD", "items": {"mug": {"price": "1", "price": "2"}}}', "'price' is twice"),
    "items twice": (b'{"currency": "USD", "items": {"mug": {"price": "1"}}, "items": {}}', "'items' is twice"),
    "over 1 MiB": (as_file() + b" " * 1024 * 1024, "more than 1048576"),
}  # fmt: skip
#: JSON Schema sees what a parser made of the text: each name once, whole characters only, and no length.
BEYOND_THE_SCHEMA = {"id twice", "price twice", "items twice", "over 1 MiB", "name of half a character"}
