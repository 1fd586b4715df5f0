"""What other Lambdas do: the example's function on the real runtime, its state machine, events, and the README."""

import copy
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
import yaml

from infra.local.loopback import LoopbackServer, QuietHandler
from invoicing.contract.errors import ERROR_TABLE
from invoicing.keys import IdempotencyKey
from tests.support import ROOT
from tests.support.stack import EMAIL, PROVIDER_TIMEOUT_S, Stack

EXAMPLE = ROOT / "examples" / "caller-lambda"
DEFINITION = EXAMPLE / "create_invoice.asl.json"
TOY = ROOT / "tests" / "integration" / "misbehaving_function" / "template.yaml"
BUILT = ROOT / ".aws-sam" / "local" / "template.yaml"
CALLER = "PaymentLinkFunction"
# Lambda's managed runtime has boto3; here the tests' environment has it.
MANAGED_BOTO3 = {"PYTHONPATH": str(Path(boto3.__file__).parents[1])}
PROBLEMS = {error.__name__: error().problem("request-1") for error in ERROR_TABLE if not error.http_only}
# Far above what any of it takes, also where the machine is busy.
PATIENCE_S = 60


@pytest.fixture(scope="module")
def both(start_lasting_stack, tmp_path_factory) -> Stack:
    """The local stack with the example's own template nested in it."""
    template = yaml.safe_load(BUILT.read_text())
    function = template["Resources"]["CreateInvoiceFunction"]["Properties"]
    function["CodeUri"] = str(BUILT.parent / function["CodeUri"])
    nested = template["Resources"]["ObservabilityStack"]["Properties"]
    nested["TemplateURL"] = str(BUILT.parent / nested["TemplateURL"])
    template["Resources"]["Caller"] = {
        "Type": "AWS::Serverless::Application",
        "Properties": {
            "Location": str(EXAMPLE / "template.yaml"),
            "Parameters": {"InvoiceFunctionAliasArn": "CreateInvoiceFunction:live"},
        },
    }
    path = tmp_path_factory.mktemp("both") / "template.yaml"
    path.write_text(yaml.safe_dump(template))
    return start_lasting_stack(
        template=str(path),
        parameters={"ProviderTimeout": str(PROVIDER_TIMEOUT_S)},
        environment=MANAGED_BOTO3,
    )


@pytest.fixture
def stack(both: Stack) -> Stack:
    both.tell("/provider/forget")
    both.tell("/table/forget")
    return both


@pytest.fixture(scope="module")
def toy(start_lasting_stack) -> Stack:
    """A function in the service's place that fails as a test asks."""
    return start_lasting_stack(template=str(TOY))


def hold_the_key(stack: Stack, order_id: str) -> None:
    assert stack.invoke({"order_id": order_id, "amount": "2.00"}).error_type is None
    stack.table.update_item(
        Key={"id": IdempotencyKey("direct", order_id).record_id},
        UpdateExpression="SET #status = :running, in_progress_expiration = :later",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":running": "INPROGRESS", ":later": int(time.time() * 1000) + 600_000},
    )


def use_the_key(stack: Stack, order_id: str) -> None:
    assert stack.invoke({"order_id": order_id, "amount": "1.00"}).error_type is None


# The error type, what makes it happen, and what the example makes of it.
ARRANGED: list[tuple[str, Callable[[Stack, str], None], str]] = [
    ("InvalidRequest", lambda *_: None, "RequestRefused"),
    ("InvoiceRejected", lambda stack, _: stack.misbehave("status", value=400), "RequestRefused"),
    ("IdempotencyKeyReused", use_the_key, "RequestRefused"),
    ("InvoiceInProgress", hold_the_key, "TryAgainLater"),
    (
        "ProviderUnavailable",
        lambda stack, _: stack.misbehave("status", value=429, retry_after="60", times=99),
        "TryAgainLater",
    ),
    ("OutcomeUnknown", lambda stack, _: stack.misbehave("html", times=99), "TryAgainLater"),
    ("PayLinkRefused", lambda stack, _: stack.misbehave("foreign"), "ServiceBroken"),
    ("ProviderCredentialsRejected", lambda stack, _: stack.misbehave("status", value=401), "ServiceBroken"),
]


def total_for(error_type: str) -> str:
    return "-1" if error_type == "InvalidRequest" else "2.00"


def test_the_function_gives_an_order_its_link_with_the_exact_amount_and_again_the_same(stack, fresh) -> None:
    order = {"id": fresh, "total": "19.90", "currency": "EUR", "email": EMAIL}
    first, again = (stack.invoke(order, CALLER).payload for _ in range(2))
    [invoice_id] = stack.seen()["invoices"]
    link = f"{stack.endpoints['provider_url']}/pay/{invoice_id}"
    assert first == again == {"order_id": fresh, "pay_url": link, "invoice_id": invoice_id}
    [call] = stack.seen()["calls"]
    assert '"amount": 19.90,' in call["body"]


