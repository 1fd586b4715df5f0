"""What all entry files keep: they import only what they use, begin early what takes time, and document their errors."""

import importlib
import json
import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from invoicing.contract.errors import ERROR_TABLE
from tests.support import ROOT
from tests.support.entries import ENVIRONMENT, entry_file
from tests.support.templates import of_type, read_template

FUNCTIONS = of_type(read_template(ROOT / "template.yaml"), "AWS::Serverless::Function")
ENTRIES = sorted(function["Handler"].split(".")[0] for function in FUNCTIONS.values())
FOLLOWING = {"invoice_info", "receive_postback", "watch_invoices"}
# Whatever is imported is paid for at each start. The entries that need a module, by its name.
NEEDED_BY = {
    "invoicing.create": {"create_invoice"},
    "invoicing.keys": {"create_invoice"},
    "invoicing.patience": {"create_invoice"},
    "invoicing.payments": FOLLOWING,
    "invoicing.events": FOLLOWING,
    "invoicing.postbacks": {"receive_postback"},
    "invoicing.provider.postback": {"receive_postback"},
    "jwt": {"receive_postback"},
    "invoicing.watch": {"watch_invoices"},
    "invoicing.border": set(ENTRIES),
}
# What an entry begins while its sandbox starts; tests/unit/test_create_invoice.py has the first.
PREPARED = {
    "invoice_info": "invoicing.payments.Payments.read_secret",
    "receive_postback": "invoicing.postbacks.PostbackReceiver.read_secret",
}


def test_every_function_of_the_template_has_an_entry_file_and_every_entry_file_a_function() -> None:
    files = sorted(path.stem for path in (ROOT / "functions").glob("*.py"))
    assert files == ENTRIES


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """The modules that an entry file has imported when it is ready, by its name."""
    # An extra of PyJWT that does not ship.
    program = "import sys; sys.modules['cryptography'] = None; import {}; print(*sys.modules)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "functions"), **ENVIRONMENT}
    # Nobody is there, so the secret is not read.
    environment |= {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    environment |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    runs = {
        entry: subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program.format(entry)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for entry in ENTRIES
    }
    return {entry: set(run.communicate()[0].splitlines()[-1].split()) for entry, run in runs.items()}


@pytest.mark.parametrize("module", NEEDED_BY)
def test_only_who_needs_a_module_imports_it(imported, module) -> None:
    assert {entry for entry, modules in imported.items() if module in modules} == NEEDED_BY[module]


@pytest.mark.parametrize("entry", ENTRIES)
def test_its_errors_are_rows_of_the_table_in_its_order_and_what_may_always_happen_is_among_them(entry) -> None:
    errors = importlib.import_module(entry).ERRORS
    assert list(errors) == [error for error in ERROR_TABLE if error in errors]
    codes = {error.code for error in errors}
    assert codes >= {"invalid_request", "internal_error", "service_not_configured", "provider_unavailable"}


@pytest.mark.parametrize("entry", PREPARED)
def test_the_secret_is_read_while_the_sandbox_starts(entry, monkeypatch) -> None:
    with entry_file(entry, monkeypatch) as function:
        read: list[bool] = []
        monkeypatch.setattr(PREPARED[entry], lambda _: read.append(True))
        prepare = prepared_by(function, monkeypatch)
        assert read == []
        prepare()
        assert read == [True]


def test_the_watcher_makes_its_clients_while_the_sandbox_starts_and_asks_nobody(monkeypatch) -> None:
    with entry_file("watch_invoices", monkeypatch) as function:
        prepare = prepared_by(function, monkeypatch)
        # The sockets of these tests are closed: to ask anybody would fail.
        assert prepare() is function._watcher()


def prepared_by(function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    prepared: list[Any] = []
    monkeypatch.setattr("invoicing.startup.finish", lambda *, prepare: prepared.append(prepare))
    importlib.reload(function)
    [prepare] = prepared
    return prepare


def test_a_start_without_settings_or_network_breaks_in_no_entry() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "functions")}
    for entry in ENTRIES:
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", f"import {entry}"], env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout.splitlines()[-1])["message"] == "not ready at start"
