"""The error table: complete, consistent, and the same in the code and in the README."""

import importlib
import json
from pathlib import Path

import pytest

from invoicing.contract import errors
from invoicing.contract.errors import ERROR_TABLE, FieldError, InvoicingError

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def test_every_error_is_in_the_table_once() -> None:
    defined = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, InvoicingError)
    }
    assert sorted(defined - {InvoicingError}, key=str) == sorted(ERROR_TABLE, key=str)
    assert len({error.code for error in ERROR_TABLE}) == len(ERROR_TABLE)


def test_the_table_is_what_the_functions_say_that_they_can_raise() -> None:
    entries = [importlib.import_module(file.stem) for file in (ROOT / "functions").glob("*.py")]
    assert {error for entry in entries for error in entry.ERRORS} == set(ERROR_TABLE)


@pytest.mark.parametrize("error", ERROR_TABLE)
def test_a_problem_has_the_members_of_rfc_9457_and_ours(error: type[InvoicingError]) -> None:
    problem = error("what happened", fields=[FieldError("/amount", "is required")]).problem("request-1")
    assert problem == {
        "type": f"urn:cryptocloud-invoices:problem:{error.code}",
        "title": error.title,
        "status": error.http_status,
        "detail": error.detail,
        "code": error.code,
        "retryable": error.retryable,
        "request_id": "request-1",
        "errors": [{"pointer": "/amount", "detail": "is required"}],
    }


@pytest.mark.parametrize("error", ERROR_TABLE)
def test_the_reason_for_the_log_never_reaches_a_caller(error: type[InvoicingError]) -> None:
    raised = error("the reason").for_direct_caller("request-1")
    assert "the reason" not in str(raised)
    assert "\n" not in str(raised)
    assert json.loads(str(raised)) == error().problem("request-1")


def test_the_readme_has_the_table() -> None:
    rows = ["| code | HTTP | direct error type | when | retryable |", "|---|---|---|---|---|"]
    rows += [
        f"| `{error.code}` | {error.http_status} | {'' if error.http_only else f'`{error.__name__}`'} "
        f"| {error.when} | {'yes' if error.retryable else 'no'} |"
        for error in ERROR_TABLE
    ]
    table = "\n".join(rows)
    assert table in README.read_text(), f"put this table into the README:\n\n{table}"
