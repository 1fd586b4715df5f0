"""The HTTP contract as a file: prints docs/openapi.yaml from the models and the error table that the function runs.

``make openapi`` runs it. The schemas come from Pydantic, which is what Powertools' parser validates with.
"""

import contextlib
import importlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from infra import openapi_texts as texts
from invoicing.contract.errors import ERROR_TABLE, FieldError, InvalidRequest, InvoicingError
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceInfoRequest, InvoiceRequest, Item, ItemsRequest
from invoicing.contract.statuses import STATUSES

FILE = Path(__file__).parents[1] / "docs" / "openapi.yaml"
_HEADING = "# Made by `make openapi` from functions/invoicing/contract: change those.\n"


class _Schemas(GenerateJsonSchema):
    """Pydantic's schemas without the titles that it makes of names."""

    def field_title_should_be_set(self, _: Any) -> bool:
        return False


class _Operation(NamedTuple):
    """What the document says of a route that the code does not.

    Args:
        path: That of the route.
        method: In lower case.
        entry: The entry file that answers it, which lists its errors.
        said: Members of the OpenAPI operation, without its responses.
        success: The response with status 200.
        failures: What a status means here, by status.
        fault: What is wrong with a field, in the example of an invalid request.
    """

    path: str
    method: str
    entry: str
    said: Mapping[str, Any]
    success: Mapping[str, Any]
    failures: Mapping[int, str]
    fault: FieldError

    @property
    def errors(self) -> Sequence[type[InvoicingError]]:
        """What the route may answer in place of 200."""
        return importlib.import_module(self.entry).ERRORS  # type: ignore[no-any-return]


def document() -> dict[str, Any]:
    """Returns the OpenAPI document."""
    operations = _operations()
    documented = {error for operation in operations for error in operation.errors}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "CryptoCloud invoices",
            "version": "1",
            "summary": "Creates CryptoCloud invoices without handing out the API key.",
            "description": texts.ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com",
                "description": "A deployment: its InvoiceUrl without the path",
                "variables": {
                    "api": {"default": "your-api-id", "description": "The id of the HTTP API"},
                    "region": {"default": "eu-west-1", "description": "The AWS region"},
                },
            },
            {"url": "http://127.0.0.1:3000", "description": "The local stack of `make run`"},
        ],
        "tags": [{"name": "Invoices", "description": "Invoices that a buyer pays in cryptocurrency"}],
        # Anyone may call: what protects a deployment are its amounts' bounds, its throttling and CORS.
        "security": [],
        "paths": {
            operation.path: {operation.method: {**operation.said, "responses": _responses(operation)}}
            for operation in operations
        },
        "components": {
            "schemas": {
                "InvoiceRequest": _request_schema(InvoiceRequest),
                "ItemsRequest": _request_schema(ItemsRequest),
                "Item": _request_schema(Item),
                "Invoice": _invoice_schema(),
                "InvoiceStatus": _status_schema(),
                "Problem": _problem_schema(),
                **{_name(error): _error_schema(error) for error in ERROR_TABLE if error in documented},
                "GatewayMessage": {
                    "description": "What API Gateway answers by itself.",
                    "type": "object",
                    "properties": {"message": {"type": "string"}},
                    "required": ["message"],
                },
            },
        },
    }


def as_yaml() -> str:
    """Returns the text of ``FILE``."""
    return _HEADING + yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _operations() -> list[_Operation]:
    return [
        _Operation(
            path="/v1/invoice/create",
            method="post",
            entry="create_invoice",
            said={
                "operationId": "createInvoice",
                "tags": ["Invoices"],
                "summary": "Create an invoice",
                "description": texts.ABOUT_CREATE,
                "parameters": [texts.IDEMPOTENCY_KEY],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"oneOf": [_ref("InvoiceRequest"), _ref("ItemsRequest")]},
                            "examples": texts.REQUEST_EXAMPLES,
                        }
                    },
                },
            },
            success={
                "description": "The invoice.",
                "headers": {
                    **_always("Cache-Control", "X-Request-Id"),
                    "Idempotent-Replayed": texts.HEADERS["Idempotent-Replayed"],
                },
                "content": {"application/json": {"schema": _ref("Invoice"), "examples": texts.REPLY_EXAMPLES}},
            },
            failures=texts.CREATE_FAILURES,
            fault=FieldError("/amount", "must be greater than 0 and finite"),
        ),
        _Operation(
            path="/v1/invoice/info",
            method="get",
            entry="invoice_info",
            said={
                "operationId": "getInvoiceStatus",
                "tags": ["Invoices"],
                "summary": "Ask whether an invoice is paid",
                "description": texts.ABOUT_INFO,
                "parameters": _query(InvoiceInfoRequest),
            },
            success={
                "description": "The status of the invoice.",
                "headers": _always("Cache-Control", "X-Request-Id"),
                "content": {"application/json": {"schema": _ref("InvoiceStatus"), "examples": texts.STATUS_EXAMPLES}},
            },
            failures=texts.INFO_FAILURES,
            fault=FieldError("/uuid", "must be the id of an invoice, with or without INV-"),
        ),
    ]


def _responses(operation: _Operation) -> dict[str, Any]:
    statuses = sorted({error.http_status for error in operation.errors} | texts.GATEWAY_MESSAGES.keys())
    return {"200": operation.success, **{str(status): _failure(status, operation) for status in statuses}}


