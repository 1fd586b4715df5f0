"""The template as CloudFormation gets it: least privilege, logs that end, time limits in order, CORS whole."""

import graphlib
import json
import re
import tomllib
from typing import Any

import pytest

from invoicing.create import RESERVE_S
from invoicing.keys import KEY_LIFETIME_S
from tests.support import ROOT
from tests.support.sam import translate
from tests.support.templates import listed, of_type, only, read_template, references

# As the owner writes it. What SAM makes of it is the fixture ``template``.
WRITTEN = read_template(ROOT / "template.yaml")
FUNCTIONS = of_type(WRITTEN, "AWS::Serverless::Function")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return translate()


@pytest.fixture(scope="module")
def template_with_canary() -> dict[str, Any]:
    # Alone among the parameters, this one changes what SAM makes and not only what CloudFormation makes of it.
    return translate(CanaryRollout="true")


def attribute(name: str, attribute: str = "Arn") -> dict[str, Any]:
    return {"Fn::GetAtt": [name, attribute]}


def role_of(function: str) -> str:
    role = FUNCTIONS[function].get("Role", {}).get("Fn::GetAtt", [None])
    assert role[0] in WRITTEN["Resources"], f"{function} has no Role of this template: give it `!GetAtt …Role.Arn`"
    return role[0]


def logs_of(function: str) -> str:
    group = FUNCTIONS[function].get("LoggingConfig", {}).get("LogGroup", {}).get("Ref")
    assert group in WRITTEN["Resources"], f"{function} has no LoggingConfig with a LogGroup of this template"
    return group


def routes_of(function: str) -> list[tuple[str, str]]:
    events = FUNCTIONS[function].get("Events", {}).values()
    return [
        (event["Properties"]["Method"].upper(), event["Properties"]["Path"])
        for event in events
        if event["Type"] == "HttpApi"
    ]


KEY = attribute("EncryptionKey")
# With the stack, a replacement or a failed update; a creation that fails leaves nothing behind.
KEPT = ("RetainExceptOnCreate", "Retain")
OWN_KEY = {"Fn::If": ["HasKey", KEY, {"Ref": "AWS::NoValue"}]}
# With CustomerManagedKey only.
WITH_KEY = [
    *((f"kms:{action}", KEY) for action in ("Decrypt", "DescribeKey", "Encrypt")),
    *((f"kms:GenerateDataKey{kind}", KEY) for kind in ("", "WithoutPlaintext")),
    *((f"kms:ReEncrypt{way}", KEY) for way in ("From", "To")),
]
TRACES = [("xray:PutTelemetryRecords", "*"), ("xray:PutTraceSegments", "*")]
ALL_FUNCTIONS = [arn for name in FUNCTIONS for arn in (attribute(name), {"Fn::Sub": f"${{{name}.Arn}}:*"})]
FOLLOW_PAYMENTS = [
    ("secretsmanager:GetSecretValue", {"Ref": "ProviderSecret"}),
    ("dynamodb:UpdateItem", attribute("InvoiceTable")),
    (
        "events:PutEvents",
        {"Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBus}"},
    ),
    *WITH_KEY,
]
LOOK_UP = [("dynamodb:GetItem", attribute("InvoiceTable"))]
# What a role may do on top of writing its function's logs and traces. A function that only computes needs no entry.
PERMISSIONS: dict[str, list[tuple[str, Any]]] = {
    "CreateInvoiceRole": [
        ("secretsmanager:GetSecretValue", {"Ref": "ProviderSecret"}),
        *((f"dynamodb:{action}Item", attribute("IdempotencyTable")) for action in ("Put", "Update")),
        ("dynamodb:PutItem", attribute("InvoiceTable")),
        ("sqs:SendMessage", attribute("FailedEvents")),
        *WITH_KEY,
    ],
    "InvoiceInfoRole": [*LOOK_UP, *FOLLOW_PAYMENTS],
    "PostbackRole": [*LOOK_UP, *FOLLOW_PAYMENTS],
    "WatchRole": [
        *FOLLOW_PAYMENTS,
        ("dynamodb:BatchGetItem", attribute("InvoiceTable")),
        ("dynamodb:Query", {"Fn::Sub": "${InvoiceTable.Arn}/index/due"}),
    ],
    "WatchScheduleRole": [("lambda:InvokeFunction", {"Ref": "WatchFunctionAliaslive"})],
    # With CanaryRollout only.
    "RolloutRole": [
        *((f"lambda:{name}", ALL_FUNCTIONS) for name in ("GetAlias", "GetProvisionedConcurrencyConfig", "UpdateAlias")),
        (
            "cloudwatch:DescribeAlarms",
            {"Fn::Sub": "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*"},
        ),
    ],
}  # fmt: skip


