"""The start of a sandbox: what is begun early, and that no failure of it breaks the start."""

import gc
from collections.abc import Iterator

import pytest

from invoicing import startup
from invoicing.contract.errors import ProviderUnavailable


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    gc.disable()  # as when an entry file begins
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_prepared_is_done_once_and_then_the_collector_is_on_again_and_leaves_it_alone() -> None:
    prepared: list[bool] = []
    startup.finish(lambda: prepared.append(gc.isenabled()))
    assert prepared == [False]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize(
    ("failure", "reason"), [(ProviderUnavailable("table down"), "table down"), (OSError("no-such-host"), "OSError")]
)
def test_a_start_survives_whatever_cannot_be_prepared_and_says_why(log, failure: Exception, reason: str) -> None:
    def fail() -> None:
        raise failure

    startup.finish(fail)
    assert gc.isenabled()
    assert [(line["level"], line["message"], line["reason"]) for line in log()] == [
        ("WARNING", "not ready at start", reason)
    ]


def test_each_setting_that_switches_a_promise_off_is_in_the_log_at_the_start(log, monkeypatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    startup.finish(lambda: None)
    assert [line["level"] for line in log()] == ["CRITICAL"]
