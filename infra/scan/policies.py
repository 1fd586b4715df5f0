"""Audits every IAM policy in the templates: ``python -m infra.scan.policies TEMPLATE…``.

Parliament knows the actions of IAM and the resources of each. A policy that allows an action on a resource of another
kind allows nothing. Linters of templates do not notice that, and a deployment does not either.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from parliament import analyze_policy_string

# Findings of parliament about policies that are right. Its list of actions is older than cfn-lint's, which checks
# those. PutCompositeAlarm must be allowed on everything. The account "aws" of CloudFormation's transforms is unknown to
# it.
_NOT_HERE = {"INVALID_ARN", "RESOURCE_STAR", "UNKNOWN_ACTION"}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms."""


def _long_form(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    match node:
        case yaml.ScalarNode():
            value: Any = node.value
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case _:
            value = loader.construct_mapping(node, deep=True)
    return {f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _long_form)

# The ARN of each logical id that a policy refers to.
_ARNS = {
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:us-east-1:123456789012:table/x",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/x",
    "AWS::KMS::Key": "arn:aws:kms:us-east-1:123456789012:key/x",
    "AWS::Lambda::Alias": "arn:aws:lambda:us-east-1:123456789012:function:x:live",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:123456789012:log-group:x:*",
    "AWS::S3::Bucket": "arn:aws:s3:::x",
    "AWS::SNS::Topic": "arn:aws:sns:us-east-1:123456789012:x",
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:123456789012:x",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-abcdef",
    "AWS::Serverless::Function": "arn:aws:lambda:us-east-1:123456789012:function:x",
    "AWS::Serverless::StateMachine": "arn:aws:states:us-east-1:123456789012:stateMachine:x",
}


def _literal(part: Any, types: dict[str, str]) -> Any:
    match part:
        case {"Fn::If": [_, yes, _]}:
            return _literal(yes, types)
        case {"Fn::Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
            return _ARNS.get(types.get(name, ""), "arn:aws:lambda:us-east-1:123456789012:function:x:live")
        case {"Fn::GetAtt": str(name)}:
            return _literal({"Fn::Ref": name.partition(".")[0]}, types)
        case {"Fn::Sub": str(text)}:
            text = re.sub(r"\$\{(\w+)\.Arn\}", lambda found: str(_literal({"Fn::Ref": found[1]}, types)), text)
            text = text.replace("${AWS::Partition}", "aws").replace("${AWS::Region}", "us-east-1")
            return re.sub(r"\$\{[\w:]+\}", "x", text.replace("${AWS::AccountId}", "123456789012"))
        case dict():
            return {key: _literal(value, types) for key, value in part.items()}
        case list():
            return [_literal(value, types) for value in part]
    return part


def policies(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields name and document of each policy of a role or of a function, references replaced by ARNs."""
    resources = template["Resources"]
    types = {name: resource["Type"] for name, resource in resources.items()}
    for name, resource in resources.items():
        for policy in resource.get("Properties", {}).get("Policies", ()):
            written = _literal(policy, types)
            document = written.get("PolicyDocument", written)
            if "Statement" in document:
                yield f"{name} {written.get('PolicyName', '')}".strip(), document


def findings(document: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a policy, in parliament's words."""
    found = analyze_policy_string(json.dumps(document)).findings
    return [f"{finding.issue}: {finding.detail}" for finding in found if finding.issue not in _NOT_HERE]


def main(files: list[str]) -> int:
    """Prints the findings; returns the exit status."""
    audited, wrong = 0, 0
    for file in files:
        for name, document in policies(yaml.load(Path(file).read_text(), _Loader)):
            audited += 1
            for finding in findings(document):
                wrong += 1
                print(f"{file}: {name}: {finding}", file=sys.stderr)
    if wrong:
        print("Allow each action on a resource that it knows, or on * where it knows none.", file=sys.stderr)
        return 1
    print(f"parliament: nothing is wrong with the {audited} policies.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
