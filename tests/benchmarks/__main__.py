"""Compares our function with others, side by side in one run: ``make bench``, which prints docs/benchmarks.md."""

import os
import statistics
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field

from tests.benchmarks.contest import BARE, FUNCTIONS, OURS, PLAIN, TUTORIAL, Contestant, Surroundings, ask, surroundings
from tests.benchmarks.cost import cost_table
from tests.support import ROOT
from tests.support.marks import with_part
from tests.support.report import machine, table

ROUNDS = 21
WARM_UP = 20
REQUESTS = 100
KEYED_REQUESTS = 40
CONTESTANTS = (OURS, PLAIN, BARE, TUTORIAL)
PAGE = ROOT / "docs" / "benchmarks.md"


@dataclass
class Figures:
    """What was measured of one contestant: times in seconds, one for each process or request."""

    start_up_s: list[float] = field(default_factory=list)
    start_up_cpu_s: list[float] = field(default_factory=list)
    warm_s: list[float] = field(default_factory=list)
    keyed_s: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    init_s: list[float] = field(default_factory=list)


def main() -> None:
    """Runs the contest and writes the page."""
    figures: dict[Contestant, Figures] = defaultdict(Figures)
    with surroundings() as around:
        for number in range(ROUNDS):
            print(f"Round {number + 1} of {ROUNDS} ...", flush=True)
            # Interleaved, and each starts as often as any: whatever else the machine does hits all alike.
            first = number % len(CONTESTANTS)
            for contestant in CONTESTANTS[first:] + CONTESTANTS[:first]:
                measure(contestant, around, figures[contestant])
            for function in FUNCTIONS[first:] + FUNCTIONS[:first]:
                measure_init(function, around, figures[function])
        calls = {contestant: calls_per_request(contestant, around) for contestant in CONTESTANTS}
    contents = blocks({contestant: figures[contestant] for contestant in CONTESTANTS}, calls)
    contents["functions"] = functions_block([(function, figures[function]) for function in FUNCTIONS])
    for name, content in contents.items():
        PAGE.write_text(with_part(PAGE, name, "make bench", content))
    print(*contents.values(), f"Written to {PAGE.relative_to(ROOT)}.", sep="\n\n")


def measure(contestant: Contestant, around: Surroundings, figures: Figures) -> None:
    """Starts the contestant once, and asks it while it is warm."""
    around.provider.forget()
    with around.start(contestant) as sandbox:
        figures.start_up_s.append(ask(sandbox).at_s - sandbox.started_s)
        figures.start_up_cpu_s.append(sandbox.cpu_s())
        for _ in range(WARM_UP):
            ask(sandbox)
        for _ in range(REQUESTS):
            asked_s = time.perf_counter()
            figures.warm_s.append(ask(sandbox).at_s - asked_s)
        for _ in range(KEYED_REQUESTS if contestant.takes_keys else 0):
            asked_s = time.perf_counter()
            figures.keyed_s.append(ask(sandbox, with_key=True).at_s - asked_s)
        figures.peak_bytes.append(sandbox.peak_memory_bytes())


def measure_init(function: Contestant, around: Surroundings, figures: Figures) -> None:
    """Starts a function of the stack until it is ready for its first event, which Lambda calls its init."""
    with around.start(function) as sandbox:
        figures.init_s.append(sandbox.init_s())
        figures.start_up_cpu_s.append(sandbox.cpu_s())
        figures.peak_bytes.append(sandbox.peak_memory_bytes())


def calls_per_request(contestant: Contestant, around: Surroundings) -> tuple[str, str, str]:
    """Returns the AWS calls of a start with its first request, of one warm request, and of one with a key."""

    def counted() -> str:
        calls = {**around.secrets.report(), **around.table.report()}
        around.secrets.forget()
        around.table.forget()
        return ", ".join(f"{count} {name}" for name, count in sorted(calls.items())) or "none"

    counted()
    with around.start(contestant) as sandbox:
        ask(sandbox)
        start = counted()
        ask(sandbox)
        warm = counted()
        if not contestant.takes_keys:
            return start, warm, "takes no key"
        ask(sandbox, with_key=True)
        return start, warm, counted()


