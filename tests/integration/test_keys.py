"""One invoice per key: replays, twins, other bodies, lost records, and what a record holds."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from invoicing.keys import IdempotencyKey
from tests.support.account import API_KEY
from tests.support.metrics import metrics_in
from tests.support.stack import EMAIL, PROVIDER_TIMEOUT_S


def test_the_same_key_is_the_same_invoice_and_says_so(stack, fresh) -> None:
    first = stack.post({"amount": 100, "order_id": "A"}, key=fresh)
    again = stack.post({"order_id": "A", "amount": "100.00"}, key=f'"{fresh}"')
    assert first.status == again.status == 200
    assert first.payload == again.payload
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(stack.seen()["calls"]) == 1


@pytest.mark.parametrize("name", ["idempotency_key", "order_id"])
def test_a_direct_callers_key_is_its_key_or_else_its_order_id(stack, fresh, name) -> None:
    first, again = (stack.invoke({"amount": 1, name: fresh}) for _ in range(2))
    assert first.payload == again.payload
    assert len(stack.seen()["calls"]) == 1


def test_a_direct_callers_key_never_blocks_the_order_of_that_name(stack, fresh) -> None:
    other = stack.invoke({"amount": 2, "idempotency_key": fresh, "order_id": f"{fresh}-2"})
    order = stack.invoke({"amount": 1, "order_id": fresh})
    assert (other.error_type, order.error_type) == (None, None)
    assert other.payload["invoice_id"] != order.payload["invoice_id"]


def test_a_key_that_was_sent_twice_is_refused_and_not_another_key(stack, fresh) -> None:
    assert stack.post({"amount": 1}, key=fresh).status == 200
    answer = stack.post({"amount": 1}, key=f"{fresh},{fresh}")
    assert (answer.status, answer.payload["code"]) == (400, "invalid_request")
    assert "comma" in answer.payload["errors"][0]["detail"]
    assert len(stack.seen()["calls"]) == 1


@pytest.mark.parametrize(
    "damage", [{"validation": "whatever"}, {"status": "?"}, {"data": "{"}, {"data": 1}, {"validation": 1}]
)
def test_a_damaged_record_is_our_fault_and_the_log_says_which_one(stack, fresh, damage) -> None:
    record_id = IdempotencyKey("http", fresh).record_id
    stack.post({"amount": 1}, key=fresh)
    record = stack.table.get_item(Key={"id": record_id})["Item"]
    stack.table.put_item(Item={**record, **damage})
    log_before = len(stack.log_text())
    answer = stack.post({"amount": 1}, key=fresh)
    assert (answer.status, answer.payload["code"], answer.payload["retryable"]) == (500, "internal_error", False)
    log = stack.log_text()[log_before:]
    assert f"the idempotency record {record_id} is damaged" in log
    assert any("InternalError" in metric for metric in metrics_in(log))
    assert len(stack.seen()["calls"]) == 1


def test_a_direct_callers_key_goes_before_its_order_id(stack, fresh) -> None:
    first = stack.invoke({"amount": 1, "order_id": fresh, "idempotency_key": f"{fresh}-1"})
    other = stack.invoke({"amount": 1, "order_id": fresh, "idempotency_key": f"{fresh}-2"})
    assert first.payload["invoice_id"] != other.payload["invoice_id"]


def test_an_order_id_is_no_key_over_http(stack, fresh) -> None:
    first, other = (stack.post({"amount": 1, "order_id": fresh}) for _ in range(2))
    assert first.payload["invoice_id"] != other.payload["invoice_id"]


def test_the_two_ways_in_never_share_a_key(stack, fresh) -> None:
    over_http = stack.post({"amount": 1}, key=fresh)
    directly = stack.invoke({"amount": 1, "idempotency_key": fresh})
    assert over_http.payload["invoice_id"] != directly.payload["invoice_id"]


@pytest.mark.parametrize("other", [{"amount": 2}, {"amount": 1, "currency": "EUR"}, {"amount": 1, "email": EMAIL}])
def test_the_same_key_with_another_body_is_refused(stack, fresh, other) -> None:
    assert stack.post({"amount": 1}, key=fresh).status == 200
    answer = stack.post(other, key=fresh)
    assert (answer.status, answer.payload["code"]) == (422, "idempotency_key_reused")
    assert stack.invoke({"amount": 1, "idempotency_key": fresh}).error_type is None
    assert stack.invoke({**other, "idempotency_key": fresh}).error_type == "IdempotencyKeyReused"
    assert len(stack.seen()["calls"]) == 2


def test_a_request_beside_a_running_one_with_its_key_must_wait(stack, fresh) -> None:
    for create, error in (
        (lambda: stack.post({"amount": 1}, key=fresh), lambda answer: answer.payload.get("code")),
        (lambda: stack.invoke({"amount": 1, "idempotency_key": fresh}), lambda answer: answer.error_type),
    ):
        # Long enough for the twin to find the first still running, although its sandbox may have to start first.
        stack.misbehave("slow", value=PROVIDER_TIMEOUT_S - 0.5)
        calls_before = len(stack.seen()["calls"])
        with ThreadPoolExecutor(1) as caller:
            running = caller.submit(create)
            while len(stack.seen()["calls"]) == calls_before:
                pass  # until the first one is at the provider
            twin = create()
        assert error(twin) in ("invoice_in_progress", "InvoiceInProgress")
        assert twin.error_type or twin.headers["Retry-After"] == "1"
        assert running.result().payload == create().payload


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, '""'])
def test_a_key_that_is_none_is_refused(stack, key) -> None:
    answer = stack.post({"amount": 1}, key=key)
    assert (answer.status, answer.payload["code"]) == (400, "invalid_request")
    assert stack.seen()["calls"] == []


def test_an_invoice_costs_one_table_call_and_its_key_two_more(start_stack, fresh) -> None:
    stack = start_stack()
    stack.post({"amount": 1})
    stack.invoke({"amount": 1})
    assert stack.calls_of("table") == {"PutItem": 2}
    stack.post({"amount": 1}, key=fresh)
    assert stack.calls_of("table") == {"PutItem": 4, "UpdateItem": 1}
    assert stack.calls_of("secrets") == {"GetSecretValue": 1}


def test_a_record_holds_neither_key_nor_email_and_ends_after_a_day(stack, fresh) -> None:
    request = {"amount": 1, "email": EMAIL, "order_id": fresh}
    stack.post(request, key=fresh)
    text = json.dumps(stack.records(), default=str)
    assert EMAIL not in text
    assert API_KEY not in text
    assert fresh not in text
    [record] = [record for record in stack.records() if record["id"] == IdempotencyKey("http", fresh).record_id]
    assert record["status"] == "COMPLETED"
    assert 0 <= time.time() + 24 * 60 * 60 - float(record["expiration"]) < 60
    # The claim ends with the invocation: the library knew its context.
    assert float(record["in_progress_expiration"]) / 1000 - time.time() < 28


def test_a_key_is_free_after_its_day_though_the_record_is_still_there(stack, fresh) -> None:
    first = stack.post({"amount": 1}, key=fresh)
    stack.table.update_item(
        Key={"id": IdempotencyKey("http", fresh).record_id},
        UpdateExpression="SET expiration = :past",
        ExpressionAttributeValues={":past": int(time.time()) - 60},
    )
    again = stack.post({"amount": 1}, key=fresh)
    assert again.status == 200
    assert again.payload["invoice_id"] != first.payload["invoice_id"]


def test_a_claim_whose_sandbox_died_ends_with_its_lambda_timeout(stack, fresh) -> None:
    record = {"id": IdempotencyKey("http", fresh).record_id, "status": "INPROGRESS", "validation": "whatever"}
    times = {"expiration": int(time.time()) + 60, "in_progress_expiration": int(time.time() * 1000) - 1}
    stack.table.put_item(Item={**record, **times})
    assert stack.post({"amount": 1}, key=fresh).status == 200


def test_a_created_invoice_is_delivered_although_its_record_is_lost(stack, fresh) -> None:
    stack.tell("/table/fail", operation="UpdateItem", times=2)
    log_before = len(stack.log_text())
    answer = stack.post({"amount": 1}, key=fresh)
    assert answer.status == 200
    assert len(stack.seen()["invoices"]) == 1
    log = stack.log_text()[log_before:]
    assert '"message":"idempotency record lost"' in log
    assert any("RecordLost" in metric for metric in metrics_in(log))


def test_a_failure_is_reported_as_it_was_although_the_key_could_not_be_released(stack, fresh) -> None:
    stack.tell("/table/fail", operation="UpdateItem", times=2)
    stack.misbehave("status", value=400)
    log_before = len(stack.log_text())
    assert stack.post({"amount": 1}, key=fresh).payload["code"] == "invoice_rejected"
    names = {name for metric in metrics_in(stack.log_text()[log_before:]) for name in metric}
    assert "KeyNotReleased" in names
    assert "RecordLost" not in names


def test_a_claim_whose_answer_was_lost_is_known_again_and_a_strangers_is_not(stack, fresh) -> None:
    stack.tell("/table/fail", operation="PutItem", error="lost")
    first = stack.post({"amount": 1}, key=fresh)
    assert first.status == 200
    assert stack.post({"amount": 1}, key=fresh).payload == first.payload
    assert len(stack.seen()["calls"]) == 1


def test_replays_and_unknown_outcomes_leave_what_reconciling_needs(stack, fresh) -> None:
    stack.misbehave("html")
    log_before = len(stack.log_text())
    stack.post({"amount": 1, "order_id": fresh}, key=fresh)
    stack.post({"amount": 1, "order_id": fresh}, key=fresh)
    stack.post({"amount": 1, "order_id": fresh}, key=fresh)
    lines = [json.loads(line) for line in stack.log_text()[log_before:].splitlines() if '"message"' in line]
    events = [(line["message"], line.get("code")) for line in lines]
    assert events == [("invoice not created", "outcome_unknown"), ("invoice created", None), ("invoice replayed", None)]
    assert {line["order_id"] for line in lines} == {fresh}
    assert {line["idempotency_record"] for line in lines} == {IdempotencyKey("http", fresh).record_id}
    names = {name for metric in metrics_in(stack.log_text()[log_before:]) for name in metric}
    assert {"OutcomeUnknown", "InvoiceCreated", "InvoiceReplayed"} <= names


def test_fifty_requests_with_one_key_are_one_invoice(start_stack, fresh) -> None:
    stack = start_stack(sandboxes=6)
    stack.misbehave("slow", value=0.3)
    with ThreadPoolExecutor(50) as callers:
        answers = list(callers.map(lambda _: stack.post({"amount": 1}, key=fresh), range(50)))
    assert {answer.status for answer in answers} <= {200, 409}
    delivered = {answer.payload["invoice_id"] for answer in answers if answer.status == 200}
    seen = stack.seen()
    assert len(seen["calls"]) == 1
    assert delivered == set(seen["invoices"])
