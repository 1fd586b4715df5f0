"""JSON objects in which every number is an exact ``Decimal``: money never passes through a binary float."""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_quote = json.JSONEncoder().encode


class NotAJsonObject(ValueError):
    """The text is not a JSON object that can be read without doubt.

    Args:
        rule: The rule that the text breaks. Never a part of the text: it may be personal data.
        name: The name of the field at fault, or ``None`` when the whole text is.
    """

    def __init__(self, rule: str, *, name: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.name = name


def encode_json_object(fields: Mapping[str, Any]) -> str:
    """Returns a JSON object with every ``Decimal`` as an exact number.

    The standard encoder knows only binary floats.

    Args:
        fields: Numbers that must stay exact are ``Decimal``, and not within a list or another object.
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
        NotAJsonObject: It is not such an object, has a field twice, or is nested too deeply to read.
    """
    try:
        parsed = json.loads(
            text if isinstance(text, str) else text.decode(),
            parse_float=_exact_number,
            parse_int=_exact_number,
            parse_constant=_exact_number,
            object_pairs_hook=_refuse_duplicates,
        )
    except NotAJsonObject:
        raise
    except (ValueError, RecursionError):
        raise NotAJsonObject("must be valid JSON in UTF-8") from None
    if not isinstance(parsed, dict):
        raise NotAJsonObject("must be a JSON object")
    return parsed


def _exact_number(text: str) -> Decimal:
    # NaN and Infinity are not JSON, but the standard parser reads them. As numbers that no field accepts, they are
    # refused with the name of their field.
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")  # an exponent of more than 18 digits


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise NotAJsonObject("must be in the request only once", name=name)
            seen.add(name)
    return fields