def blocks(figures: dict[Contestant, Figures], calls: dict[Contestant, tuple[str, str, str]]) -> dict[str, str]:
    """Returns what the page says between its marks."""
    start = {contestant: of.start_up_s for contestant, of in figures.items()}
    cpu_s = {contestant: statistics.median(of.start_up_cpu_s) for contestant, of in figures.items()}
    warm = {
        contestant: [statistics.median(times_s) for times_s in rounds(of.warm_s)] for contestant, of in figures.items()
    }
    started = [
        (
            f"({contestant.letter}) {contestant.description}",
            f"{statistics.median(of.start_up_s) * 1e3:.0f}",
            f"{min(of.start_up_s) * 1e3:.0f} to {max(of.start_up_s) * 1e3:.0f}",
            f"{statistics.median(of.start_up_cpu_s) * 1e3:.0f}",
            f"{statistics.median(of.peak_bytes) / 1e6:.0f}",
            f"{contestant.zipped_bytes() / 1e6:.2f}",
        )
        for contestant, of in sorted(figures.items(), key=lambda item: item[0].letter)
    ]
    warmed = [
        (f"({contestant.letter})", *percentiles(of.warm_s), *(percentiles(of.keyed_s) if of.keyed_s else ("", "")))
        for contestant, of in sorted(figures.items(), key=lambda item: item[0].letter)
    ]
    ratios = [
        ("start-up, (a) to (c)", f"{ratio(start[OURS], start[BARE]):.2f}", "at most 0.55"),
        ("start-up, (a) to (b)", f"{ratio(start[OURS], start[PLAIN]):.2f}", "at most 0.40"),
        ("processor time of it, (a) to (c)", f"{cpu_s[OURS] / cpu_s[BARE]:.2f}", "0.48"),
        (
            "warm request without a key, p50, (a) to (c)",
            f"{ratio(warm[OURS], warm[BARE]):.2f}",
            "was 2.00 before (a) recorded each invoice",
        ),
        (
            "warm request without a key, p50, (d) to (a)",
            f"{ratio(warm[TUTORIAL], warm[OURS]):.1f}",
            "was 8 before (a) recorded each invoice",
        ),
    ]
    counts = [(f"({contestant.letter})", *of) for contestant, of in calls.items()]
    made = f"Made by `make bench` on commit {commit()}, {time.strftime('%Y-%m-%d', time.gmtime())}, on {machine()}:"
    tables = [
        table(("start-up", "median, ms", "range, ms", "of it processor, ms", "peak memory, MB", "zipped, MB"), started),
        table(("warm request", "p50, ms", "p99, ms", "with a key: p50, ms", "p99, ms"), warmed),
        table(("ratio", "measured", "aim"), ratios),
        table(("calls to AWS", "a start and its first request", "a warm request", "one with a key"), counts),
    ]
    return {
        # On a busy machine only processor time means anything.
        "figures": "\n\n".join([f"{made} {ROUNDS} rounds; load average {os.getloadavg()[2]:.0f}.", *tables]),
        "cost": cost_table(request_s=statistics.median(warm[OURS])),
    }


def functions_block(figures: list[tuple[Contestant, Figures]]) -> str:
    """Returns the table of all functions of the stack."""
    head = ("function", "init: median, ms", "range, ms", "of it processor, ms", "peak memory, MB", "zipped, MB")
    rows = [
        (
            f"`{function.description}`",
            f"{statistics.median(of.init_s) * 1e3:.0f}",
            f"{min(of.init_s) * 1e3:.0f} to {max(of.init_s) * 1e3:.0f}",
            f"{statistics.median(of.start_up_cpu_s) * 1e3:.0f}",
            f"{statistics.median(of.peak_bytes) / 1e6:.0f}",
            f"{function.zipped_bytes() / 1e6:.2f}",
        )
        for function, of in figures
    ]
    return table(head, rows)


def rounds(times_s: list[float]) -> list[list[float]]:
    """Returns the warm requests of each round."""
    return [times_s[start : start + REQUESTS] for start in range(0, len(times_s), REQUESTS)]


def ratio(one: list[float], other: list[float]) -> float:
    """Returns the median of the ratios within each round: what slows down a whole round does not change those."""
    return statistics.median(mine / theirs for mine, theirs in zip(one, other, strict=True))


def percentiles(times_s: list[float]) -> tuple[str, str]:
    """Returns p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(times_s, n=100)
    return f"{cuts[49] * 1e3:.2f}", f"{cuts[98] * 1e3:.2f}"


def commit() -> str:
    """Returns the commit that was measured, and says so if the working tree is not that commit."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "functions", "infra", "tests/benchmarks", "requirements.txt")
    return f"`{git('rev-parse', '--short', 'HEAD')}`{' with uncommitted changes' if changed else ''}"


if __name__ == "__main__":
    main()
