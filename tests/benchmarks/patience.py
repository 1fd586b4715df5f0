"""Who is served while CryptoCloud has trouble, by simulation: ``make docs`` prints the table into docs/patience.md.

Time is simulated, so nothing waits, and the same seeds give the same table. The code under test is the shipped one:
``Patience`` in each instance, and ``retry_delay_s`` between the attempts of a call. Beside it are models of what else
an instance could do.
"""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from invoicing.contract.errors import ProviderUnavailable
from invoicing.patience import Patience
from invoicing.provider.transport import MIN_ATTEMPT_S, retry_delay_s
from tests.support import ROOT
from tests.support.marks import with_part
from tests.support.report import table

PAGE = ROOT / "docs" / "patience.md"
INSTANCES = (3, 4, 5, 6)
SEEDS = range(5)
ANSWER_S, AT_ONCE_S = 0.2, 0.05  # what CryptoCloud takes when it is well, and for an error: assumed
SLOW_SHARE = 0.4  # of the time that it may take
NEVER = math.inf
BUYER, OTHER = "buyer", "other"


@dataclass(frozen=True)
class Setting:
    """One shop.

    Args:
        provider_timeout_s: Its ``ProviderTimeout``.
        duration_s: How long it is watched.
        outage_s: How long everything hangs, in the cases where everything does.
        buyers_a_second: How many buyers come.
    """

    provider_timeout_s: float
    duration_s: float
    outage_s: float
    buyers_a_second: float


SETTINGS = [
    Setting(provider_timeout_s=20, duration_s=250, outage_s=150, buyers_a_second=0.4),
    Setting(provider_timeout_s=6, duration_s=75, outage_s=45, buyers_a_second=1.35),
]

type Process = Generator[float]