# Roles that are not a function's.
OTHERS_ROLES = {"RolloutRole": "codedeploy.amazonaws.com", "WatchScheduleRole": "scheduler.amazonaws.com"}


def permissions(role: dict[str, Any]) -> list[tuple[str, Any]]:
    policies = [policy["Fn::If"][1] if "Fn::If" in policy else policy for policy in role.get("Policies", [])]
    return [
        (action, statement["Resource"])
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
    ]


def in_order(allowed: list[tuple[str, Any]]) -> list[str]:
    return sorted(f"{action} on {json.dumps(resource)}" for action, resource in allowed)


@pytest.mark.parametrize("setting", ["template", "template_with_canary"])
def test_each_role_may_do_exactly_this_and_nothing_else(setting, request) -> None:
    template = request.getfixturevalue(setting)
    roles = of_type(template, "AWS::IAM::Role")
    logs = {
        role_of(name): [(f"logs:{action}", attribute(logs_of(name))) for action in ("CreateLogStream", "PutLogEvents")]
        for name in FUNCTIONS
    }
    assert roles.keys() == {*logs, *OTHERS_ROLES}
    for name, role in roles.items():
        expected = [*PERMISSIONS.get(name, []), *([*logs[name], *TRACES] if name in logs else [])]
        assert in_order(permissions(role)) == in_order(expected), f"{name}: give it less, or add it to PERMISSIONS"
        # Nothing that SAM would add by itself: a role, a managed policy, a policy of its own.
        assert "ManagedPolicyArns" not in role, name
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert not {kind for kind in kinds if kind.startswith("AWS::IAM::")} - {"AWS::IAM::Role"}


