"""The price list that a shop publishes with its site: its form, and what is wrong with one that is not of that form.

docs/price-list.schema.json says the same as a JSON Schema, and a test fails when the two differ. This needs no package,
so that the build of a site can check a list with nothing but Python (infra/prices.py).
"""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_args

from invoicing.contract.currencies import Currency
from invoicing.contract.exact_json import NotAJsonObject, parse_json_object

MAX_PRICE_LIST_BYTES = 1024 * 1024
MAX_NAME_LENGTH = 100
_ITEM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID_RULE = "must be 1 to 64 letters (A to Z), digits, dots, hyphens and underscores, a letter or a digit first"
# Two forms of one price would be one too many, so neither 019.99 nor .5 is one.
_PRICE = re.compile(r"[1-9][0-9]{0,8}(\.[0-9]{1,2})?|0\.([1-9][0-9]?|0[1-9])")
_PRICE_RULE = 'must be a text such as "19.99": above 0, below 1000000000, with at most 2 decimals'
# As a description may not have them, and no line breaks either.
_NAME = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{MAX_NAME_LENGTH}}}")
_NAME_RULE = f"must be 1 to {MAX_NAME_LENGTH} characters without control characters and line breaks"
_LONGEST_QUOTE = 64


class NotAPriceList(ValueError):
    """The text is no price list.

    Args:
        faults: What is wrong, one sentence for each fault, with the item that has it. Prices are public: a sentence may
            quote the list.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults


@dataclass(frozen=True, slots=True)
class PriceList:
    """All prices of a shop.

    Args:
        currency: What they are in, by code.
        items: What is sold, by id, as in the file. At least one.
    """

    currency: str
    items: Mapping[str, Mapping[str, Any]]

    def price_of(self, item_id: str) -> Decimal:
        """Returns the price of one, in whole units of the currency, exact."""
        return Decimal(self.items[item_id]["price"])

    def name_of(self, item_id: str) -> str:
        """Returns what buyers know it by; its id where the list has no name."""
        return str(self.items[item_id].get("name", item_id))


def parse_price_list(text: bytes) -> PriceList:
    """Returns the price list in a file.

    Members that are not named in docs/price-list.schema.json are passed over: a site may keep more in the file.

    Args:
        text: The file's content.

    Raises:
        NotAPriceList: It is none. One fault is enough: a list is believed whole or not at all.
    """
    if len(text) > MAX_PRICE_LIST_BYTES:
        raise NotAPriceList(f"The file has {len(text)} bytes, more than {MAX_PRICE_LIST_BYTES}.")
    try:
        # RFC 8259, 8.1: nobody may send the mark, whoever reads may ignore it.
        file = parse_json_object(text.removeprefix(codecs.BOM_UTF8))
    except NotAJsonObject as error:
        raise NotAPriceList(_why_no_object(text, error)) from None
    currency, items = file.get("currency"), file.get("items")
    faults = []
    if currency not in get_args(Currency):
        faults.append(f"The member currency must be one of {', '.join(get_args(Currency))}.")
    if not isinstance(items, dict) or not items:
        faults.append("The member items must be an object with at least one item in it.")
        items = {}
    for item_id, item in items.items():
        if not _is_item(item_id, item):
            faults += _faults_of(item_id, item)
    if faults:
        raise NotAPriceList(*faults)
    return PriceList(str(currency), items)


def _is_item(item_id: str, item: Any) -> bool:
    # Of some thousands of items at a cold start: what takes longer reads better, and is only for those at fault.
    if type(item) is not dict:
        return False
    price, name = item.get("price"), item.get("name", "-")
    return bool(
        (type(price) is str and type(name) is str)
        and (_ITEM_ID.fullmatch(item_id) and _PRICE.fullmatch(price) and _NAME.fullmatch(name))
    )


def _faults_of(item_id: str, item: Any) -> list[str]:
    item_name = f"Item {_quoted(item_id)}"
    faults = []
    if not _ITEM_ID.fullmatch(item_id):
        faults.append(f"{item_name}: its id {_ID_RULE}.")
    if not isinstance(item, dict):
        return [*faults, f'{item_name}: must be an object such as {{"price": "19.99"}}.']
    price, name = item.get("price"), item.get("name", "-")
    if "price" not in item:
        faults.append(f"{item_name}: has no price.")
    elif not isinstance(price, str):
        faults.append(f"{item_name}: its price {_PRICE_RULE}. It is no text.")
    elif not _PRICE.fullmatch(price):
        faults.append(f"{item_name}: its price {_PRICE_RULE}. It is {_quoted(price)}.")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        faults.append(f"{item_name}: its name {_NAME_RULE}.")
    return faults


def _why_no_object(text: bytes, error: NotAJsonObject) -> str:
    if error.name is not None:
        return f"The name {_quoted(error.name)} is twice in one object: nobody could say which of the two counts."
    if text.lstrip()[:1] == b"<":
        return "The file is a web page and not JSON."
    return f"The file {error.rule}."


def _quoted(text: str) -> str:
    # As Python writes it: what does not print is visible, and a line of the log stays one line.
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")