def _failure(status: int, operation: _Operation) -> dict[str, Any]:
    errors = [error for error in operation.errors if error.http_status == status]
    response: dict[str, Any] = {"description": operation.failures[status], "content": {}}
    if errors:
        waits = ["Retry-After"] if all(error.default_retry_after_s for error in errors) else []
        names = ["Cache-Control", "X-Request-Id", *waits]
        # A reply that may also be API Gateway's own may lack them.
        gateways = status in texts.GATEWAY_MESSAGES
        response["headers"] = {name: texts.HEADERS[name] for name in names} if gateways else _always(*names)
        response["content"]["application/problem+json"] = {
            "schema": {"oneOf": [_ref(_name(error)) for error in errors]} if errors[1:] else _ref(_name(errors[0])),
            "examples": {
                error.code: {
                    "summary": _plain(error.when),
                    "value": _example(error, operation).problem(texts.REQUEST_ID),
                }
                for error in errors
            },
        }
    if message := texts.GATEWAY_MESSAGES.get(status):
        response["content"]["application/json"] = {
            "schema": _ref("GatewayMessage"),
            "examples": {"gateway": {"summary": "API Gateway by itself", "value": {"message": message}}},
        }
    return response


def _always(*names: str) -> dict[str, Any]:
    return {name: {"required": True, **texts.HEADERS[name]} for name in names}


def _example(error: type[InvoicingError], operation: _Operation) -> InvoicingError:
    return error(fields=[operation.fault] if error is InvalidRequest else [])


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = _schema_of(model)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema["required"],
            "description": rules.pop("description"),
            "schema": rules,
            "examples": {example: {"value": example} for example in rules.pop("examples")},
        }
        for name, rules in schema["properties"].items()
    ]


def _request_schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = _schema_of(model)
    for name, rules in schema["properties"].items():
        if name not in schema["required"]:
            schema["properties"][name] = _or_nothing(rules)
    return schema


def _invoice_schema() -> dict[str, Any]:
    schema = _schema_of(Invoice)
    # Invoice.payload() leaves out what is None: nothing is ever null, and what cannot be None is always there.
    fields = {name: field for name, field in Invoice.model_fields.items() if not field.exclude}
    schema["properties"] = {name: _never_null(schema["properties"][name]) for name in fields}
    schema["required"] = [name for name, field in fields.items() if field.default is not None]
    return schema


def _status_schema() -> dict[str, Any]:
    return {
        "description": "How far the payment of an invoice is.",
        "type": "object",
        "properties": {
            "status": {"const": "success"},
            "status_invoice": {
                "enum": list(STATUSES),
                "description": (
                    "`created`: nobody has paid yet. `partial`: less than the amount has arrived. `canceled`: the time "
                    "to pay is over. `paid`: the amount has arrived. `overpaid`: more than the amount has arrived."
                ),
            },
        },
        "required": ["status", "status_invoice"],
    }


def _problem_schema() -> dict[str, Any]:
    return {
        "description": "What every error has in common (RFC 9457).",
        "type": "object",
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "Names the kind of error, as `code` does."},
            "title": {"type": "string", "description": "The kind of error in words, for people."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {"type": "string", "description": "What to do, for people."},
            "code": {"type": "string", "description": "Names the kind of error, for programs."},
            "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
            "request_id": {
                "type": "string",
                "description": "The id of the request in the service's log; also `X-Request-Id`.",
            },
        },
        "required": ["type", "title", "status", "detail", "code", "retryable", "request_id"],
    }


def _error_schema(error: type[InvoicingError]) -> dict[str, Any]:
    problem = error().problem(texts.REQUEST_ID)
    own: dict[str, Any] = {name: {"const": problem[name]} for name in ("type", "status", "code", "retryable")}
    if error is InvalidRequest:
        own["errors"] = {
            "type": "array",
            "minItems": 1,
            "description": "The fields at fault.",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": (
                            "JSON pointer (RFC 6901) to the field or parameter; empty for the whole body or a header."
                        ),
                    },
                    "detail": {"type": "string", "description": "The rule that it breaks."},
                },
                "required": ["pointer", "detail"],
            },
        }
    return {
        "description": f"{error.title}: {_plain(error.when)}.",
        "allOf": [_ref("Problem"), {"type": "object", "properties": own, "required": list(own)}],
    }


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=_Schemas, ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # each is a component of its own
    del schema["title"]
    described = re.sub(r"\s*\n(?!\n)\s*", " ", schema.pop("description").replace("``", "`"))
    return {"description": described, **schema}


def _or_nothing(rules: dict[str, Any]) -> dict[str, Any]:
    if {"type": "null"} in rules.get("anyOf", []):
        said = {name: value for name, value in rules.items() if name != "anyOf" and (name, value) != ("default", None)}
        return {"anyOf": [*rules["anyOf"][:-1], {"const": ""}, {"type": "null"}], **said}
    said = {name: rules[name] for name in ("description", "default") if name in rules}
    branches = [{name: rules[name] for name in rules if name not in said}, {"const": ""}, {"type": "null"}]
    return {"anyOf": branches, **said}


def _never_null(rules: dict[str, Any]) -> dict[str, Any]:
    branches = [branch for branch in rules.get("anyOf", []) if branch != {"type": "null"}]
    rest = {name: value for name, value in rules.items() if name not in ("anyOf", "default")}
    return {**branches[0], **rest} if branches else rest


def _name(error: type[InvoicingError]) -> str:
    return f"{error.__name__}Problem"


def _plain(when: str) -> str:
    return when.replace("`", "")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):  # a function logs at its start that it has no settings here
        text = as_yaml()
    FILE.write_text(text)
    print(f"{FILE.relative_to(FILE.parents[1])} is up to date.")