def test_each_role_is_for_one_service_and_each_function_has_one_of_its_own(template) -> None:
    roles = of_type(template, "AWS::IAM::Role")
    services = dict(OTHERS_ROLES)
    for name in FUNCTIONS:
        assert role_of(name) not in services, f"{name} shares {role_of(name)} with another function"
        services[role_of(name)] = "lambda.amazonaws.com"
    for role, service in services.items():
        [statement] = roles[role]["AssumeRolePolicyDocument"]["Statement"]
        # Otherwise a schedule of any account could use it:
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
        of_this_account = {"Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}}
        assert statement == {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
            **(of_this_account if service.startswith("scheduler") else {}),
        }, f"{role} must be for {service} alone"


def test_no_action_of_a_role_is_a_wildcard_and_only_tracing_has_no_resource(template) -> None:
    allowed = [entry for role in of_type(template, "AWS::IAM::Role").values() for entry in permissions(role)]
    assert not [action for action, _ in allowed if "*" in action]
    assert {action.split(":")[0] for action, resource in allowed if "*" in listed(resource)} == {"xray"}


def test_only_its_route_and_roles_may_call_a_function(template) -> None:
    permitted = of_type(template, "AWS::Lambda::Permission")
    for name in FUNCTIONS:
        for method, path in routes_of(name):
            ends = [
                permission["SourceArn"]["Fn::Sub"][0]
                for permission in permitted.values()
                if permission["Principal"] == "apigateway.amazonaws.com"
                and name in json.dumps(permission["FunctionName"])
            ]
            assert [end for end in ends if end.endswith(f"/{method}{path}")], f"{name}: {method} {path} may not call it"
    routes = sum(len(routes_of(name)) for name in FUNCTIONS)
    by_routes = [name for name, it in permitted.items() if it["Principal"] == "apigateway.amazonaws.com"]
    assert len(by_routes) == routes, f"{by_routes} for {routes} routes"
    for name, permission in permitted.items():
        # Without it, any account's API or rule could call: https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
        assert permission.get("SourceArn"), f"{name} says not who may call"


def canary_alarms(function: str) -> list[str]:
    preference = FUNCTIONS[function].get("DeploymentPreference", {})
    condition, alarms, _ = preference.get("Alarms", {}).get("Fn::If", [None, [], None])
    assert condition == "IsCanary", f"{function} has no DeploymentPreference with Alarms of IsCanary"
    return [alarm["Ref"] for alarm in alarms]


def test_all_at_once_needs_no_codedeploy(template) -> None:
    assert not [kind for kind in template["Resources"].values() if kind["Type"].startswith("AWS::CodeDeploy")]
    aliases = {name for name, it in template["Resources"].items() if it["Type"] == "AWS::Lambda::Alias"}
    assert not [name for name in aliases if "UpdatePolicy" in template["Resources"][name]]
    conditional = {name for name, resource in template["Resources"].items() if resource.get("Condition") == "IsCanary"}
    assert conditional == {"RolloutRole", *(alarm for name in FUNCTIONS for alarm in canary_alarms(name))}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_canary_of_each_function_is_rolled_back_by_alarms_on_its_own_new_version(
    template_with_canary, function
) -> None:
    template = template_with_canary
    group = only(of_type(template, "AWS::CodeDeploy::DeploymentGroup"), function)
    assert group["DeploymentConfigName"]["Fn::Sub"][1] == {"ConfigName": "Canary10Percent5Minutes"}
    assert group["ServiceRoleArn"]["Fn::If"][:2] == ["IsCanary", attribute("RolloutRole")]
    condition, alarms, _ = group["AlarmConfiguration"]["Fn::If"]
    assert condition == "IsCanary"
    assert alarms["Enabled"]
    names = [alarm["Name"]["Ref"] for alarm in alarms["Alarms"]]
    assert names == canary_alarms(function)
    assert names, f"no alarm ends a canary of {function}"
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    alias = only(
        {name: it for name, it in template["Resources"].items() if it["Type"] == "AWS::Lambda::Alias"}, function
    )
    assert alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"]
    version = only({name: name for name in of_type(template, "AWS::Lambda::Version")}, f"{function}Version")
    for name in names:
        for query in template["Resources"][name]["Properties"]["Metrics"]:
            if "MetricStat" not in query:
                continue
            metric = query["MetricStat"]["Metric"]
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
            is_ours = not metric["Namespace"].startswith("AWS/")
            said = f"{name}, {query['Id']}: must be about the new version of {function}"
            assert dimensions.get("version" if is_ours else "ExecutedVersion") == attribute(version, "Version"), said
            assert dimensions.get("function" if is_ours else "FunctionName") == {"Ref": function}, said
            assert is_ours or dimensions["Resource"] == {"Fn::Sub": f"${{{function}}}:live"}, said


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_owner_hears_when_a_function_is_throttled_and_when_one_without_a_route_fails(template, function) -> None:
    given = only(of_type(template, "AWS::CloudFormation::Stack"), "ObservabilityStack")["Parameters"]
    names = [{"Ref": parameter} for parameter, value in given.items() if value == {"Ref": function}]
    assert names, f"give the ObservabilityStack a parameter that is `!Ref {function}`"
    alarms = of_type(read_template(ROOT / "infra" / "observability.yaml"), "AWS::CloudWatch::Alarm").values()
    # What fails over HTTP is a 5xx of the API, which has an alarm.
    for metric in ("Throttles", *([] if routes_of(function) else ["Errors"])):
        watching = [
            alarm
            for alarm in alarms
            for each in (
                alarm,
                *(query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query),
            )
            if (each.get("Namespace"), each.get("MetricName")) == ("AWS/Lambda", metric)
            and any({"Name": "FunctionName", "Value": name} in each["Dimensions"] for name in names)
        ]
        assert watching, f"infra/observability.yaml needs an alarm on the {metric} of {function}"


@pytest.mark.parametrize("setting", ["template", "template_with_canary"])
def test_no_resource_waits_for_itself(setting, request) -> None:
    # The alias waits for the roll-out's alarms, the API for the alias, and the nested stack for the API.
    resources = request.getfixturevalue(setting)["Resources"]
    waits_for = {name: references(resource) & resources.keys() for name, resource in resources.items()}
    graphlib.TopologicalSorter(waits_for).prepare()
    assert "InvoiceApi" in waits_for["ObservabilityStack"]
    for function in FUNCTIONS:
        if routes_of(function):
            assert f"{function}Aliaslive" in waits_for["InvoiceApi"], f"{function} needs `AutoPublishAlias: live`"


def test_concurrency_is_reserved_only_when_asked_for(template) -> None:
    function = only(of_type(template, "AWS::Lambda::Function"), "CreateInvoiceFunction")
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
    conditions = {
        "AWS::CloudFormation::Stack": "IsObserved",
        "AWS::CloudWatch::Alarm": "IsCanary",
        "AWS::KMS::Key": "HasKey",
    }
    for name, resource in template["Resources"].items():
        if needed := conditions.get(resource["Type"]):
            assert resource.get("Condition") == needed, f"{name} costs: give it the condition {needed}"
    parameters_of = {"IsObserved": "Observability", "IsCanary": "CanaryRollout", "HasKey": "CustomerManagedKey"}
    for condition, parameter in parameters_of.items():
        assert template["Conditions"][condition] == {"Fn::Equals": [{"Ref": parameter}, "true"]}


def test_the_key_is_for_everything_that_is_kept_and_stays_with_it(template) -> None:
    for name, group in of_type(template, "AWS::Logs::LogGroup").items():
        assert group.get("KmsKeyId") == OWN_KEY, f"{name} must have the owner's key"
    for name, secret in of_type(template, "AWS::SecretsManager::Secret").items():
        # Left out, it would stay under the owner's key when CustomerManagedKey goes from true to false.
        assert secret.get("KmsKeyId") == {"Fn::If": ["HasKey", KEY, "alias/aws/secretsmanager"]}, name
    for name, table in of_type(template, "AWS::DynamoDB::Table").items():
        encryption = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
        assert table.get("SSESpecification", {}).get("Fn::If", [])[1:2] == [encryption], name
    nested = only(of_type(template, "AWS::CloudFormation::Stack"), "ObservabilityStack")
    assert nested["Parameters"]["KeyArn"] == {"Fn::If": ["HasKey", KEY, ""]}
    key = template["Resources"]["EncryptionKey"]
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == KEPT
    assert key["Properties"]["EnableKeyRotation"]
    owner, logs, alarms, rules = key["Properties"]["KeyPolicy"]["Statement"]
    assert owner["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    assert logs["Principal"] == {"Service": {"Fn::Sub": "logs.${AWS::Region}.${AWS::URLSuffix}"}}
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert rules["Principal"] == {"Service": "events.amazonaws.com"}
    assert alarms["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]
    assert rules["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    for service, resource in ((logs, "log-group:${AWS::StackName}-*"), (alarms, "alarm:${AWS::StackName}-*")):
        [source] = service["Condition"]["ArnLike"].values()
        assert source["Fn::Sub"].endswith(f":${{AWS::Region}}:${{AWS::AccountId}}:{resource}")


def test_access_logs_are_json_without_anything_of_the_buyer(template) -> None:
    settings = only(of_type(template, "AWS::ApiGatewayV2::Stage"), "InvoiceApi")["AccessLogSettings"]
    assert settings["DestinationArn"] == attribute("AccessLogs")
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


def test_prod_is_rolled_out_as_a_canary_and_watched() -> None:
    prod = "CanaryRollout=true Observability=true"
    for section, parameters in tomllib.loads((ROOT / "samconfig.toml").read_text()).items():
        if section != "version":
            deployment = parameters["deploy"]["parameters"]
            assert deployment.get("parameter_overrides") == (prod if section == "prod" else None)
            # The second is for a template that has a transform and a nested stack.
            assert deployment["capabilities"] == ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]


def test_each_function_has_a_log_group_of_its_own_and_every_group_has_retention(template) -> None:
    groups = of_type(template, "AWS::Logs::LogGroup")
    for name, group in groups.items():
        assert group.get("RetentionInDays") == {"Ref": "LogRetentionDays"}, f"{name} must end after LogRetentionDays"
    owners = {"AccessLogs": "the API"}
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        group = function.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref")
        assert group in groups, f"{name} logs to {group}, which is not in the template"
        assert group not in owners, f"{name} shares {group} with {owners[group]}"
        owners[group] = name
        assert function["LoggingConfig"]["LogFormat"] == "JSON", name
    assert groups.keys() == owners.keys()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_callers_reach_each_function_by_its_alias(template, function) -> None:
    alias = only(of_type(template, "AWS::Lambda::Alias"), function)
    assert (alias["Name"], alias["FunctionName"]) == ("live", {"Ref": function})
    version = only({name: name for name in of_type(template, "AWS::Lambda::Version")}, f"{function}Version")
    assert alias["FunctionVersion"] == attribute(version, "Version")


def test_provider_deadline_lambda_timeout_and_api_gateway_end_in_this_order(template) -> None:
    functions = of_type(template, "AWS::Lambda::Function")
    timeout_s = functions["CreateInvoiceFunction"]["Timeout"]
    assert template["Parameters"]["ProviderTimeout"]["MaxValue"] + RESERVE_S <= timeout_s
    for name in FUNCTIONS:
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
        assert functions[name]["Timeout"] < 30 or not routes_of(name), f"{name} outlasts API Gateway"


def test_what_only_v2_can_do_is_refused_at_the_deployment_without_it(template) -> None:
    [rule] = template["Rules"].values()
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "ProviderApi"}, "v1"]}
    asserted = [assertion["Assert"]["Fn::Equals"] for assertion in rule["Assertions"]]
    assert asserted == [[{"Ref": name}, "project"] for name in ("InvoiceLifetime", "Coins")]
    for name in ("InvoiceLifetime", "Coins"):
        assert template["Parameters"][name]["Default"] == "project"


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        *(("InvoiceLifetime", value, True) for value in ("project", "1", "90", "999", "1000", "1399", "1440")),
        *(("InvoiceLifetime", value, False) for value in ("", "0", "05", "1441", "1500", "2000", "90m")),
        *(("Coins", value, True) for value in ("project", "BTC", "USDT_TRC20,BTC")),
        *(("Coins", value, False) for value in ("", "btc", "BTC,", "BTC, ETH", "B")),
    ],
)
def test_a_setting_of_v2_is_valid_as_a_whole_or_refused(template, name: str, value: str, accepted: bool) -> None:
    assert bool(re.fullmatch(template["Parameters"][name]["AllowedPattern"], value)) is accepted


