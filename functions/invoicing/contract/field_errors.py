"""The wording of field errors: what a caller reads about a field that breaks its rule."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_lambda_powertools.utilities.parser import BaseModel, ValidationError, parse

from invoicing.contract.errors import FieldError, InvalidRequest
from invoicing.contract.exact_json import NotAJsonObject, parse_json_object
from invoicing.contract.personal_data import may_hold_email

_MAX_FIELD_ERRORS = 20
_MAX_POINTER_LENGTH = 100
# By Pydantic's names of faults: https://docs.pydantic.dev/latest/errors/validation_errors/
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "string_type": "must be a string of Unicode characters",
    "string_unicode": "must be a string of Unicode characters",
    "model_attributes_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "tuple_type": "must be a JSON array",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
}
# Fields of the other kind of request.
_NOT_HERE: Mapping[tuple[int | str, ...], str] = {
    ("amount",): "must be left out: the price list says what the items cost",
    ("items",): "is not a field of this request: this service has no price list",
}


def validated[Model: BaseModel](model: type[Model], fields: object) -> Model:
    """Returns what a caller sent as a model. For callers' input only: our own faults must never become their 400.

    Args:
        model: The contract.
        fields: What the caller sent.

    Raises:
        InvalidRequest: It breaks the contract; each field at fault is named.
    """
    if not isinstance(fields, dict):  # the parser would read a string as JSON
        raise InvalidRequest(fields=[FieldError("", _WORDS["model_type"])])
    try:
        return parse(fields, model)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)[:_MAX_FIELD_ERRORS]
        raise InvalidRequest(fields=[FieldError(_pointer(fault["loc"]), _detail(fault)) for fault in faults]) from None


def read_json_object(text: bytes) -> dict[str, Any]:
    """Returns the JSON object that a caller sent.

    Args:
        text: The body of the request.

    Raises:
        InvalidRequest: It is not such an object.
    """
    try:
        return parse_json_object(text)
    except NotAJsonObject as error:
        pointer = "" if error.name is None else _pointer([error.name])
        raise InvalidRequest(fields=[FieldError(pointer, error.rule)]) from None


def _pointer(path: Sequence[str | int]) -> str:
    # The caller chose the name of the field, and pointers are logged: no e-mail address may be in one, in any spelling.
    names = ("(may be an e-mail address)" if may_hold_email(str(step)) else str(step) for step in path)
    escaped = (name.replace("~", "~0").replace("/", "~1") for name in names)
    return "".join(f"/{step}" for step in escaped)[:_MAX_POINTER_LENGTH]


def _detail(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "extra_forbidden" and fault["loc"] in _NOT_HERE:
        return _NOT_HERE[fault["loc"]]
    words = _WORDS.get(fault["type"])
    return words.format_map(fault.get("ctx", {})) if words else str(fault["msg"])
