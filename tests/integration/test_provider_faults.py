"""The provider down and back, and what it says to the caller; the fault matrix has the rest."""


def test_one_request_may_ask_for_a_fault_by_itself(stack) -> None:
    answer = stack.post({"amount": 1, "description": "sandbox:status=503"})
    assert answer.problem["code"] == "provider_unavailable"
    assert len(stack.seen()["calls"]) == 3


def test_the_providers_retry_after_reaches_the_caller(stack) -> None:
    stack.misbehave("status", value=429, retry_after="60")
    assert stack.post({"amount": 1}).headers["Retry-After"] == "60"


def test_a_provider_that_is_down_has_created_nothing_and_is_found_again(stack, way_in) -> None:
    assert way_in(stack, {"amount": 1}).payload["status"] == "success"
    stack.tell("/provider/stop")
    try:
        assert way_in(stack, {"amount": 1}).problem["code"] == "provider_unavailable"
    finally:
        stack.tell("/provider/start")
    assert way_in(stack, {"amount": 1}).payload["status"] == "success"
    assert len(stack.seen()["calls"]) == 2


def test_a_connection_that_was_cut_while_idle_is_not_used_again(stack) -> None:
    for _ in range(3):
        assert stack.post({"amount": 1}).status == 200
        stack.tell("/provider/stop")
        stack.tell("/provider/start")
    assert stack.post({"amount": 1}).status == 200
    assert len(stack.seen()["calls"]) == 4