class World:
    """A clock that jumps from one event to the next. A process yields the seconds that it waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Process]] = []
        self._pushed = 0

    def start(self, process: Process, at_s: float) -> None:
        """Runs a process from this time on."""
        self._pushed += 1
        heapq.heappush(self._events, (at_s, self._pushed, process))

    def run(self) -> None:
        """Runs until no process is left."""
        while self._events:
            self.now_s, _, process = heapq.heappop(self._events)
            wait_s = next(process, None)
            if wait_s is not None:
                self.start(process, self.now_s + wait_s)


@dataclass
class Request:
    """One request for an invoice.

    Args:
        at_s: When it arrives.
        luck: Its fate, in [0, 1): the same whatever the instances do.
        sender: Who sends it.
        outcome: What became of it.
    """

    at_s: float
    luck: float
    sender: str = BUYER
    outcome: str = ""


type Provider = Callable[[float, Request], tuple[float, int]]
"""Returns, for a request at a time, the seconds until CryptoCloud answers and the status of the answer."""


class Guard(Protocol):
    """What an instance does before and after each call to the provider."""

    def allowed_s(self) -> float:
        """Returns the seconds that the next call may take; 0 refuses it."""

    def learn(self, *, allowed_s: float, held_s: float, answered: bool, failed: bool) -> None:
        """Takes note of a call; ``failed`` if it ended with no invoice and not because of the request itself."""


class Nothing:
    """Every call has all the time."""

    def __init__(self, setting: Setting) -> None:
        self._all_s = setting.provider_timeout_s

    def allowed_s(self) -> float:
        return self._all_s

    def learn(self, **_: object) -> None:
        pass


class Ours:
    """The shipped ``Patience``."""

    def __init__(self, world: World, setting: Setting) -> None:
        self._patience = Patience(setting.provider_timeout_s, wall_clock=lambda: world.now_s)
        self.allowed_s = self._patience.allowed_s

    def learn(self, *, allowed_s: float, held_s: float, answered: bool, failed: bool) -> None:  # noqa: ARG002
        self._patience.learn(allowed_s=allowed_s, held_s=held_s, answered=answered)


@dataclass
class Circuit:
    """The state of a breaker that all instances share: when it opened, and whether a probe is on its way."""

    opened_at_s: float | None = None
    probed: bool = False


class Breaker:
    """The circuit breaker of Powertools as this project used it until commit 23696cd.

    Three failures in a row in one instance open it for all for 30 s; then one request probes. An instance reads the
    state every 5 s.

    Args:
        world: The clock.
        setting: The shop.
        circuit: What all instances share.
        slow_only: Whether only a failure that took a quarter of the time counts.
    """

    def __init__(self, world: World, setting: Setting, circuit: Circuit, *, slow_only: bool) -> None:
        self._world, self._circuit = world, circuit
        self._all_s = setting.provider_timeout_s
        self._counts_from_s = self._all_s / 4 if slow_only else 0.0
        self._failures = 0
        self._known: float | None = None
        self._known_until_s = 0.0
        self._probes = False

    def allowed_s(self) -> float:
        now_s = self._world.now_s
        if now_s >= self._known_until_s:
            self._remember()
        if self._known is None:
            return self._all_s
        if now_s >= self._known + 30 and self._circuit == Circuit(self._known):
            self._circuit.probed = self._probes = True
            return self._all_s
        return 0

    def learn(self, *, allowed_s: float, held_s: float, answered: bool, failed: bool) -> None:  # noqa: ARG002
        counts = failed and held_s >= self._counts_from_s
        self._failures = self._failures + 1 if counts else 0
        if self._failures >= 3 or (self._probes and counts):
            self._circuit.opened_at_s, self._circuit.probed = self._world.now_s, False
            self._failures = 0
            self._remember()
        elif self._probes:
            self._circuit.opened_at_s, self._circuit.probed = None, False
            self._remember()
        self._probes = False

    def _remember(self) -> None:
        self._known, self._known_until_s = self._circuit.opened_at_s, self._world.now_s + 5


type Guards = Callable[[World, Setting, int], list[Guard]]


def _breakers(*, slow_only: bool) -> Guards:
    def build(world: World, setting: Setting, count: int) -> list[Guard]:
        circuit = Circuit()
        return [Breaker(world, setting, circuit, slow_only=slow_only) for _ in range(count)]

    return build


NONE, PATIENCE = "no breaker", "patience"
GUARDS: dict[str, Guards] = {
    NONE: lambda _, setting, count: [Nothing(setting) for _ in range(count)],
    "the breaker before": _breakers(slow_only=False),
    "a breaker for slow failures": _breakers(slow_only=True),
    PATIENCE: lambda world, setting, count: [Ours(world, setting) for _ in range(count)],
}


class Service:
    """Instances that serve one request at a time; Lambda refuses a request when all are busy."""

    def __init__(self, world: World, guards: list[Guard], provider: Provider, dice: random.Random) -> None:
        self._world, self._provider, self._dice = world, provider, dice
        self._idle = guards

    def serve(self, request: Request) -> Process:
        """Handles a request, and leaves its outcome in it."""
        if not self._idle:
            request.outcome = "no room"
            return
        guard = self._idle.pop(self._dice.randrange(len(self._idle)))
        allowed_s = guard.allowed_s()
        if allowed_s:
            status, held_s = yield from self._call(request, self._world.now_s + allowed_s)
            failed = status is None or status in (406, 429) or status >= 500
            guard.learn(allowed_s=allowed_s, held_s=held_s, answered=status is not None, failed=failed)
            request.outcome = "served" if status == 200 else "failed"
        else:
            request.outcome = "refused"
        self._idle.append(guard)

    def _call(self, request: Request, deadline_s: float) -> Generator[float, None, tuple[int | None, float]]:
        """Returns the status of the last answer, or ``None`` without one, and how long the attempts took."""
        held_s, attempt = 0.0, 0
        while True:
            attempt += 1
            left_s = deadline_s - self._world.now_s
            assert left_s >= MIN_ATTEMPT_S
            answer_s, status = self._provider(self._world.now_s, request)
            took_s = min(answer_s, left_s)
            yield took_s
            held_s += took_s
            if answer_s > left_s:
                return None, held_s
            if status not in (406, 429, 503):
                return status, held_s
            delay_s = retry_delay_s(
                ProviderUnavailable(),
                attempt=attempt,
                time_left_s=deadline_s - self._world.now_s,
                jitter=self._dice.random,
            )
            if delay_s is None:
                return status, held_s
            yield delay_s


@dataclass(frozen=True)
class Case:
    """One kind of trouble.

    Args:
        name: What goes wrong, as the page says it.
        provider: Returns CryptoCloud as it behaves in one run.
        asks: The outcome that is counted.
        buyers_a_second: How many buyers come, if not as many as to the shop otherwise.
        others_a_second: How many requests one other caller sends.
        polls: Whether that caller instead asks again 1 s after each end.
        during: Which buyers count: all, or those who come during or after the outage.
    """

    name: str
    provider: Callable[[Setting], Provider]
    asks: Literal["served", "no room"] = "served"
    buyers_a_second: float | None = None
    others_a_second: float = 0.0
    polls: bool = False
    during: Literal["all", "outage", "after"] = "all"


def _each(answer: Callable[[Setting, Request], tuple[float, int]]) -> Callable[[Setting], Provider]:
    return lambda setting: lambda _, request: answer(setting, request)


def _four_a_second(_: Setting) -> Provider:
    asked: Counter[int] = Counter()

    def answer(now_s: float, _: Request) -> tuple[float, int]:
        asked[int(now_s)] += 1
        return WELL if asked[int(now_s)] <= 4 else (AT_ONCE_S, 429)

    return answer


def _outage(setting: Setting) -> Provider:
    return lambda now_s, _: (NEVER, 0) if now_s < setting.outage_s else WELL


def _slowly(setting: Setting) -> tuple[float, int]:
    return setting.provider_timeout_s * SLOW_SHARE, 200


WELL = (ANSWER_S, 200)
CASES = [
    Case("30 % are answered with 500 at once", _each(lambda _, it: (AT_ONCE_S, 500) if it.luck < 0.3 else WELL)),
    Case("CryptoCloud takes 4 requests a second, and 6 come", _four_a_second, buyers_a_second=6),
    Case(
        "one caller sends 4 a second that CryptoCloud answers with 500",
        _each(lambda _, it: (AT_ONCE_S, 500) if it.sender == OTHER else WELL),
        others_a_second=4,
    ),
    Case("30 % hang", _each(lambda _, it: (NEVER, 0) if it.luck < 0.3 else WELL)),
    Case(
        "one caller asks again and again, and that request hangs",
        _each(lambda _, it: (NEVER, 0) if it.sender == OTHER else WELL),
        polls=True,
    ),
    Case("all hang: buyers who found **no room**", _outage, asks="no room", during="outage"),
    Case("when it is well again", _outage, during="after"),
    Case("all are answered slowly", _each(lambda setting, _: _slowly(setting))),
    Case("30 % hang, the others are answered slowly", _each(lambda s, it: (NEVER, 0) if it.luck < 0.3 else _slowly(s))),
    Case(
        "one caller's request hangs again and again, the others are answered slowly",
        _each(lambda setting, it: (NEVER, 0) if it.sender == OTHER else _slowly(setting)),
        polls=True,
    ),
]


def run(case: Case, setting: Setting, guards: Guards, instances: int, seed: int) -> list[Request]:
    """Returns the buyers of one run who count, with what became of them."""
    world, dice = World(), random.Random(seed)
    buyers = list(_arrivals(case.buyers_a_second or setting.buyers_a_second, BUYER, setting, dice))
    others = list(_arrivals(case.others_a_second, OTHER, setting, dice))
    service = Service(world, guards(world, setting, instances), case.provider(setting), dice)
    for request in (*buyers, *others):
        world.start(service.serve(request), request.at_s)
    if case.polls:
        world.start(_poller(world, service, setting), 0)
    world.run()
    began = {"all": (True, False), "outage": (True,), "after": (False,)}[case.during]
    return [request for request in buyers if (request.at_s < setting.outage_s) in began]


def _arrivals(a_second: float, sender: str, setting: Setting, dice: random.Random) -> Generator[Request]:
    at_s = dice.expovariate(a_second) if a_second else NEVER
    while at_s < setting.duration_s:
        yield Request(at_s, dice.random(), sender)
        at_s += dice.expovariate(a_second)


def _poller(world: World, service: Service, setting: Setting) -> Process:
    while world.now_s < setting.duration_s:
        yield from service.serve(Request(world.now_s, 0.0, OTHER))
        yield 1.0


def share(case: Case, setting: Setting, guards: Guards) -> float:
    """Returns the percentage of buyers with the outcome that the case asks about, over all runs."""
    runs = [run(case, setting, guards, instances, seed) for instances in INSTANCES for seed in SEEDS]
    outcomes = [buyer.outcome for buyers in runs for buyer in buyers]
    return 100 * outcomes.count(case.asks) / len(outcomes)


type Figures = dict[Setting, dict[Case, dict[str, float]]]


def shares() -> Figures:
    """Returns all figures of the page."""
    return {
        setting: {case: {name: share(case, setting, guards) for name, guards in GUARDS.items()} for case in CASES}
        for setting in SETTINGS
    }


def as_markdown(figures: Figures) -> str:
    """Returns the tables as the page has them."""
    return "\n\n".join(
        f"`ProviderTimeout` of {setting.provider_timeout_s} s, {setting.buyers_a_second} buyers a second for "
        f"{setting.duration_s} s. Where all hang, they do for the first {setting.outage_s} s:\n\n"
        + table(
            ("percent of buyers served", *GUARDS),
            [(case.name, *(f"{figure:.0f}" for figure in row.values())) for case, row in cases.items()],
        )
        for setting, cases in figures.items()
    )


def put_into(page: Path, figures: Figures) -> str:
    """Returns the page's text with these figures in it."""
    return with_part(page, "patience", "make docs", as_markdown(figures))


if __name__ == "__main__":
    measured = shares()
    PAGE.write_text(put_into(PAGE, measured))
    print(as_markdown(measured))
