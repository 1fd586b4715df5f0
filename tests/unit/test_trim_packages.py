"""What is left of botocore in the artifact is what the functions may do, no less and no more."""

import pytest

from infra.trim_packages import OPERATIONS
from tests.support.sam import translate

# Allowed for what Lambda itself does under a function's role: logs, traces, failed events, and the encryption of all.
SERVICES_OF_LAMBDA_ITSELF = {"kms", "logs", "sqs", "xray"}
# botocore looks for it whenever it makes a client of DynamoDB; nobody calls it.
NEVER_CALLED = {"dynamodb:DescribeEndpoints"}


def listed(one_or_many: object) -> list[str]:
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def actions_of_functions() -> dict[str, set[str]]:
    """Returns for each action that our code may do the roles that allow it."""
    allowed: dict[str, set[str]] = {}
    for name, resource in translate()["Resources"].items():
        role = resource["Properties"]
        if resource["Type"] != "AWS::IAM::Role" or "lambda.amazonaws.com" not in str(role["AssumeRolePolicyDocument"]):
            continue
        for policy in role["Policies"]:
            document = policy.get("Fn::If", [None, policy])[1]["PolicyDocument"]
            for action in (action for statement in document["Statement"] for action in listed(statement["Action"])):
                if action.split(":")[0] not in SERVICES_OF_LAMBDA_ITSELF:
                    allowed.setdefault(action, set()).add(name)
    return allowed


@pytest.fixture(scope="module")
def allowed() -> dict[str, set[str]]:
    return actions_of_functions()


KEPT = {f"{service}:{operation}" for service, operations in OPERATIONS.items() for operation in operations}


def test_an_operation_that_a_role_allows_is_kept(allowed) -> None:
    missing = [
        f"{', '.join(sorted(roles))} in template.yaml allows {action}, but OPERATIONS in infra/trim_packages.py "
        "lacks it: the client would have no such method"
        for action, roles in sorted(allowed.items())
        if action not in KEPT
    ]
    assert not missing, "\n".join(missing)


def test_an_operation_that_no_role_allows_is_cut(allowed) -> None:
    left = [
        f"OPERATIONS in infra/trim_packages.py has {action}, which no role of a function in template.yaml allows"
        for action in sorted(KEPT - NEVER_CALLED - allowed.keys())
    ]
    assert not left, "\n".join(left)
