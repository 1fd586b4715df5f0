"""CloudWatch's metric math and alarms, as far as they are used, in Python.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html#alarms-and-missing-data
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_MATH = {
    "FILL": lambda value, other: other if value is None else value,
    "IF": lambda test, yes, no: yes if test else no,
}


def evaluate(alarm: Mapping[str, Any], **values: float | None) -> bool:
    """Returns whether a period with these values breaches an alarm's threshold; a metric not named has none."""
    queries = {query["Id"]: query for query in alarm["Metrics"]}
    shown = [name for name, query in queries.items() if query.get("ReturnData", True)]
    assert len(shown) == 1

    def value(name: str) -> Any:
        if "Expression" not in queries[name]:
            return values.get(name)
        expression = queries[name]["Expression"].replace(" AND ", " and ")
        used = set(re.findall(r"\b[a-z]+\b", expression)) & queries.keys()
        return eval(expression, {**_MATH, **{other: value(other) for other in used}})

    return bool(value(shown[0]) >= alarm["Threshold"])


def goes_off(alarm: Mapping[str, Any], periods: Sequence[Mapping[str, float]]) -> bool:
    """Returns whether an alarm is on after these periods, oldest first: so many of the last ones breach it.

    Args:
        alarm: Its properties.
        periods: The values of the metrics in each; those without a value are left out.
    """
    window = periods[-int(alarm["EvaluationPeriods"]) :]
    breaching = sum(evaluate(alarm, **period) for period in window)
    return breaching >= int(alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]))


def by_period(
    alarm: Mapping[str, Any], events: Sequence[tuple[str, float]], *, until_s: float
) -> list[dict[str, float]]:
    """Sums events into periods, as CloudWatch does with the stamp of each; a period without any has no value.

    Args:
        alarm: Its properties.
        events: The id of a metric in the alarm, and the stamp of one count of it in seconds.
        until_s: The end of the last period.
    """
    [length_s] = {query["MetricStat"]["Period"] for query in alarm["Metrics"] if "MetricStat" in query}
    periods: list[dict[str, float]] = [{} for _ in range(-int(-until_s // length_s))]
    for name, stamp_s in events:
        period = periods[int(stamp_s // length_s)]
        period[name] = period.get(name, 0) + 1
    return periods
