"""What a million invoices cost: a model, with its prices as inputs."""

from collections.abc import Mapping

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


def invoices_cost(memory_mb: int, request_s: float, *, with_key: bool) -> Mapping[str, float]:
    """Returns the USD that a million invoices cost, by service.

    Args:
        memory_mb: The function's memory.
        request_s: Our own time for a request on one whole processor, in seconds.
        with_key: Whether each has an idempotency key.
    """
    busy_s = PROVIDER_S + request_s * ONE_PROCESSOR_MB / min(memory_mb, ONE_PROCESSOR_MB)
    # One instance that is never idle reads most often for each invoice: so many invoices it creates in 300 s.
    secret_calls = busy_s / 300
    million = 1_000_000
    return {
        "HTTP API": million * HTTP_API_REQUEST,
        "Lambda": million * (LAMBDA_REQUEST + busy_s * memory_mb / 1024 * LAMBDA_ARM64_GB_S),
        "table": million * WRITES_WITH_KEY * with_key * TABLE_WRITE_UNIT,
        "secret": SECRET_MONTH + million * secret_calls * SECRET_CALL,
    }


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
    return "\n".join([inputs, "", head, *lines])
