"""What all tests need before any of them imports the function, who may open sockets, and local stacks."""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest
import pytest_socket

# As the template does: the name of the stack.
os.environ["POWERTOOLS_SERVICE_NAME"] = "unit-tests"
# Nobody's. Without any, boto3 would ask the network for some.
os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")

from tests.support import ROOT
from tests.support.stack import Stack, start_stacks

# Fixtures that several modules use.
pytest_plugins = ["tests.support.payments"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.path.is_relative_to(ROOT / "tests" / "unit"):
        pytest_socket.disable_socket(allow_unix_socket=False)
    else:
        pytest_socket.enable_socket()
        # Both: where /etc/hosts has "::1 localhost", as on Debian, drivers of browsers connect there first.
        pytest_socket.socket_allow_hosts(["127.0.0.1", "::1"])


@pytest.fixture
def start_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Starts stacks that run until the end of the test."""
    with start_stacks(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def start_lasting_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Starts stacks that run until the end of all tests."""
    with start_stacks(tmp_path_factory) as start:
        yield start


@pytest.fixture
def fresh() -> str:
    """A key or an order id that was never used."""
    return uuid.uuid4().hex


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, counts in report.user_properties:
            if name == "schemathesis":
                by_status = ", ".join(f"{status} x {count}" for status, count in sorted(counts.items()))
                terminalreporter.write_line(f"{report.nodeid}: {sum(counts.values())} cases ({by_status})")
