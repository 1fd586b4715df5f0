"""The fault matrix, run: each fault under an idempotency key, over the real gateway, runtime, provider and table."""

import time
from collections.abc import Callable

import pytest

from tests.integration.fault_matrix import FAULTS, FREE, HELD, KEPT, PAGE, Fault, put_into
from tests.support.stack import PROVIDER_TIMEOUT_S, Answer, Stack

# With each version of the provider's API, or once, where a stack is started for a fault that no API matters to.
RUNS = [
    (api, fault) for fault in FAULTS for api in fault.apis if api == "v1" or not fault.options or fault.apis == ("v2",)
]
# Extra time for Secrets Manager, the table and the start of an instance.
AROUND_THE_CALL_S = 8


@pytest.fixture
def stack_for(request, start_stack) -> Callable[[str, Fault], Stack]:
    def choose(api: str, fault: Fault) -> Stack:
        if fault.options:
            return start_stack(**fault.options)
        return request.getfixturevalue({"v1": "stack", "v2": "v2_stack"}[api])

    return choose


@pytest.mark.parametrize(("api", "fault"), RUNS, ids=[f"{api}: {fault.name}" for api, fault in RUNS])
def test_a_fault_has_one_meaning(stack_for, fresh, api, fault) -> None:
    stack = stack_for(api, fault)
    fault.arrange(stack)
    started_s = time.monotonic()
    try:
        answer = stack.post({"amount": 1}, key=fresh)
        took_s = time.monotonic() - started_s
    finally:
        fault.restore(stack)
    assert (answer.payload["code"] if fault.code else answer.payload["status"]) == (fault.code or "success")
    seen = stack.seen()
    assert (len(seen["calls"]), len(seen["invoices"])) == (fault.calls, fault.invoices)
    assert took_s < PROVIDER_TIMEOUT_S + AROUND_THE_CALL_S

    if "ProviderUrl" not in fault.options.get("parameters", {}):
        assert what_became_of_the_key(stack, fresh, answer) == fault.key


def what_became_of_the_key(stack: Stack, key: str, first: Answer) -> str:
    again = stack.post({"amount": 1}, key=key)
    if again.status == 409:
        return HELD
    if again.payload == {**first.payload, "request_id": again.payload.get("request_id")}:
        return KEPT
    assert again.status == 200
    if "Idempotent-Replayed" not in again.headers:
        return FREE
    return KEPT if again.payload == first.payload else "keeps another invoice"


def test_the_matrix_is_large_and_the_docs_have_it() -> None:
    assert len(FAULTS) >= 25
    assert sum(api == "v2" for api, _ in RUNS) >= 25
    assert PAGE.read_text() == put_into(PAGE), "run `make docs`"
