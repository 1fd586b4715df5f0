"""Real replies against docs/openapi.yaml: status, media type, headers and body as the file promises them."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

FILE = Path(__file__).parents[2] / "docs" / "openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text())
PATH, INFO_PATH = "/v1/invoice/create", "/v1/invoice/info"
CREATE: dict[str, Any] = DOCUMENT["paths"][PATH]["post"]
INFO: dict[str, Any] = DOCUMENT["paths"][INFO_PATH]["get"]


def assert_documented(
    status: int, headers: Mapping[str, str], body: object, *, method: str = "POST", path: str = PATH
) -> None:
    """Fails unless the file promises this reply to an operation.

    Args:
        status: The HTTP status.
        headers: The reply's headers, by names in any case.
        body: The parsed JSON.
        method: That of the operation.
        path: That of the operation, as the file has it.
    """
    operation = DOCUMENT["paths"].get(path, {}).get(method.lower())
    assert operation, f"{method} {path} is not in {FILE.name}"
    assert str(status) in operation["responses"], f"{status} is not in {FILE.name} for {method} {path}"
    response = operation["responses"][str(status)]
    received = {name.lower(): value for name, value in headers.items()}
    media_type = received["content-type"]
    assert media_type in response["content"], f"{media_type} is not in {FILE.name} for {status}"
    _body_validator(path, method.lower(), status, media_type).validate(body)
    for name, header in response.get("headers", {}).items():
        value = received.get(name.lower())
        if value is None:
            assert not header.get("required"), f"{FILE.name} promises the header {name} for {status}"
        else:
            whole_number = header["schema"].get("type") == "integer"
            jsonschema_rs.Draft202012Validator(header["schema"]).validate(int(value) if whole_number else value)


@functools.cache
def _body_validator(path: str, method: str, status: int, media_type: str) -> jsonschema_rs.Draft202012Validator:
    schema = DOCUMENT["paths"][path][method]["responses"][str(status)]["content"][media_type]["schema"]
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)
