"""Lambda's runtime interface emulator in place of SAM CLI's containers.

SAM CLI's gateway and invoke service run a function through an object with ``invoke``. Theirs starts a container for
each call; this one keeps a few emulator processes warm, each with the real runtime client in it, as Lambda keeps
instances.
"""

import json
import os
import platform
import queue
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import samcli
import urllib3
from samcli.lib.utils.stream_writer import StreamWriter
from samcli.local.lambdafn.config import FunctionConfig

from infra.local.loopback import NotListening, reserve_port, wait_until_listening

_MACHINE = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
_EMULATOR = Path(samcli.__file__).parent / "local" / "rapid" / f"aws-lambda-rie-{_MACHINE}"
_INVOKE_PATH = "/2015-03-31/functions/function/invocations"
_STOP_TIMEOUT_S = 5


class Emulator:
    """One emulator process: one sandbox, which handles one event at a time.

    Args:
        config: What the template says of the function.
        python: The interpreter whose environment replaces Lambda's managed runtime.
        environment: Variables in addition to those of the template.
        log: Where the function's standard output and the emulator's START, END and REPORT lines go.
    """

    def __init__(self, config: FunctionConfig, python: Path, environment: Mapping[str, str], log: TextIO) -> None:
        self._reservations = [reserve_port(), reserve_port()]
        invoke_port, runtime_port = (reservation.getsockname()[1] for reservation in self._reservations)
        self._port, self._listens = invoke_port, False
        self._http = urllib3.PoolManager(retries=False)
        self._process = subprocess.Popen(
            [
                *(_EMULATOR, "--log-level", "error"),
                *("--runtime-interface-emulator-address", f"127.0.0.1:{invoke_port}"),
                *("--runtime-api-address", f"127.0.0.1:{runtime_port}"),
                *(python, "-m", "awslambdaric", config.handler),
            ],
            cwd=config.code_abs_path,
            env={
                **config.env_vars.resolve(),
                # Of the rest of Lambda's environment, what a function notices:
                # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
                "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.runtime}",
                "LAMBDA_TASK_ROOT": str(config.code_abs_path),
                "LANG": "en_US.UTF-8",
                "PATH": os.defpath,
                "PYTHONDONTWRITEBYTECODE": "1",
                "TZ": ":UTC",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the stack, which then stops its emulators in order
        )

    def invoke(self, event: str) -> bytes:
        """Returns the runtime's answer to an event.

        Raises:
            NotListening: The process does not come up, or was stopped.
            urllib3.exceptions.HTTPError: There is no answer.
        """
        if not self._listens:
            wait_until_listening(self._port, self._process)
            self._listens = True
        url = f"http://127.0.0.1:{self._port}{_INVOKE_PATH}"
        return self._http.request("POST", url, body=event.encode(), timeout=urllib3.Timeout(None)).data

    def stop(self) -> None:
        """Ends the process and, with it, the runtime in it."""
        self._http.clear()
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reservation in self._reservations:
            reservation.close()


class EmulatorPool:
    """The runtime that SAM CLI's local services invoke: at most ``size`` sandboxes a function, the last used first.

    A sandbox that timed out, crashed or gave no answer is ended; the next event gets a fresh one.
    """

    def __init__(self, *, size: int, python: Path, environment: Mapping[str, str], log: TextIO) -> None:
        self._python = python
        self._environment = environment
        self._log = log
        self._size = size
        self._slots: dict[str, queue.LifoQueue[Emulator | None]] = {}
        self._running: set[Emulator] = set()
        self._stopped = False

    def invoke(
        self, function_config: FunctionConfig, event: str, *_: Any, stdout: StreamWriter, **__: Any
    ) -> Mapping[str, str] | None:
        """Answers one event; the signature is that of SAM CLI's ``LambdaRuntime.invoke``.

        Args:
            function_config: What the template says of the function.
            event: JSON text.
            stdout: Where the answer is written to, in the form that SAM CLI reads.
        """
        slots = self._slots.setdefault(function_config.full_path, _empty_slots(self._size))
        sandbox = slots.get()
        healthy = False
        try:
            sandbox = sandbox or self._start(function_config)
            answer, healthy = _as_sam_reads_it(sandbox.invoke(event))
        except (NotListening, urllib3.exceptions.HTTPError) as error:
            answer = _function_error("Runtime.ExitError", f"the emulator gave no answer: {error}")
        finally:
            if sandbox and not healthy:
                self._running.discard(sandbox)
                sandbox.stop()
            slots.put(sandbox if healthy else None)
        stdout.write_str(answer)
        stdout.flush()
        return None

    def stop(self) -> None:
        """Ends all sandboxes, those with an event in hand too, and starts none any more."""
        self._stopped = True
        for sandbox in list(self._running):
            sandbox.stop()

    def _start(self, function_config: FunctionConfig) -> Emulator:
        sandbox = Emulator(function_config, self._python, self._environment, self._log)
        self._running.add(sandbox)
        if self._stopped:
            sandbox.stop()
        return sandbox


def _empty_slots(size: int) -> "queue.LifoQueue[Emulator | None]":
    slots: queue.LifoQueue[Emulator | None] = queue.LifoQueue()
    for _ in range(size):
        slots.put(None)
    return slots


def _as_sam_reads_it(answer: bytes) -> tuple[str, bool]:
    """Returns the answer as SAM CLI expects it, and whether the sandbox can go on."""
    try:
        reply = json.loads(answer)
    except ValueError:
        # The emulator says in plain text what Lambda says in JSON: "Task timed out after 3.00 seconds".
        return _function_error("Sandbox.Timedout", answer.decode(errors="replace")), False
    if isinstance(reply, dict) and {"errorType", "errorMessage"} <= reply.keys():
        # SAM CLI takes only these fields together for a function's error; newer runtime clients add requestId.
        reply.pop("requestId", None)
        return json.dumps(reply), not str(reply["errorType"]).startswith("Runtime.")
    return answer.decode(), True


def _function_error(error_type: str, message: str) -> str:
    return json.dumps({"errorType": error_type, "errorMessage": message})
