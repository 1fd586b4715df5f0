"""The requests that callers send.

Field rules follow the provider's page for ``POST /v1/invoice/create``, tightened where it is silent.
"""

import re
import unicodedata
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from invoicing.contract.currencies import Currency
from invoicing.contract.idempotency_key import RULE, is_idempotency_key
from invoicing.contract.invoice import INVOICE_ID_PATTERN, bare_id, is_invoice_id

_DECIMAL_STRING = re.compile(r"[0-9]+(\.[0-9]+)?")
# All but tab and the line breaks that systems write: LF, CR, VT, FF and NEL.
_CONTROL_CHARACTERS = r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
_CONTROL_CHARACTER = re.compile(f"[{_CONTROL_CHARACTERS}]")
# What <input type="email"> accepts, so that site and function agree:
# https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address
_LOCAL_PART = r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+"
_EMAIL = re.compile(
    rf"{_LOCAL_PART}@[a-zA-Z0-9](?:[a-zA-Z0-9-]{{0,61}}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
# For JSON Schema, which cannot say what an international domain may have.
_EMAIL_PATTERN = rf"^{_LOCAL_PART}@[^\x00-,/:-@[-`{{-\x7f]+$"
_MAX_EMAIL_LENGTH = 254
# The two IDNA standards make two different domains of these: both sharp s, the final sigma, the joiners.
# https://www.unicode.org/reports/tr46/#Deviations
_AMBIGUOUS_IN_DOMAINS = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")
_MAX_DECIMALS = 2
MAX_DESCRIPTION_LENGTH = 255
MAX_ITEMS = 50
MAX_QUANTITY = 999
# A request has one of these.
_EITHER = frozenset({"amount", "items"})


def _rule(text: str) -> PydanticCustomError:
    return PydanticCustomError("rule", text)


def _exact_amount(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        raise _rule("must be a JSON number or a decimal string")
    if isinstance(value, str) and not _DECIMAL_STRING.fullmatch(value):
        raise _rule('must be a decimal string such as "19.99"')
    # str() of a float is the shortest decimal that reads back as the same float: what the caller wrote, for every
    # amount within our bounds. Only direct invocation brings floats: there the runtime has parsed the JSON already.
    amount = Decimal(str(value))
    if not amount.is_finite() or amount <= 0:
        raise _rule("must be greater than 0 and finite")
    return _in_cents(amount)


def _in_cents(amount: Decimal) -> Decimal:
    # Not with Decimal's arithmetic, which rounds at 28 digits.
    _, digits, exponent = amount.as_tuple()
    surplus = -int(exponent) - _MAX_DECIMALS
    if surplus <= 0:
        return amount
    if any(digits[-surplus:]):
        raise _rule('must have at most 2 decimals: round it, or send a string such as "19.99"')
    return Decimal((0, digits[:-surplus], -_MAX_DECIMALS))


def _digits_of_integer(value: object) -> object:
    # Numbers are int or float in a direct event, Decimal in an HTTP body. In both, 1001 is not 1001.0 or 1e3.
    is_integer = isinstance(value, int) or (isinstance(value, Decimal) and value.as_tuple().exponent == 0)
    if not is_integer or isinstance(value, bool):
        return value
    if not -_MAX_INTEGER <= value <= _MAX_INTEGER:  # type: ignore[operator]
        raise _rule(f"must be a string, or an integer of at most {_MAX_INTEGER}")
    return str(int(value))  # type: ignore[call-overload]


def _order_id(value: str) -> str:
    # By category, not by str.isprintable: that refuses characters that are newer than this Python.
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in value):
        raise _rule("must not have control, format or surrogate characters")
    return value


def _no_control_characters(value: str) -> str:
    if _CONTROL_CHARACTER.search(value):
        raise _rule("must not have control characters")
    return value


def _email(value: str) -> str:
    local_part, at, domain = value.rpartition("@")
    if not domain.isascii():
        if not _AMBIGUOUS_IN_DOMAINS.isdisjoint(domain):
            raise _rule("must have the domain in its ASCII form (xn--…): two standards read this one differently")
        try:
            value = local_part + at + domain.encode("idna").decode()
        except UnicodeError:
            raise _rule("must be an e-mail address") from None
    if not _EMAIL.fullmatch(value):
        raise _rule("must be an e-mail address")
    # The ASCII form of a domain is longer.
    if len(value) > _MAX_EMAIL_LENGTH:
        raise _rule(f"must have at most {_MAX_EMAIL_LENGTH} characters")
    return value


def _whole_quantity(value: object) -> object:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
        # As JSON Schema has it, 2.0 is a whole number too.
        if number.is_finite() and 1 <= number <= MAX_QUANTITY and number % 1 == 0:
            return int(number)
    raise _rule(f"must be a whole number from 1 to {MAX_QUANTITY}")


def _some_and_no_id_twice(items: "tuple[Item, ...]") -> "tuple[Item, ...]":
    if not items:
        raise _rule("must have at least 1 entry")
    seen: set[str] = set()
    for place, item in enumerate(items):
        if item.id in seen:
            rule = _rule("must be in items only once: send a quantity")
            raise ValidationError.from_exception_data(
                "items", [{"type": rule, "loc": (place, "id"), "input": None}], hide_input=True
            )
        seen.add(item.id)
    return items


def _idempotency_key(value: str) -> str:
    if not is_idempotency_key(value):
        raise _rule(RULE)
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(_exact_amount),
    # The widest bounds that a deployment can have: those that the template accepts for MinAmount and MaxAmount. No
    # multipleOf 0.01: validators that use binary floats would refuse 19.99.
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0.01, "maximum": 999_999_999.99},
                {"type": "string", "pattern": r"^0*([1-9][0-9]{0,8}(\.[0-9]{1,2}0*)?|0\.(0?[1-9]|[1-9][0-9])0*)$"},
            ]
        }
    ),
]
# The rule for Latin-1: patterns of JSON Schema cannot portably name the categories of all Unicode.
# Beyond it some JSON parsers round: https://www.rfc-editor.org/rfc/rfc8259#section-6
_MAX_INTEGER = 2**53 - 1
_INTEGER = {"type": "integer", "minimum": -_MAX_INTEGER, "maximum": _MAX_INTEGER}
_ORDER_ID_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\xad]+$"


