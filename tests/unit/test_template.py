"""The template as CloudFormation gets it: least privilege, logs that end, time limits in order, CORS whole."""

import graphlib
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from invoicing.create import RESERVE_S
from invoicing.keys import KEY_LIFETIME_S

ROOT = Path(__file__).parents[2]
SETTINGS_OF_SAM = {"AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin", "SAM_CLI_TELEMETRY": "0"}


def translate(*parameters: str) -> dict[str, Any]:
    command = [ROOT / ".venv-local" / "bin" / "python", "-m", "infra.local.translate", *parameters]
    translated = subprocess.run(command, cwd=ROOT, env=SETTINGS_OF_SAM, capture_output=True, check=True, text=True)
    return json.loads(translated.stdout)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return translate()


@pytest.fixture(scope="module")
def template_with_canary() -> dict[str, Any]:
    # Alone among the parameters, this one changes what SAM makes and not only what CloudFormation makes of it.
    return translate("CanaryRollout=true")


def resources(template: dict[str, Any], resource_type: str) -> dict[str, dict[str, Any]]:
    found = {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == resource_type
    }
    assert found, f"no {resource_type} in the template"
    return found


TABLE = {"Fn::GetAtt": ["IdempotencyTable", "Arn"]}
LOGS = {"Fn::GetAtt": ["CreateInvoiceLogs", "Arn"]}
KEY = {"Fn::GetAtt": ["EncryptionKey", "Arn"]}
FUNCTION = [{"Fn::GetAtt": ["CreateInvoiceFunction", "Arn"]}, {"Fn::Sub": "${CreateInvoiceFunction.Arn}:*"}]
PERMISSIONS = {
    "CreateInvoiceRole": [
        ("secretsmanager:GetSecretValue", {"Ref": "ProviderSecret"}),
        *((f"dynamodb:{action}Item", TABLE) for action in ("Delete", "Get", "Put", "Update")),
        ("sqs:SendMessage", {"Fn::GetAtt": ["FailedEvents", "Arn"]}),
        ("logs:CreateLogStream", LOGS),
        ("logs:PutLogEvents", LOGS),
        # These two know no resources.
        ("xray:PutTelemetryRecords", "*"),
        ("xray:PutTraceSegments", "*"),
        # With CustomerManagedKey only.
        *((f"kms:{action}", KEY) for action in ("Decrypt", "DescribeKey", "Encrypt")),
        *((f"kms:GenerateDataKey{kind}", KEY) for kind in ("", "WithoutPlaintext")),
        *((f"kms:ReEncrypt{way}", KEY) for way in ("From", "To")),
    ],
    # With CanaryRollout only.
    "RolloutRole": [
        *((f"lambda:{action}", FUNCTION) for action in ("GetAlias", "GetProvisionedConcurrencyConfig", "UpdateAlias")),
        (
            "cloudwatch:DescribeAlarms",
            {"Fn::Sub": "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*"},
        ),
    ],
}


def listed(one_or_many: Any) -> list[Any]:
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def permissions(role: dict[str, Any]) -> list[tuple[str, Any]]:
    policies = [policy["Fn::If"][1] if "Fn::If" in policy else policy for policy in role["Policies"]]
    return [
        (action, statement["Resource"])
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
    ]


@pytest.mark.parametrize("setting", ["template", "template_with_canary"])
def test_each_role_may_do_exactly_this_and_nothing_else(setting, request) -> None:
    template = request.getfixturevalue(setting)
    roles = resources(template, "AWS::IAM::Role")
    found = {name: permissions(role) for name, role in roles.items()}
    for name, allowed in found.items():
        for action, resource in allowed:
            print(f"{name:20} {action:40} {json.dumps(resource)}")
    # Nothing that SAM would add by itself: a role, a managed policy, a policy of its own.
    assert found == PERMISSIONS
    assert not [name for name, role in roles.items() if "ManagedPolicyArns" in role]
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert not {kind for kind in kinds if kind.startswith("AWS::IAM::")} - {"AWS::IAM::Role"}


