"""Hundreds of requests with random faults and retrying clients: one invoice a key, whatever happens.

For a larger run: ``REQUESTS=1000 .venv/bin/python -m pytest tests/integration/test_storm.py``.
"""

import os
import random
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from invoicing.contract.errors import ERROR_TABLE

SEED = 20261123
REQUESTS = int(os.environ.get("REQUESTS", "400"))
CLIENTS = 8
PROVIDER_TIMEOUT_S = 2
# Beside the provider: a throttled table is tried twice with a back-off, and requests wait for one of four sandboxes.
AROUND_THE_CALL_S = 2
SANDBOXES = 4
MAX_TRIES = 5

PROVIDER_FAULTS = [
    *({"fault": "status", "value": code} for code in (400, 401, 403, 406, 429, 500, 502, 503, 504)),
    *({"fault": fault} for fault in ("refuse", "reset", "close_early", "html", "truncated", "foreign", "no_pay_url")),
    {"fault": "slow", "value": 0.2},
]
TABLE_FAULTS = [{"operation": "PutItem", "times": 2}, {"operation": "UpdateItem", "times": 2}, {"operation": "PutItem"}]


def test_never_two_invoices_for_one_key_never_an_unhandled_error_never_too_late(start_stack) -> None:
    stack = start_stack(parameters={"ProviderTimeout": str(PROVIDER_TIMEOUT_S)}, sandboxes=SANDBOXES)
    dice = random.Random(SEED)
    lock = threading.Lock()
    delivered: defaultdict[str, set[str]] = defaultdict(set)
    outcomes: defaultdict[str, int] = defaultdict(int)
    slowest_s = 0.0
    sent = 0

    def shop(number: int) -> None:
        nonlocal slowest_s, sent
        key = f"storm-{number}"
        for _ in range(MAX_TRIES):
            with lock:
                if sent >= REQUESTS:
                    return
                sent += 1
                provider_fault = dice.choice(PROVIDER_FAULTS) if dice.random() < 0.5 else None
                table_fault = dice.choice(TABLE_FAULTS) if dice.random() < 0.1 else None
            if provider_fault:
                stack.misbehave(**provider_fault)
            if table_fault:
                stack.tell("/table/fail", **table_fault)
            started_s = time.monotonic()
            answer = stack.post({"amount": number + 1}, key=key)
            took_s = time.monotonic() - started_s
            with lock:
                slowest_s = max(slowest_s, took_s)
                outcomes[answer.payload.get("code", "created")] += 1
                if answer.status == 200:
                    delivered[key].add(answer.payload["invoice_id"])

    # Two clients for each key: a buyer's second click runs beside the first.
    with ThreadPoolExecutor(CLIENTS) as clients:
        for client in [clients.submit(shop, number // 2) for number in range(REQUESTS)]:
            client.result()

    assert sent == REQUESTS
    assert {key: ids for key, ids in delivered.items() if len(ids) > 1} == {}
    assert outcomes.keys() <= {"created", *(error.code for error in ERROR_TABLE)} - {"internal_error"}
    # A request may have waited behind those of other clients for a sandbox.
    assert slowest_s < (PROVIDER_TIMEOUT_S + AROUND_THE_CALL_S) * CLIENTS / SANDBOXES
    # How many depends on the machine: a busy one has more requests that run out of time.
    assert outcomes["created"] > REQUESTS / 10
