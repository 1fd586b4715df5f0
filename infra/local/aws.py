"""Secrets Manager, DynamoDB and EventBridge on one machine: moto's server, and a gate before each.

A gate counts, and can fail.
"""

import json
import random
import subprocess
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import urllib3

from infra.local.loopback import LoopbackServer, NotListening, QuietHandler, wait_until_listening

_PYTHON = Path(__file__).resolve().parents[2] / ".venv-local" / "bin" / "python"
_SHOWN_CHARACTERS = 2000
# Longer than any caller waits.
_HANG_S = 30


class Moto:
    """moto's server, in a process of its own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - stop() closes it
        self._process = subprocess.Popen(
            [_PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_listening(port, self._process)
        except NotListening as problem:
            self._log.seek(0)
            said = self._log.read().decode(errors="replace")[-_SHOWN_CHARACTERS:]
            self.stop()
            raise RuntimeError(f"moto, the local AWS, {problem}:\n{said}") from None
        except BaseException:  # Ctrl-C too
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the process and forgets everything."""
        self._process.kill()
        self._process.wait()
        self._log.close()


class Gate:
    """The way to one AWS service: passes requests on to moto, or fails them when it is asked to.

    Args:
        upstream: moto's URL.
        port: 0 takes a free one.
    """

    def __init__(self, upstream: str, port: int) -> None:
        self._upstream = upstream
        self._http = urllib3.PoolManager()
        self._lock = threading.Lock()
        # A conditional write is atomic on DynamoDB. moto checks and writes in two steps, in a thread a request: two
        # claims of one key could both succeed. All tables are behind one gate.
        self._one_at_a_time = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._calls_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._errors: list[tuple[str, str | None, str]] = []
        self._held: list[tuple[str, Mapping[str, str], bytes]] = []
        self._dice: random.Random | None = None
        self._share, self._late_s = 0.0, 0.0
        self._late: list[threading.Timer] = []
        self.server = LoopbackServer(port, _GateHandler, self)

    def fail(
        self, operation: str, error: str = "ThrottlingException", times: int = 1, table: str | None = None
    ) -> None:
        """Fails the next ``times`` requests for an operation, for example ``UpdateItem``.

        Args:
            operation: The operation's name.
            error: The error that it answers with, or what becomes of the request: ``dropped`` (it does not arrive),
                ``lost`` (it arrives, its answer does not), ``held`` (it arrives at ``let_go``, and is not answered),
                ``repeated`` (it is answered, and arrives once more at ``let_go``), ``hung`` (it does not arrive, and
                its caller waits until it gives up), nothing (it is passed on) or, for ``PutEvents``, ``entry_refused``
                (it does not arrive, and the call succeeds without its entries).
            times: How many requests.
            table: Only those for this table.
        """
        with self._lock:
            self._errors += [(operation, table, error)] * times

    def let_go(self) -> None:
        """Lets the requests arrive that are held, the oldest first. Nobody hears the answers."""
        with self._lock:
            held, self._held = self._held, []
        for request in held:
            self._pass_on(*request)

    def disturb(self, share: float, late_s: float, seed: int) -> None:
        """From now on lets requests at random be dropped, lost, late, or repeated late.

        Args:
            share: How many of the requests, from 0 to 1; 0 ends it, and waits until all that is late has arrived.
            late_s: The longest that a request is late, in seconds.
            seed: Of the dice. With requests at the same time it does not decide all: their order is that of arrival.
        """
        with self._lock:
            self._dice, self._share, self._late_s = random.Random(seed), share, late_s
            late, self._late = self._late, []
        for timer in late if share == 0 else ():
            timer.join()

    def forget(self) -> None:
        """Forgets counts, errors and what is held, not what the service holds."""
        with self._lock:
            self._calls.clear()
            self._calls_of.clear()
            self._errors.clear()
            self._held.clear()

    def report(self) -> Mapping[str, int]:
        """Returns how often each operation was asked for."""
        with self._lock:
            return dict(self._calls)

    def report_by_table(self) -> Mapping[str, Mapping[str, int]]:
        """Returns the same for each table."""
        with self._lock:
            return {table: dict(calls) for table, calls in self._calls_of.items()}

    def _answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes] | None:
        request = path, headers, body
        fate, late_s = self._fate_of(headers.get("X-Amz-Target", "").rpartition(".")[2], _table_of(body))
        match fate:
            case "":
                return self._pass_on(*request)
            case "dropped":
                return None
            case "lost":
                self._pass_on(*request)
                return None
            case "held":
                self._hold(request, late_s)
                return None
            case "repeated":
                answer = self._pass_on(*request)
                self._hold(request, late_s)
                return answer
            case "slow":
                answers: list[tuple[int, bytes]] = []
                self._later(late_s or 0, lambda: answers.append(self._pass_on(*request))).join()
                return answers[0]
            case "hung":
                self.server.stopped.wait(_HANG_S)
                return None
            case "entry_refused":
                return 200, _refused_entries(body)
            case error:
                return 400, f'{{"__type": "{error}", "message": "as asked"}}'.encode()

    def _fate_of(self, operation: str, table: str | None) -> tuple[str, float | None]:
        """Counts a request; returns what becomes of it, and how late."""
        with self._lock:
            self._calls[operation] += 1
            if table:
                self._calls_of[table][operation] += 1
            for error in self._errors:
                if error[:2] in ((operation, None), (operation, table)):
                    self._errors.remove(error)
                    return error[2], None
            return self._throw()

    def _throw(self) -> tuple[str, float | None]:
        if self._dice is None or self._dice.random() >= self._share:
            return "", None
        return self._dice.choice(["dropped", "lost", "held", "repeated", "slow"]), self._dice.uniform(0, self._late_s)

    def _hold(self, request: tuple[str, Mapping[str, str], bytes], late_s: float | None) -> None:
        if late_s is not None:
            self._later(late_s, lambda: self._pass_on(*request))
            return
        with self._lock:
            self._held.append(request)

    def _later(self, late_s: float, arrive: Callable[[], object]) -> threading.Timer:
        timer = threading.Timer(late_s, arrive)
        timer.daemon = True
        with self._lock:
            self._late.append(timer)
            timer.start()
        return timer

    def _pass_on(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        with self._one_at_a_time:
            response = self._http.request("POST", self._upstream + path, body=body, headers=headers, retries=False)
        return response.status, response.data


def _table_of(body: bytes) -> str | None:
    try:
        return json.loads(body).get("TableName")
    except (AttributeError, ValueError):
        return None


def _refused_entries(body: bytes) -> bytes:
    entries = [{"ErrorCode": "InternalFailure", "ErrorMessage": "as asked"} for _ in json.loads(body)["Entries"]]
    return json.dumps({"FailedEntryCount": len(entries), "Entries": entries}).encode()


class _GateHandler(QuietHandler):
    def do_GET(self) -> None:
        self.answer(200, b"healthy")  # as DynamoDB answers whoever only connects

    def do_POST(self) -> None:
        body = self.read_body()
        gate: Gate = self.server.owner
        reply = gate._answer(self.path, dict(self.headers), body)
        if reply is None:
            self.close_connection = True
            return
        status, content = reply
        self.answer(status, content, Content_Type="application/x-amz-json-1.0")
