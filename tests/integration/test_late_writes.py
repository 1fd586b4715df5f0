"""Writes of a key's record that come late, twice or unanswered: never a second invoice, and nobody waits in vain."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from invoicing.keys import IdempotencyKey
from tests.support.metrics import metrics_in
from tests.support.stack import PROVIDER_TIMEOUT_S, Stack


def hold(stack: Stack, operation: str, *fates: str) -> None:
    for fate in fates:
        stack.tell("/table/fail", operation=operation, error=fate)


def fail(stack: Stack, key: str) -> None:
    """A first try, which the provider answers with 500: its claim is released."""
    stack.misbehave("status", value=500)
    assert stack.post({"amount": 1}, key=key).payload["code"] == "outcome_unknown"


def counted(stack: Stack, log_before: int) -> set[str]:
    return {name for metric in metrics_in(stack.log_text()[log_before:]) for name in metric}


def test_a_release_that_comes_after_its_own_repetition_leaves_the_next_tries_invoice(stack, fresh) -> None:
    hold(stack, "UpdateItem", "held")  # botocore sends it again, and that one arrives
    fail(stack, fresh)
    second = stack.post({"amount": 1}, key=fresh)
    assert second.status == 200
    stack.tell("/table/let_go")
    third = stack.post({"amount": 1}, key=fresh)
    assert third.payload == second.payload
    assert third.headers["Idempotent-Replayed"] == "true"
    assert len(stack.seen()["invoices"]) == 1


def test_a_release_that_is_repeated_after_another_tab_was_served_leaves_that_tabs_invoice(stack, fresh) -> None:
    hold(stack, "UpdateItem", "lost", "held")  # applied, unanswered; its repetition comes late
    log_before = len(stack.log_text())
    fail(stack, fresh)
    assert "KeyNotReleased" in counted(stack, log_before)
    second = stack.post({"amount": 1}, key=fresh)
    assert second.status == 200
    stack.tell("/table/let_go")
    assert stack.post({"amount": 1}, key=fresh).payload == second.payload
    assert len(stack.seen()["invoices"]) == 1


def test_a_release_that_comes_while_the_second_try_runs_lets_no_third_one_in(stack, fresh) -> None:
    hold(stack, "UpdateItem", "lost", "held")
    fail(stack, fresh)
    stack.misbehave("slow", value=PROVIDER_TIMEOUT_S - 0.5)
    calls_before = len(stack.seen()["calls"])
    with ThreadPoolExecutor(1) as tab:
        second = tab.submit(stack.post, {"amount": 1}, key=fresh)
        while len(stack.seen()["calls"]) == calls_before:
            pass  # until the second try is at the provider
        stack.tell("/table/let_go")
        assert stack.post({"amount": 1}, key=fresh).payload["code"] == "invoice_in_progress"
    assert second.result().status == 200
    assert stack.post({"amount": 1}, key=fresh).payload == second.result().payload
    assert len(stack.seen()["invoices"]) == 1


def test_a_claim_that_comes_again_after_its_release_holds_nobody_up(stack, fresh) -> None:
    hold(stack, "PutItem", "repeated")
    fail(stack, fresh)
    stack.tell("/table/let_go")
    assert stack.post({"amount": 1}, key=fresh).status == 200


def test_a_claim_that_comes_again_after_another_try_has_failed_too_holds_nobody_up(stack, fresh) -> None:
    hold(stack, "PutItem", "repeated")
    fail(stack, fresh)
    fail(stack, fresh)
    stack.tell("/table/let_go")
    assert stack.post({"amount": 1}, key=fresh).status == 200


@pytest.mark.parametrize("fates", [("lost", "lost"), ("held", "held"), ("lost", "held")])
def test_a_claim_that_nobody_answered_is_ended_and_holds_nobody_up(stack, fresh, fates) -> None:
    hold(stack, "PutItem", *fates)
    assert stack.post({"amount": 1}, key=fresh).payload["code"] == "provider_unavailable"
    stack.tell("/table/let_go")
    assert stack.seen()["calls"] == []
    assert stack.post({"amount": 1}, key=fresh).status == 200


def test_a_completion_that_comes_twice_changes_nothing(stack, fresh) -> None:
    hold(stack, "UpdateItem", "lost", "repeated")
    log_before = len(stack.log_text())
    first = stack.post({"amount": 1}, key=fresh)
    stack.tell("/table/let_go")
    assert stack.post({"amount": 1}, key=fresh).payload == first.payload
    assert "RecordLost" not in counted(stack, log_before)


def test_a_completion_after_another_request_took_the_key_is_counted_and_does_not_take_its_record(stack, fresh) -> None:
    stack.misbehave("slow", value=PROVIDER_TIMEOUT_S - 0.5)
    log_before = len(stack.log_text())
    with ThreadPoolExecutor(1) as tab:
        first = tab.submit(stack.post, {"amount": 1}, key=fresh)
        while not stack.seen()["calls"]:
            pass  # until the first one is at the provider
        # As if its sandbox's clock were slow: the others find its claim run out.
        stack.table.update_item(
            Key={"id": IdempotencyKey("http", fresh).record_id},
            UpdateExpression="SET in_progress_expiration = :past",
            ExpressionAttributeValues={":past": 1},
        )
        second = stack.post({"amount": 1}, key=fresh)
    assert first.result().payload["invoice_id"] != second.payload["invoice_id"]
    assert "RecordLost" in counted(stack, log_before)
    assert stack.post({"amount": 1}, key=fresh).payload == second.payload
