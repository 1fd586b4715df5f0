"""The roles of infra/github-deploy.yaml may do what CloudFormation asks for the resources, by their own schemas.

A right that is missing shows at the first deployment from GitHub, as a roll-back; nothing else here would find it.
"""

import fnmatch
import json
import re
import subprocess
import tomllib
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.decided import Stack
from tests.support.sam import translate
from tests.support.templates import listed, of_type, read_template

ROLES = of_type(read_template(ROOT / "infra" / "github-deploy.yaml"), "AWS::IAM::Role")
STACK_NAME = read_template(ROOT / "infra" / "github-deploy.yaml")["Parameters"]["StackName"]
EVERYTHING = {"CanaryRollout": "true", "Observability": "true", "CustomerManagedKey": "true", "AllowedOrigins": "*"}
EVERYTHING |= {"AlarmEmail": "owner@shop.example", "PaidEmail": "owner@shop.example", "ReservedConcurrency": "5"}

# Actions of the schemas that belong to a property, which no resource of that type here has. If one gets it, the action
# must be allowed.
OF_A_PROPERTY = {
    "AWS::ApiGatewayV2::Api": {"BodyS3Location": ["s3:getObject"]},
    "AWS::CloudFormation::Stack": {"RoleARN": ["iam:PassRole"]},
    "AWS::DynamoDB::Table": {
        "ContributorInsightsSpecification": ["dynamodb:UpdateContributorInsights"],
        "ImportSourceSpecification": ["dynamodb:DescribeImport", "dynamodb:ImportTable", "logs:*", "s3:*"],
        "KinesisStreamSpecification": ["dynamodb:*KinesisStreamingDestination", "kinesis:*"],
        "ResourcePolicy": ["dynamodb:PutResourcePolicy", "dynamodb:DeleteResourcePolicy"],
        # Of a global table, which is another type: CreateTableReplica copies items.
        "Replicas": ["dynamodb:*TableReplica", "dynamodb:*Item", "dynamodb:Query", "dynamodb:Scan"],
    },
    "AWS::Events::Rule": {"RoleArn": ["iam:PassRole"]},
    "AWS::IAM::Role": {
        "ManagedPolicyArns": ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
        "PermissionsBoundary": ["iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"],
    },
    "AWS::KMS::Key": {"Enabled": ["kms:DisableKey", "kms:EnableKey"]},
    "AWS::Lambda::Alias": {"ProvisionedConcurrencyConfig": ["lambda:*ProvisionedConcurrencyConfig"]},
    "AWS::Lambda::Function": {
        "CapacityProviderConfig": ["lambda:PassCapacityProvider"],
        "CodeSigningConfigArn": ["lambda:*CodeSigningConfig"],
        "FileSystemConfigs": ["elasticfilesystem:*", "s3files:*"],
        "FunctionScalingConfig": ["lambda:PutFunctionScalingConfig"],
        "KmsKeyArn": ["kms:*"],
        "Layers": ["lambda:GetLayerVersion"],
        "RecursiveLoop": ["lambda:PutFunctionRecursionConfig"],
        "RuntimeManagementConfig": ["lambda:PutRuntimeManagementConfig", "lambda:AssociateRuntimeAlias"],
        "VpcConfig": ["ec2:*"],
    },
    "AWS::Lambda::Version": {
        "FunctionScalingConfig": ["lambda:PutFunctionScalingConfig"],
        "ProvisionedConcurrencyConfig": ["lambda:PutProvisionedConcurrencyConfig"],
        "RuntimePolicy": ["lambda:PutRuntimeManagementConfig"],
    },
    "AWS::Logs::LogGroup": {
        "BearerTokenAuthenticationEnabled": ["logs:PutBearerTokenAuthentication"],
        "DataProtectionPolicy": ["logs:*DataProtectionPolicy", "s3:REST.PUT.OBJECT", "firehose:TagDeliveryStream"],
        "DeletionProtectionEnabled": ["logs:PutLogGroupDeletionProtection"],
        "FieldIndexPolicies": ["logs:PutIndexPolicy", "logs:DeleteIndexPolicy"],
        "ResourcePolicyDocument": ["logs:DeleteResourcePolicy"],
    },
    "AWS::SecretsManager::Secret": {
        "GenerateSecretString": ["secretsmanager:GetRandomPassword"],
        "ReplicaRegions": ["secretsmanager:ReplicateSecretToRegions", "secretsmanager:RemoveRegionsFromReplication"],
    },
    "AWS::SNS::Subscription": {"SubscriptionRoleArn": ["iam:GetRole", "iam:PassRole"]},
    "AWS::SNS::Topic": {
        "DataProtectionPolicy": ["sns:PutDataProtectionPolicy"],
        "DeliveryStatusLogging": ["iam:GetRole", "iam:PassRole"],
    },
}
# Named by a schema, and refused on purpose or not an action of IAM's; each with the reason.
NOT_ALLOWED = {
    "secretsmanager:GetSecretValue": "the handler reads a value only to compare one that the template has",
    "cloudformation:GetStackPolicy": "no stack has a stack policy",
    "cloudformation:SetStackPolicy": "no stack has a stack policy",
    "cloudformation:GetTemplate": "only to import a stack",
    "cloudformation:UpdateTerminationProtection": "no stack is protected so",
    "codedeploy:RegisterOnPremisesInstance": "Lambda has no instances",
    "dynamodb:UpdateKinesisStreamingDestination": "no table streams to Kinesis",
    "iam:CreateServiceLinkedRole": "for replicas and for Kinesis",
    "kms:DisableKey": "a key that is created is enabled",
    "kms:ListAliases": "keys are named by ARN",
    "kms:RevokeGrant": "DynamoDB retires its own",
    "kms:ScheduleKeyDeletion": "a key outlives its stack",
    "lambda:DeleteProvisionedConcurrencyConfig": "no alias has provisioned concurrency",
    "s3:GetObjectVersion": "the bucket has no versions",
}


