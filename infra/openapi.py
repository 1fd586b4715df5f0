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

from invoicing.contract.errors import ERROR_TABLE, FieldError, InvalidRequest, InvoicingError
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceInfoRequest, InvoiceRequest, Item, ItemsRequest
from invoicing.contract.statuses import STATUSES

FILE = Path(__file__).parents[1] / "docs" / "openapi.yaml"
_HEADING = "# Made by `make openapi` from functions/invoicing/contract: change those.\n"
_REQUEST_ID = "7b834569-6293-4c6b-83c6-759bbd3f8120"

_ABOUT = """\
Creates CryptoCloud invoices for static sites, and says when they are paid: CryptoCloud's own documented requests
without the key and the shop, and its own documented replies.

**Compatible changes.** Fields and headers may be added to replies, and codes to errors: ignore what you do not know,
and for a code that you do not know go by `status` and `retryable`. What is here now stays as it is.

**Browsers** ask before they post (CORS): API Gateway answers their `OPTIONS` by itself, and the page's origin must be
among the `AllowedOrigins` of the deployment.

**Other Lambdas** invoke the functions themselves, by the same requests and for the same replies: see the README.

**CryptoCloud** itself posts to `/v1/invoice/postback` when an invoice is paid. That route is not in this document: what
it takes is for CryptoCloud to say, and nobody else has the secret key that signs it.
"""
_ABOUT_CREATE = """\
Sends the request to CryptoCloud with the deployment's API key and shop. Send the buyer to `pay_url` of the reply.

What a deployment takes depends on its owner: without a price list an `InvoiceRequest`, which says what an invoice is
over; with one (`PriceListUrl`) an `ItemsRequest`, which says what is bought. The list's prices count then.

The body has at most 16 KiB. A field that it has twice, or that is not listed here, is refused by name; an
optional field that is `null` or `""` counts as left out. An `Authorization` header is ignored.

CryptoCloud creates a new invoice each time it is asked. With an `Idempotency-Key`, every success for that key within 24
hours is the same invoice. A failure frees the key.

What API Gateway answers by itself has its own form, `{"message": "…"}`: 429 when there are too many requests, and 500
or 503 should the function not answer it, or not in time.
"""
_ABOUT_INFO = """\
Deliver goods for `paid` and `overpaid`, and for no other status. Both are final; every other one may change, `canceled`
too: a buyer may have paid late.

A page may ask as often as it likes: CryptoCloud is asked at most once in 5 s, and while it cannot be asked the reply is
the last status that is known. Parameters that are not listed here are ignored.

What API Gateway answers by itself has its own form, `{"message": "…"}`, as for a new invoice.
"""

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "One for each purchase, and the same one when the purchase is tried again: 1 to 255 visible ASCII characters "
        "without a comma, bare or in double quotes (`\\` before a quote or backslash in them). The same key with "
        "another body is refused with `idempotency_key_reused`."
    ),
    "schema": {"type": "string", "pattern": r'^(?!""$)([!-+\--~]{1,255}|"([!#-+\--\[\]-~]|\\["\\]){1,255}")$'},
    "examples": {
        "bare": {"value": "1f0c6e7a-5b1e-4a56-9f0e-0f6c1c0a7d11"},
        "quoted": {"value": '"1f0c6e7a-5b1e-4a56-9f0e-0f6c1c0a7d11"'},
    },
}

_REQUEST_EXAMPLES = {
    "smallest": {"summary": "Only the required field", "value": {"amount": 19.99}},
    "order": {
        "summary": "What a shop sends",
        "value": {"amount": 19.99, "currency": "USD", "order_id": "A-1001", "email": "buyer@example.com"},
    },
    "decimal_string": {"summary": "An amount as text", "value": {"amount": "0.10", "currency": "EUR"}},
    "items": {
        "summary": "With a price list: what is bought",
        "value": {"items": [{"id": "mug"}, {"id": "tee-l", "quantity": 2}], "order_id": "A-1001"},
    },
    "provider_sample": {
        "summary": "The sample of CryptoCloud's own page",
        "value": {"amount": 100.0, "currency": "USD", "description": "Pay"},
    },
}

_INVOICE = {
    "status": "success",
    "pay_url": "https://pay.cryptocloud.plus/DZLF4212",
    "currency": "BTC",
    "invoice_id": "DZLF4212",
}
_REPLY_EXAMPLES = {
    "invoice": {"summary": "What CryptoCloud documents", "value": _INVOICE},
    "with_amounts": {
        "summary": "What CryptoCloud also sends",
        "value": {**_INVOICE, "amount": 19.99, "amount_usd": 19.99},
    },
}

