"""The alarms that roll a version back, on data that are missing, split over minutes, or of a version that is new."""

import random

import pytest

from tests.support import ROOT
from tests.support.metric_math import by_period, goes_off
from tests.support.templates import of_type, read_template

ALARMS = of_type(read_template(ROOT / "template.yaml"), "AWS::CloudWatch::Alarm")
FAILS = {name: alarm for name, alarm in ALARMS.items() if name.endswith("Fails")}
CREATES_NONE = {name: alarm for name, alarm in ALARMS.items() if not name.endswith("Fails")}


@pytest.mark.parametrize("alarm", ALARMS.values(), ids=ALARMS)
def test_a_version_that_nobody_asked_yet_is_well(alarm) -> None:
    for periods in range(1, 12):
        assert not goes_off(alarm, [{} for _ in range(periods)])


@pytest.mark.parametrize("alarm", FAILS.values(), ids=FAILS)
def test_errors_that_were_raised_on_purpose_roll_nothing_back_however_long_they_took(alarm) -> None:
    # Lambda stamps an error with the start of the invocation, and so does the function what it raised:
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-view.html
    dice = random.Random(1)
    for _ in range(300):
        starts = [dice.uniform(0, 280) for _ in range(10)]
        events = [(name, start_s) for start_s in starts for name in ("errors", "raised")]
        assert not goes_off(alarm, by_period(alarm, events, until_s=300))


@pytest.mark.parametrize("alarm", FAILS.values(), ids=FAILS)
def test_what_was_raised_stamped_at_its_end_would_roll_a_good_version_back(alarm) -> None:
    # Why the start is what counts: of ten calls that hang for 20 s, some nearly always end in the next minute.
    dice = random.Random(1)
    rolled_back = 0
    for _ in range(300):
        starts = [dice.uniform(0, 270) for _ in range(10)]
        events = [("errors", start_s) for start_s in starts] + [("raised", start_s + 20) for start_s in starts]
        rolled_back += goes_off(alarm, by_period(alarm, events, until_s=300))
    assert rolled_back > 250


@pytest.mark.parametrize("alarm", FAILS.values(), ids=FAILS)
@pytest.mark.parametrize("fault", ["errors", "internal", "unconfigured"])
@pytest.mark.parametrize("minute", range(5))
def test_one_fault_of_its_own_in_any_minute_rolls_it_back_also_while_the_last_minutes_have_no_data(
    alarm, fault: str, minute: int
) -> None:
    assert goes_off(alarm, by_period(alarm, [(fault, 60 * minute + 30)], until_s=300))


@pytest.mark.parametrize("alarm", FAILS.values(), ids=FAILS)
def test_a_fault_of_before_the_window_no_longer_counts(alarm) -> None:
    assert not goes_off(alarm, by_period(alarm, [("errors", 30)], until_s=360))


@pytest.mark.parametrize("alarm", CREATES_NONE.values(), ids=CREATES_NONE)
def test_a_provider_that_is_down_rolls_back_before_the_last_period_has_data(alarm) -> None:
    down = [(name, 100.0 + i) for i in range(3) for name in ("unavailable", "requests")]
    assert goes_off(alarm, by_period(alarm, down, until_s=600))
    assert not goes_off(alarm, by_period(alarm, down[:4], until_s=600))


@pytest.mark.parametrize("alarm", CREATES_NONE.values(), ids=CREATES_NONE)
def test_failures_without_the_count_of_requests_yet_are_believed(alarm) -> None:
    # Lambda's own count may come later than what the function printed.
    assert goes_off(alarm, [{"unavailable": 3}])
