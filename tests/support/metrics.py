"""The metrics in what a function printed, in CloudWatch's embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections import defaultdict
from typing import Any

# A metric's name and its dimensions' names.
type Metric = tuple[str, frozenset[str]]


def metrics_in(log: str) -> list[dict[str, Any]]:
    """Returns the lines that carry metrics, oldest first."""
    return [json.loads(line) for line in log.splitlines() if line.startswith('{"_aws"')]


def emitted(log: str) -> dict[Metric, list[float]]:
    """Returns the values of each metric, oldest first; each line must say what CloudWatch needs to find them."""
    found: defaultdict[Metric, list[float]] = defaultdict(list)
    for record in metrics_in(log):
        for directive in record["_aws"]["CloudWatchMetrics"]:
            for dimensions in directive["Dimensions"]:
                assert set(dimensions) <= record.keys(), f"a dimension without a value: {record}"
                for metric in directive["Metrics"]:
                    found[metric["Name"], frozenset(dimensions)] += record[metric["Name"]]
    return dict(found)


def total(log: str, name: str, *dimensions: str) -> float:
    """Returns the sum of a metric over a log, 0 where it was never counted.

    Args:
        log: What was printed.
        name: The metric's name.
        dimensions: The names of its dimensions; none means ``service`` alone.
    """
    return sum(emitted(log).get((name, frozenset(dimensions or {"service"})), ()))
