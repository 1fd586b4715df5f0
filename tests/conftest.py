"""The figures of Schemathesis at the end of the run."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, counts in report.user_properties:
            if name == "schemathesis":
                by_status = ", ".join(f"{status} x {count}" for status, count in sorted(counts.items()))
                terminalreporter.write_line(f"{report.nodeid}: {sum(counts.values())} cases ({by_status})")
