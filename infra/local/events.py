"""What EventBridge delivers: the events on the bus, and what the template's rules make of them.

moto decides which rule an event matches. Each target of a rule is a queue here, whatever it is in the template. Its
input transformer is applied here: moto's fails PutEvents for an order id with a quotation mark.
"""

import contextlib
import functools
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
_LOOK_AGAIN_S = 0.2


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
        self._transformers: dict[str, Mapping[str, Any] | None] = {}
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
                self._receive(rule)
            self._kept: dict[str, list[Any]] = {rule: [] for rule in self._queues}

    def report(self) -> dict[str, list[Any]]:
        """Returns the events as consumers get them (``events``), and what each rule of the template made of them.

        What was published by now is in it: a rule's target has its message before PutEvents answers.
        """
        self._collect()
        with self._lock:
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
        while True:
            delivered = self._collect()
            if delivered >= count:
                return
            if time.monotonic() > deadline_s:
                raise ValueError(f"{delivered} of {count} events after {timeout_s:g} s")
            self._stopped.wait(_LOOK_AGAIN_S)

    def follow(self) -> None:
        """From now on learns of each event as it comes, until ``stop``."""
        threading.Thread(target=self._follow, daemon=True).start()

    def stop(self) -> None:
        """Ends that."""
        self._stopped.set()

    def _follow(self) -> None:
        # moto may end before us.
        with contextlib.suppress(BotoCoreError, ClientError):
            while not self._stopped.wait(_LOOK_AGAIN_S):
                self._collect()

    def _add_rule(self, name: str, pattern: Mapping[str, Any], target: Mapping[str, Any]) -> None:
        queue_url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
        self._queues[name] = queue_url
        self._events.put_rule(Name=name, EventBusName=self._bus, EventPattern=json.dumps(pattern))
        targets = [{"Id": target["Id"], "Arn": attributes["QueueArn"]}]
        self._events.put_targets(Rule=name, EventBusName=self._bus, Targets=targets)
        self._transformers[name] = target.get("InputTransformer")

    def _collect(self) -> int:
        """Takes what was delivered out of the queues; returns how many events there are by now."""
        with self._lock:
            # The rule of all events gets each first, and is read last: so no mail is announced before its event.
            of_rules = {rule: self._receive(rule) for rule in self._queues.keys() - {_ALL_EVENTS}}
            for event in self._receive(_ALL_EVENTS):
                self._kept[_ALL_EVENTS].append(event)
                self._announce(f"EventBridge: {json.dumps(event)}")
            for rule, events in of_rules.items():
                for event in events:
                    delivered = _transformed(event, self._transformers[rule])
                    self._kept[rule].append(delivered)
                    self._announce(f"{rule}: {delivered}")
            return len(self._kept[_ALL_EVENTS])

    def _receive(self, rule: str) -> list[Any]:
        received: list[Any] = []
        while messages := self._sqs.receive_message(
            QueueUrl=self._queues[rule], MaxNumberOfMessages=_MOST_MESSAGES
        ).get("Messages"):
            for message in messages:
                received.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queues[rule], ReceiptHandle=message["ReceiptHandle"])
        return received


def _transformed(event: Mapping[str, Any], transformer: Mapping[str, Any] | None) -> Any:
    """Returns what a target gets, for templates with their variables inside of texts.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    if transformer is None:
        return event
    text: str = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        value: Any = functools.reduce(lambda found, key: found[key], path.removeprefix("$.").split("."), event)
        text = text.replace(f"<{name}>", json.dumps(str(value))[1:-1])
    return json.loads(text)
