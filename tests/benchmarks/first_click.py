"""What the first buyer of the day waits for: a cold start and its first reply, over a network with round trips.

Part of ``make bench``. With ``BASELINE=FOLDER`` another build of ours takes part, and is printed but not kept.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import jwt
from jwt.warnings import InsecureKeyLengthWarning

from tests.benchmarks.contest import (
    BARE,
    FUNCTIONS,
    OURS,
    RUNTIME_PYTHON,
    TUTORIAL,
    Contestant,
    Surroundings,
    ask,
    surroundings,
)
from tests.benchmarks.network import Network
from tests.benchmarks.runtime_api import Reply, Sandbox
from tests.support import ROOT
from tests.support.account import SECRET_KEY
from tests.support.door import FAULTS, Door
from tests.support.events import http_event
from tests.support.marks import with_part
from tests.support.report import machine, table

ROUNDS = 15
ROUND_TRIPS_S = (0.0, 0.005, 0.06)
WARM = 9
FAULT_ROUNDS = 15
#: Whom a function calls, and the variable that has the address.
PEERS = {
    "provider": "CRYPTOCLOUD_API_URL",
    "secrets": "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "table": "AWS_ENDPOINT_URL_DYNAMODB",
}
#: The other functions of the stack.
OTHERS = FUNCTIONS[1:]
type Times = defaultdict[tuple[Contestant, float], list[float]]
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "first-click.svg"
# Packages whose imports are shown by name; the rest is "Python and others".
_PACKAGES = {
    "boto3": ("boto3", "botocore", "s3transfer", "jmespath", "dateutil"),
    "Pydantic": ("pydantic", "pydantic_core", "annotated_types", "typing_inspection"),
    "Powertools": ("aws_lambda_powertools",),
    "urllib3": ("urllib3",),
    "requests": ("requests", "charset_normalizer", "idna", "certifi"),
    "own code": ("invoicing", "create_invoice", "app"),
}
_OTHERS = "Python and others"
_WAITING = "waiting for the network, 60 ms a round trip"
_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#9c6b4e", "#97bbf5", "#9498a0", "#d9d9d9")


def main() -> None:
    """Measures, and writes the part of the page and its picture."""
    contestants = [OURS, BARE, TUTORIAL]
    baseline = os.environ.get("BASELINE")
    if baseline:
        contestants.append(Contestant("baseline", baseline, Path(baseline), OURS.handler, takes_keys=True))
    first_s: Times = defaultdict(list)
    with surroundings() as around:
        for round_trip_s in ROUND_TRIPS_S:
            with network_of(around, round_trip_s) as environment:
                measure([*contestants, *OTHERS], around, round_trip_s, environment, first_s)
                if round_trip_s == ROUND_TRIPS_S[-1]:
                    warm = [warm_row(contestant, around, environment) for contestant in contestants]
        faults = faults_table(around)
    print(figures([*contestants, *OTHERS], first_s), warm_table(warm), faults, sep="\n\n")
    kept = [contestant for contestant in contestants if contestant.letter != "baseline"]
    parts = {contestant: parts_of(contestant, first_s) for contestant in kept}
    PICTURE.write_text(picture(parts))
    imports = table(
        ("of the imports, ms", *(f"({contestant.letter})" for contestant in kept)),
        [
            (name, *(f"{parts[contestant].get(name, 0) * 1e3:.0f}" for contestant in kept))
            for name in (*_PACKAGES, _OTHERS)
        ],
    )
    made = f"{time.strftime('%Y-%m-%d', time.gmtime())}, on {machine()}: {ROUNDS} rounds."
    first = [made, figures([*kept, *OTHERS], first_s), f"![Parts of the first click]({PICTURE.name})", imports]
    content = "\n\n".join([*first, warm_table(warm[: len(kept)]), faults])
    PAGE.write_text(with_part(PAGE, "first click", "make bench", content))


@contextlib.contextmanager
def network_of(around: Surroundings, round_trip_s: float) -> Iterator[dict[str, str]]:
    """Yields the variables of a function that calls everybody over TLS and round trips of so many seconds."""
    called = [getattr(around, peer).server.url for peer in PEERS]
    with tempfile.TemporaryDirectory() as folder, Network(Path(folder), round_trip_s, called) as network:
        yield {
            **dict(zip(PEERS.values(), network.urls, strict=True)),
            "CRYPTOCLOUD_PAY_URL": around.provider.server.url,  # what an older baseline calls its pay origin
            **dict.fromkeys(("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), str(network.authorities)),
        }


def measure(
    contestants: list[Contestant],
    around: Surroundings,
    round_trip_s: float,
    environment: Mapping[str, str],
    first_s: Times,
) -> None:
    """Starts each contestant ``ROUNDS`` times, in turns, and notes the seconds from its start to its first reply."""
    with around.start(OURS) as sandbox:
        invoice_id = json.loads(ask(sandbox).payload["body"])["invoice_id"]
    for number in range(ROUNDS):
        print(f"{round_trip_s * 1e3:g} ms a round trip, round {number + 1} of {ROUNDS} ...", flush=True)
        turn = number % len(contestants)
        for contestant in contestants[turn:] + contestants[:turn]:
            with around.start(contestant, **environment) as sandbox:
                reply = asked_first(contestant, sandbox, invoice_id)
                first_s[contestant, round_trip_s].append(reply.at_s - sandbox.started_s)


def asked_first(contestant: Contestant, sandbox: Sandbox, invoice_id: str) -> Reply:
    """Asks a function for what it is there for, and sees that it does it."""
    event: object
    match contestant.description:
        case "invoice_info":
            event = http_event(method="GET", path="/v1/invoice/info", query=f"uuid={invoice_id}")
        case "receive_postback":
            with warnings.catch_warnings(action="ignore", category=InsecureKeyLengthWarning):
                token = jwt.encode({"id": 13, "exp": int(time.time()) + 300}, SECRET_KEY, "HS256")
            fields = {"status": "success", "invoice_id": invoice_id, "token": token}
            event = http_event(fields, path="/v1/invoice/postback", origin=None)
        case "watch_invoices":
            event = {}
        case _:
            return ask(sandbox)
    reply = sandbox.invoke(event)
    assert not reply.is_error, reply
    assert (reply.payload or {}).get("statusCode", 200) == 200, reply
    return reply


def warm_row(contestant: Contestant, around: Surroundings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Returns what a buyer waits for later in the life of a sandbox, over the longest round trips."""
    with around.start(contestant, **environment) as sandbox:
        cells = [f"({contestant.letter})"]
        for with_key in (False, True)[: 1 + contestant.takes_keys]:
            ask(sandbox, with_key=with_key)
            times_s = []
            for _ in range(WARM):
                asked_s = time.perf_counter()
                times_s.append(ask(sandbox, with_key=with_key).at_s - asked_s)
            waited_s = statistics.median(times_s)
            cells += [f"{waited_s * 1e3:.0f}", f"{waited_s / ROUND_TRIPS_S[-1]:.1f}"]
        return (*cells, *[""] * (5 - len(cells)))


