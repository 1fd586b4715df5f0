"""EventBridge, in moto and in this process: what was published is delivered in EventBridge's own envelope."""

import json
from typing import Any

import boto3

from tests.support.account import REGION


class Bus:
    """The default bus with one rule, whose target is a queue.

    Args:
        pattern: The rule's event pattern.
    """

    def __init__(self, pattern: dict[str, Any]) -> None:
        self.client = boto3.client("events", region_name=REGION)
        self._queue = Queue("delivered")
        self.client.put_rule(Name="rule", EventPattern=json.dumps(pattern))
        self.client.put_targets(Rule="rule", Targets=[{"Id": "queue", "Arn": self._queue.arn}])

    def delivered(self) -> list[dict[str, Any]]:
        """Returns the events that came since the last call."""
        return [json.loads(body) for body in self._queue.take()]


class Queue:
    """A queue of SQS that is read by the test."""

    def __init__(self, name: str) -> None:
        self._sqs = boto3.client("sqs", region_name=REGION)
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        self.arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]

    def take(self) -> list[str]:
        """Returns what came since the last call."""
        bodies: list[str] = []
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(message["Body"])
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return bodies
