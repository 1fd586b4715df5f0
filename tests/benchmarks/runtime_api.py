"""A Lambda Runtime API on loopback, and the sandboxes that the real runtime client makes of an artifact.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import os
import queue
import re
import subprocess
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

from infra.local.loopback import LoopbackServer

SITE = "https://shop.example"
_REPLY_TIMEOUT_S = 30
_LAMBDA_TIMEOUT_S = 28


def http_event(body: object, *, key: str | None = None) -> dict[str, Any]:
    """Returns a request of a page on ``SITE`` as API Gateway passes it on.

    Args:
        body: What is sent, as JSON.
        key: The idempotency key, if there is one.
    """
    return {
        "version": "2.0",
        "routeKey": "POST /v1/invoice/create",
        "rawPath": "/v1/invoice/create",
        "rawQueryString": "",
        "headers": {
            "content-type": "application/json",
            "origin": SITE,
            **({"idempotency-key": key} if key else {}),
        },
        "requestContext": {
            "http": {"method": "POST", "path": "/v1/invoice/create"},
            "requestId": str(uuid4()),
            "stage": "$default",
        },
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


class Reply(NamedTuple):
    """What a sandbox posted back: the payload, whether as an error, and when (``time.perf_counter``, seconds)."""

    payload: Any
    is_error: bool
    at_s: float


class Sandbox:
    """One process of the runtime client and the Runtime API that it asks for events.

    Args:
        python: The interpreter whose environment stands for Lambda's managed runtime.
        artifact: The folder that stands for ``/var/task``.
        handler: As in the template.
        environment: The function's variables; nothing else of this process's environment reaches it.
    """

    def __init__(self, python: Path, artifact: Path, handler: str, environment: Mapping[str, str]) -> None:
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._server = LoopbackServer(0, _RuntimeApiHandler, self)
        self.started_s = time.perf_counter()
        self.process = subprocess.Popen(
            [python, "-m", "awslambdaric", handler],
            cwd=artifact,
            env={
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.port}",
                "AWS_LAMBDA_FUNCTION_NAME": "function",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
                "AWS_LAMBDA_FUNCTION_VERSION": "1",
                "LAMBDA_TASK_ROOT": str(artifact),
                "LANG": "en_US.UTF-8",
                "PATH": os.defpath,
                "TZ": ":UTC",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def invoke(self, event: object) -> Reply:
        """Hands out an event and returns what comes back."""
        self._events.put(event)
        return self._replies.get(timeout=_REPLY_TIMEOUT_S)

    def peak_memory_bytes(self) -> int:
        """Returns the largest resident set that the process has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def cpu_s(self) -> float:
        """Returns the seconds of processor time that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._events.put(None)
        self._server.stop()


class _RuntimeApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        event = self.server.owner._events.get()
        body = json.dumps(event).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid4()))
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + _LAMBDA_TIMEOUT_S) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f:live")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        at_s = time.perf_counter()
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.owner._replies.put(Reply(json.loads(body), not self.path.endswith("/response"), at_s))
