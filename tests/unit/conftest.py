"""What the tests of handlers share: the log of an invocation, and a clock."""

import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from invoicing.observability import logger, metrics
from tests.support.metrics import Metric, emitted


@pytest.fixture
def log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Returns the lines that were logged so far, as CloudWatch gets them."""
    stream = io.StringIO()
    before = logger.registered_handler.setStream(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.registered_handler.setStream(before)


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> float:
    """Stops both clocks: the monotonic one at 1000 s, wall time, which is returned, a minute ago."""
    wall_s = time.time() - 60
    monkeypatch.setattr("time.time", lambda: wall_s)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    return wall_s


@pytest.fixture
def counted(capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[Metric, list[float]]]:
    """Returns the metrics that were added since the test began, or since the last call, and their values."""
    metrics.clear_metrics()

    def flushed() -> dict[Metric, list[float]]:
        capsys.readouterr()
        metrics.flush_metrics()
        return emitted(capsys.readouterr().out)

    return flushed
