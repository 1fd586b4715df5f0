"""EventBridge Scheduler on one machine: invokes the functions that ``template.yaml`` has schedules for."""

import json
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_UNITS_S = {"minute": 60, "hour": 60 * 60, "day": 24 * 60 * 60}
# What a Lambda gets from a schedule without an input of its own, as far as a function might look at it:
# https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html
_NOTIFICATION = {"version": "0", "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": "{}"}


class Schedule(NamedTuple):
    """What is run.

    Args:
        function: Its logical id.
        every_s: Seconds between two runs.
    """

    function: str
    every_s: float


def seconds_of(expression: str) -> int:
    """Returns the seconds between two runs.

    Args:
        expression: A rate, such as ``rate(10 minutes)``.

    Raises:
        ValueError: It is no rate.
    """
    rate = _RATE.fullmatch(expression)
    if rate is None:
        raise ValueError(f"{expression}: the local stack runs schedules such as rate(10 minutes) only")
    return int(rate[1]) * _UNITS_S[rate[2]]


class Scheduler:
    """Runs schedules when it is asked to, or by the clock too.

    Args:
        schedules: What to run.
        client: A Lambda client that waits for a run as long as it takes, and asks once.
        announce: Hears of each run in a sentence.
    """

    def __init__(self, schedules: Sequence[Schedule], client: Any, announce: Callable[[str], None]) -> None:
        self._schedules = schedules
        self._announce = announce
        self._lambda = client
        self._stopped = threading.Event()

    def start(self) -> None:
        """From now on runs each schedule at its rate, until ``stop``."""
        for schedule in self._schedules:
            threading.Thread(target=self._by_the_clock, args=(schedule,), daemon=True).start()

    def stop(self) -> None:
        """Ends that."""
        self._stopped.set()

    def run(self) -> None:
        """Runs all schedules once, now, and returns when they have ended.

        Raises:
            ValueError: A function failed.
        """
        for schedule in self._schedules:
            failed, answer = self._invoke(schedule)
            if failed:
                raise ValueError(f"{schedule.function} failed: {answer}")

    def _by_the_clock(self, schedule: Schedule) -> None:
        while not self._stopped.wait(schedule.every_s):
            self._invoke(schedule)

    def _invoke(self, schedule: Schedule) -> tuple[bool, Any]:
        response = self._lambda.invoke(FunctionName=f"{schedule.function}:live", Payload=json.dumps(_NOTIFICATION))
        failed, answer = "FunctionError" in response, json.load(response["Payload"])
        self._announce(f"{schedule.function} ran on schedule{' and failed' if failed else ''}: {json.dumps(answer)}")
        return failed, answer
