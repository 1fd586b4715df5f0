"""The wording of field errors: what a caller reads about a field that breaks its rule."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from invoicing.contract.errors import FieldError, InvalidRequest
from invoicing.contract.exact_json import NotAJsonObject, parse_json_object
from invoicing.contract.personal_data import may_hold_email

_MAX_FIELD_ERRORS = 20
_MAX_POINTER_LENGTH = 100


def validated[Model: BaseModel](model: type[Model], fields: Mapping[str, Any]) -> Model:
    """Returns what a caller sent as a model. For callers' input only: a fault of our own is never their 400.

    Args:
        model: The contract.
        fields: What the caller sent.

    Raises:
        InvalidRequest: It breaks the contract; each field at fault is named.
    """
    try:
        return model.model_validate(fields)
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
    # A field's name is the caller's own word, and pointers are logged: never an e-mail address, however it is written.
    names = ("(may be an e-mail address)" if may_hold_email(str(step)) else str(step) for step in path)
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
