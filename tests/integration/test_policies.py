"""What each function calls is allowed by its role, and nothing else, by an engine that enforces policies.

The engine is moto's. It is asked about every operation of the services in use, on the stack's own resources and on
look-alikes: what somebody could do who runs code in the function.
"""

import functools
import itertools
import json
import re
import subprocess
from typing import Any

import boto3
import pytest

from infra.trim_packages import OPERATIONS
from invoicing.events import SOURCE
from tests.support import ROOT
from tests.support.decided import Stack
from tests.support.sam import translate
from tests.support.templates import listed, of_type, read_template, references

CHOSEN = {"AllowedOrigins": "*", "CustomerManagedKey": "true", "CanaryRollout": "true"}
STACK = Stack(translate(**CHOSEN), **CHOSEN)
FUNCTIONS = of_type(read_template(ROOT / "template.yaml"), "AWS::Serverless::Function")
ACCOUNT = "us-east-1:123456789012"
# The form of an ARN by type: https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{account}:table/stack-{name}",
    "AWS::KMS::Key": "kms:{account}:key/{name}",
    "AWS::Lambda::Function": "lambda:{account}:function:stack-{name}",
    "AWS::Logs::LogGroup": "logs:{account}:log-group:stack-{name}:*",
    "AWS::SNS::Topic": "sns:{account}:stack-{name}",
    "AWS::SQS::Queue": "sqs:{account}:stack-{name}",
    "AWS::SecretsManager::Secret": "secretsmanager:{account}:secret:{name}-abc",
}
# Whoever runs code in a function would try these; and X-Ray, which knows no resources, is allowed.
SERVICES = ("dynamodb", "events", "iam", "kms", "lambda", "logs", "s3", "secretsmanager", "sns", "sqs", "sts", "xray")
TRACES = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
_FOLLOWS = {
    ("secretsmanager:GetSecretValue", "ProviderSecret"),
    ("dynamodb:UpdateItem", "InvoiceTable"),
    ("events:PutEvents", "EventBus"),
}
# What the code of each function asks of table, bus and secret.
CALLS = {
    "CreateInvoiceFunction": {
        ("secretsmanager:GetSecretValue", "ProviderSecret"),
        ("dynamodb:PutItem", "IdempotencyTable"),
        ("dynamodb:UpdateItem", "IdempotencyTable"),
        ("dynamodb:PutItem", "InvoiceTable"),
    },
    "InvoiceInfoFunction": _FOLLOWS | {("dynamodb:GetItem", "InvoiceTable")},
    "PostbackFunction": _FOLLOWS | {("dynamodb:GetItem", "InvoiceTable")},
    "WatchFunction": _FOLLOWS | {("dynamodb:Query", "DueIndex"), ("dynamodb:BatchGetItem", "InvoiceTable")},
}


def arn(name: str, account: str = ACCOUNT) -> str:
    return "arn:aws:" + ARNS[STACK.resources[name]["Type"]].format(account=account, name=name)


def literal(part: Any) -> Any:
    """Returns a policy with ARNs in place of references, as CloudFormation makes it."""
    match part:
        case {"Ref": name} if name in STACK.resources:
            return arn(name)
        case {"Fn::GetAtt": [name, "Arn"]}:
            return arn(name)
        case {"Fn::Sub": str(text)}:
            text = re.sub(r"\$\{(\w+)\.Arn\}", lambda found: arn(found[1]), text)
            text = text.replace("${AWS::Partition}", "aws").replace("${AWS::Region}:${AWS::AccountId}", ACCOUNT)
            text = text.replace("${EventBus}", STACK.parameters["EventBus"])
            assert "${" not in text, text
            return text
        case dict():
            return {key: literal(value) for key, value in part.items()}
        case list():
            return [literal(value) for value in part]
    return part


OWN = {
    **{name: arn(name) for name, resource in STACK.resources.items() if resource["Type"] in ARNS},
    "DueIndex": f"{arn('InvoiceTable')}/index/due",
    "EventBus": f"arn:aws:events:{ACCOUNT}:event-bus/{STACK.parameters['EventBus']}",
}
LOOK_ALIKES = [
    *(each.replace(ACCOUNT, "us-east-1:999999999999") for each in OWN.values()),
    *(each.replace(ACCOUNT, "eu-west-1:123456789012") for each in OWN.values()),
    *(
        each.replace("stack-", "other-stack-").replace("key/", "key/other-").replace("secret:", "secret:other-")
        for name, each in OWN.items()
        if name != "EventBus"
    ),
    *(f"{each.removesuffix(':*')}2" for each in OWN.values()),
]


@functools.cache
def operations() -> list[str]:
    """All operations of the services, in the names that IAM has for nearly all of them."""
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any")
    return [f"{name}:{op}" for name in SERVICES for op in session.client(name).meta.service_model.operation_names]


