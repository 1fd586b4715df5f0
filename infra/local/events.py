"""What EventBridge delivers: the events on the bus, and what the template's rules make of them.

moto evaluates rules and their targets, and delivers to SQS among few others. So each target of a rule is a queue here,
whatever it is in the template; its input transformer is the template's.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.template import Template

_ALL_EVENTS = "AllEvents"
_EVERY_SOURCE = {"source": [{"prefix": ""}]}
_MOST_MESSAGES = 10
_WRAP = "transformed"


class Deliveries:
    """What a bus delivered so far.

    Args:
        template: Whose rules there are.
        bus: The name of the bus; any other than ``default`` is created.
        moto_url: Where EventBridge and SQS are.
        announce: Hears of all that is delivered, in a line each, as soon as this object learns of it.
    """

    def __init__(self, template: Template, bus: str, moto_url: str, announce: Callable[[str], None]) -> None:
        self._events = boto3.client("events", endpoint_url=moto_url)
        self._sqs = boto3.client("sqs", endpoint_url=moto_url)
        self._bus = bus
        self._announce = announce
        self._lock = threading.Lock()
        self._queues: dict[str, str] = {}
        self._stopped = threading.Event()
        if bus != "default":
            self._events.create_event_bus(Name=bus)
        self._add_rule(_ALL_EVENTS, _EVERY_SOURCE, {"Id": "queue"})
        for name, rule in template.of_type("AWS::Events::Rule").items():
            for target in rule["Targets"]:
                self._add_rule(name, rule["EventPattern"], target)
        self.forget()

    def forget(self) -> None:
        """Forgets what was delivered."""
        with self._lock:
            for rule in self._queues:
                self._receive(rule, wait_s=0)
            self._kept: dict[str, list[Any]] = {rule: [] for rule in self._queues}

    def report(self) -> dict[str, list[Any]]:
        """Returns the events as consumers get them (``events``), and what each rule of the template made of them.

        What was published by now is in it: a rule's target has its message before PutEvents answers.
        """
        with self._lock:
            self._collect(wait_s=0)
            kept = {rule: list(messages) for rule, messages in self._kept.items()}
        return {"events": kept.pop(_ALL_EVENTS), **kept}

    def wait(self, count: int, timeout_s: float = 30) -> None:
        """Returns when at least so many events were delivered.

        Args:
            count: How many, of all since the start or since ``forget``.
            timeout_s: The longest to wait, in seconds.

        Raises:
            ValueError: There are still fewer.
        """
        deadline_s = time.monotonic() + timeout_s
        wait_s = 0
        while True:
            with self._lock:
                self._collect(wait_s)
                delivered = len(self._kept[_ALL_EVENTS])
            if delivered >= count:
                return
            if time.monotonic() > deadline_s:
                raise ValueError(f"{delivered} of {count} events after {timeout_s:g} s")
            wait_s = 1

    def follow(self) -> None:
        """From now on learns of each event as it comes, until ``stop``."""
        threading.Thread(target=self._follow, daemon=True).start()

    def stop(self) -> None:
        """Ends that."""
        self._stopped.set()

    def _follow(self) -> None:
        # moto may end before us.
        with contextlib.suppress(BotoCoreError, ClientError):
            while not self._stopped.is_set():
                with self._lock:
                    self._collect(wait_s=1)

    def _add_rule(self, name: str, pattern: Mapping[str, Any], target: Mapping[str, Any]) -> None:
        queue_url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
        self._queues[name] = queue_url
        self._events.put_rule(Name=name, EventBusName=self._bus, EventPattern=json.dumps(pattern))
        ours: dict[str, Any] = {"Id": target["Id"], "Arn": attributes["QueueArn"]}
        if transformer := target.get("InputTransformer"):
            # In an object, because moto looks for a time in what it delivers, and does not see that it is a text.
            wrapped = f'{{"{_WRAP}": {transformer["InputTemplate"]}}}'
            ours["InputTransformer"] = {**transformer, "InputTemplate": wrapped}
        self._events.put_targets(Rule=name, EventBusName=self._bus, Targets=[ours])

    def _collect(self, wait_s: int) -> None:
        """Takes what was delivered out of the queues; waits for an event if there is none yet."""
        for event in self._receive(_ALL_EVENTS, wait_s):
            self._kept[_ALL_EVENTS].append(event)
            self._announce(f"EventBridge: {json.dumps(event)}")
        for rule in self._queues.keys() - {_ALL_EVENTS}:
            for message in self._receive(rule, wait_s=0):
                delivered = message.get(_WRAP, message)
                self._kept[rule].append(delivered)
                self._announce(f"{rule}: {delivered}")

    def _receive(self, rule: str, wait_s: int) -> list[Any]:
        received: list[Any] = []
        while True:
            messages = self._sqs.receive_message(
                QueueUrl=self._queues[rule], MaxNumberOfMessages=_MOST_MESSAGES, WaitTimeSeconds=wait_s
            ).get("Messages", [])
            if not messages:
                return received
            wait_s = 0
            for message in messages:
                received.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queues[rule], ReceiptHandle=message["ReceiptHandle"])
