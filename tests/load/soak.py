"""Thousands of requests to one runtime process: how long each took, and what the process holds before and after."""

import itertools
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.contest import OURS, RUNTIME_PYTHON
from tests.benchmarks.runtime_api import Sandbox
from tests.support.account import function_environment
from tests.support.events import SITE, http_event
from tests.support.processes import memory_bytes, threads


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds: resident memory in bytes, open file descriptors, and threads."""

    memory_bytes: int
    descriptors: int
    threads: int

    @classmethod
    def by(cls, *pids: int) -> "Held":
        """Returns what these processes hold together."""
        descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
        return cls(sum(map(memory_bytes, pids)), descriptors, sum(map(threads, pids)))


@dataclass(frozen=True, slots=True)
class Soak:
    """What came of it: what the process held after the warm-up and at the end, and the seconds of each request."""

    before: Held
    after: Held
    seconds: Mapping[str, list[float]]


def soak(endpoints: Mapping[str, Any], *, warm_up: int, requests: int, **environment: str) -> Soak:
    """Sends one runtime process ``warm_up`` and then ``requests`` requests, one after the other.

    Args:
        endpoints: Of a running local stack, whose provider, secret and table the process uses.
        warm_up: How many requests come before the first look at what the process holds.
        requests: How many come after it.
        environment: Variables for the function, in addition to those of the template.

    Raises:
        AssertionError: A reply was not the one that the request must get.
    """
    variables = function_environment(
        provider_url=endpoints["provider_url"],
        secrets_url=endpoints["secrets_url"],
        table_url=endpoints["table_url"],
        site=SITE,
        secret=endpoints["secret_id"],
        table=endpoints["table_name"],
    )
    seconds: dict[str, list[float]] = defaultdict(list)
    with Sandbox(RUNTIME_PYTHON, OURS.artifact, OURS.handler, {**variables, **environment}) as sandbox:
        mix = _mix()
        for kind, event, is_right in itertools.islice(mix, warm_up):
            _ask(sandbox, kind, event, is_right)
        before = Held.by(sandbox.process.pid)
        for kind, event, is_right in itertools.islice(mix, requests):
            seconds[kind].append(_ask(sandbox, kind, event, is_right))
        return Soak(before, Held.by(sandbox.process.pid), seconds)


def _ask(sandbox: Sandbox, kind: str, event: object, is_right: Callable[[Any], bool]) -> float:
    asked_s = time.perf_counter()
    reply = sandbox.invoke(event)
    assert is_right(reply.payload), f"{kind}: {reply}"
    return reply.at_s - asked_s


def _mix() -> Iterator[tuple[str, object, Callable[[Any], bool]]]:
    """Yields kind, event and a check of the reply: mostly buyers, and also everything else that a function meets."""
    while True:
        key = uuid.uuid4().hex
        for _ in range(15):
            yield "without a key", http_event({"amount": 19.99, "order_id": uuid.uuid4().hex}), _has_status(200)
        yield "with a key", http_event({"amount": 19.99}, key=key), _has_status(200)
        yield "a replay", http_event({"amount": 19.99}, key=key), _has_status(200)
        yield "refused", http_event({"amount": -5, uuid.uuid4().hex: 1}), _has_status(400)
        yield "refused", http_event({"amount": 1, "description": "x" * 17_000}), _has_status(413)
        yield "direct", {"amount": "19.99"}, lambda payload: "pay_url" in payload


def _has_status(status: int) -> Callable[[Any], bool]:
    return lambda payload: payload.get("statusCode") == status
