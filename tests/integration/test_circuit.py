"""The circuit breaker in the running function: fast refusals while the provider is down, and back by itself."""

import time

from invoicing.circuit import FAILURE_THRESHOLD, RECOVERY_TIMEOUT_S, STATE_CACHE_S
from tests.support.metrics import metrics_in


def test_the_circuit_opens_refuses_at_once_and_closes_after_one_probe(start_stack) -> None:
    stack = start_stack(sandboxes=1)
    stack.misbehave("html", times=FAILURE_THRESHOLD)
    for _ in range(FAILURE_THRESHOLD):
        assert stack.post({"amount": 1}).payload["code"] == "outcome_unknown"

    refused = stack.post({"amount": 1})
    assert refused.payload["code"] == "provider_unavailable"
    assert 1 <= int(refused.headers["Retry-After"]) <= RECOVERY_TIMEOUT_S
    assert stack.invoke({"amount": 1}).error_type == "ProviderUnavailable"
    assert len(stack.seen()["calls"]) == FAILURE_THRESHOLD

    # The recovery time passes at once, by the record; the sandbox reads it when its cache ends.
    stack.table.update_item(
        Key={"id": "circuit#cryptocloud"},
        UpdateExpression="SET opened_at = :past",
        ExpressionAttributeValues={":past": int(time.time()) - RECOVERY_TIMEOUT_S - 1},
    )
    give_up_s = time.monotonic() + STATE_CACHE_S + 5
    while stack.post({"amount": 1}).status != 200:
        assert time.monotonic() < give_up_s
    assert stack.post({"amount": 1}).status == 200
    assert len(stack.seen()["calls"]) == FAILURE_THRESHOLD + 2

    names = [name for metric in metrics_in(stack.log_text()) for name in metric]
    assert (names.count("CircuitOpened"), names.count("CircuitClosed")) == (1, 1)
    assert '"message":"circuit opened"' in stack.log_text()
    assert '"message":"circuit closed"' in stack.log_text()


def test_no_caller_can_shut_the_others_out_with_requests_that_the_provider_refuses(start_stack) -> None:
    stack = start_stack(sandboxes=1)
    for code in (400, 401, 403, 404, 422, 302) * 2:
        stack.misbehave("status", value=code)
        stack.post({"amount": 1})
    assert stack.post({"amount": 1}).status == 200


def test_one_sandbox_that_opens_the_circuit_opens_it_for_all(start_stack) -> None:
    stack = start_stack(sandboxes=1)
    stack.table.put_item(
        Item={"id": "circuit#cryptocloud", "state": "OPEN", "failure_count": 3, "opened_at": int(time.time())}
    )
    assert stack.post({"amount": 1}).payload["code"] == "provider_unavailable"
    assert stack.seen()["calls"] == []


def test_a_table_that_is_down_stops_no_request_without_a_key(start_stack) -> None:
    stack = start_stack(sandboxes=1)
    stack.tell("/table/stop")
    assert stack.post({"amount": 1}).status == 200
    assert stack.invoke({"amount": 1}).error_type is None
