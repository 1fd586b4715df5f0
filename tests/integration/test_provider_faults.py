"""The provider slow, down and lying: what the caller hears, how often the provider was called, and in which time."""

import time
from typing import Any

import pytest

from tests.integration.conftest import PROVIDER_TIMEOUT_S

FAULTS: list[tuple[dict[str, Any], str | None, int]] = [
    # fault, the error code or None for an invoice, calls that the provider saw
    ({"fault": "slow", "value": 0.3}, None, 1),
    ({"fault": "slow", "value": 30}, "outcome_unknown", 1),
    ({"fault": "refuse"}, "outcome_unknown", 1),
    ({"fault": "reset"}, "outcome_unknown", 1),
    ({"fault": "html"}, "outcome_unknown", 1),
    ({"fault": "truncated"}, "outcome_unknown", 1),
    ({"fault": "huge"}, "outcome_unknown", 1),
    ({"fault": "redirect"}, "outcome_unknown", 1),
    ({"fault": "foreign"}, "outcome_unknown", 1),
    ({"fault": "no_pay_url"}, "outcome_unknown", 1),
    ({"fault": "status", "value": 400}, "invoice_rejected", 1),
    ({"fault": "status", "value": 401}, "provider_credentials_rejected", 1),
    ({"fault": "status", "value": 403}, "outcome_unknown", 1),
    ({"fault": "status", "value": 406}, None, 2),
    ({"fault": "status", "value": 406, "times": 9}, "provider_unavailable", 3),
    ({"fault": "status", "value": 429}, None, 2),
    ({"fault": "status", "value": 429, "retry_after": "1"}, None, 2),
    ({"fault": "status", "value": 429, "retry_after": "60", "times": 9}, "provider_unavailable", 1),
    ({"fault": "status", "value": 500}, "outcome_unknown", 1),
    ({"fault": "status", "value": 502}, "outcome_unknown", 1),
    ({"fault": "status", "value": 503}, None, 2),
    ({"fault": "status", "value": 503, "times": 9}, "provider_unavailable", 3),
    ({"fault": "status", "value": 504}, "outcome_unknown", 1),
]


@pytest.mark.parametrize(("fault", "code", "calls"), FAULTS)
def test_a_fault_has_one_meaning_and_only_what_was_not_created_is_tried_again(
    stack, way_in, fault, code, calls
) -> None:
    stack.misbehave(**fault)
    started_s = time.monotonic()
    answer = way_in(stack, {"amount": 1})
    assert time.monotonic() - started_s < PROVIDER_TIMEOUT_S + 1  # the deadline, and our own work
    if code:
        assert answer.problem["code"] == code
    else:
        assert answer.payload["status"] == "success"
    assert len(stack.seen()["calls"]) == calls


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