# What both kinds of request have.
_OrderId = Annotated[
    Annotated[
        str,
        Field(max_length=255),
        AfterValidator(_order_id),
        BeforeValidator(_digits_of_integer),
        WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 255, "pattern": _ORDER_ID_PATTERN}, _INTEGER]}),
    ]
    | None,
    Field(
        description="Your own id of the order, in characters of any script, without control and format characters. An "
        "integer counts as its digits."
    ),
]
_Email = Annotated[
    Annotated[
        str,
        Field(max_length=_MAX_EMAIL_LENGTH, json_schema_extra={"pattern": _EMAIL_PATTERN}),
        AfterValidator(_email),
    ]
    | None,
    Field(
        description='The buyer\'s e-mail address, as `<input type="email">` accepts it. CryptoCloud gets an '
        "international domain in its ASCII form."
    ),
]
_Text = Annotated[
    str,
    Field(max_length=MAX_DESCRIPTION_LENGTH, json_schema_extra={"pattern": f"^[^{_CONTROL_CHARACTERS}]*$"}),
    AfterValidator(_no_control_characters),
]
_ShopId = Annotated[
    Annotated[str, Field(max_length=255)] | None,
    Field(description="Not needed. If sent, it must be the shop of the deployment."),
]
_Key = Annotated[str, Field(max_length=255), AfterValidator(_idempotency_key)] | None
_Quantity = Annotated[
    int,
    BeforeValidator(_whole_quantity),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_QUANTITY}),
]


