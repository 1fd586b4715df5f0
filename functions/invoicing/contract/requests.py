"""The requests that callers send.

Field rules follow the provider's page for ``POST /v1/invoice/create``, tightened where it is silent.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from invoicing.contract.idempotency_key import RULE, is_idempotency_key

_DECIMAL_STRING = re.compile(r"[0-9]+(\.[0-9]+)?")
_CONTROL_CHARACTERS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_CONTROL_CHARACTER = re.compile(f"[{_CONTROL_CHARACTERS}]")
# What <input type="email"> accepts, so that site and function agree:
# https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address
_EMAIL = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)


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
    if int(amount.as_tuple().exponent) < -2:
        raise _rule("must have at most 2 decimals")
    return amount


def _printable(value: str) -> str:
    if not value.isprintable():
        raise _rule("must have printable characters only")
    return value


def _no_control_characters(value: str) -> str:
    if _CONTROL_CHARACTER.search(value):
        raise _rule("must not have control characters")
    return value


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise _rule("must be an e-mail address")
    return value


def _idempotency_key(value: str) -> str:
    if not is_idempotency_key(value):
        raise _rule(RULE)
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(_exact_amount),
    # The widest bounds that a deployment can have: those that the template accepts for MinAmount and MaxAmount. Not
    # multipleOf 0.01: validators that count in binary floats refuse 19.99 by it.
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0.01, "maximum": 999_999_999.99},
                {"type": "string", "pattern": r"^0*([1-9][0-9]{0,8}(\.[0-9]{1,2})?|0\.(0?[1-9]|[1-9][0-9]))$"},
            ]
        }
    ),
]
# JSON Schema for what ``str.isprintable`` says of Latin-1; its patterns cannot portably say it of all Unicode.
_PRINTABLE_PATTERN = r"^[^\x00-\x1f\x7f-\xa0\xad]+$"


class InvoiceRequest(BaseModel):
    """What a caller asks for: the provider's documented request, without key and shop.

    An optional field that is ``null`` counts as left out. What ``amount`` is counted in is the provider's to say: its
    page calls ``amount`` "in USD" and ``currency`` "for conversion"; both are passed on as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    amount: Amount = Field(
        description="A JSON number, or the same as a decimal string: above 0, with at most 2 decimals, and within the "
        "bounds of the deployment, which are 0.01 and 100000 unless its owner set others. Never rounded."
    )
    currency: Literal["USD", "RUB", "EUR", "GBP", "UAH"] = Field(
        default="USD", description="What the amount is in; CryptoCloud says: for conversion."
    )
    order_id: (
        Annotated[
            str,
            Field(min_length=1, max_length=255, json_schema_extra={"pattern": _PRINTABLE_PATTERN}),
            AfterValidator(_printable),
        ]
        | None
    ) = Field(
        default=None,
        description="Your own id of the order, in printable characters of any script: no control or format character, "
        "and no white space but the plain space.",
    )
    email: (
        Annotated[
            str, Field(max_length=254, json_schema_extra={"pattern": f"^{_EMAIL.pattern}$"}), AfterValidator(_email)
        ]
        | None
    ) = Field(default=None, description='The buyer\'s e-mail address, as `<input type="email">` takes it.')
    description: (
        Annotated[
            str,
            Field(max_length=255, json_schema_extra={"pattern": f"^[^{_CONTROL_CHARACTERS}]*$"}),
            AfterValidator(_no_control_characters),
        ]
        | None
    ) = Field(default=None, description="What is paid for. Of the control characters it may have tab and line feed.")
    shop_id: Annotated[str, Field(max_length=255)] | None = Field(
        default=None, description="Not needed. If sent, it must be the shop of the deployment."
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None or name not in cls.model_fields}


class DirectInvoiceRequest(InvoiceRequest):
    """The event of a direct invocation: the request, and optionally the key that HTTP callers send as a header."""

    idempotency_key: Annotated[str, Field(max_length=255), AfterValidator(_idempotency_key)] | None = None
