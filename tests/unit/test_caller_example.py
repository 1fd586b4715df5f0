"""The example for other Lambdas follows the error table and the time limits of the service."""

import importlib.util
import json
import re
import subprocess
import sys
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

from create_invoice import ERRORS
from invoicing.keys import KEY_LIFETIME_S
from tests.support import ROOT
from tests.support.templates import read_template

EXAMPLE = ROOT / "examples" / "caller-lambda"
DEFINITION: dict[str, Any] = json.loads((EXAMPLE / "create_invoice.asl.json").read_text())
TASK = DEFINITION["States"]["CreateInvoice"]

RAISED = [error for error in ERRORS if not error.http_only]
RETRYABLE = {error.__name__ for error in RAISED if error.retryable}
FINAL = {error.__name__ for error in RAISED if not error.retryable}
# How Lambda reports that the function timed out or its process ended; Step Functions says Lambda.Unknown as well.
ENDED = {"Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError"}
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
LAMBDA = {
    f"Lambda.{name}Exception"
    for name in ("ClientExecutionTimeout", "Service", "AWSLambda", "SdkClient", "TooManyRequests")
}
FUNCTION_TIMEOUT_S = 28
FUNCTION_STARTS_WITHIN_S = 10  # https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html


@pytest.fixture
def invoices(monkeypatch) -> ModuleType:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    spec = importlib.util.spec_from_file_location("invoices", EXAMPLE / "functions" / "invoices.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(rules: list[dict[str, Any]]) -> list[str]:
    return [name for rule in rules for name in rule["ErrorEquals"]]


def retrier_of(error_type: str) -> dict[str, Any]:
    [retrier] = [retrier for retrier in TASK["Retry"] if error_type in retrier["ErrorEquals"]]
    return retrier


def waits_s(retrier: dict[str, Any]) -> list[float]:
    """Returns the longest waits: with full jitter each is anything between nothing and this."""
    longest_s = retrier.get("MaxDelaySeconds", float("inf"))
    growing = (retrier["IntervalSeconds"] * retrier["BackoffRate"] ** count for count in range(retrier["MaxAttempts"]))
    return [min(wait_s, longest_s) for wait_s in growing]


def test_the_state_machine_retries_every_retryable_error_and_lambdas_passing_ones_and_no_other() -> None:
    retried = names(TASK["Retry"])
    assert sorted(retried) == sorted(RETRYABLE | ENDED | LAMBDA | {"States.Timeout"})


def test_the_state_machine_catches_every_error_by_name_and_whatever_else_last() -> None:
    by_name, others = TASK["Catch"][:-1], TASK["Catch"][-1]
    assert sorted(names(by_name)) == sorted(names(TASK["Retry"]) + list(FINAL))
    assert others["ErrorEquals"] == ["States.ALL"]
    assert {rule["ResultPath"] for rule in TASK["Catch"]} == {"$.error"}


def test_state_machine_and_function_say_the_same_of_each_error(invoices) -> None:
    caught = {name: rule["Next"] for rule in TASK["Catch"] for name in rule["ErrorEquals"]}
    said = {error_type: kind.__name__ for error_type, kind in invoices.ERRORS.items()}
    assert said.keys() == RETRYABLE | FINAL | ENDED
    assert said == {error_type: caught[error_type] for error_type in said}
    assert {error_type for error_type, kind in said.items() if kind == "TryAgainLater"} == RETRYABLE | ENDED
    assert caught["States.ALL"] == "ServiceBroken"


def test_the_examples_page_says_so_too(invoices) -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `(\w+)` \|", (EXAMPLE / "README.md").read_text(), re.MULTILINE)
    assert dict(rows) == {error_type: kind.__name__ for error_type, kind in invoices.ERRORS.items()}


def test_the_waits_outlast_what_they_wait_for() -> None:
    running = retrier_of("InvoiceInProgress")
    assert "JitterStrategy" not in running
    assert sum(waits_s(running)) > FUNCTION_TIMEOUT_S
    assert retrier_of("Sandbox.Timedout")["IntervalSeconds"] > FUNCTION_TIMEOUT_S
    # On average, full jitter waits half as long: minutes, as the state machine says.
    assert sum(waits_s(retrier_of("ProviderUnavailable"))) / 2 > 2 * 60
    attempts = 1 + sum(retrier["MaxAttempts"] for retrier in TASK["Retry"])
    longest_s = attempts * TASK["TimeoutSeconds"] + sum(sum(waits_s(retrier)) for retrier in TASK["Retry"])
    assert longest_s < KEY_LIFETIME_S


def test_whoever_waits_for_the_function_waits_long_enough(invoices) -> None:
    service = read_template(ROOT / "template.yaml")["Resources"]["CreateInvoiceFunction"]["Properties"]
    assert service["Timeout"] == FUNCTION_TIMEOUT_S
    longest_s = FUNCTION_TIMEOUT_S + FUNCTION_STARTS_WITHIN_S
    assert TASK["TimeoutSeconds"] > longest_s
    config = invoices._lambda.meta.config
    assert config.read_timeout > longest_s
    caller = read_template(EXAMPLE / "template.yaml")["Resources"]["PaymentLinkFunction"]["Properties"]
    assert caller["Timeout"] > config.retries["total_max_attempts"] * config.read_timeout
    [in_the_readme] = re.findall(r"read_timeout=(\d+)", (ROOT / "README.md").read_text())
    assert int(in_the_readme) > longest_s


def test_the_caller_may_invoke_the_alias_and_nothing_else() -> None:
    resources = read_template(EXAMPLE / "template.yaml")["Resources"]
    allowed = {
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": {"Ref": "InvoiceFunctionAliasArn"},
    }
    for name in ("PaymentLinkFunction", "PaymentLinkStateMachine"):
        [policy] = resources[name]["Properties"]["Policies"]
        assert policy["Statement"] == [allowed]


@pytest.mark.parametrize(
    ("arn", "accepted"),
    [
        ("arn:aws:lambda:eu-west-1:123456789012:function:invoices-CreateInvoiceFunction-1a2B:live", True),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f:live", True),
        ("arn:aws:lambda:eu-west-1:123456789012:function:invoices-CreateInvoiceFunction-1a2B", False),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f:7", False),
        ("CreateInvoiceFunction:live", False),
    ],
)
def test_the_parameter_is_the_alias(arn, accepted) -> None:
    parameter = read_template(EXAMPLE / "template.yaml")["Parameters"]["InvoiceFunctionAliasArn"]
    assert bool(re.search(parameter["AllowedPattern"], arn)) is accepted


def test_every_next_is_a_state() -> None:
    following = [rule["Next"] for rule in TASK["Catch"]] + [TASK["Next"], DEFINITION["StartAt"]]
    assert set(following) == DEFINITION["States"].keys()


def test_an_amount_is_sent_as_its_digits_and_nothing_else_becomes_text(invoices) -> None:
    assert invoices._exact(Decimal(100).normalize()) == "100"  # which str() calls 1E+2
    with pytest.raises(TypeError, match="object is not JSON"):
        invoices._exact(object())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: queue_url"),
        (
            ["https://sqs.example/queue"],
            "set the environment variable INVOICE_FUNCTION to the stack's FunctionAliasArn",
        ),
    ],
)
def test_sending_again_says_what_it_lacks(arguments, sentence) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE / "resend_failed_events.py", *arguments],
        env={"AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": str(EXAMPLE / "functions")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert sentence in done.stderr


def test_sending_again_ends_when_what_failed_comes_back(invoices, monkeypatch, capsys) -> None:
    class Queue:
        """Shows two messages in turn, for ever: every one's five minutes are over when it is looked at."""

        seen = 0

        def receive_message(self, **_: object) -> dict[str, Any]:
            self.seen += 1
            record = {"timestamp": "now", "requestPayload": {"order_id": f"A-{self.seen % 2}"}}
            return {"Messages": [{"MessageId": str(self.seen % 2), "Body": json.dumps(record)}]}

    def fail(_: object) -> None:
        raise invoices.TryAgainLater("ProviderUnavailable")

    monkeypatch.setitem(sys.modules, "invoices", invoices)
    spec = importlib.util.spec_from_file_location("resend", EXAMPLE / "resend_failed_events.py")
    resend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(resend)
    queue = Queue()
    monkeypatch.setattr(resend.boto3, "client", lambda _: queue)
    monkeypatch.setattr(resend, "create_invoice", fail)
    assert resend.main("queue") == 1
    assert queue.seen == 3
    assert len(capsys.readouterr().out.splitlines()) == 2
