"""The contract, once: the request that callers send and the invoice that they get.

Field rules follow the provider's page for ``POST /v1/invoice/create``, tightened where it is silent.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
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

from invoicing.errors import FieldError, InvalidRequest

_DECIMAL_STRING = re.compile(r"[0-9]+(\.[0-9]+)?")
_CONTROL_CHARACTERS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_CONTROL_CHARACTER = re.compile(f"[{_CONTROL_CHARACTERS}]")
# What <input type="email"> accepts, so that site and function agree:
# https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address
_EMAIL = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_quote = json.JSONEncoder().encode
_MAX_FIELD_ERRORS = 20
_MAX_POINTER_LENGTH = 100


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


def _visible(value: str) -> str:
    if not _VISIBLE.fullmatch(value):
        raise _rule("must be 1 to 255 visible ASCII characters")
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


ReplyAmount = Annotated[Decimal | str, WithJsonSchema({"type": ["number", "string"]})]


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

    idempotency_key: Annotated[str, Field(max_length=255), AfterValidator(_visible)] | None = None


class Invoice(BaseModel):
    """A created invoice: the provider's documented reply.

    ``currency`` is a crypto code or absent, never an echo of the request's; ``amount`` and ``amount_usd`` are there
    when the provider sent them, number or string as it sent them.
    """

    model_config = ConfigDict(frozen=True)

    status: Literal["success"] = "success"
    pay_url: str = Field(
        description="Where to send the buyer; always of CryptoCloud's pay origin.", json_schema_extra={"format": "uri"}
    )
    currency: str | None = Field(default=None, description="A crypto code, not the currency of the request.")
    invoice_id: str = Field(description="CryptoCloud's id of the invoice.")
    amount: ReplyAmount | None = Field(default=None, description="As CryptoCloud sent it.")
    amount_usd: ReplyAmount | None = Field(default=None, description="As CryptoCloud sent it.")

    def payload(self) -> dict[str, str | Decimal]:
        """Returns the reply's fields, those that are absent left out."""
        return self.model_dump(exclude_none=True)


def encode_json_object(fields: Mapping[str, str | Decimal]) -> str:
    """Returns a flat JSON object with every ``Decimal`` as an exact number.

    The standard encoder knows only binary floats, and money must not pass through one.
    """
    members = (
        f"{_quote(name)}: {f'{value:f}' if isinstance(value, Decimal) else _quote(value)}"
        for name, value in fields.items()
    )
    return f"{{{', '.join(members)}}}"


def parse_json_object(text: str | bytes) -> dict[str, Any]:
    """Returns a JSON object (RFC 8259) with every number as an exact ``Decimal``.

    Args:
        text: JSON text; bytes must be UTF-8.

    Raises:
        InvalidRequest: It is not such an object, a field stands in it twice, or it is nested too deeply to read.
    """
    try:
        parsed = json.loads(
            text if isinstance(text, str) else text.decode(),
            parse_float=_exact_number,
            parse_int=_exact_number,
            parse_constant=_exact_number,
            object_pairs_hook=_refuse_duplicates,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(type(error).__name__, fields=[FieldError("", "must be valid JSON in UTF-8")]) from None
    if not isinstance(parsed, dict):
        raise InvalidRequest(fields=[FieldError("", "must be a JSON object")])
    return parsed


def _exact_number(text: str) -> Decimal:
    # NaN and Infinity are no JSON, but the standard parser reads them: as numbers that no field takes, they are refused
    # with the name of the field that they stand in.
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")  # an exponent of more than 18 digits


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidRequest(fields=[FieldError(_pointer([name]), "must stand in the request only once")])
        fields[name] = value
    return fields


def parse_idempotency_key(header: str) -> str:
    """Returns the key in a header ``Idempotency-Key``.

    Args:
        header: The header's value: 1 to 255 visible characters, bare, or quoted as in
            https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/.

    Raises:
        InvalidRequest: It is not such a value. A key that is not understood must not be taken for none.
    """
    value = header.strip(" \t")
    if quoted := _QUOTED.fullmatch(value):
        value = re.sub(r"\\(.)", r"\1", quoted.group(1))
    if not _VISIBLE.fullmatch(value):
        detail = "the header Idempotency-Key must be 1 to 255 visible ASCII characters, bare or quoted"
        raise InvalidRequest(fields=[FieldError("", detail)])
    return value


def invalid_request(faults: Sequence[Mapping[str, Any]]) -> InvalidRequest:
    """Returns the error for what Pydantic found wrong, each field named by its pointer.

    Args:
        faults: ``ValidationError.errors()``: ``loc`` is the path within the body, ``type`` and ``msg`` the rule.
    """
    return InvalidRequest(
        fields=[FieldError(_pointer(fault["loc"]), _detail(fault)) for fault in faults[:_MAX_FIELD_ERRORS]]
    )


def _pointer(path: Sequence[str | int]) -> str:
    # A field's name is the caller's own word, and pointers are logged by the runtime: never an e-mail address.
    names = ("(an e-mail address)" if "@" in str(step) else str(step) for step in path)
    escaped = (name.replace("~", "~0").replace("/", "~1") for name in names)
    return "".join(f"/{step}" for step in escaped)[:_MAX_POINTER_LENGTH]


def _detail(fault: Mapping[str, Any]) -> str:
    match fault["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not a field of this request"
        case "string_type" | "string_unicode":
            return "must be a string of Unicode characters"
        case "model_attributes_type" | "model_type" | "dict_type":
            return "must be a JSON object"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must have at most {fault['ctx']['max_length']} characters"
        case "literal_error":
            return f"must be {fault['ctx']['expected']}"
    return str(fault["msg"])