def test_secrets_are_created_empty(template) -> None:
    for name, secret in of_type(template, "AWS::SecretsManager::Secret").items():
        assert not {"SecretString", "GenerateSecretString"} & secret.keys(), name


def test_each_table_is_kept_restorable_and_forgets_by_itself(template) -> None:
    for name, table in of_type(template, "AWS::DynamoDB::Table").items():
        assert table["BillingMode"] == "PAY_PER_REQUEST", name
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expiration", "Enabled": True}, name
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name
        kept = tuple(template["Resources"][name].get(policy) for policy in ("DeletionPolicy", "UpdateReplacePolicy"))
        assert kept == KEPT, name


def test_an_event_through_the_alias_that_fails_is_kept_with_its_error(template) -> None:
    config = only(of_type(template, "AWS::Lambda::EventInvokeConfig"), "CreateInvoiceFunction")
    assert config["FunctionName"] == {"Ref": "CreateInvoiceFunction"}
    assert config["Qualifier"] == "live"
    assert config["DestinationConfig"] == {"OnFailure": {"Destination": attribute("FailedEvents")}}
    assert config["MaximumRetryAttempts"] == 2
    # A retry finds the key of the first attempt.
    assert config["MaximumEventAgeInSeconds"] < KEY_LIFETIME_S


