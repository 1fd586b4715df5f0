"""The faults of a payment, run: a buyer pays, over the real gateway, runtimes, provider, table and event bus."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.payment_faults import (
    AT_ONCE,
    BY_SCHEDULE,
    FAULTS,
    NEXT_RUN,
    PAGE,
    Fault,
    put_into,
)
from tests.support.paying import details, invoice_table, let_pass, postbacks, status_of
from tests.support.stack import Stack

# Each version of the provider's API once: with the first nobody looks, with the second a page asks meanwhile.
RUNS = [(api, fault) for fault in FAULTS for api in fault.apis if api == "v1" or not fault.fresh]
# A run of the watcher comes at most so long after an invoice is due.
WATCHED_EVERY_S = 10 * 60
LAST_TURN_S = 26 * 60 * 60


@pytest.fixture(scope="session")
def stacks(start_lasting_stack) -> Callable[[str], Stack]:
    """Stacks of one sandbox for each function: what a fault does to it meets the next request."""
    started: dict[str, Stack] = {}

    def choose(api: str) -> Stack:
        if api not in started:
            started[api] = start_lasting_stack(sandboxes=1, parameters={"ProviderApi": api})
        return started[api]

    return choose


@pytest.fixture
def stack_for(stacks, start_stack) -> Callable[[str, Fault], Stack]:
    def choose(api: str, fault: Fault) -> Stack:
        stack = start_stack(sandboxes=1) if fault.fresh else stacks(api)
        for path in ("/provider/forget", "/table/forget", "/bus/forget", "/events/forget"):
            stack.tell(path)
        return stack

    return choose


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(("api", "fault"), RUNS, ids=[f"{api}: {fault.name}" for api, fault in RUNS])
def test_no_fault_loses_a_payment(stack_for, fresh, api, fault) -> None:
    stack = stack_for(api, fault)
    with_page = fault.page is not None and (api == "v2" or fault.apis == ("v1",))
    for fate in fault.record_fates:
        stack.tell("/table/fail", operation="PutItem", error=fate)
    invoice_id = stack.post({"amount": "19.99", "currency": "EUR", "order_id": fresh}).payload["invoice_id"]

    try:
        fault.arrange(stack, invoice_id)
        stack.tell("/provider/press", invoice_id=invoice_id, action="pay")
        sent = fault.during(stack, invoice_id)
        assert (str(sent) if sent else answers(stack, invoice_id)) == fault.answered
        at_once = heard(stack, invoice_id)["paid"]
        if with_page:
            fault.again(stack, invoice_id)
            assert what_a_page_hears(stack, invoice_id) == fault.page
    finally:
        fault.restore(stack, invoice_id)
    # What is left of it was for a page that did not ask.
    stack.tell("/table/forget")
    stack.tell("/bus/forget")
    stack.tell("/schedules/run")
    by_next_run = heard(stack, invoice_id)["paid"]
    let_pass(stack, invoice_id, WATCHED_EVERY_S)
    stack.tell("/schedules/run")
    by_schedule = heard(stack, invoice_id)["paid"]
    let_pass(stack, invoice_id, LAST_TURN_S)
    stack.tell("/schedules/run")
    stack.tell("/schedules/run")

    in_the_end = heard(stack, invoice_id)
    unrecorded = {"paid:unrecorded": fault.unrecorded} if fault.unrecorded else {}
    expected = Counter({"paid": fault.heard, **dict.fromkeys(fault.also, 1), **unrecorded})
    if not with_page:
        heard_by = {AT_ONCE: at_once, NEXT_RUN: by_next_run, BY_SCHEDULE: at_once if fault.watched else by_schedule}
        earlier = {AT_ONCE: 0, NEXT_RUN: at_once, BY_SCHEDULE: 0 if fault.watched else by_next_run}
        if fault.heard:
            assert (earlier[fault.when], heard_by[fault.when] > 0) == (0, True)
        assert in_the_end == expected
    # A page may have been the one who published it; of twins, it may have spared the second.
    assert in_the_end.keys() == (+expected).keys()
    assert all(in_the_end[status] <= count for status, count in expected.items())
    twins_are_equal(stack, invoice_id)
    if fault.heard:
        assert what_a_page_hears(stack, invoice_id) == "paid"
        item = invoice_table(stack).get_item(Key={"invoice_id": invoice_id})["Item"]
        assert {"queue", "due", "unpublished"} & item.keys() == set()


def answers(stack: Stack, invoice_id: str) -> str:
    sent = [postback for postback in postbacks(stack) if postback["invoice_id"] == invoice_id]
    return ", ".join(str(postback["status"] or postback["state"]) for postback in sent)


def details_of(stack: Stack, invoice_id: str) -> list[dict[str, Any]]:
    return [detail for detail in details(stack) if detail["invoice_id"] == invoice_id]


def heard(stack: Stack, invoice_id: str) -> Counter[str]:
    """How often there was an event of each status."""
    return Counter(detail["event_id"].partition(":")[2] for detail in details_of(stack, invoice_id))


def twins_are_equal(stack: Stack, invoice_id: str) -> None:
    found = details_of(stack, invoice_id)
    assert len({json.dumps(detail) for detail in found}) == len({detail["event_id"] for detail in found})


def what_a_page_hears(stack: Stack, invoice_id: str) -> str:
    payload = status_of(stack, invoice_id).payload
    return payload.get("status_invoice") or payload["code"]


def test_the_matrix_is_large_and_the_docs_have_it() -> None:
    assert len(FAULTS) >= 50
    assert PAGE.read_text() == put_into(PAGE), "run `make docs`"