@pytest.mark.parametrize(("error_type", "arrange", "kind"), ARRANGED, ids=[row[0] for row in ARRANGED])
def test_the_function_knows_what_to_do_about_an_error(stack, fresh, error_type, arrange, kind) -> None:
    arrange(stack, fresh)
    answer = stack.invoke({"id": fresh, "total": total_for(error_type)}, CALLER)
    if kind == "RequestRefused":
        assert answer.payload == {"order_id": fresh, "refused": PROBLEMS[error_type]["code"]}
    else:
        assert answer.error_type == kind
        assert answer.payload["errorMessage"].startswith(f"{error_type}: {PROBLEMS[error_type]['detail']} (")


@pytest.fixture
def invoices_at(monkeypatch) -> Callable[[str, str], ModuleType]:
    """Loads the example's module as it is in a Lambda that reaches Lambda at this address."""

    def load(url: str, function: str) -> ModuleType:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        monkeypatch.setenv("INVOICE_FUNCTION", function)
        spec = importlib.util.spec_from_file_location("invoices", EXAMPLE / "functions" / "invoices.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize(
    ("event", "error_type", "kind"),
    [
        *(
            ({"type": name, "raise": json.dumps(PROBLEMS[name])}, name, "ServiceBroken")
            for name in ("ServiceNotConfigured", "InternalError")
        ),
        ({"sleep_s": 5}, "Sandbox.Timedout", "TryAgainLater"),
        ({"exit": 3}, "Runtime.ExitError", "TryAgainLater"),
        ({"type": "OfALaterVersion", "raise": "{no JSON"}, "OfALaterVersion", "ServiceBroken"),
    ],
)
def test_the_rest_of_the_errors_and_lambdas_own(toy, invoices_at, event, error_type, kind) -> None:
    invoices = invoices_at(toy.endpoints["lambda_url"], toy.endpoints["function_name"])
    with pytest.raises(invoices.InvoiceError) as raised:
        invoices.create_invoice(event)
    assert (raised.value.error_type, type(raised.value).__name__) == (error_type, kind)
    assert raised.value.problem == PROBLEMS.get(error_type, {})


def test_a_function_that_does_not_exist_is_for_its_owner(toy, invoices_at) -> None:
    invoices = invoices_at(toy.endpoints["lambda_url"], "NoSuchFunction:live")
    with pytest.raises(invoices.ServiceBroken, match="ResourceNotFound"):
        invoices.create_invoice({})


def test_a_lambda_that_cannot_be_reached_is_tried_again_later(invoices_at) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    invoices = invoices_at(f"http://127.0.0.1:{port}", "CreateInvoiceFunction:live")
    with pytest.raises(invoices.TryAgainLater, match="EndpointConnectionError: no answer"):
        invoices.create_invoice({"order_id": "A-1001", "amount": "1"})


