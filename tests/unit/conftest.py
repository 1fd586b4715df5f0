"""Unit tests open no socket at all."""

import os

import pytest_socket

# As the template does: the name of the stack.
os.environ["POWERTOOLS_SERVICE_NAME"] = "unit-tests"


def pytest_runtest_setup() -> None:
    pytest_socket.disable_socket(allow_unix_socket=False)
