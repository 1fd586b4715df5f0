"""The owner's AWS account, as far as ``make secret`` looks at it: botocore's own clients with stubbed answers."""

from typing import Any

import boto3
from botocore.stub import Stubber

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ProviderSecret-a-b"


class Account:
    """Clients of botocore with a deployed stack.

    Args:
        stored: What is in the stack's secret.
        outputs: Whether the stack is far enough to have any.
        parameters: The stack's.
    """

    def __init__(self, stored: str | None = None, *, outputs: bool = True, **parameters: str) -> None:
        keys = {"region_name": "eu-west-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
        self._clients = {name: boto3.client(name, **keys) for name in ("cloudformation", "secretsmanager")}
        self.stubbers = {name: Stubber(client) for name, client in self._clients.items()}
        for stubber in self.stubbers.values():
            stubber.activate()
        stack = {"StackName": "cryptocloud-invoices", "StackStatus": "CREATE_COMPLETE", "CreationTime": "2026-01-01"}
        stack["Outputs"] = [{"OutputKey": "SecretArn", "OutputValue": ARN}] if outputs else []
        stack["Parameters"] = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
        self.stubbers["cloudformation"].add_response("describe_stacks", {"Stacks": [stack]})
        if stored is not None:
            self.stubbers["secretsmanager"].add_response("get_secret_value", {"SecretString": stored})

    def client(self, service: str) -> Any:
        return self._clients[service]