def test_failed_events_are_encrypted_kept_as_long_as_possible_and_only_read_over_tls(template) -> None:
    # Not a FIFO queue: Lambda cannot send to one.
    assert only(of_type(template, "AWS::SQS::Queue"), "FailedEvents") == {
        "MessageRetentionPeriod": 14 * 24 * 60 * 60,
        "KmsMasterKeyId": OWN_KEY,
        "SqsManagedSseEnabled": {"Fn::If": ["HasKey", False, True]},
    }
    queue = template["Resources"]["FailedEvents"]
    assert (queue["DeletionPolicy"], queue["UpdateReplacePolicy"]) == KEPT
    policy = only(of_type(template, "AWS::SQS::QueuePolicy"), "FailedEventsPolicy")
    assert policy["Queues"] == [{"Ref": "FailedEvents"}]
    assert policy["PolicyDocument"]["Statement"] == [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": attribute("FailedEvents"),
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]


def test_cors_keeps_all_its_properties(template) -> None:
    # SAM drops all but AllowOrigins when that alone is an intrinsic function.
    cors = only(of_type(template, "AWS::ApiGatewayV2::Api"), "InvoiceApi")["Body"]["x-amazon-apigateway-cors"]
    condition, when_sites_may_call, otherwise = cors["Fn::If"]
    assert condition == "SitesMayCall"
    assert when_sites_may_call == {
        "allowOrigins": {"Fn::Split": [",", {"Ref": "AllowedOrigins"}]},
        "allowMethods": sorted({method for name in FUNCTIONS for method, _ in routes_of(name)}),
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
    assert [name for name, parameter in parameters.items() if not parameter.get("Description")] == []
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


def test_the_docs_name_every_output(template) -> None:
    docs = "\n".join(page.read_text() for page in PAGES)
    assert [name for name in template["Outputs"] if f"`{name}`" not in docs] == []
    assert {"InvoiceUrl", "FunctionAliasArn", "FailedEventsQueueUrl", "SecretArn"} <= template["Outputs"].keys()


def test_the_docs_have_every_parameter_and_its_default(template) -> None:
    docs = "\n".join(page.read_text() for page in PAGES)
    for name, parameter in template["Parameters"].items():
        default = f"`{parameter['Default']}`" if "Default" in parameter else "none: you must say"
        ways = ("nobody", "none") if default == "``" else (default,)
        rows = [f"| `{name}` | {way} |" for way in ways]
        assert any(row in docs for row in rows), f"put {rows[0]} … | into the table of parameters"


def test_every_parameter_is_in_a_group_of_the_console(template) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])


def test_eventbridge_is_let_in_to_topic_and_key_without_a_condition_that_it_could_not_meet() -> None:
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html, "Amazon SNS permissions"
    statements = [
        statement
        for resource in (WRITTEN["Resources"]["PaidInvoicesPolicy"], WRITTEN["Resources"]["EncryptionKey"])
        for document in (resource["Properties"].get("PolicyDocument") or resource["Properties"]["KeyPolicy"],)
        for statement in document["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    assert len(statements) == 2
    assert not [statement for statement in statements if "Condition" in statement]


def test_a_run_of_the_watch_that_fails_or_cannot_start_is_left_to_the_next() -> None:
    function = WRITTEN["Resources"]["WatchFunction"]["Properties"]
    schedule = function["Events"]["Schedule"]["Properties"]
    assert schedule["RetryPolicy"] == {"MaximumRetryAttempts": 0}
    # Scheduler invokes asynchronously: Lambda has retries, and a queue, of its own.
    assert function["EventInvokeConfig"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 600}
    assert schedule["ScheduleExpression"] == "rate(10 minutes)"
