"""The examples of docs/openapi.yaml, sent to the real stack, and what it takes to be a documented reply.

That every error is as documented, all of tests/integration checks: ``Stack.post`` compares each reply with the file.
"""

import pytest

from invoicing.contract.invoice import bare_id
from tests.contract.replies import CREATE, INFO, INFO_PATH, assert_documented
from tests.support.tables import record_invoice

REQUESTS = CREATE["requestBody"]["content"]["application/json"]["examples"]
STATUS = INFO["responses"]["200"]["content"]["application/json"]["examples"]["paid"]["value"]
KEYS = CREATE["parameters"][0]["examples"]


@pytest.mark.parametrize("name", REQUESTS)
def test_an_example_of_a_request_creates_an_invoice(request, name) -> None:
    example = REQUESTS[name]["value"]
    stack = request.getfixturevalue("stack_with_prices" if "items" in example else "stack")
    assert stack.post(example).status == 200


@pytest.mark.parametrize("name", INFO["responses"]["200"]["content"]["application/json"]["examples"])
@pytest.mark.parametrize("query", [example["value"] for example in INFO["parameters"][0]["examples"].values()])
def test_an_example_of_a_status_is_what_the_status_route_answers(stack, name, query) -> None:
    example = INFO["responses"]["200"]["content"]["application/json"]["examples"][name]["value"]
    record_invoice(stack, bare_id(query), example["status_invoice"])
    assert stack.status(f"uuid={query}").payload == example


def test_the_examples_of_a_key_are_one_key_bare_and_quoted(stack, fresh) -> None:
    bare, quoted = KEYS["bare"]["value"], KEYS["quoted"]["value"]
    assert quoted == f'"{bare}"'
    first = stack.post({"amount": 1}, key=fresh)
    assert "Idempotent-Replayed" not in first.headers
    again = stack.post({"amount": 1}, key=f'"{fresh}"')
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.payload == first.payload


HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Request-Id": "request-1"}
INVOICE = CREATE["responses"]["200"]["content"]["application/json"]["examples"]["invoice"]["value"]


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (201, HEADERS, INVOICE),
        (200, {**HEADERS, "Content-Type": "text/html"}, INVOICE),
        (200, {**HEADERS, "Cache-Control": "max-age=60"}, INVOICE),
        (200, {**HEADERS, "Idempotent-Replayed": "yes"}, INVOICE),
        (200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, INVOICE),
        (200, HEADERS, {**INVOICE, "pay_url": "no link"}),
        (200, HEADERS, {**INVOICE, "amount": None}),
        (200, HEADERS, {"status": "success"}),
        (429, HEADERS, {"detail": "Too Many Requests"}),
    ],
)
def test_a_reply_that_the_file_does_not_promise_is_found(status, headers, body) -> None:
    assert_documented(200, HEADERS, INVOICE)
    with pytest.raises((AssertionError, ValueError)):
        assert_documented(status, headers, body)


@pytest.mark.parametrize("body", [{**STATUS, "status_invoice": "refunded"}, {"status": "success"}, INVOICE])
def test_a_status_that_the_file_does_not_promise_is_found(body) -> None:
    assert_documented(200, HEADERS, STATUS, method="GET", path=INFO_PATH)
    with pytest.raises(ValueError, match=r"required|is not"):
        assert_documented(200, HEADERS, body, method="GET", path=INFO_PATH)


def test_a_reply_of_an_operation_that_the_file_does_not_have_is_found() -> None:
    for where in ({"path": "/v1/invoice/cancel"}, {"method": "DELETE"}):
        with pytest.raises(AssertionError, match=r"is not in openapi\.yaml"):
            assert_documented(200, HEADERS, INVOICE, **where)
