"""docs/openapi.yaml is what the code says today, and keeps what callers rely on."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import create_invoice
import invoice_info
from infra import openapi
from invoicing.contract.invoice import INVOICE_ID_PATTERN, bare_id, is_invoice_id
from tests.contract.compatibility import breaking_changes
from tests.contract.replies import CREATE, DOCUMENT, FILE, INFO, INFO_PATH, PATH
from tests.support import ROOT
from tests.support.templates import of_type, read_template

# What callers rely on: the file as it was at the last release.
RELEASED = Path(__file__).with_name("released.yaml")

# Broken on purpose, since what was promised lost money: a key that was sent twice arrived as `k,k`, was taken for
# another key, and made a second invoice. No caller can rely on that.
CORRECTED = "POST /v1/invoice/create: header Idempotency-Key: pattern"

Change = Callable[[Any], object]


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text() == openapi.as_yaml(), "docs/openapi.yaml is not what the code says: run `make openapi`"


def test_nothing_that_callers_rely_on_is_broken() -> None:
    broken = breaking_changes(yaml.safe_load(RELEASED.read_text()), DOCUMENT)
    broken = [change for change in broken if not change.startswith(CORRECTED)]
    assert broken == [], "this breaks callers of the released contract: undo it, or give it a path of its own (/v2/…)"


@pytest.mark.parametrize(("said", "errors"), [(CREATE, create_invoice.ERRORS), (INFO, invoice_info.ERRORS)])
def test_every_error_has_an_example_and_is_under_its_status(said, errors) -> None:
    in_file = {
        code: (status, example["value"])
        for status, response in said["responses"].items()
        for code, example in response["content"].get("application/problem+json", {"examples": {}})["examples"].items()
    }
    assert {code: status for code, (status, _) in in_file.items()} == {
        error.code: str(error.http_status) for error in errors
    }
    for error in errors:
        problem = error().problem(in_file[error.code][1]["request_id"])
        assert {**in_file[error.code][1], **problem} == in_file[error.code][1]


def test_the_bounds_of_an_amount_are_the_widest_that_the_template_accepts() -> None:
    number = DOCUMENT["components"]["schemas"]["InvoiceRequest"]["properties"]["amount"]["anyOf"][0]
    template = (ROOT / "template.yaml").read_text()
    for name, widest, too_wide in (("MinAmount", "0.01", "0"), ("MaxAmount", "999999999.99", "1000000000")):
        pattern = re.search(rf"  {name}:\n(?:    .*\n)*?    AllowedPattern: (.*)\n", template)[1]
        assert re.fullmatch(pattern, widest)
        assert not re.fullmatch(pattern, too_wide)
        assert number["minimum" if name == "MinAmount" else "maximum"] == float(widest)


# Routes that only the provider calls, as its own page says.
NOT_FOR_CALLERS = {("post", "/v1/invoice/postback")}


def test_the_operations_are_the_routes() -> None:
    functions = of_type(read_template(ROOT / "template.yaml"), "AWS::Serverless::Function")
    events = [event for function in functions.values() for event in function.get("Events", {}).values()]
    routes = {
        (event["Properties"]["Method"].lower(), event["Properties"]["Path"])
        for event in events
        if event["Type"] == "HttpApi"
    }
    documented = {(method, path) for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert documented == routes - NOT_FOR_CALLERS


@pytest.mark.parametrize(
    "text",
    ["DZLF4212", "INV-DZLF4212", "a-b_c", "INV", "INV-INV-", "", "INV-", "a b", "a,b", "a" * 64, "a" * 65,
     "INV-" + "a" * 64, "INV-" + "a" * 65, "é", "a/b"],
)  # fmt: skip
def test_the_files_rule_of_an_id_is_the_codes(text: str) -> None:
    [parameter] = INFO["parameters"]
    assert parameter["schema"]["pattern"] == INVOICE_ID_PATTERN
    assert (re.search(INVOICE_ID_PATTERN, text) is not None) is is_invoice_id(bare_id(text))


def fields(document: Any) -> Any:
    return document["components"]["schemas"]["InvoiceRequest"]["properties"]


def schema(document: Any, name: str) -> Any:
    return document["components"]["schemas"][name]


def operation(document: Any) -> Any:
    return document["paths"][PATH]["post"]


def info(document: Any) -> Any:
    return document["paths"][INFO_PATH]["get"]


def own(document: Any, error: str) -> Any:
    return schema(document, error)["allOf"][1]["properties"]


def another_status(document: Any) -> None:
    responses = operation(document)["responses"]
    responses["424"] = responses.pop("422")


BREAKING: dict[str, tuple[Change, str]] = {
    "operation removed": (lambda it: it["paths"][PATH].pop("post"), f"POST {PATH}: removed"),
    "path renamed": (lambda it: it["paths"].update({"/v1/invoices": it["paths"].pop(PATH)}), f"POST {PATH}: removed"),
    "operation renamed": (lambda it: operation(it).update(operationId="create"), "operationId changed"),
    "credentials needed": (lambda it: it.update(security=[{"key": []}]), "security changed"),
    "field required": (
        lambda it: schema(it, "InvoiceRequest")["required"].append("order_id"),
        "/order_id: may be miss",
    ),
    "new field required": (
        lambda it: (fields(it).update(tax={"type": "string"}), schema(it, "InvoiceRequest")["required"].append("tax")),
        "/tax: may be missing where it is needed",
    ),
    "field removed": (lambda it: fields(it).pop("description"), "/description: no longer accepted"),
    "currency dropped": (lambda it: fields(it)["currency"]["anyOf"][0]["enum"].remove("UAH"), "'UAH' instead of"),
    "null refused": (lambda it: fields(it)["email"]["anyOf"].pop(), "/email: "),
    "amount only as number": (lambda it: fields(it)["amount"]["anyOf"].pop(), "/amount: type string"),
    "amount at least 1": (
        lambda it: fields(it)["amount"]["anyOf"][0].update(minimum=1),
        "/amount: minimum 0.01, not 1",
    ),
    "amount bounded closer": (lambda it: fields(it)["amount"]["anyOf"][0].update(maximum=9), "/amount: maximum"),
    "whole amounts": (lambda it: fields(it)["amount"]["anyOf"][0].update(multipleOf=1), "/amount: multipleOf absent"),
    "id shorter": (lambda it: fields(it)["order_id"]["anyOf"][0].update(maxLength=254), "/order_id: maxLength 255"),
    "id of digits": (lambda it: fields(it)["order_id"]["anyOf"][0].update(pattern="^[0-9]+$"), "/order_id: pattern"),
    "e-mail by format": (lambda it: fields(it)["email"]["anyOf"][0].update(format="email"), "/email: format absent"),
    "other default": (lambda it: fields(it)["currency"].update(default="EUR"), "/currency: default USD, now EUR"),
    "body as another type": (
        lambda it: operation(it)["requestBody"].update(content={"text/json": {"schema": {}}}),
        "request body application/json: no longer accepted",
    ),
    "key required": (lambda it: operation(it)["parameters"][0].update(required=True), "Idempotency-Key: now required"),
    "key shorter": (
        lambda it: operation(it)["parameters"][0]["schema"].update(maxLength=36),
        "Idempotency-Key: maxLength absent, not 36",
    ),
    "key renamed": (lambda it: operation(it)["parameters"][0].update(name="X-Key"), "Idempotency-Key: removed"),
    "header required": (
        lambda it: operation(it)["parameters"].append(
            {"in": "header", "name": "X-Shop", "required": True, "schema": {"type": "string"}}
        ),
        "header X-Shop: now required",
    ),
    "reply field removed": (
        lambda it: schema(it, "Invoice")["properties"].pop("amount"),
        "/amount: no longer described",
    ),
    "reply field renamed": (
        lambda it: schema(it, "Invoice")["properties"].update(url=schema(it, "Invoice")["properties"].pop("pay_url")),
        "/pay_url: no longer described",
    ),
    "reply field may be missing": (lambda it: schema(it, "Invoice")["required"].remove("pay_url"), "/pay_url: may be"),
    "reply field may be null": (
        lambda it: schema(it, "Invoice")["properties"]["currency"].update(type=["string", "null"]),
        "/currency: type null, not string",
    ),
    "reply field of another type": (
        lambda it: schema(it, "Invoice")["properties"]["invoice_id"].update(type="integer"),
        "/invoice_id: type integer, not string",
    ),
    "reply status renamed": (
        lambda it: schema(it, "Invoice")["properties"]["status"].update(const="ok"),
        "/status: 'ok' instead of what was promised",
    ),
    "reply header removed": (
        lambda it: operation(it)["responses"]["200"]["headers"].pop("X-Request-Id"),
        "response 200 header X-Request-Id: removed",
    ),
    "Retry-After may be missing": (
        lambda it: operation(it)["responses"]["409"]["headers"]["Retry-After"].pop("required"),
        "response 409 header Retry-After: may be missing",
    ),
    "Retry-After as a date": (
        lambda it: operation(it)["responses"]["409"]["headers"]["Retry-After"].update(schema={"type": "string"}),
        "response 409 header Retry-After: type string",
    ),
    "errors as JSON": (
        lambda it: operation(it)["responses"]["413"].update(content={"application/json": {"schema": {}}}),
        "response 413 application/problem+json: removed",
    ),
    "a 202": (lambda it: operation(it)["responses"].update({"202": {}}), "response 202: a new kind of success"),
    "error removed": (
        lambda it: operation(it)["responses"]["400"]["content"]["application/problem+json"]["schema"]["oneOf"].pop(),
        "error invoice_rejected: removed",
    ),
    "error renamed": (
        lambda it: own(it, "OutcomeUnknownProblem")["code"].update(const="unknown"),
        "error outcome_unknown: removed",
    ),
    "error under another status": (another_status, "error idempotency_key_reused: status 422 became 424"),
    "error no longer retryable": (
        lambda it: own(it, "OutcomeUnknownProblem")["retryable"].update(const=False),
        "error outcome_unknown/retryable: False instead of",
    ),
    "error of another type": (
        lambda it: own(it, "InvalidRequestProblem")["type"].update(const="about:blank"),
        "error invalid_request/type: 'about:blank' instead of",
    ),
    "fields at fault not named": (
        lambda it: schema(it, "InvalidRequestProblem")["allOf"][1]["required"].remove("errors"),
        "error invalid_request/errors: may be missing",
    ),
    "pointer removed": (
        lambda it: own(it, "InvalidRequestProblem")["errors"]["items"]["properties"].pop("pointer"),
        "error invalid_request/errors/*/pointer: no longer described",
    ),
    "parameter renamed": (lambda it: info(it)["parameters"][0].update(name="id"), "query uuid: removed"),
    "ids of digits": (lambda it: info(it)["parameters"][0]["schema"].update(pattern="^[0-9]+$"), "query uuid: pattern"),
    "parameter required": (
        lambda it: info(it)["parameters"].append({"in": "query", "name": "shop", "required": True, "schema": {}}),
        "query shop: now required",
    ),
    "status renamed": (
        lambda it: schema(it, "InvoiceStatus")["properties"]["status_invoice"]["enum"].append("refunded"),
        "/status_invoice: 'refunded' instead of",
    ),
    "status as text": (
        lambda it: schema(it, "InvoiceStatus")["properties"].update(status_invoice={"type": "string"}),
        "/status_invoice: no longer one of",
    ),
    "request id removed": (
        lambda it: (
            schema(it, "Problem")["properties"].pop("request_id"),
            schema(it, "Problem")["required"].remove("request_id"),
        ),
        "/request_id: ",
    ),
}

HARMLESS: dict[str, Change] = {
    "other words": (lambda it: fields(it)["email"].update(description="…", examples=["a@b.example"])),
    "new operation": (lambda it: it["paths"].update({"/v1/invoice/list": {"get": {"responses": {}}}})),
    "new optional field": (lambda it: fields(it).update(locale={"type": "string"})),
    "new currency": (lambda it: fields(it)["currency"]["anyOf"][0]["enum"].append("BRL")),
    "longer description": (lambda it: fields(it)["description"]["anyOf"][0].update(maxLength=1000)),
    "a rule dropped": (lambda it: fields(it)["order_id"]["anyOf"][0].pop("pattern")),
    "lower amounts": (lambda it: fields(it)["amount"]["anyOf"][0].update(minimum=0.001)),
    "a field more forms": (lambda it: fields(it)["order_id"]["anyOf"].append({"type": "integer"})),
    "new optional header": (
        lambda it: operation(it)["parameters"].append({"in": "header", "name": "X", "schema": {"type": "string"}})
    ),
    "new reply field": (lambda it: schema(it, "Invoice")["properties"].update(expires={"type": "string"})),
    "reply field always there": (lambda it: schema(it, "Invoice")["required"].append("currency")),
    "new reply header": (
        lambda it: operation(it)["responses"]["200"]["headers"].update({"X-New": {"schema": {"type": "string"}}})
    ),
    "new field of problems": (lambda it: schema(it, "Problem")["properties"].update(help={"type": "string"})),
    "new error": (
        lambda it: operation(it)["responses"]["400"]["content"]["application/problem+json"]["schema"]["oneOf"].append(
            {"type": "object", "properties": {"code": {"const": "price_unknown"}}}
        )
    ),
    "new status of an error": (lambda it: operation(it)["responses"].update({"451": {}})),
}


def changed(change: Change) -> Any:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    assert document != DOCUMENT
    return document


@pytest.mark.parametrize("name", BREAKING)
def test_a_change_that_breaks_callers_is_found(name: str) -> None:
    change, said = BREAKING[name]
    found = breaking_changes(DOCUMENT, changed(change))
    assert any(said in line for line in found), found


@pytest.mark.parametrize("name", HARMLESS)
def test_a_change_that_breaks_nobody_passes(name: str) -> None:
    assert breaking_changes(DOCUMENT, changed(HARMLESS[name])) == []
