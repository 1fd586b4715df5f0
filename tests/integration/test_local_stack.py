"""The local stack itself: warm sandboxes, side by side, and a fresh one after a crash or a timeout."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.local.loopback import reserve_port
from tests.support.processes import command_of, descendants
from tests.support.stack import Stack

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


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_of_a_stack_that_is_stopped_with_an_event_in_hand(start_stack, sign) -> None:
    stack = start_stack(template=str(TEMPLATE), sandboxes=2)
    stack.invoke({})
    with ThreadPoolExecutor(1) as caller:
        caller.submit(stack.invoke, {"sleep_s": 0.9}).add_done_callback(lambda future: future.exception())
        started = descendants(stack.process.pid)
        while sum("awslambdaric" in command for command in started.values()) < 1:
            started = descendants(stack.process.pid)
        assert any("moto" in command for command in started.values())
        stack.process.send_signal(sign)
        assert stack.process.wait(20) == 0
    assert {pid: command for pid, command in started.items() if command_of(pid) == command} == {}


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ({"fault": "nonsense"}, "unknown fault"),
        ({"fault": "status"}, "status code"),
        ({"fault": "slow", "value": "3"}, "number"),
        ({"name": "slow"}, "unexpected keyword"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_the_reason(stack, order, complaint) -> None:
    reply = stack._http.request("POST", f"{stack.endpoints['control_url']}/provider/faults", json=order)
    assert reply.status == 400
    assert complaint in reply.json()["error"]


def test_a_reserved_port_is_for_one_server_to_listen_on() -> None:
    with reserve_port() as reservation:
        port = reservation.getsockname()[1]
        for _ in range(2):  # a server comes back on its port after an outage
            with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match="in use"):
                reserve_port(port)
