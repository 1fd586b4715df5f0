"""What the function prints as metrics is what CloudWatch takes, whatever the log level.

A line that breaks one of these rules gives no metric, and nothing says so but a metric of CloudWatch Logs itself.
"""

import functools
import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import jsonschema_rs
import pytest

from tests.support import ROOT
from tests.support.templates import of_type, read_template

_TEXT = {"type": "string", "minLength": 1}
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html;
# the units are those of https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
SPECIFICATION = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 10**12},  # milliseconds
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": {**_TEXT, "maxLength": 1024, "pattern": "^[^:]"},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "array", "maxItems": 30, "items": {**_TEXT, "maxLength": 250}},
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": {**_TEXT, "maxLength": 1024},
                                        "Unit": {"enum": ["Count", "Milliseconds", "Seconds", "None", "Percent"]},
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
VALIDATOR = jsonschema_rs.validator_for(SPECIFICATION)
MAX_LINE_BYTES = 256 * 1024  # CloudWatch takes more by now
PROGRAM = """
import json, types
from decimal import Decimal
context = types.SimpleNamespace(aws_request_id="request-1", function_name="invoices", function_version="7",
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:invoices:live", memory_limit_in_mb=1024,
    get_remaining_time_in_millis=lambda: 28_000)
import create_invoice, invoice_info, receive_postback, watch_invoices
from invoicing import observability
from invoicing.invoice_record import InvoiceRecord
from invoicing.payments import Payments
from invoicing.watch import Watcher
event = {"version": "2.0", "requestContext": {"http": {}}, "headers": {"content-type": "application/json"}}
create_invoice.lambda_handler({**event, "body": "{}"}, context)
create_invoice.lambda_handler({**event, "body": '{"amount": 1}'}, context)
for direct in ({"amount": 0}, {"amount": 1, "order_id": "A-1"}):
    try:
        create_invoice.lambda_handler(direct, context)
    except Exception:
        pass
invoice_info.lambda_handler({**event, "queryStringParameters": {"uuid": "a b"}}, context)
receive_postback.lambda_handler({**event, "body": "[]"}, context)
receive_postback.lambda_handler({**event, "body": "{}"}, context)
record = InvoiceRecord("DZLF4212", "19.99", "EUR", "v1", 1_800_000_000, due_s=1_800_000_600)
paid = Payments(types.SimpleNamespace(step=lambda *_: record), None, None, None, None)
class Watched(Watcher):
    def run(self, **arguments):
        paid._take_step("DZLF4212", "paid")
        return super().run(**arguments)
nothing_due = types.SimpleNamespace(due=lambda _: [])
watch_invoices._watcher = lambda: Watched(nothing_due, paid, ids_in_a_call=1)
watch_invoices.lambda_handler({}, context)
observability.let_pass(observability.metrics)  # as the border does at the start of each invocation
observability.log_created("DZLF4212", Decimal("19.99"), "EUR")
observability.metrics.flush_metrics()
"""


@functools.cache
def printed_at(level: str | None) -> list[str]:
    """The lines of metrics of a process that handled events, good, bad and while nothing is configured."""
    environment = {
        "PYTHONPATH": str(ROOT / "functions"),
        "POWERTOOLS_SERVICE_NAME": "cryptocloud-invoices-prod",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_MAX_ATTEMPTS": "1",
        # Nobody is there: the secret is never read.
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9",
        "CRYPTOCLOUD_SECRET_ARN": "arn",
        "IDEMPOTENCY_TABLE": "table",
        "INVOICE_TABLE": "table",
        **({"AWS_LAMBDA_LOG_LEVEL": level} if level else {}),
    }
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], env=environment, capture_output=True, check=True, text=True
    )
    return [line for line in run.stdout.splitlines() if '"_aws"' in line]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return printed_at(None)


def complaints(line: str) -> list[str]:
    record: dict[str, Any] = json.loads(line)
    found = [error.message for error in VALIDATOR.iter_errors(record)]
    for directive in record["_aws"]["CloudWatchMetrics"]:
        for name in (name for dimensions in directive["Dimensions"] for name in dimensions):
            value = record.get(name)
            found += (
                [] if isinstance(value, str) and 1 <= len(value) <= 1024 else [f"the dimension {name} is {value!r}"]
            )
        for metric in directive["Metrics"]:
            values = record.get(metric["Name"])
            values = values if isinstance(values, list) else [values]
            if not 1 <= len(values) <= 100 or not all(type(value) in (int, float) for value in values):
                found.append(f"the metric {metric['Name']} is {values!r}")
    return found


def test_every_line_is_one_that_cloudwatch_takes(lines: list[str]) -> None:
    assert len(lines) >= 6
    for line in lines:
        assert not complaints(line), line
        assert len(line.encode()) <= MAX_LINE_BYTES


def test_every_function_and_what_was_paid_is_among_the_lines(lines: list[str]) -> None:
    names = {metric["Name"] for line in lines for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
             for metric in directive["Metrics"]}  # fmt: skip
    assert names >= {"InvalidRequest", "ProviderUnavailable", "AmountAskedEUR", "AmountPaidEUR", "InvoicePaid",
                     "OldestDue"}  # fmt: skip


def test_a_log_level_of_warn_or_above_changes_no_metric(lines: list[str]) -> None:
    def counted(printed: list[str]) -> list[Any]:
        return [json.loads(line)["_aws"]["CloudWatchMetrics"] for line in printed]

    for level in ("WARN", "ERROR", "FATAL"):
        assert counted(printed_at(level)) == counted(lines), level


@pytest.mark.parametrize("level", ["WARN", "ERROR", "FATAL"])
def test_lambdas_own_filter_lets_every_metric_pass_but_cold_starts(level: str) -> None:
    # It drops a line of a lower level, and one that names no level or no time counts as INFO:
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    for line in printed_at(level):
        record = json.loads(line)
        if "ColdStart" not in record:  # Powertools' own line
            assert record["level"] == level, line
            assert datetime.fromisoformat(record["timestamp"]).tzinfo is not None
        assert not complaints(line), line


def test_at_info_a_line_of_metrics_is_the_metrics_alone(lines: list[str]) -> None:
    assert not [line for line in lines if {"level", "timestamp"} & json.loads(line).keys()]


def test_no_function_has_lambda_drop_lines_that_name_no_level() -> None:
    # Such a line is INFO to Lambda: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    for name, function in of_type(read_template(ROOT / "template.yaml"), "AWS::Serverless::Function").items():
        assert function["LoggingConfig"].get("ApplicationLogLevel", "INFO") in ("TRACE", "DEBUG", "INFO"), name


@pytest.mark.parametrize(
    "change",
    [
        {"_aws": {"CloudWatchMetrics": []}},
        {"timestamp": 1_700_000_000},  # in seconds
        {"Namespace": ":N"},
        {"Dimensions": [["absent"]]},
        {"M": "1"},
        {"M": []},
    ],
)
def test_a_line_that_cloudwatch_would_drop_is_found(change: dict[str, Any]) -> None:
    directive = {"Namespace": "N", "Dimensions": [[]], "Metrics": [{"Name": "M"}]}
    sound = {"_aws": {"Timestamp": 1_700_000_000_000, "CloudWatchMetrics": [directive]}, "M": 1}
    assert not complaints(json.dumps(sound))
    broken = {**sound, **{name: value for name, value in change.items() if name in sound}}
    broken["_aws"] = {**broken["_aws"], **({"Timestamp": change["timestamp"]} if "timestamp" in change else {})}
    directive |= {name: value for name, value in change.items() if name in directive}
    assert complaints(json.dumps(broken))
