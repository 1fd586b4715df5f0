"""The template as CloudFormation gets it: least privilege, logs that end, time limits in order, CORS whole."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from invoicing.idempotency import KEY_LIFETIME_S
from invoicing.service import RESERVE_S

ROOT = Path(__file__).parents[2]
SETTINGS_OF_SAM = {"AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin", "SAM_CLI_TELEMETRY": "0"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    command = [ROOT / ".venv-local" / "bin" / "python", "-m", "infra.local.translate"]
    translated = subprocess.run(command, cwd=ROOT, env=SETTINGS_OF_SAM, capture_output=True, check=True, text=True)
    return json.loads(translated.stdout)


def resources(template: dict[str, Any], resource_type: str) -> dict[str, dict[str, Any]]:
    found = {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == resource_type
    }
    assert found, f"no {resource_type} in the template"
    return found


def test_the_function_may_use_one_secret_one_table_one_queue_its_logs_and_traces_and_nothing_else(template) -> None:
    roles = resources(template, "AWS::IAM::Role")
    assert list(roles) == ["CreateInvoiceRole"]
    role = roles["CreateInvoiceRole"]
    assert "ManagedPolicyArns" not in role
    allowed = [
        (action, statement["Resource"])
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    ]
    table = {"Fn::GetAtt": ["IdempotencyTable", "Arn"]}
    logs = {"Fn::GetAtt": ["CreateInvoiceLogs", "Arn"]}
    assert allowed == [
        ("secretsmanager:GetSecretValue", {"Ref": "ProviderSecret"}),
        *((f"dynamodb:{action}Item", table) for action in ("Delete", "Get", "Put", "Update")),
        ("sqs:SendMessage", {"Fn::GetAtt": ["FailedEvents", "Arn"]}),
        ("logs:CreateLogStream", logs),
        ("logs:PutLogEvents", logs),
        ("xray:PutTelemetryRecords", "*"),
        ("xray:PutTraceSegments", "*"),
    ]


def test_each_function_has_a_log_group_with_retention(template) -> None:
    groups = resources(template, "AWS::Logs::LogGroup")
    for name, function in resources(template, "AWS::Lambda::Function").items():
        assert groups[function["LoggingConfig"]["LogGroup"]["Ref"]]["RetentionInDays"], name


def test_provider_deadline_lambda_timeout_and_api_gateway_end_in_this_order(template) -> None:
    timeout_s = resources(template, "AWS::Lambda::Function")["CreateInvoiceFunction"]["Timeout"]
    assert template["Parameters"]["ProviderTimeout"]["MaxValue"] + RESERVE_S <= timeout_s < 30


def test_new_parameters_publish_a_new_version(template) -> None:
    # SAM publishes one for new code only. A version is replaced when its description changes.
    [version] = resources(template, "AWS::Lambda::Version").values()
    described = set(re.findall(r"\$\{(\w+)\}", version["Description"]["Fn::Sub"]))
    variables = resources(template, "AWS::Lambda::Function")["CreateInvoiceFunction"]["Environment"]["Variables"]
    parameters = template["Parameters"]
    assert described == {value["Ref"] for value in variables.values()} & parameters.keys()
    longest = {"MinAmount": 12, "MaxAmount": 12, "ProviderTimeout": 2}
    lengths = [parameters[name].get("MaxLength") or longest[name] for name in described]
    assert sum(lengths) + len(lengths) - 1 <= 256


def test_the_secret_is_created_empty(template) -> None:
    secret = resources(template, "AWS::SecretsManager::Secret")["ProviderSecret"]
    assert not {"SecretString", "GenerateSecretString"} & secret.keys()


def test_the_table_is_kept_restorable_and_forgets_by_itself(template) -> None:
    [table] = resources(template, "AWS::DynamoDB::Table").values()
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiration", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert template["Resources"]["IdempotencyTable"]["DeletionPolicy"] == "Retain"


def test_an_event_through_the_alias_that_fails_is_kept_with_its_error(template) -> None:
    [config] = resources(template, "AWS::Lambda::EventInvokeConfig").values()
    assert config["FunctionName"] == {"Ref": "CreateInvoiceFunction"}
    [alias] = resources(template, "AWS::Lambda::Alias").values()
    assert config["Qualifier"] == alias["Name"] == "live"
    assert config["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": ["FailedEvents", "Arn"]}}}
    assert config["MaximumRetryAttempts"] == 2
    # A retry finds the key of the first attempt.
    assert config["MaximumEventAgeInSeconds"] < KEY_LIFETIME_S


def test_failed_events_are_encrypted_kept_as_long_as_possible_and_only_read_over_tls(template) -> None:
    [queue] = resources(template, "AWS::SQS::Queue").values()
    # Not a FIFO queue: Lambda cannot send to one.
    assert queue == {"MessageRetentionPeriod": 14 * 24 * 60 * 60, "SqsManagedSseEnabled": True}
    queue_resource = template["Resources"]["FailedEvents"]
    assert (queue_resource["DeletionPolicy"], queue_resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
    [policy] = resources(template, "AWS::SQS::QueuePolicy").values()
    assert policy["Queues"] == [{"Ref": "FailedEvents"}]
    assert policy["PolicyDocument"]["Statement"] == [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": {"Fn::GetAtt": ["FailedEvents", "Arn"]},
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]


def test_cors_keeps_all_its_properties(template) -> None:
    # SAM drops all but AllowOrigins when that alone is an intrinsic function.
    cors = resources(template, "AWS::ApiGatewayV2::Api")["InvoiceApi"]["Body"]["x-amazon-apigateway-cors"]
    condition, when_sites_may_call, otherwise = cors["Fn::If"]
    assert condition == "SitesMayCall"
    assert when_sites_may_call == {
        "allowOrigins": {"Fn::Split": [",", {"Ref": "AllowedOrigins"}]},
        "allowMethods": ["POST"],
        "allowHeaders": ["authorization", "content-type", "idempotency-key"],
        "exposeHeaders": ["idempotent-replayed", "retry-after", "x-request-id"],
        "maxAge": 3600,
    }
    assert otherwise == {"allowOrigins": ["https://none.invalid"]}


def test_every_parameter_is_described_and_the_sites_must_be_named(template) -> None:
    parameters = template["Parameters"]
    assert all(parameter["Description"] for parameter in parameters.values())
    assert [name for name, parameter in parameters.items() if "Default" not in parameter] == ["AllowedOrigins"]


@pytest.mark.parametrize(
    ("origins", "accepted"),
    [
        ("https://shop.example", True),
        ("https://shop.example,https://www.shop.example:8443", True),
        ("http://localhost:8000", True),
        ("*", True),
        ("none", True),
        ("", False),
        ("shop.example", False),
        ("https://shop.example/", False),
        ("https://shop.example, https://www.shop.example", False),
        ("https://Shop.example", False),
        ("https://*.example", False),
        ("*,https://shop.example", False),
    ],
)
def test_allowed_origins_are_whole_origins(template, origins: str, accepted: bool) -> None:
    assert bool(re.fullmatch(template["Parameters"]["AllowedOrigins"]["AllowedPattern"], origins)) is accepted


def test_outputs_name_what_the_owner_needs_and_the_readme_names_them(template) -> None:
    assert set(template["Outputs"]) == {"InvoiceUrl", "FunctionAliasArn", "FailedEventsQueueUrl", "SecretArn"}
    readme = (ROOT / "README.md").read_text()
    assert [name for name in template["Outputs"] if f"`{name}`" not in readme] == []


def test_the_readme_names_every_parameter_and_its_default(template) -> None:
    readme = (ROOT / "README.md").read_text()
    for name, parameter in template["Parameters"].items():
        default = f"`{parameter['Default']}`" if "Default" in parameter else "none: you must say"
        assert f"| `{name}` | {default} |" in readme
