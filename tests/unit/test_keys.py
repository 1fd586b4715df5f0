"""Idempotency keys: how they are read, what makes two requests one, and that a record keeps a reply exactly."""

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from invoicing import keys
from invoicing.contract.errors import (
    IdempotencyKeyReused,
    InternalError,
    InvalidRequest,
    InvoiceInProgress,
    OutcomeUnknown,
    ProviderUnavailable,
    ServiceNotConfigured,
)
from invoicing.contract.idempotency_key import parse_idempotency_key
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import DirectInvoiceRequest, DirectItemsRequest, InvoiceRequest, ItemsRequest
from invoicing.keys import KEY_LIFETIME_S, Delivery, IdempotencyKey, InvoiceRecords, fingerprint
from tests.unit.model_table import ModelTable


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("A-1001", "A-1001"),
        ('"A-1001"', "A-1001"),
        ("  A-1001\t", "A-1001"),
        (r'"a\"b\\c"', r"a\"b\c".replace(r"\"", '"')),
        ('A"1', 'A"1'),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
        ("!", "!"),
    ],
)
def test_a_key_is_read_bare_or_quoted(header: str, key: str) -> None:
    assert parse_idempotency_key(header) == key


@pytest.mark.parametrize(
    "header",
    [
        "",
        "   ",
        '""',
        "a b",
        '"a b"',
        "x" * 256,
        "clé",
        "a\tb",
        "\x7f",
        '"' + "x" * 256 + '"',
        "k,k",
        '"k","k"',
        "k, k",
        '"k,k"',
    ],
)
def test_what_is_no_key_is_refused_and_not_taken_for_none(header: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_idempotency_key(header)
    assert "Idempotency-Key" in refusal.value.fields[0].detail


@pytest.mark.parametrize(
    "same",
    [
        {"amount": "100.00", "currency": "EUR", "order_id": "A"},
        {"order_id": "A", "currency": "EUR", "amount": 100},
        {"amount": 100.0, "currency": "EUR", "order_id": "A", "email": None},
        {"amount": Decimal("1E+2"), "currency": "EUR", "order_id": "A", "shop_id": "ours"},
    ],
)
def test_the_same_request_written_otherwise_is_the_same(same: dict[str, Any]) -> None:
    first = InvoiceRequest.model_validate({"amount": Decimal("100.0"), "currency": "EUR", "order_id": "A"})
    assert fingerprint(InvoiceRequest.model_validate(same)) == fingerprint(first)


@pytest.mark.parametrize(
    "other",
    [
        {"amount": "100.01", "currency": "EUR"},
        {"amount": 100},
        {"amount": 100, "currency": "EUR", "order_id": "B"},
        {"amount": 100, "currency": "EUR", "email": "a@b.example"},
    ],
)
def test_another_request_is_another(other: dict[str, Any]) -> None:
    first = InvoiceRequest.model_validate({"amount": 100, "currency": "EUR"})
    assert fingerprint(InvoiceRequest.model_validate(other)) != fingerprint(first)


ITEMS = [{"id": "mug", "quantity": 2}, {"id": "tee-l"}]


@pytest.mark.parametrize(
    "same",
    [
        {"items": [{"id": "tee-l", "quantity": 1}, {"quantity": 2.0, "id": "mug"}]},
        {"items": ITEMS, "shop_id": "ours", "amount": None, "email": ""},
    ],
)
def test_the_same_items_written_otherwise_are_the_same_request(same: dict[str, Any]) -> None:
    assert fingerprint(ItemsRequest.model_validate(same)) == fingerprint(ItemsRequest.model_validate({"items": ITEMS}))
    with_key = DirectItemsRequest.model_validate({**same, "idempotency_key": "k"})
    assert fingerprint(with_key) == fingerprint(ItemsRequest.model_validate({"items": ITEMS}))


@pytest.mark.parametrize(
    "other",
    [
        {"items": [{"id": "mug", "quantity": 1}, {"id": "tee-l"}]},
        {"items": [{"id": "mug", "quantity": 2}]},
        {"items": [*ITEMS, {"id": "hat"}]},
        {"items": [{"id": "tee-l", "quantity": 2}, {"id": "mug"}]},
        {"items": ITEMS, "currency": "EUR"},
        {"items": ITEMS, "description": "A gift"},
    ],
)
def test_other_items_are_another_request(other: dict[str, Any]) -> None:
    assert fingerprint(ItemsRequest.model_validate(other)) != fingerprint(ItemsRequest.model_validate({"items": ITEMS}))


def test_a_direct_callers_key_is_not_part_of_the_request() -> None:
    with_key = DirectInvoiceRequest.model_validate({"amount": 1, "idempotency_key": "k"})
    assert fingerprint(with_key) == fingerprint(InvoiceRequest.model_validate({"amount": 1}))


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, 17, "é"])
def test_a_direct_callers_key_has_the_rule_of_the_header(key: object) -> None:
    with pytest.raises(ValueError, match="idempotency_key"):
        DirectInvoiceRequest.model_validate({"amount": 1, "idempotency_key": key})