def permitted(role: str, actions: list[str], resources: list[str]) -> set[tuple[str, str]]:
    documents = [literal(policy["PolicyDocument"]) for policy in STACK.resources[role]["Properties"]["Policies"]]
    asked = list(itertools.product(actions, resources))
    engine = subprocess.run(
        [ROOT / ".venv-local" / "bin" / "python", "-m", "tests.support.policy_engine"],
        input=json.dumps({"documents": documents, "asked": asked}),
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return {question for question, may in zip(asked, json.loads(engine.stdout), strict=True) if may}


def role_of(function: str) -> str:
    return str(FUNCTIONS[function]["Role"]["Fn::GetAtt"][0])


def test_every_call_that_ships_is_one_of_a_function() -> None:
    shipped = {f"{service}:{name}" for service, kept in OPERATIONS.items() for name in kept - {"DescribeEndpoints"}}
    assert {action for calls in CALLS.values() for action, _ in calls} == shipped


@pytest.mark.parametrize("function", FUNCTIONS)
def test_of_tables_bus_and_secret_a_function_may_do_exactly_what_its_code_asks_for(function: str) -> None:
    services = ("dynamodb:", "events:", "secretsmanager:")
    actions = [action for action in operations() if action.startswith(services)]
    found = permitted(role_of(function), actions, list(OWN.values()))
    assert found == {(action, OWN[name]) for action, name in CALLS[function]}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_write_to_its_log_group_alone(function: str) -> None:
    group = OWN[FUNCTIONS[function]["LoggingConfig"]["LogGroup"]["Ref"]]
    actions = [action for action in operations() if action.startswith("logs:")]
    found = permitted(role_of(function), actions, list(OWN.values()))
    assert found == {("logs:CreateLogStream", group), ("logs:PutLogEvents", group)}


@pytest.mark.parametrize("function", sorted(FUNCTIONS.keys() - {"CreateInvoiceFunction"}))
def test_an_event_may_be_of_no_other_source(function: str) -> None:
    # moto's engine does not look at conditions.
    statements = [s for p in STACK.resources[role_of(function)]["Properties"]["Policies"]
                  for s in p["PolicyDocument"]["Statement"] if "events:PutEvents" in listed(s["Action"])]  # fmt: skip
    assert [statement["Condition"] for statement in statements] == [
        {"ForAllValues:StringEquals": {"events:source": SOURCE}, "Null": {"events:source": "false"}}
    ]


def test_the_schedule_may_start_its_function_and_nothing_else() -> None:
    [schedule] = [r for r in STACK.resources.values() if r["Type"] == "AWS::Scheduler::Schedule"]
    target = schedule["Properties"]["Target"]
    [policy] = STACK.resources[target["RoleArn"]["Fn::GetAtt"][0]]["Properties"]["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": target["Arn"]}
    ]
    assert STACK.resources[target["Arn"]["Ref"]]["Type"] == "AWS::Lambda::Alias"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_of_all_operations_a_function_may_do_only_those_that_its_role_names_on_its_own_resources(function: str) -> None:
    policies = [literal(p["PolicyDocument"]) for p in STACK.resources[role_of(function)]["Properties"]["Policies"]]
    named = {a for p in policies for s in p["Statement"] for a in listed(s["Action"])}
    found = permitted(role_of(function), operations(), list(OWN.values()))
    for action, resource in found - {(action, resource) for action in TRACES for resource in OWN.values()}:
        assert action in named, action
        service = action.split(":")[0]
        assert resource.split(":")[2] == service, f"{function} may {action} on {resource}"
        # A function's variables, its log group, what keeps its failed events, and the key to all.
        mine = references(FUNCTIONS[function]) | {"EncryptionKey", "DueIndex"}
        assert resource in {OWN[name] for name in mine & OWN.keys()}, f"{function} may {action} on {resource}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_of_another_stack_region_or_account_may_be_touched(function: str) -> None:
    found = permitted(role_of(function), operations(), LOOK_ALIKES)
    assert {action for action, _ in found} <= TRACES


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_an_intruder_would_try_first_is_denied(function: str) -> None:
    tries = [
        "dynamodb:Scan",
        "secretsmanager:PutSecretValue",
        "sqs:ReceiveMessage",
        "iam:PassRole",
        "logs:CreateLogGroup",
    ]
    assert not permitted(role_of(function), tries, [*OWN.values(), "*"])


def test_the_engine_itself_permits_and_denies() -> None:
    role = role_of("CreateInvoiceFunction")
    secret = OWN["ProviderSecret"]
    assert permitted(role, ["secretsmanager:GetSecretValue"], [secret, secret + "2"]) == {
        ("secretsmanager:GetSecretValue", secret)
    }
