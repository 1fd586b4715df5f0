"""The local stack itself: warm sandboxes, side by side, and a fresh one after a crash or a timeout."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.conftest import Stack

TEMPLATE = Path(__file__).parent / "misbehaving_function" / "template.yaml"


@pytest.fixture
def toy(start_stack) -> Stack:
    return start_stack(template=str(TEMPLATE), sandboxes=2)


def test_one_sandbox_stays_warm(toy) -> None:
    replies = [toy.invoke({}).payload for _ in range(3)]
    assert [reply["calls"] for reply in replies] == [1, 2, 3]
    assert len({reply["pid"] for reply in replies}) == 1
    assert len({reply["request_id"] for reply in replies}) == 3


def test_two_sandboxes_run_side_by_side_and_a_third_event_waits(toy) -> None:
    with ThreadPoolExecutor(6) as callers:
        replies = list(callers.map(lambda _: toy.invoke({"sleep_s": 0.3}).payload, range(6)))
    assert len({reply["pid"] for reply in replies}) == 2


@pytest.mark.parametrize(
    ("event", "error_type"), [({"exit": 3}, "Runtime.ExitError"), ({"sleep_s": 5}, "Sandbox.Timedout")]
)
def test_a_crash_or_a_timeout_ends_one_sandbox_and_the_next_event_gets_a_fresh_one(toy, event, error_type) -> None:
    before = toy.invoke({}).payload
    assert toy.invoke(event).error_type == error_type
    after = toy.invoke({}).payload
    assert after["calls"] == 1
    assert after["pid"] != before["pid"]


def test_an_exception_is_a_function_error_and_keeps_the_sandbox(toy) -> None:
    assert toy.invoke({"raise": "no"}).error_type == "ValueError"
    assert toy.invoke({}).payload["calls"] == 2


def test_an_asynchronous_event_is_accepted_at_once(toy) -> None:
    assert toy.invoke_async({"sleep_s": 0.2}) == 202
