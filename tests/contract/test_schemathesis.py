"""Schemathesis makes requests from docs/openapi.yaml, valid and invalid ones, and checks every reply against it.

All its checks are on; those about credentials, about resources of other operations and about methods find nothing to
check here. For a larger run: ``CASES=1000 .venv/bin/python -m pytest tests/contract/test_schemathesis.py``.
"""

import copy
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, GenerationMode

from invoicing.contract.idempotency_key import parse_idempotency_key
from invoicing.contract.invoice import INVOICE_ID_PATTERN
from invoicing.keys import IdempotencyKey
from invoicing.provider.v1 import V1
from invoicing.provider.v2 import v2
from tests.contract.replies import DOCUMENT, INFO_PATH, PATH, assert_documented
from tests.support.account import SHOP_ID
from tests.support.price_lists import MUG_AND_TEE as SOLD
from tests.support.stack import Stack
from tests.support.tables import record_invoice

# For each kind of data, in addition to the examples and the coverage phase. The same ones on every run.
CASES = int(os.environ.get("CASES", "250"))
# Before the provider is called both versions of its API are one program.
CASES_IN_V2 = 100
# There is little to say to the status route, and it is one program in both versions.
CASES_OF_STATUS = 100
RECORDED = "DZLF4212"
BOUNDED = settings(
    max_examples=CASES,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def api(document: dict[str, Any], mode: GenerationMode, path: str = PATH) -> Any:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(modes=[mode])
    schema.config.request_timeout = 60
    # Another method never reaches a function: API Gateway has its routes and answers the rest by itself, SAM CLI's
    # gateway otherwise than the real one. tests/unit/test_template.py has the routes.
    schema.config.phases.coverage.unexpected_methods = set()
    # The file's examples are valid data.
    schema.config.phases.examples.enabled = mode is GenerationMode.POSITIVE
    # Fifty items that are wrong can take more than a body may have.
    refusals = schema.config.checks.negative_data_rejection
    refusals.expected_statuses = [*refusals.expected_statuses, "413"]
    # Each test is about one operation.
    return schema.include(path=path)


def taking(request: str) -> dict[str, Any]:
    """Returns the document of a deployment that takes one of the two kinds of request, which is its owner's choice.

    Args:
        request: The name of the schema: ``InvoiceRequest`` without a price list, ``ItemsRequest`` with one.
    """
    document = copy.deepcopy(DOCUMENT)
    content = document["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]
    content["schema"] = {"$ref": f"#/components/schemas/{request}"}
    needed = document["components"]["schemas"][request]["required"]
    content["examples"] = {
        name: example for name, example in content["examples"].items() if example["value"].keys() >= set(needed)
    }
    assert content["examples"]
    return document


def as_this_stack_takes_it(request: str, currencies: Sequence[str]) -> dict[str, Any]:
    """Returns the document with what a caller reads in its descriptions and JSON Schema cannot say, said for the test.

    Only for valid data: what is invalid by these rules alone may be valid all the same.

    Args:
        request: The kind of request that the stack takes.
        currencies: Those of the version of the provider's API that the stack speaks, or that of its price list.
    """
    document = taking(request)
    fields = document["components"]["schemas"][request]["properties"]
    fields["currency"]["anyOf"][0]["enum"] = list(currencies)
    # "The shop of the deployment": this one's.
    fields["shop_id"]["anyOf"][0]["const"] = SHOP_ID
    if "amount" in fields:
        # "At most 2 decimals". Not in the file: see Amount in requests.py.
        fields["amount"]["anyOf"][0]["multipleOf"] = 0.01
    else:
        # "Its id in the price list", and "no id twice", which two items of other quantities could have.
        item = document["components"]["schemas"]["Item"]["properties"]
        item["id"] = {"enum": list(SOLD["items"])}
        fields["items"]["maxItems"] = 1
    # "Characters of any script": here Latin-1, where the pattern can name those that are refused, and domains in ASCII.
    # Others are tried in tests/unit/test_request_contract.py.
    fields["order_id"]["anyOf"][0]["pattern"] = r"^[ -~\xa0-\xac\xae-\xff]+$"
    # JSON Schema counts 1001.0 as an integer.
    fields["order_id"]["anyOf"] = [branch for branch in fields["order_id"]["anyOf"] if branch.get("type") != "integer"]
    fields["email"]["anyOf"][0]["pattern"] = r"^[a-z.+-]+@[a-z]{1,63}(\.[a-z]{1,63})*$"
    return document


VALID = api(as_this_stack_takes_it("InvoiceRequest", V1.currencies), GenerationMode.POSITIVE)
VALID_IN_V2 = api(as_this_stack_takes_it("InvoiceRequest", v2().currencies), GenerationMode.POSITIVE)
INVALID = api(taking("InvoiceRequest"), GenerationMode.NEGATIVE)
VALID_ITEMS = api(as_this_stack_takes_it("ItemsRequest", [SOLD["currency"]]), GenerationMode.POSITIVE)
INVALID_ITEMS = api(taking("ItemsRequest"), GenerationMode.NEGATIVE)


def with_ids(rules: dict[str, Any]) -> dict[str, Any]:
    """Returns the document with these rules for the id that the status route is asked about."""
    document = copy.deepcopy(DOCUMENT)
    [parameter] = document["paths"][INFO_PATH]["get"]["parameters"]
    parameter["schema"] |= rules
    # They are ids of no invoice here.
    del parameter["examples"]
    return document


VALID_STATUS = api(with_ids({"enum": [RECORDED, f"INV-{RECORDED}"]}), GenerationMode.POSITIVE, INFO_PATH)
UNKNOWN_STATUS = api(with_ids({"not": {"pattern": RECORDED}}), GenerationMode.POSITIVE, INFO_PATH)
INVALID_STATUS = api(DOCUMENT, GenerationMode.NEGATIVE, INFO_PATH)


@pytest.fixture
def counts(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[dict[int, int]]:
    """Cases by the status of their replies."""
    counts: dict[int, int] = {}
    record_property("schemathesis", counts)
    failed_before = request.session.testsfailed
    yield counts
    if request.session.testsfailed == failed_before:  # a test that failed has stopped early
        assert sum(counts.values()) >= (CASES_IN_V2 if "v2_stack" in request.fixturenames else CASES)


def forget_key_of(stack: Stack) -> Callable[[str], None]:
    """Forgets an idempotency key of an earlier case: a second body under it would rightly be refused."""
    table = stack.table
    used: set[str] = set()

    def forget(header: str) -> None:
        record_id = IdempotencyKey("http", parse_idempotency_key(header)).record_id
        if record_id in used:
            table.delete_item(Key={"id": record_id})
        used.add(record_id)

    return forget


@pytest.fixture(scope="module")
def forget_key(stack: Stack) -> Callable[[str], None]:
    return forget_key_of(stack)


@pytest.fixture(scope="module")
def forget_key_with_prices(stack_with_prices: Stack) -> Callable[[str], None]:
    return forget_key_of(stack_with_prices)


@pytest.fixture(scope="module")
def forget_key_in_v2(v2_stack: Stack) -> Callable[[str], None]:
    return forget_key_of(v2_stack)


@VALID.parametrize()
@BOUNDED
def test_what_the_file_calls_valid_creates_an_invoice(case: Case, stack, counts, forget_key) -> None:
    assert_created(case, stack, counts, forget_key)


@VALID_IN_V2.parametrize()
@settings(BOUNDED, max_examples=CASES_IN_V2)
def test_what_the_file_calls_valid_creates_an_invoice_in_v2(case: Case, v2_stack, counts, forget_key_in_v2) -> None:
    assert_created(case, v2_stack, counts, forget_key_in_v2)


@VALID_ITEMS.parametrize()
@BOUNDED
def test_items_that_the_file_calls_valid_create_an_invoice(
    case: Case, stack_with_prices, counts, forget_key_with_prices
) -> None:
    assert_created(case, stack_with_prices, counts, forget_key_with_prices)


def assert_created(case: Case, stack: Stack, counts: dict[int, int], forget_key: Callable[[str], None]) -> None:
    if key := case.headers.get("Idempotency-Key"):
        forget_key(key)
    response = case.call_and_validate(base_url=stack.endpoints["invoice_url"].removesuffix(PATH))
    counts[response.status_code] = counts.get(response.status_code, 0) + 1
    assert response.status_code == 200


@INVALID.parametrize()
@BOUNDED
def test_what_the_file_calls_invalid_is_refused_as_the_file_says(case: Case, stack, counts) -> None:
    assert_refused(case, stack, counts)


@INVALID.parametrize()
@settings(BOUNDED, max_examples=CASES_IN_V2)
def test_what_the_file_calls_invalid_is_refused_as_the_file_says_in_v2(case: Case, v2_stack, counts) -> None:
    assert_refused(case, v2_stack, counts)


@INVALID_ITEMS.parametrize()
@BOUNDED
def test_items_that_the_file_calls_invalid_are_refused_as_the_file_says(case: Case, stack_with_prices, counts) -> None:
    assert_refused(case, stack_with_prices, counts)


def assert_refused(case: Case, stack: Stack, counts: dict[int, int]) -> None:
    if is_no_text(case.body):
        # SAM CLI's gateway answers such a body with a 502 of its own. API Gateway passes it on in base64, as here.
        answer = stack.pass_on(case.body)
        assert_documented(answer.status, answer.headers, answer.payload)
        status = answer.status
    else:
        status = case.call_and_validate(base_url=stack.endpoints["invoice_url"].removesuffix(PATH)).status_code
    counts[status] = counts.get(status, 0) + 1
    assert 400 <= status < 500


@VALID_STATUS.parametrize()
@settings(BOUNDED, max_examples=CASES_OF_STATUS)
def test_the_status_of_a_recorded_invoice_is_said_as_the_file_says(case: Case, stack) -> None:
    record_invoice(stack, RECORDED)
    assert case.call_and_validate(base_url=base_url_of_status(stack)).status_code == 200


@UNKNOWN_STATUS.parametrize()
@settings(BOUNDED, max_examples=CASES_OF_STATUS)
def test_an_invoice_that_is_not_recorded_is_not_found_as_the_file_says(case: Case, stack) -> None:
    before = stack.seen()["asked"]
    assert case.call_and_validate(base_url=base_url_of_status(stack)).status_code == 404
    assert stack.seen()["asked"] == before


@INVALID_STATUS.parametrize()
@settings(BOUNDED, max_examples=CASES_OF_STATUS)
def test_what_the_file_calls_no_id_is_refused_as_the_file_says(case: Case, stack) -> None:
    before = stack.seen()["asked"]
    # Some cases are wrong only in a parameter that the file does not have, and such a one is ignored.
    uuid = case.query.get("uuid")
    expected = 404 if isinstance(uuid, str) and re.search(INVOICE_ID_PATTERN, uuid) else 400
    assert case.call_and_validate(base_url=base_url_of_status(stack)).status_code == expected
    assert stack.seen()["asked"] == before


def base_url_of_status(stack: Stack) -> str:
    return stack.endpoints["status_url"].removesuffix(INFO_PATH)


def is_no_text(body: object) -> bool:
    try:
        return isinstance(body, bytes) and not body.decode()
    except UnicodeDecodeError:
        return True
