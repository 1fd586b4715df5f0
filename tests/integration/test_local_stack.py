"""The local stack itself: its sandboxes, what it makes of the template, and what a person sees of it."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
import urllib3
import yaml

from infra.local.loopback import LoopbackServer, NotListening, QuietHandler, reserve_port, wait_until_listening
from infra.local.scheduler import Schedule, Scheduler, seconds_of
from tests.support import ROOT
from tests.support.account import NOBODY
from tests.support.paying import deliveries, postbacks, press
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


def test_a_process_that_starts_is_waited_for_and_one_that_ends_is_not() -> None:
    with reserve_port() as reservation:
        port = reservation.getsockname()[1]

        def start(code: str) -> "subprocess.Popen[str]":
            return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)

        with start(f"import socket; input(); server = socket.create_server(('127.0.0.1', {port})); input()") as process:
            with pytest.raises(NotListening, match=r"is not listening after 0\.1 s"):
                wait_until_listening(port, process, limit_s=0.1)
            process.stdin.write("\n")
            process.stdin.flush()
            wait_until_listening(port, process)
            process.kill()
        with start("raise SystemExit(3)") as process, pytest.raises(NotListening, match="ended with 3"):
            wait_until_listening(port, process)


def test_a_reserved_port_is_for_one_server_to_listen_on() -> None:
    with reserve_port() as reservation:
        port = reservation.getsockname()[1]
        for _ in range(2):  # a server comes back on its port after an outage
            with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match="in use"):
                reserve_port(port)


def test_what_the_template_keeps_is_there(stack) -> None:
    account = {"endpoint_url": stack.endpoints["table_url"], **NOBODY}
    resources = yaml.safe_load((ROOT / ".aws-sam" / "local" / "template.yaml").read_text())["Resources"]
    tables = {name: it["Properties"] for name, it in resources.items() if it["Type"] == "AWS::DynamoDB::Table"}
    dynamodb = boto3.client("dynamodb", **account)
    assert sorted(dynamodb.list_tables()["TableNames"]) == sorted(tables)
    for name, table in tables.items():
        made = dynamodb.describe_table(TableName=name)["Table"]
        indexes = [index["IndexName"] for index in made.get("GlobalSecondaryIndexes", [])]
        assert made["KeySchema"] == table["KeySchema"]
        assert indexes == [index["IndexName"] for index in table.get("GlobalSecondaryIndexes", [])]
    rules = [name for name, it in resources.items() if it["Type"] == "AWS::Events::Rule"]
    assert rules
    made_rules = boto3.client("events", **account).list_rules()["Rules"]
    assert {rule["Name"] for rule in made_rules} == {"AllEvents", *rules}


def test_events_go_to_the_bus_that_the_owner_chose(start_stack) -> None:
    stack = start_stack(parameters={"EventBus": "payments"}, sandboxes=1)
    press(stack, stack.post({"amount": 1}).payload)
    postbacks(stack)
    [event] = deliveries(stack)["events"]
    assert event["detail-type"] == "Invoice Paid"
    events = boto3.client("events", endpoint_url=stack.endpoints["table_url"], **NOBODY)
    assert events.list_rules()["Rules"] == []  # none on the default bus


def test_waiting_for_events_ends_with_them_or_says_how_many_there_are(stack) -> None:
    stack.tell("/events/forget")
    press(stack, stack.post({"amount": 1}).payload)
    stack.tell("/events/wait", count=1)
    url = f"{stack.endpoints['control_url']}/events/wait"
    reply = stack._http.request("POST", url, json={"count": 2, "timeout_s": 0})
    assert (reply.status, reply.json()) == (400, {"error": "1 of 2 events after 0 s"})


def lines_up_to(beginning: str, process: "subprocess.Popen[str]") -> list[str]:
    """Returns what a process prints, up to a line that begins so."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(beginning):
            return lines
    raise AssertionError(f"it ended without {beginning!r}: {''.join(lines)}")


def test_a_person_sees_what_a_payment_brings_and_ctrl_c_ends_it_all() -> None:
    command = [ROOT / ".venv-local" / "bin" / "python", "-m", "infra.local", "run", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            url = re.search(r"HTTP API +(\S+)", "".join(lines_up_to("Without a browser", run)))[1]
            order = {"items": [{"id": "mug"}], "order_id": "A-1001"}
            invoice = urllib3.request("POST", url, json=order, timeout=60).json()
            urllib3.request("POST", invoice["pay_url"], body="action=pay", redirect=False)
            seen = lines_up_to(">>> MailPaidOrders", run)
            started = descendants(run.pid)
            run.send_signal(signal.SIGINT)
            rest = run.stdout.read()
            assert run.wait(20) == 0
        finally:
            run.kill()
    said = [line for line in [*seen, *rest.splitlines(keepends=True)] if line.startswith(">>> ")]
    invoice_id = invoice["invoice_id"]
    assert f">>> Invoice {invoice_id} is paid\n" in said
    assert f">>> Postback for invoice {invoice_id}: answered with 200\n" in said
    assert f">>> MailPaidOrders: Order A-1001 is paid: 19.99 USD (invoice {invoice_id})\n" in said
    [event] = [line for line in said if line.startswith(">>> EventBridge: ")]
    assert json.loads(event.removeprefix(">>> EventBridge: "))["detail"]["event_id"] == f"{invoice_id}:paid"
    assert {pid: command for pid, command in started.items() if command_of(pid) == command} == {}
    assert "Traceback" not in rest


def test_the_demo_goes_from_asked_to_paid_in_both_versions_of_the_api() -> None:
    command = [ROOT / ".venv-local" / "bin" / "python", "-m", "infra.local", "demo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    mails = re.findall(r"the owner is mailed: (.*) \(invoice \w+\)$", done.stdout, re.MULTILINE)
    assert mails == ["Order A-1001 is paid: 19.99 EUR", "Order A-1002 is paid: 100.0 KZT"]
    assert done.stdout.count('"status_invoice": "paid"') == done.stdout.count("/v1/invoice/postback -> 200") == 2


class _LambdaHandler(QuietHandler):
    def do_POST(self) -> None:
        self.read_body()
        self.server.owner.append(self.path)
        self.answer(200, b'{"asked": 0}', Content_Type="application/json")


def test_a_schedule_runs_again_and_again_until_it_is_stopped() -> None:
    calls: list[str] = []
    thrice = threading.Event()
    service = LoopbackServer(0, _LambdaHandler, calls)
    heard: list[str] = []

    def hear(sentence: str) -> None:
        heard.append(sentence)
        if len(heard) >= 3:
            thrice.set()

    scheduler = Scheduler([Schedule("Watch", 0.01)], boto3.client("lambda", endpoint_url=service.url, **NOBODY), hear)
    scheduler.start()
    assert thrice.wait(30)
    scheduler.stop()
    service.stop()
    assert set(calls) == {"/2015-03-31/functions/Watch%3Alive/invocations"}
    assert set(heard) == {'Watch ran on schedule: {"asked": 0}'}


def test_a_schedule_that_the_local_stack_cannot_run_is_refused_by_name() -> None:
    assert [seconds_of(f"rate({rate})") for rate in ("1 minute", "10 minutes", "2 hours", "1 day")] == [
        60,
        600,
        7200,
        86400,
    ]
    with pytest.raises(ValueError, match=r"^cron\(0 \* \* \* \? \*\): the local stack runs"):
        seconds_of("cron(0 * * * ? *)")