@pytest.mark.parametrize(
    ("role", "service"), [("CreateInvoiceRole", "lambda.amazonaws.com"), ("RolloutRole", "codedeploy.amazonaws.com")]
)
def test_each_role_is_for_one_service(template, role: str, service: str) -> None:
    [statement] = resources(template, "AWS::IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
    assert statement == {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}


def test_no_action_of_a_role_is_a_wildcard_and_only_tracing_has_no_resource(template) -> None:
    allowed = [entry for role in resources(template, "AWS::IAM::Role").values() for entry in permissions(role)]
    assert not [action for action, _ in allowed if "*" in action]
    assert {action.split(":")[0] for action, resource in allowed if "*" in listed(resource)} == {"xray"}


def test_only_the_http_api_may_call_the_function_besides_roles(template) -> None:
    [permission] = resources(template, "AWS::Lambda::Permission").values()
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["SourceArn"]["Fn::Sub"][0].endswith("/POST/v1/invoice/create")


def test_all_at_once_needs_no_codedeploy(template) -> None:
    assert not [kind for kind in template["Resources"].values() if kind["Type"].startswith("AWS::CodeDeploy")]
    [alias] = [resource for resource in template["Resources"].values() if resource["Type"] == "AWS::Lambda::Alias"]
    assert "UpdatePolicy" not in alias
    conditional = {name for name, resource in template["Resources"].items() if resource.get("Condition") == "IsCanary"}
    assert conditional == {"NewVersionFails", "NewVersionCreatesNoInvoices", "RolloutRole"}


def test_a_canary_is_rolled_back_by_alarms_on_the_new_version(template_with_canary) -> None:
    template = template_with_canary
    [group] = resources(template, "AWS::CodeDeploy::DeploymentGroup").values()
    assert group["DeploymentConfigName"]["Fn::Sub"][1] == {"ConfigName": "Canary10Percent5Minutes"}
    assert group["ServiceRoleArn"]["Fn::If"][:2] == ["IsCanary", {"Fn::GetAtt": ["RolloutRole", "Arn"]}]
    condition, alarms, _ = group["AlarmConfiguration"]["Fn::If"]
    assert condition == "IsCanary"
    assert alarms["Enabled"]
    names = [alarm["Name"]["Ref"] for alarm in alarms["Alarms"]]
    assert names == ["NewVersionFails", "NewVersionCreatesNoInvoices"]
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    [alias] = [resource for resource in template["Resources"].values() if resource["Type"] == "AWS::Lambda::Alias"]
    assert alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"]
    [version] = resources(template, "AWS::Lambda::Version")
    for name in names:
        for query in template["Resources"][name]["Properties"]["Metrics"]:
            if "MetricStat" in query:
                dimensions = {dimension["Name"]: dimension["Value"] for dimension in dimensions_of(query)}
                new = dimensions.get("version") or dimensions["ExecutedVersion"]
                assert new == {"Fn::GetAtt": [version, "Version"]}


def dimensions_of(query: dict[str, Any]) -> list[dict[str, Any]]:
    return query["MetricStat"]["Metric"]["Dimensions"]


@pytest.mark.parametrize("setting", ["template", "template_with_canary"])
def test_no_resource_waits_for_itself(setting, request) -> None:
    # The alias waits for the roll-out's alarms, the API for the alias, and the nested stack for the API.
    resources = request.getfixturevalue(setting)["Resources"]
    waits_for = {name: references(resource) & resources.keys() for name, resource in resources.items()}
    graphlib.TopologicalSorter(waits_for).prepare()
    assert "InvoiceApi" in waits_for["ObservabilityStack"]
    assert "CreateInvoiceFunctionAliaslive" in waits_for["InvoiceApi"]


def references(part: Any) -> set[str]:
    match part:
        case {"Ref": str(name)}:
            return {name}
        case {"Fn::GetAtt": [str(name), *_]}:
            return {name}
        case {"DependsOn": names, **rest}:
            return set(listed(names)) | references(rest)
        case dict():
            inner = set().union(*map(references, part.values()))
            text = listed(part.get("Fn::Sub", ""))[0]
            return inner | set(re.findall(r"\$\{(\w+)", text)) if isinstance(text, str) else inner
        case list():
            return set().union(*map(references, part))
        case _:
            return set()


def test_concurrency_is_reserved_only_when_asked_for(template) -> None:
    function = resources(template, "AWS::Lambda::Function")["CreateInvoiceFunction"]
    assert function["ReservedConcurrentExecutions"] == {
        "Fn::If": ["HasReservedConcurrency", {"Ref": "ReservedConcurrency"}, {"Ref": "AWS::NoValue"}]
    }
    assert template["Parameters"]["ReservedConcurrency"]["Default"] == "none"
    assert template["Conditions"]["HasReservedConcurrency"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedConcurrency"}, "none"]}]
    }


def test_nothing_that_costs_is_there_unless_asked_for(template) -> None:
    switches = ("Observability", "CanaryRollout", "CustomerManagedKey")
    assert [template["Parameters"][name]["Default"] for name in switches] == ["false"] * 3
    conditional = {
        name: resource.get("Condition")
        for name, resource in template["Resources"].items()
        if resource["Type"] in ("AWS::CloudFormation::Stack", "AWS::CloudWatch::Alarm", "AWS::KMS::Key")
    }
    assert conditional == {
        "ObservabilityStack": "IsObserved",
        "NewVersionFails": "IsCanary",
        "NewVersionCreatesNoInvoices": "IsCanary",
        "EncryptionKey": "HasKey",
    }


def test_the_key_is_for_everything_that_is_kept_and_stays_with_it(template) -> None:
    own = {"Fn::If": ["HasKey", KEY, {"Ref": "AWS::NoValue"}]}
    for group in resources(template, "AWS::Logs::LogGroup").values():
        assert group["KmsKeyId"] == own
    assert resources(template, "AWS::SecretsManager::Secret")["ProviderSecret"]["KmsKeyId"] == own
    table = resources(template, "AWS::DynamoDB::Table")["IdempotencyTable"]["SSESpecification"]["Fn::If"]
    assert table[1] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    [nested] = resources(template, "AWS::CloudFormation::Stack").values()
    assert nested["Parameters"]["KeyArn"] == {"Fn::If": ["HasKey", KEY, ""]}
    key = template["Resources"]["EncryptionKey"]
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert key["Properties"]["EnableKeyRotation"]
    owner, logs, alarms = key["Properties"]["KeyPolicy"]["Statement"]
    assert owner["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    assert logs["Principal"] == {"Service": {"Fn::Sub": "logs.${AWS::Region}.${AWS::URLSuffix}"}}
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert alarms["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]
    for service, resource in ((logs, "log-group:${AWS::StackName}-*"), (alarms, "alarm:${AWS::StackName}-*")):
        [source] = service["Condition"]["ArnLike"].values()
        assert source["Fn::Sub"].endswith(f":${{AWS::Region}}:${{AWS::AccountId}}:{resource}")


def test_access_logs_are_json_without_anything_of_the_buyer(template) -> None:
    [stage] = resources(template, "AWS::ApiGatewayV2::Stage").values()
    settings = stage["AccessLogSettings"]
    assert settings["DestinationArn"] == {"Fn::GetAtt": ["AccessLogs", "Arn"]}
    line = settings["Format"]["Fn::Sub"]
    # The status is a number, for the filter that counts 429.
    assert json.loads(line.replace("$context.status", "429"))["status"] == 429
    assert set(re.findall(r"\$context\.([\w.]+)", line)) == {
        "requestTime",
        "requestId",
        "integration.requestId",
        "routeKey",
        "status",
        "responseLatency",
        "integrationLatency",
        "error.responseType",
        "integrationErrorMessage",
    }


def test_prod_is_rolled_out_as_a_canary_and_watched_and_parameters_given_to_make_do_not_undo_it() -> None:
    def deploy(*arguments: str) -> str:
        command = ["make", "--dry-run", "--no-print-directory", "deploy", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("sam deploy")[
            1
        ]

    prod = "CanaryRollout=true Observability=true"
    for section, parameters in tomllib.loads((ROOT / "samconfig.toml").read_text()).items():
        if section != "version":
            deployment = parameters["deploy"]["parameters"]
            assert deployment.get("parameter_overrides") == (prod if section == "prod" else None)
            # The second is for a template that has a transform and a nested stack.
            assert deployment["capabilities"] == ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    # SAM takes the last of two values.
    asked = deploy("ENV=prod", "ORIGINS=https://shop.example", "PARAMETERS=CanaryRollout=false")
    assert f'"{prod} AllowedOrigins=https://shop.example CanaryRollout=false"' in asked
    assert "--parameter-overrides" not in deploy("ENV=staging")


def test_each_function_has_a_log_group_and_every_group_has_retention(template) -> None:
    groups = resources(template, "AWS::Logs::LogGroup")
    assert groups.keys() == {"AccessLogs", "CreateInvoiceLogs"}
    assert {group["RetentionInDays"]["Ref"] for group in groups.values()} == {"LogRetentionDays"}
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
    assert queue == {
        "MessageRetentionPeriod": 14 * 24 * 60 * 60,
        "KmsMasterKeyId": {"Fn::If": ["HasKey", KEY, {"Ref": "AWS::NoValue"}]},
        "SqsManagedSseEnabled": {"Fn::If": ["HasKey", False, True]},
    }
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
        "allowHeaders": [
            *("authorization", "content-type", "idempotency-key"),
            # What monitoring scripts add.
            *("baggage", "newrelic", "request-context", "request-id", "sentry-trace", "traceparent", "tracestate"),
        ],
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
        default = default.replace("``", "nobody")  # an empty default
        assert f"| `{name}` | {default} |" in readme


def test_every_parameter_is_in_a_group_of_the_console(template) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
