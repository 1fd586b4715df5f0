"""The error table: complete, consistent, and the same in the code and in docs/errors.md."""

import importlib
import json

import pytest

from invoicing.contract import errors
from invoicing.contract.errors import ERROR_TABLE, FieldError, InvoicingError
from tests.support import ROOT

PAGE = ROOT / "docs" / "errors.md"


def test_every_error_is_in_the_table_once() -> None:
    defined = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, InvoicingError)
    }
    assert sorted(defined - {InvoicingError}, key=str) == sorted(ERROR_TABLE, key=str)
    assert len({error.code for error in ERROR_TABLE}) == len(ERROR_TABLE)


def test_the_table_is_what_the_functions_say_that_they_can_raise() -> None:
    entries = [importlib.import_module(file.stem) for file in (ROOT / "functions").glob("*.py")]
    assert {error for entry in entries for error in entry.ERRORS} == set(ERROR_TABLE)


def test_a_problem_has_the_members_of_rfc_9457_and_ours() -> None:
    fields = [FieldError("/amount", "is required"), FieldError("", "must be a JSON object")]
    assert errors.InvalidRequest("what happened", fields=fields).problem("request-1") == {
        "type": "urn:cryptocloud-invoices:problem:invalid_request",
        "title": "The request is not valid",
        "status": 400,
        "detail": "Correct the fields named in errors and send the request again.",
        "code": "invalid_request",
        "retryable": False,
        "request_id": "request-1",
        "errors": [
            {"pointer": "/amount", "detail": "is required"},
            {"pointer": "", "detail": "must be a JSON object"},
        ],
    }
    assert "errors" not in errors.InvalidRequest().problem("request-1")


# The contract: callers go by these. A new one may come, none of them may change.
MEANINGS = {
    "invalid_request": (400, "InvalidRequest", False),
    "invoice_rejected": (400, "InvoiceRejected", False),
    "origin_not_allowed": (403, "", False),
    "invoice_in_progress": (409, "InvoiceInProgress", True),
    "payload_too_large": (413, "", False),
    "unsupported_media_type": (415, "", False),
    "idempotency_key_reused": (422, "IdempotencyKeyReused", False),
    "internal_error": (500, "InternalError", False),
    "service_not_configured": (500, "ServiceNotConfigured", False),
    "provider_credentials_rejected": (502, "ProviderCredentialsRejected", False),
    "pay_link_refused": (502, "PayLinkRefused", False),
    "provider_unavailable": (503, "ProviderUnavailable", True),
    "prices_unavailable": (503, "PricesUnavailable", True),
    "outcome_unknown": (504, "OutcomeUnknown", True),
}


def test_each_code_keeps_its_status_its_type_and_whether_to_try_again() -> None:
    found = {
        error.code: (error.http_status, "" if error.http_only else error.__name__, error.retryable)
        for error in ERROR_TABLE
    }
    assert found.items() >= MEANINGS.items()


@pytest.mark.parametrize("error", ERROR_TABLE)
def test_the_reason_for_the_log_never_reaches_a_caller(error: type[InvoicingError]) -> None:
    raised = error("the reason").for_direct_caller("request-1")
    assert "the reason" not in str(raised)
    assert "\n" not in str(raised)
    assert json.loads(str(raised)) == error().problem("request-1")


def test_the_page_of_errors_has_the_table() -> None:
    rows = ["| code | HTTP | direct error type | when | retryable |", "|---|---|---|---|---|"]
    rows += [
        f"| `{error.code}` | {error.http_status} | {'' if error.http_only else f'`{error.__name__}`'} "
        f"| {error.when} | {'yes' if error.retryable else 'no'} |"
        for error in ERROR_TABLE
    ]
    table = "\n".join(rows)
    assert table in PAGE.read_text(), f"put this table into docs/errors.md:\n\n{table}"
