"""Loads the local stack, and one runtime process by itself: ``make load``, which prints docs/scaling.md's tables.

The gateway gets its requests from wrk, the process from ``soak``. Everything is on loopback, and bounded.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.load.soak import Held, Soak, soak
from tests.support import ROOT
from tests.support.marks import with_part
from tests.support.processes import descendants
from tests.support.report import machine, table

PAGE = ROOT / "docs" / "scaling.md"
GATEWAY_S = 120
CONNECTIONS = 4  # as many as the stack has sandboxes
SOAK_WARM_UP = 1000
SOAK_REQUESTS = 30_000


def main() -> int:
    """Runs both loads and writes the tables; returns the exit status: 1 when a request failed."""
    command = [ROOT / ".venv-local" / "bin" / "python", "-m", "infra.local", "serve"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stack:
        endpoints = json.loads(stack.stdout.readline())
        try:
            print(f"{GATEWAY_S} s of requests through the gateway ...", flush=True)
            _wrk(endpoints, seconds=5)  # starts the sandboxes
            # Not the emulators, which name the same program at the end of their command.
            sandboxes = [pid for pid, program in descendants(stack.pid).items() if "\0awslambdaric\0" in program[:200]]
            before = Held.by(*sandboxes)
            figures = _wrk(endpoints, seconds=GATEWAY_S)
            after = Held.by(*sandboxes)
            print(f"{SOAK_REQUESTS} requests to one runtime process ...", flush=True)
            soaked = soak(endpoints, warm_up=SOAK_WARM_UP, requests=SOAK_REQUESTS)
        finally:
            stack.stdin.close()
    text = "\n\n".join(
        [
            f"Made by `make load` on {machine()}.",
            _gateway_table(figures, len(sandboxes), before, after),
            _soak_table(soaked),
            _held_table(soaked),
        ]
    )
    PAGE.write_text(with_part(PAGE, "load", "make load", text))
    print(f"\n{text}\n\nWritten to {PAGE.relative_to(ROOT)}.")
    if figures["not_2xx"] or figures["socket_errors"]:
        print("Some requests failed: the reason is in .aws-sam/local.log.", file=sys.stderr)
        return 1
    return 0


def _wrk(endpoints: Mapping[str, Any], *, seconds: int) -> dict[str, int]:
    script = Path(__file__).with_name("invoices.lua")
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", script]
    report = subprocess.run([*command, endpoints["invoice_url"]], capture_output=True, text=True, check=True).stdout
    return json.loads(report.splitlines()[-1])


def _gateway_table(figures: Mapping[str, int], sandboxes: int, before: Held, after: Held) -> str:
    rate = figures["requests"] / (figures["duration_us"] / 1e6)
    return table(
        (f"through the gateway: {CONNECTIONS} connections, {sandboxes} instances, every tenth request with a key", ""),
        [
            ("requests", f"{figures['requests']}"),
            ("requests a second", f"{rate:.0f}"),
            ("p50 / p99", f"{figures['p50_us'] / 1e3:.1f} ms / {figures['p99_us'] / 1e3:.1f} ms"),
            ("answers other than 2xx / socket errors", f"{figures['not_2xx']} / {figures['socket_errors']}"),
            ("memory of all instances, start / end", f"{_megabytes(before)} / {_megabytes(after)}"),
            ("their open descriptors, start / end", f"{before.descriptors} / {after.descriptors}"),
            ("their threads, start / end", f"{before.threads} / {after.threads}"),
        ],
    )


def _soak_table(soaked: Soak) -> str:
    rows = []
    for kind, taken_s in soaked.seconds.items():
        p50_s, p99_s = statistics.median(taken_s), statistics.quantiles(taken_s, n=100)[-1]
        rows.append((kind, f"{len(taken_s)}", f"{p50_s * 1e3:.2f}", f"{p99_s * 1e3:.2f}"))
    return table(("one runtime process", "requests", "p50, ms", "p99, ms"), rows)


def _held_table(soaked: Soak) -> str:
    count = sum(map(len, soaked.seconds.values()))
    busy_s = sum(map(sum, soaked.seconds.values()))
    return table(
        ("that process", ""),
        [
            ("requests a second, all kinds together", f"{count / busy_s:.0f}"),
            ("wrong answers", "0 (the first would have ended the run)"),
            (
                f"memory after {SOAK_WARM_UP} requests / {count} later",
                f"{_megabytes(soaked.before)} / {_megabytes(soaked.after)}",
            ),
            ("open descriptors then", f"{soaked.before.descriptors} / {soaked.after.descriptors}"),
            ("threads then", f"{soaked.before.threads} / {soaked.after.threads}"),
        ],
    )


def _megabytes(held: Held) -> str:
    return f"{held.memory_bytes / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
