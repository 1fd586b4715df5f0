"""What a million invoices cost: a model, with its prices as inputs."""

from collections.abc import Mapping

from tests.support.report import table

# USD in us-east-1, without free tiers and discounts, looked up on this day. AWS says them on
# https://aws.amazon.com/lambda/pricing/ and its like; those of 2025 and 2026 that other pages quote were at hand. Check
# them before you rely on them.
LOOKED_UP = "2026-11-23"
HTTP_API_REQUEST = 1.00e-6
LAMBDA_REQUEST = 0.20e-6
LAMBDA_ARM64_GB_S = 13.3334e-6
TABLE_WRITE_UNIT = 0.625e-6
TABLE_READ_UNIT = 0.125e-6
EVENT = 1.00e-6
SECRET_MONTH = 0.40
SECRET_CALL = 0.05 / 10_000

# What CryptoCloud takes for an invoice is not ours to know: an assumption, and the largest part of the bill.
PROVIDER_S = 0.4
MEMORY_MB = (512, 1024, 1769)
# At this size a function has the equivalent of one processor, and less in proportion:
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
ONE_PROCESSOR_MB = 1769
# One write claims a key and one completes it; an instance reads the secret every 300 s.
WRITES_WITH_KEY = 2
# Units of a write that puts an entry into the index of due invoices or takes it out, and of one that moves it:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.ThroughputConsiderations.Writes
RECORD_UNITS, MOVE_UNITS = 2, 3
# A buyer pays after this time, with the page in sight, which asks first after so long and each time a little later.
PAID_AFTER_S = 600
POLL_S, POLL_FACTOR = 5.0, 1.1
# It is asked about after 10 and 30 minutes, if no postback comes.
WATCH_ASKS = 2
# Of a run's time, for each invoice, with v2 (docs/scaling.md).
WATCH_S = 0.0093


def invoices_cost(memory_mb: int, request_s: float, *, with_key: bool) -> Mapping[str, float]:
    """Returns the USD that a million invoices cost, by service.

    Args:
        memory_mb: The function's memory.
        request_s: Our own time for a request on one whole processor, in seconds.
        with_key: Whether each has an idempotency key. Each is recorded, with or without one.
    """
    busy_s = PROVIDER_S + request_s * ONE_PROCESSOR_MB / min(memory_mb, ONE_PROCESSOR_MB)
    # One instance that is never idle reads most often for each invoice: so many invoices it creates in 300 s.
    secret_calls = busy_s / 300
    million = 1_000_000
    return {
        "HTTP API": million * HTTP_API_REQUEST,
        "Lambda": million * (LAMBDA_REQUEST + busy_s * memory_mb / 1024 * LAMBDA_ARM64_GB_S),
        "table": million * (RECORD_UNITS + WRITES_WITH_KEY * with_key) * TABLE_WRITE_UNIT,
        "secret": SECRET_MONTH + million * secret_calls * SECRET_CALL,
    }


def polls() -> int:
    """Returns how often a page asks until the buyer has paid."""
    count, asked_s, wait_s = 1, 0.0, POLL_S
    while (asked_s := asked_s + wait_s) <= PAID_AFTER_S:
        count, wait_s = count + 1, wait_s * POLL_FACTOR
    return count


def paid_cost(memory_mb: int, request_s: float) -> Mapping[str, Mapping[str, float]]:
    """Returns the USD that a million paid invoices cost on top of their creation, by what is done and by service.

    Args:
        memory_mb: The memory of the functions.
        request_s: Our own time for a request on one whole processor, in seconds; that of a creation.
    """
    million = 1_000_000
    own_s = request_s * ONE_PROCESSOR_MB / min(memory_mb, ONE_PROCESSOR_MB)
    gb = memory_mb / 1024

    def invocation(busy_s: float) -> float:
        return million * (LAMBDA_REQUEST + busy_s * gb * LAMBDA_ARM64_GB_S)

    return {
        "the postback, with its question, step and event": {
            "HTTP API": million * HTTP_API_REQUEST,
            "Lambda": invocation(PROVIDER_S + own_s),
            # The step makes it due at once; that its event is published takes it out of the index.
            "table": million * (MOVE_UNITS + RECORD_UNITS) * TABLE_WRITE_UNIT,
            "events": million * EVENT,
        },
        f"the page, which asks {polls()} times": {
            "HTTP API": polls() * million * HTTP_API_REQUEST,
            "Lambda": polls() * invocation(PROVIDER_S + own_s),
            # Each reads the invoice and takes the turn to ask.
            "table": polls() * million * (TABLE_READ_UNIT + TABLE_WRITE_UNIT),
            "events": 0.0,
        },
        f"without the postback: the watch, which asks {WATCH_ASKS} times": {
            "HTTP API": 0.0,
            "Lambda": WATCH_ASKS * million * WATCH_S * LAMBDA_ARM64_GB_S,
            "table": million
            * (WATCH_ASKS * (TABLE_READ_UNIT + MOVE_UNITS * TABLE_WRITE_UNIT) + RECORD_UNITS * TABLE_WRITE_UNIT),
            "events": million * EVENT,
        },
    }


def paid_table(request_s: float) -> str:
    """Returns the table of what being paid costs, with the template's memory.

    Args:
        request_s: Our own time for a warm request, in seconds.
    """
    cost = paid_cost(1024, request_s)
    services = list(next(iter(cost.values())))
    rows = [
        (name, *(f"{of[service]:.2f}" for service in services), f"{sum(of.values()):.2f}") for name, of in cost.items()
    ]
    inputs = (
        f"On top of that, USD for a million invoices that are paid after {PAID_AFTER_S // 60} minutes, with 1024 MB. "
        "A question takes as long as a creation (assumed); with v2 the watch asks about a hundred at once:"
    )
    return f"{inputs}\n\n{table(('to learn of the payment', *services, 'all'), rows)}"


def cost_table(request_s: float) -> str:
    """Returns the table of costs.

    Args:
        request_s: Our own time for a warm request, in seconds.
    """
    lines = []
    for memory_mb in MEMORY_MB:
        for with_key in (False, True):
            cost = invoices_cost(memory_mb, request_s, with_key=with_key)
            figures = " | ".join(f"{dollars:.2f}" for dollars in cost.values())
            lines.append(f"| {memory_mb} | {'yes' if with_key else 'no'} | {figures} | {sum(cost.values()):.2f} |")
    head = "| memory, MB | key | HTTP API | Lambda | table | secret | all |\n|---|---|---|---|---|---|---|"
    inputs = (
        f"USD in us-east-1, at prices that other pages quoted on {LOOKED_UP} (AWS's own were not read); CryptoCloud "
        f"takes {PROVIDER_S} s (assumed):"
    )
    return "\n".join([inputs, "", head, *lines, "", paid_table(request_s)])
