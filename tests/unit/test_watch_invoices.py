"""The entry point of WatchFunction: one run for each event of the schedule, within the time that Lambda leaves."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from invoicing.contract.errors import InvoiceNotFound
from invoicing.watch import Run
from tests.support.entries import entry_file
from tests.support.events import http_event, lambda_context

# As the function itself does: the watcher is what counts.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

# What a schedule without an input of its own sends: https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html
SCHEDULED = {"version": "0", "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": "{}"}


@dataclass
class FakeWatcher:
    """Runs, or raises ``error``; remembers by when it was to end."""

    error: Exception | None = None
    deadlines_s: list[float] = field(default_factory=list)

    def run(self, *, deadline_s: float) -> Run:
        self.deadlines_s.append(deadline_s)
        if self.error:
            raise self.error
        return Run(published=1, asked=2, stepped=1, oldest_due_s=0)


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with entry_file("watch_invoices", monkeypatch) as function:
        yield function


@pytest.fixture
def watcher(function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeWatcher:
    watcher = FakeWatcher()
    monkeypatch.setattr(function, "_watcher", lambda: watcher)
    return watcher


@pytest.fixture
def handle(function: ModuleType, watcher: FakeWatcher) -> Any:  # noqa: ARG001 - in place of the real one
    return lambda event: function.lambda_handler(event, lambda_context(get_remaining_time_in_millis=lambda: 300_000))


@pytest.mark.parametrize("event", [SCHEDULED, {}, None])
def test_an_event_is_one_run_and_its_result_says_what_was_done(handle, watcher, event) -> None:
    result = handle(event)
    assert json.loads(json.dumps(result)) == {"published": 1, "asked": 2, "stepped": 1, "oldest_due_s": 0}
    assert len(watcher.deadlines_s) == 1


@pytest.mark.usefixtures("standing_clock")
def test_a_run_ends_2_s_before_lambda_ends_it(handle, watcher) -> None:
    handle(SCHEDULED)
    assert watcher.deadlines_s == [1000.0 + 300 - 2]


def test_a_request_over_http_starts_no_run(handle, watcher) -> None:
    reply = handle(http_event({}, path="/v1/invoice/watch"))
    assert (reply["statusCode"], json.loads(reply["body"])["code"]) == (400, "invalid_request")
    assert watcher.deadlines_s == []


def test_every_documented_error_passes_as_it_is_so_that_the_run_counts_as_failed(function, handle, watcher) -> None:
    for error in function.ERRORS:
        watcher.error = error()
        with pytest.raises(error):
            handle(SCHEDULED)


def test_an_error_that_is_not_documented_here_is_our_own(function, handle, watcher) -> None:
    watcher.error = InvoiceNotFound()
    with pytest.raises(function.errors.InternalError):
        handle(SCHEDULED)


def test_a_failed_run_is_in_the_log(function, handle, watcher, log) -> None:
    watcher.error = function.errors.ProviderUnavailable("table down")
    with pytest.raises(function.errors.ProviderUnavailable):
        handle(SCHEDULED)
    [line] = log()
    assert (line["message"], line["level"], line["reason"]) == ("watch failed", "ERROR", "table down")
