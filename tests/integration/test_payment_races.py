"""A hundred invoices and more, each followed by postbacks, pages and the watch at once, while table and bus misbehave.

For a larger run: ``INVOICES=2000 .venv/bin/python -m pytest tests/integration/test_payment_races.py``.
"""

import json
import os
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from tests.support.paying import details, invoice_table, let_pass, post_postback, status_of
from tests.support.stack import Stack

SEED = 20261125
# More than a call asks about at once, and than a request reads at once.
INVOICES = int(os.environ.get("INVOICES", "120"))
SANDBOXES = 8
CALLERS = 12  # at the same time: two invoices
DISTURBED = 0.1
LATE_S = 0.3
WATCHED_EVERY_S = 0.5
LOOKED_EVERY_S = 0.1
SECRET_KEY = "local-secret-key"
WATCH = "WatchFunction:live"
# What the provider says before the buyer pays, of every third invoice each.
BEFORE = ("created", "partial", "canceled")
RANKS = {"created": 0, "partial": 1, "canceled": 2, "paid": 3}
DAY_S = 24 * 60 * 60


def create_due(stack: Stack, number: int) -> str:
    invoice_id: str = stack.post({"amount": "19.99", "order_id": f"A-{number}"}).payload["invoice_id"]
    stack.tell("/provider/status", invoice_id=invoice_id, status=BEFORE[number % len(BEFORE)])
    let_pass(stack, invoice_id, 10 * 60)
    return invoice_id


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_whoever_learns_of_a_payment_first_each_event_is_published_and_no_status_goes_back(start_stack) -> None:
    stack = start_stack(sandboxes=SANDBOXES, parameters={"ProviderApi": "v2"})
    token = jwt.encode({"id": 13, "exp": int(time.time()) + 300}, SECRET_KEY, "HS256")
    answers: Counter[object] = Counter()
    with ThreadPoolExecutor(CALLERS) as shop:
        ids = list(shop.map(lambda number: create_due(stack, number), range(INVOICES)))
    for service in ("table", "bus"):
        stack.tell(f"/{service}/disturb", share=DISTURBED, late_s=LATE_S, seed=SEED)

    def call(task: tuple[str, str]) -> None:
        who, invoice_id = task
        if who == "buyer":
            stack.tell("/provider/status", invoice_id=invoice_id, status="paid")
        elif who == "postback":
            answers[who, post_postback(stack, invoice_id, token)] += 1
        else:
            answers[who, status_of(stack, invoice_id).status] += 1

    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCHED_EVERY_S):
            answers["watcher", stack.invoke({}, WATCH).error_type] += 1

    followers = ("postback", "page", "buyer", "page", "postback", "postback")
    with ThreadPoolExecutor(4) as others, ThreadPoolExecutor(CALLERS) as callers:
        watchers = [others.submit(watch) for _ in range(2)]
        versions = others.submit(versions_until, over, stack)
        try:
            list(callers.map(call, [(who, invoice_id) for invoice_id in ids for who in followers]))
        finally:
            over.set()
        for watcher in watchers:
            watcher.result()
    for service in ("table", "bus"):
        stack.tell(f"/{service}/disturb", share=0, late_s=0, seed=0)
    after_storm = details(stack)
    # The next run in calm weather, and the last turn of those that nobody could make due.
    stack.tell("/schedules/run")
    let_last_turns_come(stack)
    stack.tell("/schedules/run")

    seen = versions.result()
    heard: defaultdict[str, set[str]] = defaultdict(set)
    published = details(stack)
    for detail in published:
        heard[detail["event_id"]].add(json.dumps(detail))
    records = {item["invoice_id"]: item for item in invoice_table(stack).scan()["Items"]}
    print(answers, f"{len(after_storm)} events in the storm, {len(published)} in all, {len(heard)} event ids,")
    print(f"{sum(map(len, seen.values()))} versions seen", stack.calls_of("table"))

    assert {record["status"] for record in records.values()} == {"paid"}
    assert [name for name, record in records.items() if {"queue", "due", "unpublished"} & record.keys()] == []
    passed = {f"{name}:{status}" for name in ids for status in RANKS if f"{status}_at" in records[name]}
    assert heard.keys() == {event_id for event_id in passed if not event_id.endswith(":created")}
    assert {event_id for event_id, twins in heard.items() if len(twins) != 1} == set()
    back = {name: ranks for name, ranks in seen.items() if ranks != sorted(ranks)}
    assert back == {}
    assert len(ids) == len(records) == INVOICES
    assert {("postback", 200), ("page", 200)} <= answers.keys()


def let_last_turns_come(stack: Stack) -> None:
    for item in invoice_table(stack).scan()["Items"]:
        if "due" in item:
            let_pass(stack, item["invoice_id"], 2 * DAY_S)


def versions_until(over: threading.Event, stack: Stack) -> dict[str, list[int]]:
    """Returns the ranks of the statuses that each invoice had, one after the other."""
    table, seen = invoice_table(stack), defaultdict[str, list[int]](list)
    while not over.wait(LOOKED_EVERY_S):
        for item in table.scan(ConsistentRead=True)["Items"]:
            rank = RANKS[str(item["status"])]
            if seen[item["invoice_id"]][-1:] != [rank]:
                seen[item["invoice_id"]].append(rank)
    return seen


def test_pages_of_one_invoice_ask_the_provider_once_in_five_seconds_over_all_sandboxes(start_stack) -> None:
    stack = start_stack(sandboxes=SANDBOXES, parameters={"ProviderApi": "v2"})
    tabs = 24

    def page(_: int) -> tuple[Any, int]:
        answer = status_of(stack, invoice_id)
        return answer.payload.get("status_invoice"), answer.status

    invoice_id = create_due(stack, 0)
    started_s = time.monotonic()
    with ThreadPoolExecutor(tabs) as browsers:
        assert set(browsers.map(page, range(5 * tabs))) == {("created", 200)}
    turns = 1 + (time.monotonic() - started_s) // 5
    assert 1 <= len(stack.seen()["asked"]) <= turns
