"""A provider that hangs, and what the running function makes of it."""

import time

from tests.support.metrics import total

PROVIDER_TIMEOUT_S = 8
SHORT_S = 2
# For what else a request takes on a machine that is busy.
AROUND_THE_CALL_S = 3


def test_the_fourth_call_that_hangs_is_answered_in_a_quarter_of_the_time_and_one_answer_ends_that(start_stack) -> None:
    stack = start_stack(parameters={"ProviderTimeout": str(PROVIDER_TIMEOUT_S)}, sandboxes=1)
    stack.misbehave("slow", value=30, times=4)
    took_s = []
    for _ in range(4):
        started_s = time.monotonic()
        assert stack.post({"amount": 1}).payload["code"] == "outcome_unknown"
        took_s.append(time.monotonic() - started_s)
    assert min(took_s[:3]) >= PROVIDER_TIMEOUT_S - 0.1
    assert SHORT_S - 0.1 <= took_s[3] < SHORT_S + AROUND_THE_CALL_S
    assert total(stack.log_text(), "Impatient") == 1

    # Nobody was refused: each of them was sent.
    assert len(stack.seen()["calls"]) == 4
    stack.misbehave("status", value=500)
    assert stack.post({"amount": 1}).payload["code"] == "outcome_unknown"
    stack.misbehave("slow", value=SHORT_S + 1)
    assert stack.post({"amount": 1}).status == 200
    assert total(stack.log_text(), "Impatient") == 2


def test_no_caller_can_shut_the_others_out_with_requests_that_fail(start_stack) -> None:
    stack = start_stack(sandboxes=1)
    for code in (400, 401, 403, 404, 422, 302, 500, 502) * 2:
        stack.misbehave("status", value=code)
        stack.post({"amount": 1})
    assert stack.post({"amount": 1}).status == 200
    assert total(stack.log_text(), "Impatient") == 0


def test_a_table_that_is_down_stops_no_request_without_a_key(start_stack) -> None:
    stack = start_stack(sandboxes=1)
    stack.tell("/table/stop")
    assert stack.post({"amount": 1}).status == 200
    assert stack.invoke({"amount": 1}).error_type is None