_CREATE_FAILURES = {
    400: "The request is not valid, or CryptoCloud rejected the invoice. Nothing was created.",
    403: "The page's origin is not allowed. Nothing was created.",
    409: "A request with the same idempotency key is still running.",
    413: "The body is too large. Nothing was created.",
    415: "The `Content-Type` is not JSON. Nothing was created.",
    422: "The idempotency key was used with another body. Nothing was created.",
    429: "Too many requests to the deployment; API Gateway answers by itself. Nothing was created.",
    500: "The service failed or is not set up.",
    502: "CryptoCloud refused the service's API key. Nothing was created.",
    503: "The service, CryptoCloud or the price list is unavailable. As a problem, it says that nothing was created.",
    504: "CryptoCloud gave no usable answer: it may have created an invoice whose link never arrived.",
}
_STATUS_EXAMPLES = {
    "paid": {"summary": "The goods may be delivered", "value": {"status": "success", "status_invoice": "paid"}},
    "created": {"summary": "Nobody has paid yet", "value": {"status": "success", "status_invoice": "created"}},
}
_INFO_FAILURES = {
    400: "The id is missing, is there twice, or cannot be an invoice's.",
    403: "The page's origin is not allowed.",
    404: (
        "The deployment has no record of an invoice of this id: it did not create it, created it longer ago than it "
        "keeps invoices (`InvoiceRetentionDays`), or could not record it."
    ),
    429: "Too many requests to the deployment; API Gateway answers by itself.",
    500: "The service failed or is not set up.",
    503: "The service is unavailable. The invoice is as it was.",
}
# What API Gateway answers by itself: when throttled, and when the function gives no answer, as a crash would be.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-lambda.html
_GATEWAY_MESSAGES = {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}

_HEADERS: dict[str, dict[str, Any]] = {
    "Cache-Control": {"description": "No reply may be cached.", "schema": {"const": "no-store"}},
    "X-Request-Id": {
        "description": "The id of the request in the service's log; in a problem also `request_id`.",
        "schema": {"type": "string"},
        "example": _REQUEST_ID,
    },
    "Idempotent-Replayed": {
        "description": "Present if an earlier request with the same idempotency key created the invoice.",
        "schema": {"const": "true"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the request is sent again.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 5,
    },
}


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
            "description": _ABOUT,
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
                "description": _ABOUT_CREATE,
                "parameters": [_IDEMPOTENCY_KEY],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"oneOf": [_ref("InvoiceRequest"), _ref("ItemsRequest")]},
                            "examples": _REQUEST_EXAMPLES,
                        }
                    },
                },
            },
            success={
                "description": "The invoice.",
                "headers": {
                    **_always("Cache-Control", "X-Request-Id"),
                    "Idempotent-Replayed": _HEADERS["Idempotent-Replayed"],
                },
                "content": {"application/json": {"schema": _ref("Invoice"), "examples": _REPLY_EXAMPLES}},
            },
            failures=_CREATE_FAILURES,
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
                "description": _ABOUT_INFO,
                "parameters": _query(InvoiceInfoRequest),
            },
            success={
                "description": "The status of the invoice.",
                "headers": _always("Cache-Control", "X-Request-Id"),
                "content": {"application/json": {"schema": _ref("InvoiceStatus"), "examples": _STATUS_EXAMPLES}},
            },
            failures=_INFO_FAILURES,
            fault=FieldError("/uuid", "must be the id of an invoice, with or without INV-"),
        ),
    ]


def _responses(operation: _Operation) -> dict[str, Any]:
    statuses = sorted({error.http_status for error in operation.errors} | _GATEWAY_MESSAGES.keys())
    return {"200": operation.success, **{str(status): _failure(status, operation) for status in statuses}}


def _failure(status: int, operation: _Operation) -> dict[str, Any]:
    errors = [error for error in operation.errors if error.http_status == status]
    response: dict[str, Any] = {"description": operation.failures[status], "content": {}}
    if errors:
        waits = ["Retry-After"] if all(error.default_retry_after_s for error in errors) else []
        names = ["Cache-Control", "X-Request-Id", *waits]
        # A reply that may also be API Gateway's own may lack them.
        gateways = status in _GATEWAY_MESSAGES
        response["headers"] = {name: _HEADERS[name] for name in names} if gateways else _always(*names)
        response["content"]["application/problem+json"] = {
            "schema": {"oneOf": [_ref(_name(error)) for error in errors]} if errors[1:] else _ref(_name(errors[0])),
            "examples": {
                error.code: {"summary": _plain(error.when), "value": _example(error, operation).problem(_REQUEST_ID)}
                for error in errors
            },
        }
    if message := _GATEWAY_MESSAGES.get(status):
        response["content"]["application/json"] = {
            "schema": _ref("GatewayMessage"),
            "examples": {"gateway": {"summary": "API Gateway by itself", "value": {"message": message}}},
        }
    return response


def _always(*names: str) -> dict[str, Any]:
    return {name: {"required": True, **_HEADERS[name]} for name in names}


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
    problem = error().problem(_REQUEST_ID)
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