def test_the_id_in_the_log_is_that_of_the_record_and_not_the_key() -> None:
    assert IdempotencyKey("http", "A-1001").record_id == "http#" + hashlib.sha256(b'"A-1001"').hexdigest()


def test_no_two_name_spaces_share_a_record() -> None:
    ids = {IdempotencyKey(name_space, "A-1001").record_id for name_space in ("http", "direct", "direct-key")}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ({"amount": 1}, "f6c1da11ce20394d8158cc3b86dfbd20eb90b893dcc0c70289cf681d639155d0"),
        (
            {"amount": "19.90", "currency": "EUR", "order_id": "Ä-1", "email": "a@b.example", "description": "x\ny"},
            "b04f3a23ba24ecbcde05138c8c6e3de147b2a9aab0dc6b143a87291ba8a0e69c",
        ),
    ],
)
def test_a_request_has_the_fingerprint_that_the_first_release_gave_it(fields, known) -> None:
    assert fingerprint(InvoiceRequest.model_validate(fields)) == known


INVOICE = Invoice(
    pay_url="https://pay.cryptocloud.plus/DZLF4212",
    invoice_id="DZLF4212",
    currency="BTC",
    amount=Decimal("100.10"),
    amount_usd="100.10",
)
KEY = IdempotencyKey("http", "k")
REQUEST = InvoiceRequest.model_validate({"amount": 1})


class Failing(ModelTable):
    """A table that answers an operation with an error."""

    def __init__(self, operation: str, error: Exception) -> None:
        super().__init__()
        setattr(self, operation, self._fail)
        self.error = error

    def _fail(self, **_: Any) -> None:
        raise self.error


def answered(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "write")


def unanswered() -> ReadTimeoutError:
    return ReadTimeoutError(endpoint_url="")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(keys, "metrics", SimpleNamespace(add_metric=lambda name, *_: names.append(name)))
    return names


def deliver(table: ModelTable, outcome: Invoice | Exception = INVOICE, *, clock: Callable[[], float] = time.time):
    def create() -> Invoice:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return InvoiceRecords("table", table, clock=clock).deliver_once(KEY, REQUEST, create, remaining_s=lambda: 20)


def test_a_record_keeps_the_reply_exactly() -> None:
    table = ModelTable()
    deliver(table)
    again = deliver(table, AssertionError("created again"))
    assert again.replayed
    assert repr(again.invoice) == repr(INVOICE)


def test_a_key_is_free_after_a_failure_and_after_its_day() -> None:
    table, now_s = ModelTable(), 1_000_000.0
    with pytest.raises(OutcomeUnknown):
        deliver(table, OutcomeUnknown(), clock=lambda: now_s)
    now_s += 0.002
    assert not deliver(table, clock=lambda: now_s).replayed
    now_s += KEY_LIFETIME_S
    assert deliver(table, clock=lambda: now_s).replayed
    now_s += 1
    assert not deliver(table, clock=lambda: now_s).replayed


@pytest.mark.parametrize("error", [answered("ThrottlingException"), answered("InternalServerError"), unanswered()])
def test_a_table_that_fails_before_the_call_creates_nothing(error, counted) -> None:
    with pytest.raises(ProviderUnavailable):
        deliver(Failing("put_item", error), AssertionError("created"))
    assert counted == []


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException", "ValidationException"])
def test_a_table_that_will_never_take_a_claim_is_not_worth_trying_again(code) -> None:
    with pytest.raises(ServiceNotConfigured) as failure:
        deliver(Failing("put_item", answered(code)), AssertionError("created"))
    assert code in failure.value.reason


