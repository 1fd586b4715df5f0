"""The table of invoices: whatever arrives late, twice or not at all, a status only goes forward and no news is lost."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from invoicing.contract.errors import InternalError, ProviderUnavailable, ServiceNotConfigured
from invoicing.contract.statuses import DELIVERABLE, STATUSES, lower_than, status_or_none
from invoicing.invoice_record import NOW, SCHEDULE_S, SHARDS, InvoiceRecord, new_item, next_due_s, shard_of
from invoicing.invoices import ASK_AGAIN_AFTER_S, MAX_READ_AT_ONCE, InvoiceTable
from tests.support.samples import Clock
from tests.support.tables import table

ID = "DZLF4212"
DAY_S = 24 * 60 * 60
RANKS = {"created": 0, "partial": 1, "canceled": 2, "paid": 3, "overpaid": 3}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    with table("InvoiceTable") as client:
        yield client


@pytest.fixture
def client(account: Any) -> Any:
    for item in account.scan(TableName="InvoiceTable")["Items"]:
        account.delete_item(TableName="InvoiceTable", Key={"invoice_id": item["invoice_id"]})
    return account


@pytest.fixture
def invoices(client: Any, clock: Clock) -> InvoiceTable:
    return InvoiceTable("InvoiceTable", client, clock=clock)


def created(clock: Clock, invoice_id: str = ID, **changes: Any) -> InvoiceRecord:
    fields: dict[str, Any] = {"amount": "19.99", "currency": "USD", "api": "v1", "order_id": "A-1001", **changes}
    return InvoiceRecord(invoice_id=invoice_id, created_s=int(clock()), **fields)


def record(invoices: InvoiceTable, invoice: InvoiceRecord) -> None:
    invoices.record(new_item(invoice, retention_s=90 * DAY_S))


def due(invoices: InvoiceTable) -> dict[str, str]:
    """The queue that each due invoice is in."""
    return {invoice_id: queue for queue in (NOW, *SHARDS) for invoice_id, _ in invoices.due(queue)}


def test_an_invoice_is_kept_as_it_was_asked_for(invoices, clock, client) -> None:
    record(invoices, created(clock, items=(("mug", 1), ("tee-l", 2))))
    assert invoices.read(ID) == created(clock, items=(("mug", 1), ("tee-l", 2)), due_s=int(clock()) + SCHEDULE_S[0],
                                        late_since_s=int(clock()) + SCHEDULE_S[0],
                                        seen_s={"created": int(clock())})  # fmt: skip
    item = client.get_item(TableName="InvoiceTable", Key={"invoice_id": {"S": ID}})["Item"]
    assert item["expiration"] == {"N": str(int(clock()) + 90 * DAY_S)}
    assert not {"email", "description"} & item.keys()


def test_an_invoice_without_order_and_items_has_neither(invoices, clock) -> None:
    record(invoices, created(clock, order_id=None))
    kept = invoices.read(ID)
    assert kept is not None
    assert (kept.order_id, kept.items) == (None, ())


def test_nobody_knows_an_invoice_that_was_not_recorded(invoices) -> None:
    assert invoices.read(ID) is None
    for status in STATUSES:
        assert invoices.step(ID, status) is None
    assert not invoices.take_turn(ID)
    invoices.hurry(ID)
    # No update has created it.
    assert invoices.read(ID) is None


def test_a_late_copy_of_the_record_undoes_no_payment(invoices, clock) -> None:
    record(invoices, created(clock))
    invoices.step(ID, "paid")
    record(invoices, created(clock))
    kept = invoices.read(ID)
    assert kept is not None
    assert kept.status == "paid"
    assert kept.unpublished == {"paid"}


@pytest.mark.parametrize("order", list(itertools.permutations(("created", "partial", "canceled", "paid"))))
def test_a_status_only_goes_forward_in_whatever_order_the_news_comes(invoices, clock, order) -> None:
    record(invoices, created(clock))
    reached = ["created"]
    for status in order:
        stepped = invoices.step(ID, status)
        forward = RANKS[status] > RANKS[reached[-1]]
        assert (stepped is not None) is forward
        reached += [status] if forward else []
        kept = invoices.read(ID)
        assert kept is not None
        assert kept.status == reached[-1]
    assert kept.status == "paid"
    # Every status on the way is news for somebody.
    assert kept.unpublished == set(reached) - {"created"}


@pytest.mark.parametrize(("first", "second"), [("paid", "overpaid"), ("overpaid", "paid"), ("paid", "canceled")])
def test_nothing_is_news_after_a_payment(invoices, clock, first, second) -> None:
    record(invoices, created(clock))
    assert invoices.step(ID, first)
    assert invoices.step(ID, second) is None


def test_a_step_is_taken_once_and_its_time_is_when_the_status_was_first_seen(invoices, clock) -> None:
    record(invoices, created(clock))
    clock.now_s += 60
    stepped = invoices.step(ID, "partial")
    assert stepped is not None
    assert stepped.seen_s["partial"] == int(clock())
    clock.now_s += 60
    assert invoices.step(ID, "partial") is None
    stepped = invoices.step(ID, "paid")
    assert stepped is not None
    assert stepped.seen_s == {"created": clock() - 120, "partial": clock() - 60, "paid": clock()}


def test_what_is_unpublished_is_due_at_once_and_leaves_when_it_is_published(invoices, clock) -> None:
    record(invoices, created(clock))
    stepped = invoices.step(ID, "partial")
    assert due(invoices) == {ID: NOW}
    invoices.published(stepped)
    assert due(invoices) == {}
    clock.now_s += SCHEDULE_S[0]
    assert due(invoices) == {ID: shard_of(ID)}
    stepped = invoices.step(ID, "paid")
    invoices.published(stepped)
    clock.now_s += 2 * DAY_S
    assert due(invoices) == {}


def test_an_event_that_comes_while_another_is_published_stays_unpublished(invoices, clock) -> None:
    record(invoices, created(clock))
    partial = invoices.step(ID, "partial")
    invoices.step(ID, "paid")
    invoices.published(partial)
    kept = invoices.read(ID)
    assert kept is not None
    assert kept.unpublished == {"partial", "paid"}
    assert due(invoices) == {ID: NOW}


@pytest.mark.parametrize("status", ["partial", "canceled"])
def test_a_hint_outlives_the_publishing_of_what_was_known_before_it(invoices, clock, status) -> None:
    record(invoices, created(clock))
    invoices.hurry(ID)
    stepped = invoices.step(ID, status)
    invoices.published(stepped)
    kept = invoices.read(ID)
    assert kept is not None
    assert kept.unpublished == frozenset()
    assert due(invoices) == {ID: NOW}
    invoices.postpone(kept)  # the provider was asked
    assert due(invoices) == {}


@pytest.mark.parametrize("status", ["partial", "canceled"])
def test_a_hint_that_comes_while_an_event_is_published_is_not_lost(invoices, clock, status) -> None:
    record(invoices, created(clock))
    stepped = invoices.step(ID, status)
    invoices.hurry(ID)
    invoices.published(stepped)
    assert due(invoices) == {ID: NOW}


def test_what_is_put_behind_comes_last_and_is_not_due_again_once_it_was_asked_about(invoices, clock) -> None:
    ids = [f"{ID}{number}" for number in range(40)]
    first, *others = [name for name in ids if shard_of(name) == "3"]
    for name in (first, *others):
        record(invoices, created(clock, name))
        clock.now_s += 1
    clock.now_s += SCHEDULE_S[0]
    invoices.put_behind(invoices.read(first))
    assert [name for name, _ in invoices.due("3")] == [*others, first]
    invoices.postpone(invoices.read(first))
    invoices.put_behind(invoices.read(first))  # a late copy
    assert [name for name, _ in invoices.due("3")] == others


def test_published_twice_is_published_once(invoices, clock) -> None:
    record(invoices, created(clock))
    stepped = invoices.step(ID, "partial")
    invoices.published(stepped)
    clock.now_s += SCHEDULE_S[0]
    invoices.published(stepped)  # a late copy: it must not move what is due since
    assert due(invoices) == {ID: shard_of(ID)}


def test_all_callers_together_get_one_turn_in_five_whole_seconds(invoices, clock) -> None:
    record(invoices, created(clock))
    turns = []
    for _ in range(13):
        turns.append([invoices.take_turn(ID), invoices.take_turn(ID)])
        clock.now_s += 1
    assert [taken for taken, _ in turns] == [second % (ASK_AGAIN_AFTER_S + 1) == 0 for second in range(13)]
    assert not any(again for _, again in turns)


def test_a_postback_that_brought_no_step_makes_the_invoice_due_at_once(invoices, clock) -> None:
    record(invoices, created(clock))
    invoices.hurry(ID)
    assert due(invoices) == {ID: NOW}
    kept = invoices.read(ID)
    invoices.postpone(kept)
    assert due(invoices) == {}


def test_a_canceled_invoice_is_followed_once_more_when_a_postback_comes(invoices, clock) -> None:
    record(invoices, created(clock))
    invoices.published(invoices.step(ID, "canceled"))
    clock.now_s += 30 * DAY_S
    assert due(invoices) == {}
    invoices.hurry(ID)
    assert due(invoices) == {ID: NOW}
    invoices.postpone(invoices.read(ID))
    clock.now_s += 30 * DAY_S
    assert due(invoices) == {}


@pytest.mark.parametrize("status", sorted(DELIVERABLE))
def test_a_paid_invoice_is_never_due_again(invoices, clock, status) -> None:
    record(invoices, created(clock))
    invoices.published(invoices.step(ID, status))
    invoices.hurry(ID)
    clock.now_s += 30 * DAY_S
    assert due(invoices) == {}


def test_news_that_come_between_the_question_and_its_answer_are_not_put_off(invoices, clock) -> None:
    record(invoices, created(clock))
    clock.now_s += SCHEDULE_S[0]
    asked_about = invoices.read(ID)
    invoices.hurry(ID)
    invoices.postpone(asked_about)
    assert due(invoices) == {ID: NOW}


def test_an_unpaid_invoice_is_asked_about_by_the_schedule_and_then_left(invoices, clock) -> None:
    started_s = clock()
    record(invoices, created(clock))
    asked_after_s = []
    while clock() < started_s + 3 * DAY_S:
        clock.now_s += 10 * 60
        if list(invoices.due(shard_of(ID))):
            asked_after_s.append(int(clock() - started_s))
            invoices.postpone(invoices.read(ID))
    assert asked_after_s == list(SCHEDULE_S)


def test_the_schedule_is_ten_minutes_half_an_hour_and_then_every_other_hour_for_a_day() -> None:
    hours = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 26]
    assert list(SCHEDULE_S) == [600, 1800, *(hour * 3600 for hour in hours)]
    assert next_due_s(1_000, 1_000) == 1_600
    assert next_due_s(1_000, 1_600) == 2_800
    # However late the last one is asked, there is none after it.
    assert next_due_s(1_000, 1_000 + 26 * 3600) is None


def test_the_oldest_comes_first_over_all_pages(invoices, clock) -> None:
    ids = [f"INVOICE{number}" for number in range(40)]
    for invoice_id in ids:
        record(invoices, created(clock, invoice_id, order_id="x" * 200))
        clock.now_s += 1
    clock.now_s += SCHEDULE_S[0]
    for shard in SHARDS:
        found = list(invoices.due(shard))
        assert found == sorted(found, key=lambda entry: entry[1])
        assert [invoice_id for invoice_id, _ in found] == [name for name in ids if shard_of(name) == shard]
    assert {shard_of(name) for name in ids} == set(SHARDS)


def test_what_is_due_is_read_in_its_order_and_what_could_not_be_read_is_named_and_counted(
    invoices, clock, client, counted
) -> None:
    ids = [f"INVOICE{number:02}" for number in range(MAX_READ_AT_ONCE)]
    for invoice_id in ids:
        record(invoices, created(clock, invoice_id))
    clock.now_s += SCHEDULE_S[0]
    invoices.postpone(invoices.read(ids[3]))
    client.update_item(TableName="InvoiceTable", Key={"invoice_id": {"S": ids[4]}}, UpdateExpression="REMOVE api")
    client.delete_item(TableName="InvoiceTable", Key={"invoice_id": {"S": ids[5]}})
    records, unread = invoices.read_due(ids)
    assert [invoice.invoice_id for invoice in records] == [*ids[:3], *ids[6:]]
    assert unread == [ids[4]]
    assert counted() == {("InternalError", frozenset({"service"})): [1.0]}
    assert records[0] == invoices.read(ids[0])


def test_what_dynamodb_leaves_unread_is_named(clock) -> None:
    class Busy:
        def batch_get_item(self, *, RequestItems: Any) -> Any:  # noqa: N803 - boto3's name
            return {"Responses": {}, "UnprocessedKeys": RequestItems}

    busy: Any = Busy()
    assert InvoiceTable("InvoiceTable", busy, clock=clock).read_due([ID]) == ([], [ID])


def test_the_table_is_read_as_it_is_now_and_not_as_it_was(clock) -> None:
    class Reading:
        def get_item(self, **read: Any) -> Any:
            assert read["ConsistentRead"] is True
            return {}

        def batch_get_item(self, *, RequestItems: Any) -> Any:  # noqa: N803 - boto3's name
            assert RequestItems["InvoiceTable"]["ConsistentRead"] is True
            return {"Responses": {}, "UnprocessedKeys": {}}

    reading: Any = Reading()
    invoices = InvoiceTable("InvoiceTable", reading, clock=clock)
    assert invoices.read(ID) is None
    assert invoices.read_due([ID]) == ([], [])


def test_what_is_due_comes_from_every_page_of_the_index(clock) -> None:
    class Paged:
        def query(self, **query: Any) -> Any:
            place = query.get("ExclusiveStartKey", {"place": 0})["place"]
            page = {"Items": [{"invoice_id": {"S": f"INVOICE{place}"}, "due": {"N": str(place)}}]}
            return {**page, **({"LastEvaluatedKey": {"place": place + 1}} if place < 2 else {})}

    paged: Any = Paged()
    found = itertools.islice(InvoiceTable("InvoiceTable", paged, clock=clock).due(NOW), 9)
    assert list(found) == [("INVOICE0", 0), ("INVOICE1", 1), ("INVOICE2", 2)]


def answered(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "x"}}, "any")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ConnectTimeoutError(endpoint_url="https://x"), ProviderUnavailable),
        (answered("ProvisionedThroughputExceededException"), ProviderUnavailable),
        *((answered(f"{code}Exception"), ServiceNotConfigured) for code in ("AccessDenied", "Validation")),
        (answered("ResourceNotFoundException"), ServiceNotConfigured),
    ],
    ids=str,
)
def test_a_table_that_fails_may_be_tried_again_unless_only_the_owner_can_fix_it(failure, expected, clock) -> None:
    class Down:
        def __getattr__(self, _: str) -> Any:
            def fail(**_: Any) -> None:
                raise failure

            return fail

    invoices = InvoiceTable("InvoiceTable", Down(), clock=clock)  # type: ignore[arg-type]
    record = created(clock, due_s=1)
    for call in (
        lambda: invoices.record(new_item(record, retention_s=60)),
        lambda: invoices.read(ID),
        lambda: invoices.read_due([ID]),
        lambda: invoices.step(ID, "paid"),
        lambda: invoices.published(record),
        lambda: invoices.take_turn(ID),
        lambda: invoices.hurry(ID),
        lambda: invoices.postpone(record),
        lambda: invoices.put_behind(record),
        lambda: list(invoices.due(NOW)),
    ):
        with pytest.raises(expected) as raised:
            call()
        assert "table of invoices" in raised.value.reason


@pytest.mark.parametrize(
    "damage",
    [
        {"status": {"S": "lost"}},
        {"status": {"N": "1"}},
        {"created_at": {"S": "soon"}},
        {"amount": None},
        {"amount": {"S": "much"}},
        {"amount": {"S": "NaN"}},
        {"due": {"S": "x"}},
        {"unpublished": {"SS": ["paid"]}},  # and no paid_at
    ],
)
def test_a_damaged_record_is_our_fault_and_the_log_names_the_invoice(invoices, client, clock, damage) -> None:
    record(invoices, created(clock))
    item = client.get_item(TableName="InvoiceTable", Key={"invoice_id": {"S": ID}})["Item"]
    damaged = {name: value for name, value in {**item, **damage}.items() if value is not None}
    damaged.pop("queue")  # the index would refuse a due time that is no number
    client.put_item(TableName="InvoiceTable", Item=damaged)
    with pytest.raises(InternalError) as raised:
        invoices.read(ID)
    assert ID in raised.value.reason


def test_the_ranks_are_these() -> None:
    for status in STATUSES:
        assert lower_than(status) == [other for other in STATUSES if RANKS[other] < RANKS[status]]
    assert status_or_none("paid") == "paid"
    assert [status_or_none(value) for value in ("success", "", None, 1, ["paid"])] == [None] * 5
