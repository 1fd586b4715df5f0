"""A Lambda Runtime API on loopback, and the sandboxes that the real runtime client makes of an artifact.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import os
import queue
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

from infra.local.loopback import LoopbackServer, QuietHandler
from tests.support.processes import memory_bytes

_REPLY_TIMEOUT_S = 30
_LAMBDA_TIMEOUT_S = 28


class Reply(NamedTuple):
    """What a sandbox posted back: the payload, whether as an error, and when (``time.perf_counter``, seconds)."""

    payload: Any
    is_error: bool
    at_s: float


class Sandbox:
    """One process of the runtime client and the Runtime API that it asks for events.

    Args:
        python: The interpreter whose environment replaces Lambda's managed runtime.
        artifact: The folder in place of ``/var/task``.
        handler: As in the template.
        environment: The function's variables; nothing else of this process's environment reaches it.
    """

    def __init__(self, python: Path, artifact: Path, handler: str, environment: Mapping[str, str]) -> None:
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._asked_at_s: queue.SimpleQueue[float] = queue.SimpleQueue()
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

    def init_s(self) -> float:
        """Returns the seconds from the start of the process until it first asked for an event; call it once."""
        return self._asked_at_s.get(timeout=_REPLY_TIMEOUT_S) - self.started_s

    def invoke(self, event: object) -> Reply:
        """Hands out an event and returns what comes back."""
        self._events.put(event)
        return self._replies.get(timeout=_REPLY_TIMEOUT_S)

    def peak_memory_bytes(self) -> int:
        """Returns the largest resident set that the process has had."""
        return memory_bytes(self.process.pid, "VmHWM")

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


class _RuntimeApiHandler(QuietHandler):
    def do_GET(self) -> None:
        self.server.owner._asked_at_s.put(time.perf_counter())
        event = self.server.owner._events.get()
        deadline_ms = int((time.time() + _LAMBDA_TIMEOUT_S) * 1000)
        self.answer(
            200,
            json.dumps(event).encode(),
            Content_Type="application/json",
            Lambda_Runtime_Aws_Request_Id=str(uuid4()),
            Lambda_Runtime_Deadline_Ms=str(deadline_ms),
            Lambda_Runtime_Invoked_Function_Arn="arn:aws:lambda:us-east-1:123456789012:function:f:live",
        )

    def do_POST(self) -> None:
        body = self.read_body()
        at_s = time.perf_counter()
        self.answer(202)
        self.server.owner._replies.put(Reply(json.loads(body), not self.path.endswith("/response"), at_s))