@pytest.mark.parametrize("error", [unanswered(), answered("ConditionalCheckFailedException"), RuntimeError("a bug")])
def test_a_created_invoice_is_delivered_and_counted_if_its_record_is_lost(error, counted) -> None:
    assert deliver(Failing("update_item", error)) == Delivery(INVOICE, replayed=False)
    assert counted == ["RecordLost"]


def test_an_invoice_whose_key_another_request_took_is_counted_as_lost_and_leaves_that_requests_record(counted) -> None:
    table, now_s = ModelTable(), 1_000_000.0
    first = Invoice(pay_url="https://pay.cryptocloud.plus/A", invoice_id="A")

    def clock() -> float:
        return now_s

    def slow() -> Invoice:
        nonlocal now_s
        now_s += 21  # longer than the claim holds
        deliver(table, clock=clock)
        return first

    records = InvoiceRecords("table", table, clock=clock)
    assert records.deliver_once(KEY, REQUEST, slow, remaining_s=lambda: 20).invoice == first
    assert counted == ["RecordLost"]
    assert deliver(table, clock=clock).invoice == INVOICE


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (unanswered(), ["KeyNotReleased"]),
        (RuntimeError(), ["KeyNotReleased"]),
        (answered("ConditionalCheckFailedException"), []),
    ],
)
def test_a_failure_is_reported_as_it_was_whatever_becomes_of_the_key(error, names, counted) -> None:
    with pytest.raises(OutcomeUnknown):
        deliver(Failing("update_item", error), OutcomeUnknown())
    assert counted == names


def test_a_key_that_is_not_released_is_in_the_log_with_what_the_table_said(log) -> None:
    with pytest.raises(OutcomeUnknown):
        deliver(Failing("update_item", answered("ThrottlingException")), OutcomeUnknown())
    assert [(line["level"], line["message"], line["reason"]) for line in log()] == [
        ("WARNING", "idempotency key not released", "table not written: ThrottlingException")
    ]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ThrottlingException", "table not written: ThrottlingException"),
        ("ConditionalCheckFailedException", "another request took the key"),
    ],
)
def test_a_record_that_is_lost_is_in_the_log_with_its_invoice_and_why(log, code: str, reason: str) -> None:
    deliver(Failing("update_item", answered(code)))
    assert [(line["level"], line["message"], line["invoice_id"], line["reason"]) for line in log()] == [
        ("ERROR", "idempotency record lost", "DZLF4212", reason)
    ]


def test_a_second_request_beside_the_first_is_sent_away_and_so_is_another_body_under_the_key() -> None:
    table = ModelTable()

    def create() -> Invoice:
        with pytest.raises(InvoiceInProgress):
            deliver(table, AssertionError("created beside the first"))
        return INVOICE

    records = InvoiceRecords("table", table)
    assert records.deliver_once(KEY, REQUEST, create, remaining_s=lambda: 20).invoice == INVOICE
    other = InvoiceRequest.model_validate({"amount": 2})
    with pytest.raises(IdempotencyKeyReused):
        records.deliver_once(KEY, other, lambda: pytest.fail("created"), remaining_s=lambda: 20)


def test_nobody_claims_over_their_own_token_even_if_the_clock_was_set_back() -> None:
    table, now_s = Recording(), 1_000_000.0

    def failing() -> Invoice:
        nonlocal now_s
        now_s -= 5
        raise OutcomeUnknown

    records = InvoiceRecords("table", table, clock=lambda: now_s)
    with pytest.raises(OutcomeUnknown):
        records.deliver_once(KEY, REQUEST, failing, remaining_s=lambda: 20)
    with pytest.raises(ClientError):
        ModelTable.put_item(table, **table.claims[0])