class RealLambda:
    """Answers as Lambda does when it does not even invoke: status and error, oldest first; 0 closes the connection."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.server = LoopbackServer(0, _LambdaHandler, self)


class _LambdaHandler(QuietHandler):
    def do_POST(self) -> None:
        self.read_body()
        status, name = self.server.owner.answers.pop(0)
        if status:
            self.answer(status, b"{}", X_Amzn_ErrorType=name)
        else:
            self.close_connection = True


@pytest.fixture
def real_lambda() -> Iterator[RealLambda]:
    fake = RealLambda()
    yield fake
    fake.server.stop()


@pytest.mark.parametrize(
    ("status", "name", "attempts", "kind"),
    [
        (429, "TooManyRequestsException", 2, "TryAgainLater"),
        (500, "ServiceException", 2, "TryAgainLater"),
        (0, "ConnectionClosedError", 2, "TryAgainLater"),
        (403, "AccessDeniedException", 1, "ServiceBroken"),
    ],
)
def test_what_lambda_itself_answers(real_lambda, invoices_at, status, name, attempts, kind) -> None:
    real_lambda.answers = [(status, name)] * 3
    invoices = invoices_at(real_lambda.server.url, "CreateInvoiceFunction:live")
    with pytest.raises(invoices.InvoiceError) as raised:
        invoices.create_invoice({"order_id": "A-1001", "amount": "1"})
    assert (raised.value.error_type, type(raised.value).__name__) == (name, kind)
    assert len(real_lambda.answers) == 3 - attempts


class StateMachine:
    """The example's definition in moto's interpreter, a process that lives for all the tests of this file."""

    def __init__(self, lambda_url: str) -> None:
        self.process = subprocess.Popen(
            [ROOT / ".venv-local" / "bin" / "python", Path(__file__).parent / "state_machine.py"],
            env={"AWS_ENDPOINT_URL_LAMBDA": lambda_url, "PATH": os.defpath, "NO_PROXY": "127.0.0.1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        definition = (
            DEFINITION.read_text()
            .replace("${InvoiceFunctionAliasArn}", "CreateInvoiceFunction:live")
            .replace("${Partition}", "aws")
        )
        job = {"definition": definition, "input": {"invoice": request, "cart": "kept"}}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def state_machine_on() -> Iterator[Callable[[Stack], StateMachine]]:
    started: dict[str, StateMachine] = {}

    def on(stack: Stack) -> StateMachine:
        url = stack.endpoints["lambda_url"]
        if url not in started:
            started[url] = StateMachine(url)
        return started[url]

    yield on
    for machine in started.values():
        machine.process.communicate(timeout=PATIENCE_S)


def test_the_state_machine_creates_an_invoice_and_keeps_its_input(stack, state_machine_on, fresh) -> None:
    request = {"order_id": fresh, "amount": "19.90"}
    first, again = (state_machine_on(stack).run(request) for _ in range(2))
    [invoice_id] = stack.seen()["invoices"]
    link = f"{stack.endpoints['provider_url']}/pay/{invoice_id}"
    output = {"invoice": request, "cart": "kept", "payment": {"invoice_id": invoice_id, "pay_url": link}}
    assert first == again == {"status": "SUCCEEDED", "output": output, "waits_s": []}


def test_the_state_machine_waits_for_a_provider_that_is_down_and_gets_one_invoice(
    stack, state_machine_on, fresh
) -> None:
    stack.misbehave("status", value=503, times=6)  # three attempts in each of two invocations
    done = state_machine_on(stack).run({"order_id": fresh, "amount": "1"})
    assert done["status"] == "SUCCEEDED"
    assert len(done["waits_s"]) == 2
    assert len(stack.seen()["invoices"]) == 1


RETRIES = {"InvoiceInProgress": 5, "ProviderUnavailable": 8, "OutcomeUnknown": 3}
MEANING = {
    "RequestRefused": "The order cannot be paid like this",
    "ServiceBroken": "The invoice service needs its owner",
    "TryAgainLater": "No invoice yet: start again later with the same order_id",
}


@pytest.mark.parametrize(("error_type", "arrange", "kind"), ARRANGED, ids=[row[0] for row in ARRANGED])
def test_the_state_machine_retries_what_may_pass_and_ends_in_what_it_means(
    stack, state_machine_on, fresh, error_type, arrange, kind
) -> None:
    arrange(stack, fresh)
    done = state_machine_on(stack).run({"order_id": fresh, "amount": total_for(error_type)})
    assert (done["status"], done["error"]) == ("FAILED", error_type)
    assert done["cause"].startswith(MEANING[kind])
    assert PROBLEMS[error_type]["detail"] in done["cause"]
    assert len(done["waits_s"]) == RETRIES.get(error_type, 0)


@pytest.mark.parametrize(
    ("request_", "error_type", "retries", "kind"),
    [
        ({"exit": 3}, "Runtime.ExitError", 2, "TryAgainLater"),
        ({"type": "InternalError", "raise": "{}"}, "InternalError", 0, "ServiceBroken"),
        ({"type": "OfALaterVersion", "raise": "{}"}, "OfALaterVersion", 0, "ServiceBroken"),
    ],
)
def test_the_state_machine_knows_lambdas_own_errors(toy, state_machine_on, request_, error_type, retries, kind) -> None:
    done = state_machine_on(toy).run(request_)
    assert (done["status"], done["error"], len(done["waits_s"])) == ("FAILED", error_type, retries)
    assert done["cause"].startswith(MEANING[kind])


def outcomes_of(stack: Stack, order_id: str) -> list[str]:
    whole_lines = stack.log_text().rpartition("\n")[0].splitlines()
    lines = [json.loads(line) for line in whole_lines if '"message"' in line]
    return [line["message"] for line in lines if line.get("order_id") == order_id]


def test_an_event_that_lambda_runs_three_times_leaves_one_link(stack, fresh) -> None:
    # As Lambda does it: again after a failure, and, since its queue may deliver twice, after a success too.
    event = {"order_id": fresh, "amount": "5.00"}
    stack.misbehave("status", value=500)
    # The line of a created invoice comes before its key is completed: the record tells when that is done.
    key = {"id": IdempotencyKey("direct", fresh).record_id}
    for done in (
        lambda: "invoice not created" in outcomes_of(stack, fresh),
        lambda: stack.table.get_item(Key=key).get("Item", {}).get("status") == "COMPLETED",
        lambda: "invoice replayed" in outcomes_of(stack, fresh),
    ):
        assert stack.invoke_async(event) == 202
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline_s, stack.log_text()
    assert outcomes_of(stack, fresh) == ["invoice not created", "invoice created", "invoice replayed"]
    # The reply to an event goes nowhere: asking for it gets the link.
    [invoice_id] = stack.seen()["invoices"]
    assert stack.invoke(event).payload["invoice_id"] == invoice_id


def record_of(request: Any) -> str:
    """An invocation record as Lambda sends it to the queue, without what nobody reads."""
    context = {"condition": "RetriesExhausted", "approximateInvokeCount": 3, "functionArn": "arn:aws:lambda:any"}
    record = {"version": "1.0", "timestamp": datetime.now(UTC).isoformat(), "requestContext": context}
    response = {"errorType": "ProviderUnavailable", "errorMessage": json.dumps(PROBLEMS["ProviderUnavailable"])}
    return json.dumps(record | {"requestPayload": request, "responsePayload": response})


def test_failed_events_are_sent_again_and_only_those_with_an_invoice_leave_the_queue(stack, fresh) -> None:
    # The gates before the local services pass on what they do not know.
    address = {"AWS_ENDPOINT_URL_SQS": stack.endpoints["table_url"], "AWS_DEFAULT_REGION": "us-east-1"}
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    sqs = boto3.client(
        "sqs",
        endpoint_url=stack.endpoints["table_url"],
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    queue = sqs.create_queue(QueueName=fresh)["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody=record_of({"order_id": fresh, "amount": 19.99, "email": EMAIL}))
    sqs.send_message(QueueUrl=queue, MessageBody=record_of({"order_id": f"{fresh}-bad", "amount": "-1"}))
    done = subprocess.run(
        [sys.executable, EXAMPLE / "resend_failed_events.py", queue],
        env={
            **os.environ,
            **address,
            **keys,
            "AWS_ENDPOINT_URL_LAMBDA": stack.endpoints["lambda_url"],
            "INVOICE_FUNCTION": stack.endpoints["function_name"],
            "PYTHONPATH": str(EXAMPLE / "functions"),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1, done.stderr
    [invoice_id] = stack.seen()["invoices"]
    sent, kept = done.stdout.splitlines()
    assert f"order {fresh}: {stack.endpoints['provider_url']}/pay/{invoice_id}" in sent
    assert f"order {fresh}-bad: InvalidRequest: " in kept
    assert "/amount" in kept
    assert EMAIL not in done.stdout
    left = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (left["ApproximateNumberOfMessages"], left["ApproximateNumberOfMessagesNotVisible"]) == ("0", "1")


def test_the_readmes_snippet_runs_as_it_is_printed(stack, fresh, monkeypatch) -> None:
    section = (ROOT / "README.md").read_text().split("## From another Lambda")[1].split("\n## ")[0]
    snippet = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    snippet = snippet.replace("FunctionAliasArn of the stack", stack.endpoints["function_name"])
    for name, value in {
        "AWS_ENDPOINT_URL_LAMBDA": stack.endpoints["lambda_url"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }.items():
        monkeypatch.setenv(name, value)

    def run(order_id: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(compile(snippet.replace("A-1001", order_id), "README.md", "exec"), names)
        return names

    link = run(fresh)["pay_url"]
    [invoice_id] = stack.seen()["invoices"]
    assert link.endswith(f"/pay/{invoice_id}")
    stack.misbehave("status", value=400)
    with pytest.raises(RuntimeError, match=r"^InvoiceRejected: \{.*invoice_rejected"):
        run(f"{fresh}-2")


def lint(definition: dict[str, Any], path: Path) -> str:
    text = json.dumps(definition).replace("${InvoiceFunctionAliasArn}", "any").replace("${Partition}", "aws")
    properties = {"RoleArn": "arn:aws:iam::123456789012:role/any", "DefinitionString": text}
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    path.write_text(json.dumps({"Resources": {"Machine": machine}}))
    return subprocess.run([ROOT / ".venv-local" / "bin" / "cfn-lint", path], capture_output=True, text=True).stdout


def test_the_definition_is_well_formed_and_the_linter_would_notice(tmp_path) -> None:
    definition = json.loads(DEFINITION.read_text())
    # `sam validate --lint` does not look into a definition that is a file of its own.
    assert lint(definition, tmp_path / "template.json") == ""
    wrong = copy.deepcopy(definition)
    wrong["States"]["CreateInvoice"]["MaxAttempts"] = 1
    assert "E3601" in lint(wrong, tmp_path / "template.json")
