"""The local stack as separate processes on loopback, and a client for both ways in."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config

from tests.contract.replies import INFO_PATH, assert_documented
from tests.support import ROOT
from tests.support.account import API_KEY, NOBODY, SECRET_KEY
from tests.support.events import http_event

EMAIL = "buyer.canary@example.com"
SITE = "http://localhost:8000"
PROVIDER_TIMEOUT_S = 4  # enough for three attempts and the longest back-offs between them
_STOP_TIMEOUT_S = 20


@dataclass(frozen=True)
class Answer:
    """What a caller got: over HTTP with status and headers, directly with the error type."""

    payload: Any
    status: int = 0
    headers: Any = None
    error_type: str | None = None

    @property
    def problem(self) -> dict[str, Any]:
        """The problem details, from whichever way in."""
        return json.loads(self.payload["errorMessage"]) if self.error_type else self.payload


class Stack:
    """A running local stack."""

    def __init__(self, endpoints: dict[str, Any], log: Path, process: "subprocess.Popen[str]") -> None:
        self.endpoints = endpoints
        self.process = process
        self._log = log
        self._http = urllib3.PoolManager(retries=False, timeout=60)
        self._lambda = boto3.client(
            "lambda",
            endpoint_url=endpoints["lambda_url"],
            **NOBODY,
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=50),
        )

    def post(self, body: object, headers: dict[str, str] | None = None, *, key: str | None = None) -> Answer:
        """Posts as a browser does; bytes and text go as they are, anything else as JSON.

        Whatever a test provokes, the reply must be one that docs/openapi.yaml promises.
        """
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        if key is not None:
            all_headers["Idempotency-Key"] = key
        response = self._http.request("POST", self.endpoints["invoice_url"], body=content, headers=all_headers)
        answer = Answer(response.json(), response.status, response.headers)
        assert_documented(answer.status, answer.headers, answer.payload)
        return answer

    def status(self, query: str, headers: dict[str, str] | None = None) -> Answer:
        """Asks for the status of an invoice as a page does, with a query string; its reply too must be documented."""
        response = self._http.request("GET", f"{self.endpoints['status_url']}?{query}", headers=headers)
        answer = Answer(response.json(), response.status, response.headers)
        assert_documented(answer.status, answer.headers, answer.payload, method="GET", path=INFO_PATH)
        return answer

    def postback(self, body: bytes | str, headers: dict[str, str] | None = None) -> Answer:
        """Posts to the provider's route, as the provider does or somebody who pretends to be it."""
        response = self._http.request("POST", self.endpoints["postback_url"], body=body, headers=headers)
        return Answer(response.json(), response.status, response.headers)

    def invoke(self, event: object, function: str | None = None) -> Answer:
        """Invokes the alias, or another function, directly; text goes as it is, anything else as JSON."""
        payload = event if isinstance(event, str) else json.dumps(event)
        name = function or self.endpoints["function_name"]
        response = self._lambda.invoke(FunctionName=name, Payload=payload.encode())
        reply = json.load(response["Payload"])
        error_type = reply.get("errorType") if "FunctionError" in response else None
        return Answer(reply, error_type=error_type)

    def invoke_async(self, event: object) -> int:
        """Invokes with ``InvocationType=Event``; returns the status."""
        response = self._lambda.invoke(
            FunctionName=self.endpoints["function_name"], Payload=json.dumps(event).encode(), InvocationType="Event"
        )
        return response["StatusCode"]

    def pass_on(self, body: bytes, *, path: str = "/v1/invoice/create", function: str | None = None) -> Answer:
        """Sends the event that API Gateway makes of a body which it does not take for text.

        SAM CLI's gateway cannot: it answers such a body with 502 by itself.

        Args:
            body: The body.
            path: That of the route.
            function: The function behind the route; ``None`` for the one that creates invoices.
        """
        event = http_event(body, path=path, origin=SITE)
        reply = self.invoke(event, function).payload
        return Answer(json.loads(reply["body"]), reply["statusCode"], reply["headers"])

    def tell(self, path: str, **arguments: object) -> None:
        """Gives the control port an order."""
        response = self._http.request("POST", self.endpoints["control_url"] + path, json=arguments)
        assert response.status == 200, response.data

    def misbehave(self, fault: str, **arguments: object) -> None:
        """Sets what the sandbox does with the next request."""
        self.tell("/provider/faults", fault=fault, **arguments)

    def seen(self) -> dict[str, Any]:
        """Returns what the sandbox saw."""
        return self._http.request("GET", f"{self.endpoints['control_url']}/provider").json()

    def report(self, path: str) -> dict[str, Any]:
        """Asks the control port a question."""
        return self._http.request("GET", self.endpoints["control_url"] + path).json()

    def calls_of(self, service: str) -> dict[str, int]:
        """Returns how often each operation of ``secrets`` or ``table`` was asked for."""
        return self._http.request("GET", f"{self.endpoints['control_url']}/{service}").json()

    def records(self) -> list[dict[str, Any]]:
        """Returns all that is in the table."""
        return self.table.scan()["Items"]

    @property
    def table(self) -> Any:
        """The table, as the owner of the stack reaches it."""
        resource = boto3.resource("dynamodb", endpoint_url=self.endpoints["table_url"], **NOBODY)
        return resource.Table(self.endpoints["table_name"])

    def log_text(self) -> str:
        """Returns all that the function logged so far."""
        return self._log.read_text()


@contextmanager
def start_stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Starts stacks, each with ``infra.local.stack.Options``; at the end stops them and searches their logs."""
    with ExitStack() as cleanup:

        def start(**options: object) -> Stack:
            log = tmp_path_factory.mktemp("stack") / "function.log"
            process = subprocess.Popen(
                [
                    *(ROOT / ".venv-local" / "bin" / "python", "-m", "infra.local", "serve"),
                    *("--options", json.dumps(options), "--log", log),
                ],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            cleanup.callback(_stop, process, log)
            return Stack(json.loads(process.stdout.readline()), log, process)

        yield start


def _stop(process: subprocess.Popen[str], log: Path) -> None:
    try:
        process.communicate(timeout=_STOP_TIMEOUT_S)  # closes its standard input, which ends it
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    text = log.read_text()
    assert API_KEY not in text
    assert SECRET_KEY not in text
    assert EMAIL not in text