def schemas(types: set[str]) -> dict[str, list[str]]:
    command = [ROOT / ".venv-local" / "bin" / "python", "-m", "infra.local.schemas", *sorted(types)]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout)


@pytest.fixture(scope="module")
def resources() -> dict[str, dict[str, Any]]:
    """All resources of the stack and of its nested stack, with everything turned on."""
    nested = Stack(read_template(ROOT / "infra" / "observability.yaml"), AlarmEmail="owner@shop.example", KeyArn="arn")
    return {**Stack(translate(**EVERYTHING), **EVERYTHING).resources, **nested.resources}


def statements(role: str) -> list[dict[str, Any]]:
    policies = [policy["Fn::If"][1] if "Fn::If" in policy else policy for policy in ROLES[role]["Policies"]]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def allows(role: str, action: str) -> list[Any]:
    """Returns the resources on which a role may do this."""
    return [
        resource
        for statement in statements(role)
        if any(action.lower() == each.lower() for each in listed(statement["Action"]))
        for resource in listed(statement["Resource"])
    ]


def needed(resources: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """Returns each action that the resources in use need, with the types that need it."""
    found: dict[str, set[str]] = {}
    for kind, actions in schemas({resource["Type"] for resource in resources.values()}).items():
        used = {name for r in resources.values() if r["Type"] == kind for name in r.get("Properties", {})}
        left_out = [p for name, patterns in OF_A_PROPERTY.get(kind, {}).items() if name not in used for p in patterns]
        for action in actions:
            kept = not any(fnmatch.fnmatchcase(action, pattern) for pattern in left_out)
            # Reading may be part of a handler whatever the properties are.
            if kept and action not in NOT_ALLOWED:
                found.setdefault(action, set()).add(kind)
    return found


def test_the_execution_role_may_do_all_that_the_resources_in_use_ask_for(resources) -> None:
    missing = {action: kinds for action, kinds in needed(resources).items() if not allows("ExecutionRole", action)}
    assert not missing, "add them to the ExecutionRole of infra/github-deploy.yaml"


def test_no_exception_is_left_that_nothing_asks_for(resources) -> None:
    asked = {action for actions in schemas({r["Type"] for r in resources.values()}).values() for action in actions}
    assert not NOT_ALLOWED.keys() - asked


@pytest.mark.parametrize(
    "action",
    [
        "cloudwatch:PutCompositeAlarm",  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
        "cloudwatch:DescribeAlarms",  # the same of a composite alarm
        "codedeploy:StopDeployment",
        "logs:DescribeLogGroups",
        "sns:GetSubscriptionAttributes",
        "sns:SetSubscriptionAttributes",
        "sns:Unsubscribe",
    ],
)
def test_what_aws_allows_on_everything_only_is_allowed_so(action: str) -> None:
    assert "*" in allows("ExecutionRole", action)


def test_the_execution_role_touches_nothing_of_other_stacks_where_aws_can_hold_it_to_names() -> None:
    everywhere = {action for statement in statements("ExecutionRole") if statement["Resource"] == "*"
                  for action in listed(statement["Action"])}  # fmt: skip
    assert not [action for action in everywhere if action.split(":")[0] in ("dynamodb", "lambda", "iam", "sqs", "s3")]
    own = ("${StackName}-*", "${StackName}-*/*", "${StackName}*")
    for statement in statements("ExecutionRole"):
        for resource in listed(statement["Resource"]):
            text = resource["Fn::Sub"] if isinstance(resource, dict) else resource
            shared = ("apigateway", "Artifacts", "aws-sam-cli-managed", "ProviderSecret", "CodeDeployDefault", ":key/")
            assert text == "*" or text.endswith(own) or any(part in text for part in shared), text


def test_the_job_may_pass_the_execution_role_to_cloudformation_and_nothing_else() -> None:
    [passing] = [s for s in statements("DeployRole") if "iam:PassRole" in listed(s["Action"])]
    assert passing["Resource"] == {"Fn::GetAtt": ["ExecutionRole", "Arn"]}
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}
    actions = {action for statement in statements("DeployRole") for action in listed(statement["Action"])}
    assert not [action for action in actions if action.startswith(("secretsmanager:Get", "secretsmanager:Put", "kms:"))]