class Recording(ModelTable):
    """A table that keeps the claims that were sent to it."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[dict[str, Any]] = []

    def put_item(self, **write: Any) -> None:
        self.claims.append(write)
        super().put_item(**write)


def damaged() -> dict[str, dict[str, Any]]:
    """The ways in which a record can be other than one that a release of this project wrote."""
    replies = {
        "no JSON": "{",
        "no object": "[]",
        "no payload": "{}",
        "payload is no text": '{"payload": {"invoice_id": "X"}}',
        "payload is no JSON": '{"payload": "<html>"}',
        "payload is nested too deeply": json.dumps({"payload": "[" * 100_000}),
        "no link": json.dumps({"payload": '{"invoice_id": "X"}'}),
        "a link that is none": json.dumps({"payload": '{"invoice_id": "X", "pay_url": "javascript:alert(1)"}'}),
        "an amount that is none": json.dumps(
            {"payload": '{"invoice_id": "X", "pay_url": "https://pay.cryptocloud.plus/X", "amount": []}'}
        ),
    }
    far_ms = str(10**15)
    return {
        **{name: {"data": {"S": reply}} for name, reply in replies.items()},
        "no reply": {"data": None},
        "a reply that is no text": {"data": {"N": "1"}},
        "no status": {"status": None},
        "another status": {"status": {"S": "EXPIRED"}},
        "a status that is no text": {"status": {"N": "1"}},
        "no fingerprint": {"validation": None},
        "a fingerprint that is no sha256": {"validation": {"S": "whatever"}},
        "a fingerprint that is no text": {"validation": {"N": "1"}},
        "no expiration": {"expiration": None},
        "an expiration that is no number": {"expiration": {"S": "1"}},
        "in progress without an end": {"status": {"S": "INPROGRESS"}, "in_progress_expiration": None},
        "in progress until no number": {"status": {"S": "INPROGRESS"}, "in_progress_expiration": {"S": far_ms}},
        "in progress for ever": {"status": {"S": "INPROGRESS"}, "in_progress_expiration": {"N": far_ms}},
    }


@pytest.mark.parametrize("damage", damaged())
def test_a_damaged_record_is_our_fault_and_the_log_names_it(damage, counted) -> None:
    table = ModelTable()
    deliver(table)
    record = {**table.items[KEY.record_id], **damaged()[damage]}
    table.items[KEY.record_id] = {name: value for name, value in record.items() if value is not None}
    with pytest.raises(InternalError) as failure:
        deliver(table, AssertionError("created"))
    assert KEY.record_id in failure.value.reason
    assert "DZLF4212" not in failure.value.reason
    assert failure.value.__cause__ is None
    assert counted == []


def test_times_are_the_same_whatever_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    # In Berlin the clocks go from 3:00 back to 2:00: 2:30 is twice, at 0:30 and at 1:30 UTC.
    first_s = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    found = []
    for zone in ("UTC", "Europe/Berlin"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            for now_s in (first_s, first_s + 3600):
                table = ModelTable()
                deliver(table, clock=lambda now_s=now_s: now_s)
                record = table.items[KEY.record_id]
                found.append(
                    (
                        zone,
                        float(record["expiration"]["N"]) - now_s,
                        float(record["in_progress_expiration"]["N"]) / 1000 - now_s,
                    )
                )
        finally:
            monkeypatch.undo()
            time.tzset()
    assert {times for _, *times in map(tuple, found) for times in [tuple(times)]} == {(KEY_LIFETIME_S, 20)}


def test_an_invoice_that_is_delivered_again_is_counted_and_logged(counted, log) -> None:
    table = ModelTable()
    deliver(table)
    assert counted == []
    deliver(table, AssertionError("created again"))
    assert counted == ["InvoiceReplayed"]
    [line] = log()
    assert (line["level"], line["message"], line["invoice_id"]) == ("INFO", "invoice replayed", "DZLF4212")


@pytest.mark.parametrize(
    ("error", "is_released"),
    [
        (unanswered(), True),
        (answered("ThrottlingException"), True),
        (ConnectTimeoutError(endpoint_url=""), False),
        (EndpointConnectionError(endpoint_url=""), False),
    ],
)
def test_a_claim_that_may_have_arrived_is_released_and_one_that_was_never_sent_is_not(error, is_released) -> None:
    table = Failing("put_item", error)
    with pytest.raises(ProviderUnavailable):
        deliver(table, AssertionError("created"))
    assert (KEY.record_id in table.items) is is_released


@pytest.mark.parametrize(("over_ms", "outcome"), [(0, InvoiceInProgress), (1, InternalError)])
def test_a_claim_of_lambdas_15_minutes_is_in_progress_and_a_longer_one_is_damaged(over_ms, outcome) -> None:
    table, now_s = ModelTable(), 1_000_000

    def create() -> Invoice:
        table.items[KEY.record_id]["in_progress_expiration"] = {"N": str((now_s + 15 * 60) * 1000 + over_ms)}
        with pytest.raises(outcome):
            deliver(table, AssertionError("created beside the first"), clock=lambda: now_s)
        return INVOICE

    InvoiceRecords("table", table, clock=lambda: now_s).deliver_once(KEY, REQUEST, create, remaining_s=lambda: 20)
