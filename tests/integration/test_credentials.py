"""The key rotated and Secrets Manager stopped while invoices are created."""

import json
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from tests.support.account import SHOP_ID
from tests.support.stack import Stack


@pytest.fixture
def own_stack(start_stack) -> Stack:
    return start_stack()


def fill(stack: Stack, api_key: str) -> None:
    stack.tell("/secrets/fill", secret_string=json.dumps({"api_key": api_key, "shop_id": SHOP_ID}))


def test_a_key_rotated_in_mid_run_costs_no_invoice(own_stack) -> None:
    with ThreadPoolExecutor(4) as callers:
        running = [callers.submit(own_stack.post, {"amount": 1}) for _ in range(40)]
        next(as_completed(running))
        fill(own_stack, "rotated-key")
        own_stack.tell("/provider/rotate", api_key="rotated-key")
        running += [callers.submit(own_stack.post, {"amount": 1}) for _ in range(40)]
        answers = [future.result() for future in running]
    assert {answer.status for answer in answers} == {200}
    seen = own_stack.seen()
    assert len(seen["invoices"]) == 80
    assert {call["authorization"] for call in seen["calls"]} == {"Token local-api-key", "Token rotated-key"}
    assert "rotated-key" not in own_stack.log_text()


def test_invoices_are_created_from_the_cached_secret_while_secrets_manager_is_down(own_stack, way_in) -> None:
    assert way_in(own_stack, {"amount": 1}).payload["status"] == "success"
    own_stack.tell("/secrets/stop")
    for _ in range(5):
        assert way_in(own_stack, {"amount": 1}).payload["status"] == "success"
    # Even a 401, which reads the secret past the cache, says what the provider said.
    own_stack.misbehave("status", value=401)
    assert way_in(own_stack, {"amount": 1}).problem["code"] == "provider_credentials_rejected"
    assert way_in(own_stack, {"amount": 1}).payload["status"] == "success"


def test_a_sandbox_that_started_without_secrets_manager_serves_as_soon_as_it_is_back(own_stack, way_in) -> None:
    own_stack.tell("/secrets/stop")
    answer = way_in(own_stack, {"amount": 1})
    assert answer.problem["code"] == "provider_unavailable"
    own_stack.tell("/secrets/start")
    assert way_in(own_stack, {"amount": 1}).payload["status"] == "success"
    assert len(own_stack.seen()["calls"]) == 1
