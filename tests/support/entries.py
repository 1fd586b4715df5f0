"""An entry file of functions/ in this process, with the environment of its function."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from invoicing.contract.settings import load
from tests.support.events import SITE

ENVIRONMENT = {
    "ALLOWED_ORIGINS": SITE,
    "AWS_DEFAULT_REGION": "eu-west-1",
    "CRYPTOCLOUD_SECRET_ARN": "arn",
    "IDEMPOTENCY_TABLE": "table",
    "INVOICE_TABLE": "table",
}


@contextmanager
def entry_file(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Gives an entry file.

    Args:
        name: Its module.
        monkeypatch: Undoes the environment.
    """
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    load.cache_clear()
    yield importlib.import_module(name)
    load.cache_clear()
