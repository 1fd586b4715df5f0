"""Patience: when an instance waits less, when it waits as before, and what buyers get of it."""

import re

import pytest

from invoicing.patience import FULL_TIME_EVERY_S, IMPATIENT_AFTER, LEAST_S, Patience
from invoicing.provider.transport import MIN_ATTEMPT_S
from tests.benchmarks import patience as simulation
from tests.support.samples import Clock

ALL_S, SHORT_S = 20.0, 5.0


class Instance:
    """Patience and the clock that it looks at."""

    def __init__(self, provider_timeout_s: float = ALL_S) -> None:
        self.clock = Clock()
        self._patience = Patience(provider_timeout_s, wall_clock=self.clock)

    @property
    def allowed_s(self) -> float:
        return self._patience.allowed_s()

    def call(self, *, held_s: float | None = None, answered: bool = False, waited_s: float = 0.0) -> None:
        """Ends a call; one that is not answered holds the instance for all its time unless it says otherwise."""
        allowed_s = self.allowed_s
        held_s = allowed_s if held_s is None else held_s
        self.clock.now_s += held_s + waited_s
        self._patience.learn(allowed_s=allowed_s, held_s=held_s, answered=answered)

    def becomes_impatient(self) -> None:
        for _ in range(IMPATIENT_AFTER):
            self.call()


@pytest.fixture
def instance() -> Instance:
    return Instance()


def test_three_calls_in_a_row_without_an_answer_leave_the_next_ones_a_quarter_of_the_time(instance: Instance) -> None:
    given_s = []
    for _ in range(5):
        given_s.append(instance.allowed_s)
        instance.call()
    assert given_s == [ALL_S, ALL_S, ALL_S, SHORT_S, SHORT_S]


@pytest.mark.parametrize(("held_s", "next_s"), [(SHORT_S, SHORT_S), (SHORT_S - 0.1, ALL_S)])
def test_a_call_without_an_answer_counts_from_a_quarter_of_the_time_on(
    instance: Instance, held_s: float, next_s: float
) -> None:
    for _ in range(IMPATIENT_AFTER):
        instance.call(held_s=held_s)
    assert instance.allowed_s == next_s


def test_waits_between_attempts_do_not_count(instance: Instance) -> None:
    for _ in range(IMPATIENT_AFTER):
        instance.call(held_s=SHORT_S - 0.1, waited_s=10.0)
    assert instance.allowed_s == ALL_S


@pytest.mark.parametrize("between", [{"answered": True, "held_s": 0.2}, {"answered": True}, {"held_s": 0.01}])
def test_an_answer_or_a_failure_at_once_breaks_the_row(instance: Instance, between: dict[str, object]) -> None:
    for _ in range(4):
        for _ in range(IMPATIENT_AFTER - 1):
            instance.call()
        instance.call(**between)
        assert instance.allowed_s == ALL_S


def test_slow_answers_never_make_an_instance_impatient(instance: Instance) -> None:
    for _ in range(10):
        instance.call(held_s=ALL_S - 1, answered=True)
        assert instance.allowed_s == ALL_S


def test_one_answer_makes_it_patient_again(instance: Instance) -> None:
    instance.becomes_impatient()
    instance.call(held_s=0.2, answered=True)
    for _ in range(IMPATIENT_AFTER - 1):
        instance.call()
        assert instance.allowed_s == ALL_S


def test_a_refused_connection_is_no_answer(instance: Instance) -> None:
    instance.becomes_impatient()
    instance.call(held_s=0.01)
    assert instance.allowed_s == SHORT_S


def test_every_30_s_one_call_has_all_the_time_again(instance: Instance) -> None:
    instance.becomes_impatient()
    given_s = []
    for _ in range(14):
        given_s.append(instance.allowed_s)
        instance.call()
    assert FULL_TIME_EVERY_S == 30 == 6 * SHORT_S
    assert given_s == [*[SHORT_S] * 6, ALL_S] * 2


def test_an_instance_that_was_frozen_starts_with_all_the_time(instance: Instance) -> None:
    instance.becomes_impatient()
    instance.clock.now_s += 3600
    assert instance.allowed_s == ALL_S


def test_a_clock_that_was_set_back_does_not_keep_it_impatient(instance: Instance) -> None:
    instance.becomes_impatient()
    instance.clock.now_s -= 3600
    assert instance.allowed_s == ALL_S


def test_the_short_time_is_twice_the_last_answers_where_that_is_more(instance: Instance) -> None:
    instance.call(held_s=7.0, answered=True)
    instance.becomes_impatient()
    assert instance.allowed_s == 14.0


@pytest.mark.parametrize("answer_s", [7.0, 12.0, 19.9])
def test_a_slow_answer_is_forgotten_when_one_more_call_with_all_the_time_brings_none(
    instance: Instance, answer_s: float
) -> None:
    instance.call(held_s=answer_s, answered=True)
    instance.becomes_impatient()
    instance.clock.now_s += FULL_TIME_EVERY_S
    instance.call()
    assert instance.allowed_s == SHORT_S


@pytest.mark.parametrize(("provider_timeout_s", "short_s"), [(20, 5), (8, 2), (4, 2), (2, 2), (1.5, 1.5)])
def test_the_short_time_is_enough_for_an_attempt_so_nothing_is_refused(
    provider_timeout_s: float, short_s: float
) -> None:
    instance = Instance(provider_timeout_s)
    instance.becomes_impatient()
    assert instance.allowed_s == short_s
    assert LEAST_S > MIN_ATTEMPT_S


@pytest.fixture(scope="module")
def figures() -> simulation.Figures:
    return simulation.shares()


def test_the_page_has_the_figures_of_the_simulation(figures: simulation.Figures) -> None:
    assert simulation.PAGE.read_text() == simulation.put_into(simulation.PAGE, figures), "run `make docs`"


def test_patience_is_never_much_worse_than_none(figures: simulation.Figures) -> None:
    for cases in figures.values():
        for case, shares in cases.items():
            gained = shares[simulation.PATIENCE] - shares[simulation.NONE]
            assert (gained if case.asks == "served" else -gained) > -2, case.name


def test_more_buyers_find_room_while_everything_hangs(figures: simulation.Figures) -> None:
    for cases in figures.values():
        [(_, shares)] = [(case, shares) for case, shares in cases.items() if case.asks == "no room"]
        assert shares[simulation.NONE] - shares[simulation.PATIENCE] > 10


def test_in_every_case_but_a_provider_that_is_dead_patience_serves_at_least_as_many_as_a_breaker(
    figures: simulation.Figures,
) -> None:
    for cases in figures.values():
        for case, shares in cases.items():
            if case.asks == "served":
                breakers = [share for name, share in shares.items() if "breaker " in name or "the breaker" in name]
                assert len(breakers) == 2
                assert shares[simulation.PATIENCE] > max(breakers) - 0.5, case.name


def test_the_page_says_the_rule_that_the_code_has() -> None:
    page = re.sub(r"\s+", " ", simulation.PAGE.read_text())
    assert IMPATIENT_AFTER == 3
    assert "After three calls in a row that brought no answer" in page
    assert f"After {FULL_TIME_EVERY_S:.0f} s without one" in page
    assert f"a quarter of the time, {SHORT_S:.0f} s of {ALL_S:.0f}." in page
    assert f"at least {LEAST_S:.0f} s" in page