# What CloudFormation makes names of at most 64 characters for: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html,
# https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html, https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
SHORT_NAMES = ("AWS::IAM::Role", "AWS::Lambda::Function", "AWS::Scheduler::Schedule", "AWS::Events::Rule")
_RANDOM = 13  # a dash and twelve characters at the end


def generated_name(stack: str, logical_id: str) -> str:
    """The part of a name that CloudFormation makes, without what is random: both are cut alike until they fit.

    https://github.com/aws-cloudformation/cloudformation-cli-java-plugin, IdentifierUtils
    """
    free = 64 - _RANDOM - 1
    for_stack = min(len(stack), max(free // 2, free - len(logical_id)))
    return f"{stack[:for_stack]}-{logical_id[: free - for_stack]}".replace("--", "-")


@pytest.mark.parametrize("stack", ["cryptocloud-invoices-staging", "a" * 28])
def test_every_name_that_cloudformation_makes_begins_with_the_whole_name_of_the_stack(resources, stack: str) -> None:
    assert len(stack) <= STACK_NAME["MaxLength"]
    for logical_id, resource in resources.items():
        if resource["Type"] in SHORT_NAMES:
            name = generated_name(stack, logical_id)
            assert name.startswith(f"{stack}-"), (
                f"{name}: give {logical_id} a shorter logical id, at most 22 characters"
            )


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        *((section["global"]["parameters"]["stack_name"], True)
          for section in tomllib.loads((ROOT / "samconfig.toml").read_text()).values() if isinstance(section, dict)),
        ("a--b", False),
        ("a-", False),
        ("1a", False),
        ("a" * 29, False),
    ],
)  # fmt: skip
def test_a_stack_is_named_so_that_the_roles_match(name: str, accepted: bool) -> None:
    fits = len(name) <= STACK_NAME["MaxLength"] and re.fullmatch(STACK_NAME["AllowedPattern"], name) is not None
    assert fits is accepted


def test_no_stack_deletes_the_artifacts_of_another() -> None:
    sections = [s for s in tomllib.loads((ROOT / "samconfig.toml").read_text()).values() if isinstance(s, dict)]
    prefixes = [section["deploy"]["parameters"]["s3_prefix"] for section in sections]
    assert prefixes == [section["global"]["parameters"]["stack_name"] for section in sections]
    assert len(set(prefixes)) == len(prefixes)
