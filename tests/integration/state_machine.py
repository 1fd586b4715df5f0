"""Runs a Step Functions definition in moto's interpreter: a line of JSON in, a line of JSON out, until input ends.

    {"definition": "…", "input": {…}}  ->  {"status": "SUCCEEDED", "output": {…}, "waits_s": [2.0]}

Lambda is the one service that it calls for real, at ``AWS_ENDPOINT_URL_LAMBDA``. Waits before retries are noted and not
waited for. It runs in the local stack's virtual environment, which has moto.
"""

import json
import sys
import time
from types import SimpleNamespace
from typing import Any
from unittest import mock

import boto3
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl

_ROLE = "arn:aws:iam::123456789012:role/any"


def run(client: Any, name: str, definition: str, event: dict[str, Any]) -> dict[str, Any]:
    """Returns how an execution ended, and its waits in seconds."""
    machine = client.create_state_machine(name=name, definition=definition, roleArn=_ROLE)
    waits_s: list[float] = []
    with mock.patch.object(retrier_decl, "time", SimpleNamespace(sleep=waits_s.append)):
        arn = client.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps(event))[
            "executionArn"
        ]
        while (execution := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            time.sleep(0.02)
    fields = {name: execution[name] for name in ("status", "error", "cause") if name in execution}
    return {**fields, "output": json.loads(execution.get("output", "null")), "waits_s": waits_s}


if __name__ == "__main__":
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        stepfunctions = boto3.client("stepfunctions", region_name="us-east-1")
        for number, line in enumerate(sys.stdin):
            job = json.loads(line)
            print(json.dumps(run(stepfunctions, f"machine-{number}", job["definition"], job["input"])), flush=True)