class _Fields(BaseModel):
    """What every request and its parts have in common.

    The validator of a request is built when it is first used, or at the start by ``model_rebuild``: a start does not
    take the time of those that it never meets.

    An optional field that is ``null`` or ``""`` counts as left out, and so does the other one of ``amount`` and
    ``items`` where it is ``null``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _null_and_empty_are_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        # Fields that callers may leave empty. A direct caller's key is not one: an empty key must not count as no key.
        empty = optional - {"idempotency_key"}
        null = {*cls.model_fields, *_EITHER}
        return {
            name: value
            for name, value in data.items()
            if not ((value is None and name in null) or (value == "" and name in empty))
        }


class InvoiceRequest(_Fields):
    """What a caller asks for: the provider's documented request, without key and shop.

    An optional field that is ``null`` or ``""`` counts as left out. The provider decides what ``amount`` is counted in:
    its page calls ``amount`` "in USD" and ``currency`` "for conversion"; both are passed on as they are.
    """

    amount: Amount = Field(
        description="A JSON number, or the same as a decimal string: above 0, with at most 2 decimals, and within the "
        "bounds of the deployment, which are 0.01 and 100000 unless its owner set others. Never rounded."
    )
    currency: Currency = Field(
        default="USD",
        description="What the amount is in; CryptoCloud says: for conversion. USD, RUB, EUR, GBP and UAH work with "
        "every deployment, the others with one that speaks version 2 of CryptoCloud's API (`ProviderApi=v2`).",
    )
    order_id: _OrderId = None
    email: _Email = None
    description: _Text | None = Field(
        default=None, description="What is paid for. Of the control characters it may have tab and line breaks."
    )
    shop_id: _ShopId = None


class Item(_Fields):
    """One line of a purchase."""

    id: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Its id in the price list.")
    quantity: _Quantity = Field(default=1, description="How many of it: a whole number.")


_Items = Annotated[
    tuple[Item, ...],
    Field(max_length=MAX_ITEMS, json_schema_extra={"minItems": 1}),
    AfterValidator(_some_and_no_id_twice),
]


class ItemsRequest(_Fields):
    """What a caller asks for where the shop has a price list: what is bought, and not what it costs.

    Only for a deployment with a price list (`PriceListUrl`). The amount is the sum of the list's prices, and the
    currency is the list's. An optional field that is ``null`` or ``""`` counts as left out.
    """

    items: _Items = Field(description="What is bought, no id twice.")
    currency: Currency | None = Field(
        default=None, description="Not needed. If sent, it must be the currency of the price list."
    )
    order_id: _OrderId = None
    email: _Email = None
    description: _Text | None = Field(
        default=None,
        description="What is paid for; if left out, the names of the items. Of the control characters it may have tab "
        "and line breaks.",
    )
    shop_id: _ShopId = None


class DirectInvoiceRequest(InvoiceRequest):
    """The event of a direct invocation: the request, and optionally the key that HTTP callers send as a header."""

    idempotency_key: _Key = None


class DirectItemsRequest(ItemsRequest):
    """The event of a direct invocation with items, and optionally the key that HTTP callers send as a header."""

    idempotency_key: _Key = None


def _invoice_id(value: str) -> str:
    if not is_invoice_id(bare_id(value)):
        raise _rule("must be the id of an invoice, with or without INV-")
    return bare_id(value)


class InvoiceInfoRequest(BaseModel):
    """What asks for the status of an invoice: the query of ``GET /v1/invoice/info``, or the event of a Lambda."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    uuid: Annotated[str, AfterValidator(_invoice_id)] = Field(
        description="The `invoice_id` of the reply that created the invoice, with or without `INV-` before it.",
        examples=["DZLF4212", "INV-DZLF4212"],
        json_schema_extra={"pattern": INVOICE_ID_PATTERN},
    )
