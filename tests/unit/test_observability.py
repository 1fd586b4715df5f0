"""Alarms and dashboard watch what the function really counts, and wake nobody for nothing."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from invoicing import observability
from invoicing.contract.errors import ERROR_TABLE, InternalError, InvalidRequest, InvoicingError
from invoicing.contract.requests import InvoiceRequest
from invoicing.observability import (
    AMOUNT_ASKED,
    AMOUNT_PAID,
    ERROR_RAISED,
    NAMESPACE,
    log_created,
    metrics,
    order_in_log,
)
from tests.support import ROOT
from tests.support.events import http_event, lambda_context
from tests.support.metric_math import evaluate
from tests.support.metrics import Metric, emitted
from tests.support.templates import read_template

OBSERVABILITY = read_template(ROOT / "infra" / "observability.yaml")
OBSERVED = OBSERVABILITY["Resources"]
STACK = read_template(ROOT / "template.yaml")["Resources"]


def alarms(resources: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: alarm["Properties"] for name, alarm in resources.items() if alarm["Type"] == "AWS::CloudWatch::Alarm"}


def metrics_of(alarm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "MetricName" in alarm:
        yield alarm
    for query in alarm.get("Metrics", ()):
        if "MetricStat" in query:
            yield query["MetricStat"]["Metric"]


def metrics_of_the_dashboard() -> Iterator[tuple[str, str, dict[str, str]]]:
    body = json.loads(OBSERVED["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    for widget in body["widgets"]:
        before: list[str] = []
        for row in widget["properties"].get("metrics", ()):
            names = [before[place] if name == "." else name for place, name in enumerate(row) if isinstance(name, str)]
            before = names
            yield names[0], names[1], dict(zip(names[2::2], names[3::2], strict=True))


def watched() -> set[Metric]:
    """All metrics of ours that an alarm or the dashboard reads."""
    by_alarms = (
        metric
        for resources in (OBSERVED, STACK)
        for alarm in alarms(resources).values()
        for metric in metrics_of(alarm)
    )
    of_alarms = [(m["Namespace"], m["MetricName"], {d["Name"]: d["Value"] for d in m["Dimensions"]}) for m in by_alarms]
    every = [*of_alarms, *metrics_of_the_dashboard()]
    assert {namespace for namespace, _, _ in every} <= {NAMESPACE, "AWS/Lambda", "AWS/ApiGateway", "AWS/SQS"}
    return {(name, frozenset(dimensions)) for namespace, name, dimensions in every if namespace == NAMESPACE}


@pytest.fixture
def start() -> Callable[..., list[dict[str, Any]]]:
    """Runs a statement in a process of its own, where the settings are read, and returns the lines of its log."""

    def run(statement: str, **environment: str) -> list[dict[str, Any]]:
        program = f"from decimal import Decimal; from invoicing.observability import *; {statement}"
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={"PYTHONPATH": str(ROOT / "functions"), "POWERTOOLS_SERVICE_NAME": "unit-tests", **environment},
            capture_output=True,
            check=True,
            text=True,
        )
        decoder, rest, lines = json.JSONDecoder(), run.stdout.strip(), []
        while rest:  # POWERTOOLS_DEV writes a line over several
            line, end = decoder.raw_decode(rest)
            lines.append(line)
            rest = rest[end:].strip()
        return lines

    return run


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("CRYPTOCLOUD_SECRET_ARN", "arn")
    monkeypatch.setenv("IDEMPOTENCY_TABLE", "table")
    monkeypatch.setenv("INVOICE_TABLE", "table")
    return importlib.import_module("create_invoice")


def fail_with(function: Any, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(function, "_service", lambda: SimpleNamespace(create=create))


def counted_by(
    function: Any, capsys: pytest.CaptureFixture[str], error: Exception, monkeypatch: Any
) -> dict[Metric, list[Any]]:
    fail_with(function, error, monkeypatch)
    function.lambda_handler(http_event({"amount": 1}, origin=None), lambda_context())
    with pytest.raises(InvoicingError):
        function.lambda_handler({"amount": 1}, lambda_context())
    return emitted(capsys.readouterr().out)


SERVICE = frozenset({"service"})
BY_VERSION = frozenset({"service", "function", "version"})


def counted() -> set[Metric]:
    """All metrics that the function can count, by the names in its code."""
    names = {value for name, value in vars(observability).items() if name.isupper() and isinstance(value, str)}
    currencies = get_args(InvoiceRequest.model_fields["currency"].annotation)
    amounts = {AMOUNT_ASKED, AMOUNT_PAID}
    names = names - {NAMESPACE, *amounts, ERROR_RAISED} | {each + code for each in amounts for code in currencies}
    return {
        *((name, SERVICE) for name in names),
        *((error.__name__, SERVICE) for error in ERROR_TABLE),
        *((error.__name__, BY_VERSION) for error in ERROR_TABLE if error.http_status >= 500 and error.blames_version),
        (ERROR_RAISED, BY_VERSION),
        ("ColdStart", frozenset({"function_name", "service"})),
    }


def test_every_metric_that_is_watched_is_counted_and_every_one_counted_is_watched() -> None:
    by_the_filter = {("ApiThrottled", SERVICE)}
    [transformation] = OBSERVED["ThrottledRequests"]["Properties"]["MetricTransformations"]
    assert (transformation["MetricNamespace"], transformation["MetricName"]) == (NAMESPACE, "ApiThrottled")
    assert transformation["Dimensions"] == [{"Key": "service", "Value": "$.service"}]
    assert watched() == counted() | by_the_filter


def test_each_error_is_counted_for_the_stack_and_the_servers_own_for_the_version_too(
    function, capsys, monkeypatch
) -> None:
    for error in function.ERRORS:
        found = counted_by(function, capsys, error(), monkeypatch)
        assert found[error.__name__, SERVICE] == [1.0, 1.0]
        of_version = error.http_status >= 500 and error.blames_version
        assert found.get((error.__name__, BY_VERSION)) == ([1.0, 1.0] if of_version else None)
        # Once: a reply over HTTP is no error to Lambda.
        assert found[ERROR_RAISED, BY_VERSION] == [1.0]
        assert found.keys() - {("ColdStart", frozenset({"function_name", "service"}))} <= counted()


def test_what_nobody_foresaw_is_counted_as_an_internal_error_of_the_version(function, capsys, monkeypatch) -> None:
    found = counted_by(function, capsys, KeyError("x"), monkeypatch)
    assert found[InternalError.__name__, BY_VERSION] == [1.0, 1.0]


def test_the_first_request_of_a_sandbox_is_a_cold_start(function, capsys, monkeypatch) -> None:
    monkeypatch.setattr("aws_lambda_powertools.metrics.provider.cold_start.is_cold_start", True)
    found = counted_by(function, capsys, InvalidRequest(), monkeypatch)
    assert found["ColdStart", frozenset({"function_name", "service"})] == [1.0]


def test_a_created_invoice_is_counted_and_summed_by_currency(capsys) -> None:
    log_created("DZLF4212", Decimal("19.99"), "EUR")
    capsys.readouterr()
    metrics.flush_metrics()
    printed = capsys.readouterr().out
    assert emitted(printed) == {("InvoiceCreated", SERVICE): [1.0], ("AmountAskedEUR", SERVICE): [19.99]}


@pytest.mark.parametrize(
    ("setting", "value", "level"),
    [
        ("POWERTOOLS_LOG_LEVEL", "INFO", "INFO"),
        ("POWERTOOLS_LOG_LEVEL", "WARNING", "WARNING"),
        ("POWERTOOLS_LOG_LEVEL", "ERROR", "ERROR"),
        ("POWERTOOLS_LOG_LEVEL", "CRITICAL", "CRITICAL"),
        ("AWS_LAMBDA_LOG_LEVEL", "WARN", "WARNING"),
        ("AWS_LAMBDA_LOG_LEVEL", "FATAL", "CRITICAL"),
        ("POWERTOOLS_METRICS_DISABLED", "true", "INFO"),
        ("POWERTOOLS_DEV", "true", "INFO"),
    ],
)
def test_no_setting_loses_the_line_of_a_created_invoice(start, setting: str, value: str, level: str) -> None:
    lines = start("log_created('DZLF4212', Decimal('19.99'), 'EUR')", **{setting: value})
    created = [line for line in lines if line.get("message") == "invoice created"]
    assert [(line["invoice_id"], line["level"]) for line in created] == [("DZLF4212", level)]


@pytest.mark.parametrize(
    ("setting", "value", "lost"),
    [
        ("POWERTOOLS_METRICS_DISABLED", "true", "there are no metrics"),
        ("POWERTOOLS_DEV", "1", "there are no metrics"),
        ("POWERTOOLS_LOG_LEVEL", "WARNING", "refused requests are not logged"),
        ("AWS_LAMBDA_LOG_LEVEL", "ERROR", "refused requests are not logged"),
    ],
)
def test_a_setting_that_switches_a_promise_off_is_in_the_log_at_the_start(
    start, setting: str, value: str, lost: str
) -> None:
    lines = start("warn_of_switched_off_promises()", **{setting: value})
    assert [line["level"] for line in lines] == ["CRITICAL"]
    assert lost in lines[0]["message"]


def test_ordinary_settings_need_no_word(start) -> None:
    assert start("warn_of_switched_off_promises()", POWERTOOLS_LOG_LEVEL="DEBUG") == []


@pytest.mark.parametrize(
    ("order_id", "logged"),
    [
        ("A-1001", "A-1001"),
        ("Pedido nº 17", "Pedido nº 17"),
        (1001, "1001"),
        (Decimal(1001), "1001"),
        ("x" * 300, "x" * 255),
        ("", None),
        (None, None),
        (True, None),
        (["A-1001"], None),
        *(
            (f"buyer{at}shop.example", "(may be an e-mail address)")
            for at in ("@", "%40", "%2540", "\uff20", "\ufe6b", "&#64;", "&commat;", "\\u0040", "=40")
        ),
    ],
)
def test_an_order_is_named_in_the_log_unless_it_may_be_an_email_address(order_id: object, logged: str | None) -> None:
    assert order_in_log(order_id) == logged


def test_two_stacks_share_no_alarm() -> None:
    variables = STACK["CreateInvoiceFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}
    assert STACK["ObservabilityStack"]["Properties"]["Parameters"]["Service"] == {"Ref": "AWS::StackName"}
    access_log = STACK["InvoiceApi"]["Properties"]["AccessLogSettings"]["Format"]["Fn::Sub"]
    assert '"service":"${AWS::StackName}"' in access_log
    for resources, service in ((OBSERVED, {"Ref": "Service"}), (STACK, {"Ref": "AWS::StackName"})):
        for alarm in alarms(resources).values():
            for metric in metrics_of(alarm):
                dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
                assert dimensions.get("service", service) == service
                assert all(isinstance(value, dict) for value in dimensions.values())


def test_the_operations_guide_says_of_every_alarm_what_to_do() -> None:
    names = [resource["Properties"].get("AlarmName") for resource in OBSERVED.values()]
    slugs = {name["Fn::Sub"].removeprefix("${Service}-") for name in names if name}
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert set(re.findall(r"^\| `([a-z-]+)` \|", guide, re.MULTILINE)) - {"default", "staging", "prod"} == slugs


def test_the_alarms_that_the_owner_gets_are_these() -> None:
    table = {
        name: (alarm.get("MetricName"), alarm["Threshold"], alarm.get("Period"), alarm["EvaluationPeriods"])
        for name, alarm in alarms(OBSERVED).items()
    }
    assert table == {
        "CredentialsRejected": ("ProviderCredentialsRejected", 1, 300, 1),
        "PayLinkRefused": ("PayLinkRefused", 1, 300, 1),
        "ProviderMoved": ("ProviderMoved", 1, 300, 1),
        "PriceListRefused": ("PriceListRefused", 1, 300, 1),
        "RecordLost": ("RecordLost", 1, 300, 1),
        "OutcomeUnknown": ("OutcomeUnknown", 3, 900, 1),
        "FailureShare": (None, 10, None, 1),
        "SlowReplies": ("Latency", 10_000, 300, 3),
        "FunctionThrottled": (None, 3, None, 3),
        "ApiThrottled": ("ApiThrottled", 50, 300, 1),
        "DeadLetters": ("ApproximateNumberOfMessagesVisible", 1, 300, 1),
        "InvoiceNotRecorded": ("InvoiceNotRecorded", 1, 300, 1),
        "PostbacksRefused": (None, 1, None, 3),
        "EventsNotPublished": ("EventNotPublished", 1, 900, 2),
        "WatchLate": ("OldestDue", 3600, 1800, 1),
        "WatchFails": ("Errors", 3, 1800, 1),
        "UndeliveredMails": ("ApproximateNumberOfMessagesVisible", 1, 300, 1),
    }
    assert sum(len(list(metrics_of(alarm))) for alarm in alarms(OBSERVED).values()) == 22  # ten are free


@pytest.mark.parametrize("resources", [OBSERVED, STACK], ids=["observed", "roll-out"])
def test_silence_is_no_alarm_and_no_alarm_is_on_what_callers_do_wrong(resources) -> None:
    of_callers = {error.__name__ for error in ERROR_TABLE if error.http_status < 500} | {"4xx"}
    for name, alarm in alarms(resources).items():
        # Each run of the watch counts how late it is: silence means that it does not run.
        assert alarm["TreatMissingData"] == ("breaching" if name == "WatchLate" else "notBreaching"), name
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold", name
        assert alarm["AlarmDescription"], name
        if any("FILL" in query.get("Expression", "") for query in alarm.get("Metrics", ())):
            # The last period is often without data yet: filled, and the only one, it would always be well.
            assert alarm["DatapointsToAlarm"] < alarm["EvaluationPeriods"], name
        watched_errors = of_callers & {metric["MetricName"] for metric in metrics_of(alarm)}
        # What CryptoCloud sends is refused when the owner's secret key is wrong.
        assert watched_errors == ({"PostbackRefused"} if name == "PostbacksRefused" else set()), name


@pytest.mark.parametrize(
    ("failures", "requests", "on"),
    [(1, 1, False), (2, 2, False), (3, 3, True), (3, 30, True), (3, 31, False), (100, 900, True), (0, 900, False)],
)
def test_the_share_of_failures_counts_from_three_failures_on(failures: int, requests: int, on: bool) -> None:
    # API Gateway reports 5xx as 0 with every request.
    assert evaluate(alarms(OBSERVED)["FailureShare"], failures=failures, requests=requests) is on


@pytest.mark.parametrize(
    ("values", "on"),
    [
        ({}, False),
        ({"errors": 0}, False),
        ({"internal": 1}, True),  # over HTTP Lambda sees a success
        ({"unconfigured": 1}, True),
        ({"errors": 1}, True),  # crashed or timed out: nothing else was counted
        ({"errors": 1, "raised": 1}, False),  # a direct caller's bad request
        ({"errors": 1, "raised": 1, "internal": 1}, True),
        ({"errors": 5, "raised": 4}, True),
    ],
)
def test_a_new_version_that_fails_by_its_own_fault_is_rolled_back_at_the_first_failure(values, on: bool) -> None:
    assert evaluate(alarms(STACK)["NewVersionFails"], **values) is on


@pytest.mark.parametrize(
    ("values", "on"),
    [
        ({}, False),
        ({"requests": 500}, False),
        ({"unknown": 2, "requests": 2}, False),
        ({"unknown": 3, "requests": 3}, True),
        ({"unknown": 1, "unavailable": 1, "rejected": 1, "requests": 29}, True),
        ({"unknown": 3, "requests": 30}, False),
        ({"rejected": 40, "requests": 300}, True),
    ],
)
def test_a_new_version_that_creates_no_invoices_is_rolled_back_and_one_failure_in_many_is_not(values, on: bool) -> None:
    assert evaluate(alarms(STACK)["NewVersionCreatesNoInvoices"], **values) is on


def test_the_owner_hears_of_every_alarm_and_once_of_a_provider_that_is_down() -> None:
    composite = OBSERVED["InvoicesFail"]["Properties"]
    rule = composite["AlarmRule"]["Fn::Sub"]
    failing, _, with_a_message = rule.partition(" AND NOT ")
    named = set(re.findall(r'ALARM\("\$\{(\w+)\}"\)', failing))
    silent = {name for name, alarm in alarms(OBSERVED).items() if "AlarmActions" not in alarm}
    assert named == silent == {"OutcomeUnknown", "FailureShare", "SlowReplies"}
    # Each of these says itself what to do.
    assert (
        with_a_message == '(ALARM("${CredentialsRejected}") OR ALARM("${PayLinkRefused}") OR ALARM("${ProviderMoved}") '
        'OR ALARM("${PriceListRefused}"))'
    )
    for alarm in (composite, *(alarm for name, alarm in alarms(OBSERVED).items() if name not in silent)):
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "Alarms"}]
    shown = OBSERVED["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    # A widget cannot name an alarm that is only there with PaidEmail.
    assert set(re.findall(r"\$\{(\w+)\.Arn\}", shown)) == {*alarms(OBSERVED), "InvoicesFail"} - {"UndeliveredMails"}


def test_only_alarms_of_this_stack_may_publish_and_the_name_of_each_says_whose_it_is() -> None:
    [statement] = OBSERVED["AlarmsPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Action"] == "sns:Publish"
    assert statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].endswith(":alarm:${Service}-*")
    for alarm in (OBSERVED["InvoicesFail"]["Properties"], *alarms(OBSERVED).values()):
        assert alarm["AlarmName"]["Fn::Sub"].startswith("${Service}-")
    # Not alias/aws/sns, to which no alarm could publish.
    key = OBSERVED["Alarms"]["Properties"]["KmsMasterKeyId"]
    assert key == {"Fn::If": ["HasKey", {"Ref": "KeyArn"}, {"Ref": "AWS::NoValue"}]}


def test_the_nested_stack_gets_what_it_asks_for() -> None:
    assert STACK["ObservabilityStack"]["Properties"]["Parameters"].keys() == OBSERVABILITY["Parameters"].keys()
