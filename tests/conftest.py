"""What all tests need before any of them imports the function, and the figures of Schemathesis at the end."""

import os

import pytest

# As the template does: the name of the stack.
os.environ["POWERTOOLS_SERVICE_NAME"] = "unit-tests"
# Nobody's. Without any, boto3 would ask the network for some.
os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, counts in report.user_properties:
            if name == "schemathesis":
                by_status = ", ".join(f"{status} x {count}" for status, count in sorted(counts.items()))
                terminalreporter.write_line(f"{report.nodeid}: {sum(counts.values())} cases ({by_status})")