def warm_table(rows: list[tuple[str, ...]]) -> str:
    """Returns the table of what ``warm_row`` returns."""
    slowest = f"warm request, {ROUND_TRIPS_S[-1] * 1e3:g} ms a round trip"
    return table((slowest, "without a key, ms", "in round trips", "with a key, ms", "in round trips"), rows)


def faults_table(around: Surroundings) -> str:
    """Returns what faults during the start cost the first buyer, against the same build that begins nothing ahead."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, network_of(around, 0) as environment:
        late = Contestant("late", "nothing begun ahead", without_ahead(Path(folder) / "task"), OURS.handler)
        for peer, variable in PEERS.items():
            for fault in FAULTS:
                print(f"{peer}: {fault} ...", flush=True)
                times_s: dict[Contestant, list[float]] = {OURS: [], late: []}
                for _ in range(FAULT_ROUNDS):
                    for contestant, noted_s in times_s.items():
                        door = Door(urlsplit(environment[variable]).port or 0, fault)
                        with around.start(contestant, **{**environment, variable: door.url}) as sandbox:
                            sandbox.init_s()
                            door.open()
                            noted_s.append(ask(sandbox).at_s - sandbox.started_s)
                        door.close()
                ours_s, late_s = map(statistics.median, times_s.values())
                more_s = statistics.median(one - other for one, other in zip(*times_s.values(), strict=True))
                rows.append((peer, fault, f"{ours_s * 1e3:.0f}", f"{late_s * 1e3:.0f}", f"{more_s * 1e3:+.0f}"))
    head = ("while (a) starts", "is", "first reply, ms", "of (a) that begins nothing ahead, ms", "difference, ms")
    return table(head, rows)


def without_ahead(artifact: Path) -> Path:
    """Returns a copy of our artifact, at this path, that begins nothing ahead."""
    shutil.copytree(OURS.artifact, artifact)
    startup = artifact / "invoicing" / "startup.py"
    text = startup.read_text()
    assert "\nahead.begin()\n" in text
    startup.write_text(text.replace("\nahead.begin()\n", "\n"))
    # As the recipe of the build does it.
    compiling = [RUNTIME_PYTHON, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", startup]
    subprocess.run(compiling, check=True)
    return artifact


def figures(contestants: list[Contestant], first_s: Times) -> str:
    """Returns the table: medians in ms, and the median of the ratios within each round."""

    def ratio(one: Contestant, other: Contestant, round_trip_s: float) -> float:
        pairs = zip(first_s[one, round_trip_s], first_s[other, round_trip_s], strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    rows = []
    for contestant in contestants:
        medians = [statistics.median(first_s[contestant, round_trip_s]) for round_trip_s in ROUND_TRIPS_S]
        trips = (medians[-1] - medians[0]) / ROUND_TRIPS_S[-1]
        ratios = [ratio(OURS, contestant, round_trip_s) for round_trip_s in ROUND_TRIPS_S] if contestant.letter else []
        rows.append(
            (
                f"({contestant.letter}) {contestant.description}"
                if contestant.letter
                else f"`{contestant.description}`",
                *(f"{median_s * 1e3:.0f}" for median_s in medians),
                f"{trips:.1f}",
                *([f"{each:.2f}" for each in ratios] or [""] * len(ROUND_TRIPS_S)),
            )
        )
    trips_ms = [f"{round_trip_s * 1e3:g} ms" for round_trip_s in ROUND_TRIPS_S]
    head = (
        "start to first reply, ms",
        *trips_ms,
        "round trips waited for",
        *(f"(a) to it, {each}" for each in trips_ms),
    )
    return table(head, rows)


def parts_of(contestant: Contestant, first_s: Times) -> dict[str, float]:
    """Returns the parts of a first reply with the longest round trips, in seconds: imports, the rest, the waiting."""
    at_once_s = statistics.median(first_s[contestant, ROUND_TRIPS_S[0]])
    parts = imports_of(contestant)
    rest_s = at_once_s - sum(parts.values())
    waiting_s = statistics.median(first_s[contestant, ROUND_TRIPS_S[-1]]) - at_once_s
    return {**parts, "the rest of the work": max(rest_s, 0), _WAITING: max(waiting_s, 0)}


def imports_of(contestant: Contestant) -> dict[str, float]:
    """Returns the seconds that Python spends on importing each package, without what it imports in its turn."""
    module = contestant.handler.rpartition(".")[0]
    command = [RUNTIME_PYTHON, "-X", "importtime", "-c", f"import awslambdaric.bootstrap, {module}"]
    # Without the variables of a function it starts, and calls nobody.
    environment = {"PATH": os.defpath, "AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, cwd=contestant.artifact, env=environment, capture_output=True, text=True)
    parts = dict.fromkeys((*_PACKAGES, _OTHERS), 0.0)
    for line in run.stderr.splitlines():
        own_us, _, name = line.removeprefix("import time:").partition("|")
        if own_us.strip().isdigit():
            top = name.rpartition("|")[2].strip().partition(".")[0]
            part = next((part for part, packages in _PACKAGES.items() if top in packages), _OTHERS)
            parts[part] += int(own_us) / 1e6
    return parts


def picture(parts: dict[Contestant, dict[str, float]]) -> str:
    """Returns an SVG: a bar for each contestant, stacked of its parts."""
    names = list(dict.fromkeys(name for of in parts.values() for name in of))
    longest_s = max(sum(of.values()) for of in parts.values())
    width, left, bar, gap = 760, 60, 28, 14
    scale = (width - left - 70) / longest_s
    shapes, y = [], gap
    for contestant, of in parts.items():
        x = float(left)
        shapes.append(f'<text x="{left - 8}" y="{y + 19}" text-anchor="end">({contestant.letter})</text>')
        for name, colour in zip(names, _COLOURS, strict=True):
            wide = of.get(name, 0) * scale
            shapes.append(
                f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{bar}" fill="{colour}">'
                f"<title>{name}: {of.get(name, 0) * 1e3:.0f} ms</title></rect>"
            )
            x += wide
        shapes.append(f'<text x="{x + 6:.1f}" y="{y + 19}">{sum(of.values()) * 1e3:.0f} ms</text>')
        y += bar + gap
    for number, (name, colour) in enumerate(zip(names, _COLOURS, strict=True)):
        x, row = left + (number % 2) * 340, y + 8 + (number // 2) * 22
        shapes.append(f'<rect x="{x}" y="{row}" width="14" height="14" fill="{colour}"/>')
        shapes.append(f'<text x="{x + 20}" y="{row + 12}">{name}</text>')
    height = y + 8 + (len(names) + 1) // 2 * 22 + gap
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="What the first click waits for, by part">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        '<g font-family="system-ui, sans-serif" font-size="13" fill="#222">' + "".join(shapes) + "</g></svg>\n"
    )


if __name__ == "__main__":
    main()
