"""EventBridge Scheduler on one machine: invokes the functions that ``template.yaml`` has schedules for."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import boto3
from botocore.config import Config

from infra.local.template import Schedule

# What a Lambda gets from a schedule without an input of its own, as far as a function might look at it:
# https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html
_NOTIFICATION = {"version": "0", "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": "{}"}
# Longer than Lambda lets any function run.
_RUN_TIMEOUT_S = 15 * 60 + 10


class Scheduler:
    """Runs schedules when it is asked to, or by the clock too.

    Args:
        schedules: What to run.
        lambda_url: Where Lambda is.
        announce: Hears of each run in a sentence.
    """

    def __init__(self, schedules: Sequence[Schedule], lambda_url: str, announce: Callable[[str], None]) -> None:
        self._schedules = schedules
        self._announce = announce
        config = Config(read_timeout=_RUN_TIMEOUT_S, retries={"total_max_attempts": 1})
        self._lambda = boto3.client("lambda", endpoint_url=lambda_url, config=config)
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
