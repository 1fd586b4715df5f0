"""The example that delivers paid orders: once an order, whatever comes twice, at once, late, or wrong.

Its table, its topic and the bus are moto's, in this process. Only the shop, which a reader replaces, is the test's.
"""

import copy
import importlib
import itertools
import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from samtranslator.yaml_helper import yaml_parse

from invoicing.events import SOURCE, EventBus
from invoicing.invoices import InvoiceRecord
from tests.support import ROOT
from tests.support.account import REGION
from tests.support.bus import Bus, Queue
from tests.support.sam import translate_template
from tests.support.samples import Clock
from tests.support.tables import table
from tests.support.templates import read_template

EXAMPLE = ROOT / "examples" / "fulfil-order"
TEMPLATE = read_template(EXAMPLE / "template.yaml")
FUNCTION = TEMPLATE["Resources"]["FulfilOrderFunction"]["Properties"]
RULE = FUNCTION["Events"]["Payment"]["Properties"]
# Lambda's own, for an event whose function failed:
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
RETRIES_AFTER_S = (60, 120)
MODULES = ("fulfil_order", "deliveries", "shop")
ORDER, INVOICE = "A-1001", "DZLF4212"


class Crash(BaseException):
    """The process ends here."""


class Calls:
    """Wraps everything that the function calls: ``before`` and ``after`` hear of each call."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Lets all calls pass from now on."""
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None

    def through(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the call as the function makes it."""

        def called(*arguments: Any, **named: Any) -> Any:
            self.before(name)
            try:
                return call(*arguments, **named)
            finally:
                self.after(name)

        return called

    def client(self, client: Any, *names: str) -> Any:
        """Returns a client of AWS with these calls."""
        calls = {name: self.through(name, getattr(client, name)) for name in names}
        return SimpleNamespace(exceptions=client.exceptions, **calls)


class Shop:
    """The function in a shop that knows one order, and all that it did."""

    def __init__(self, module: ModuleType, clock: Clock, calls: Calls, mails: Queue) -> None:
        self.module, self.clock, self.calls = module, clock, calls
        self.delivered: list[str] = []
        self._mails = mails

    def handle(self, event: dict[str, Any]) -> str:
        """Runs the function once."""
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: FUNCTION["Timeout"] * 1000)
        return str(self.module.lambda_handler(copy.deepcopy(event), context))

    def mails(self) -> list[str]:
        """Returns the messages to people since the last call."""
        return self._mails.take()

    def run_as_lambda(self, event: dict[str, Any]) -> str:
        """Runs the function until it succeeds, as Lambda does; "failed" means the dead-letter queue."""
        for wait_s in (*RETRIES_AFTER_S, 0):
            try:
                return self.handle(event)
            except (Crash, Exception):
                self.clock.now_s += wait_s
        return "failed"


class Account:
    """The example's table, a topic whose mails a queue gets, and a bus with the example's rule.

    Args:
        client: A client of the table.
    """

    def __init__(self, client: Any) -> None:
        self.table = client
        self.sns = boto3.client("sns", region_name=REGION)
        self.topic = self.sns.create_topic(Name="People")["TopicArn"]
        self.mails = Queue("mails")
        self.sns.subscribe(
            TopicArn=self.topic, Protocol="sqs", Endpoint=self.mails.arn, Attributes={"RawMessageDelivery": "true"}
        )
        pattern = json.dumps(RULE["Pattern"]).replace('{"Ref": "InvoicesStack"}', '"shop"')
        self.bus = Bus(json.loads(pattern))

    def items(self) -> dict[str, dict[str, Any]]:
        """Returns all items of the table, by key."""
        return {item["id"]["S"]: item for item in self.table.scan(TableName="Deliveries")["Items"]}

    def forget(self, *names: str) -> None:
        """Deletes items of the table."""
        for name in names:
            self.table.delete_item(TableName="Deliveries", Key={"id": {"S": name}})


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with table("Deliveries", EXAMPLE / "template.yaml") as client:
        yield Account(client)


@pytest.fixture
def shop(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    account.mails.take()
    account.forget(*account.items())
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("DELIVERIES", "Deliveries")
    monkeypatch.setenv("TOPIC", account.topic)
    monkeypatch.syspath_prepend(EXAMPLE / "functions")
    fulfil_order, deliveries, its_shop = map(importlib.import_module, MODULES)
    clock, calls = Clock(), Calls()
    shop = Shop(fulfil_order, clock, calls, account.mails)
    monkeypatch.setattr(deliveries, "time", SimpleNamespace(time=clock))
    monkeypatch.setattr(deliveries, "_dynamodb", calls.client(account.table, "get_item", "put_item", "update_item"))
    monkeypatch.setattr(fulfil_order, "_sns", calls.client(account.sns, "publish"))
    monkeypatch.setattr(
        its_shop, "deliver", calls.through("deliver", lambda order_id, _: shop.delivered.append(order_id))
    )
    yield shop
    for name in MODULES:
        del sys.modules[name]


def event(status: str, invoice_id: str = INVOICE, **detail: Any) -> dict[str, Any]:
    """An event as EventBridge delivers it, as far as the function reads it."""
    recorded = {
        "version": "1",
        "event_id": f"{invoice_id}:{status}",
        "stack": "shop",
        "invoice_id": invoice_id,
        "order_id": ORDER,
        "items": None,
        "status": status,
        "amount": "19.99",
        "currency": "USD",
        "recorded": True,
        "time": "2026-11-25T10:15:00Z",
    }
    return {"source": SOURCE, "detail-type": "any", "detail": recorded | detail}


def unrecorded(status: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("order_id", "amount", "currency", "time"))
    return event(status, event_id=f"{INVOICE}:{status}:unrecorded", recorded=False, **nothing)


PAID, OVERPAID, PARTIAL = event("paid"), event("overpaid"), event("partial")
SECOND = event("paid", "SECOND02")


@pytest.mark.parametrize("statuses", [("paid",), ("partial", "paid")])
def test_what_the_service_publishes_reaches_the_function_and_is_delivered(shop, account, statuses) -> None:
    record = InvoiceRecord(
        INVOICE,
        "19.990",
        "USD",
        "v1",
        1_700_000_000,
        order_id=ORDER,
        status=statuses[-1],
        seen_s=dict.fromkeys(statuses, 1_700_000_060),
        unpublished=frozenset(statuses),
    )
    for stack in ("shop", "another-shop"):
        EventBus("default", stack, account.bus.client).publish(record)
    outcomes = [shop.handle(delivered) for delivered in account.bus.delivered()]
    assert outcomes == ["a person was asked", "delivered"][-len(statuses) :]
    assert shop.delivered == [ORDER]


@pytest.mark.parametrize("status", ["paid", "overpaid"])
def test_an_order_is_delivered_once_however_often_its_event_comes(shop, status) -> None:
    outcomes = [shop.handle(event(status)) for _ in range(3)]
    assert outcomes == ["delivered", "twin", "twin"]
    assert shop.delivered == [ORDER]


def test_a_twin_that_comes_when_the_event_is_forgotten_delivers_nothing(shop, account) -> None:
    shop.handle(PAID)
    account.forget(f"event {INVOICE}:paid")
    assert shop.handle(PAID) == "delivered before"
    assert shop.delivered == [ORDER]


def test_the_table_forgets_events_and_never_deliveries(shop, account) -> None:
    shop.handle(PAID)
    items = account.items()
    expires = {name: int(item["expiration"]["N"]) for name, item in items.items() if "expiration" in item}
    assert expires == {f"event {INVOICE}:paid": shop.clock.now_s + 30 * 24 * 60 * 60}
    assert f"order {ORDER}" in items
    assert TEMPLATE["Resources"]["Deliveries"]["Properties"]["TimeToLiveSpecification"]["AttributeName"] == "expiration"


def test_an_order_that_looks_like_an_event_is_no_event(shop, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["shop"], "price_of", lambda *_: (Decimal("19.99"), "USD"))
    # Whoever orders may choose the order's id.
    for order_id in (f"event {INVOICE}:paid", f"{INVOICE}:paid"):
        assert shop.handle(event("paid", "OTHER001", order_id=order_id, event_id=order_id + ":x")) == "delivered"
    assert shop.handle(PAID) == "delivered"


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        (
            {"amount": "0.01"},
            "for 0.01 USD (order A-1001) is paid. The order costs 19.99 USD, so nothing was delivered.",
        ),
        ({"currency": "RUB"}, "for 19.99 RUB (order A-1001) is paid. The order costs 19.99 USD"),
        ({"amount": "19.9900000000000000001"}, "The order costs 19.99 USD"),
        ({"order_id": "A-1002"}, "for 19.99 USD (order A-1002) is paid. The shop has no such order"),
        ({"order_id": None}, "The shop has no such order"),
    ],
)
def test_what_does_not_fit_the_order_is_not_delivered_and_a_person_hears_of_it(shop, detail, said) -> None:
    assert shop.handle(event("paid", **detail)) == "a person was asked"
    assert shop.delivered == []
    [mail] = shop.mails()
    assert mail.startswith(f"Invoice {INVOICE} for ")
    assert said in mail
    # And it does not keep the right payment from delivering the order.
    assert shop.handle(SECOND) == "delivered"


@pytest.mark.parametrize("amount", ["19.99", "19.990", "0019.99"])
def test_amounts_are_compared_as_decimals_and_not_as_text(shop, amount) -> None:
    assert shop.handle(event("paid", amount=amount)) == "delivered"


def test_a_second_paid_invoice_of_an_order_is_not_delivered_and_a_person_hears_of_it_once(shop) -> None:
    assert [shop.handle(each) for each in (PAID, SECOND, SECOND)] == ["delivered", "a person was asked", "twin"]
    assert shop.delivered == [ORDER]
    assert shop.mails() == [
        "Invoice SECOND02 for 19.99 USD (order A-1001) is paid. "
        "Another invoice of this order was paid too: give one of the two back."
    ]


def test_an_order_paid_over_is_delivered_and_a_person_hears_of_the_rest(shop) -> None:
    assert shop.handle(OVERPAID) == "delivered"
    assert shop.delivered == [ORDER]
    assert [
        "is overpaid. More than that arrived. The order is delivered: give the rest back" in mail
        for mail in shop.mails()
    ] == [True]


def test_a_part_delivers_nothing_and_the_rest_delivers(shop) -> None:
    assert shop.handle(PARTIAL) == "a person was asked"
    assert shop.delivered == []
    assert shop.handle(PAID) == "delivered"
    assert len(shop.mails()) == 1


def test_the_news_of_a_part_that_comes_after_the_delivery_bothers_nobody(shop) -> None:
    assert [shop.handle(PAID), shop.handle(PARTIAL)] == ["delivered", "late news"]
    assert shop.mails() == []


def test_a_part_of_another_invoice_is_news_although_the_order_was_delivered(shop) -> None:
    assert [shop.handle(PAID), shop.handle(event("partial", "SECOND02"))] == ["delivered", "a person was asked"]


@pytest.mark.parametrize("canceled", [event("canceled"), unrecorded("canceled")])
def test_a_canceled_invoice_changes_nothing_and_a_late_payment_still_delivers(shop, canceled) -> None:
    assert [shop.handle(canceled), shop.handle(PAID)] == ["nothing to do", "delivered"]
    assert shop.mails() == []


@pytest.mark.parametrize("status", ["partial", "paid", "overpaid"])
def test_a_payment_without_a_record_is_for_a_person_and_the_true_event_still_delivers(shop, status) -> None:
    assert shop.handle(unrecorded(status)) == "a person was asked"
    assert shop.mails() == [f"Invoice {INVOICE} is {status}. Nobody here knows its order: look it up at CryptoCloud."]
    assert shop.handle(PAID) == "delivered"


@pytest.mark.parametrize("detail", [{"version": "2"}, {"status": "refunded"}])
def test_what_the_function_does_not_know_ends_in_the_dead_letter_queue(shop, detail) -> None:
    assert shop.run_as_lambda(event("paid") | {"detail": PAID["detail"] | detail}) == "failed"
    assert shop.delivered == []


def test_the_log_names_events_and_no_order(shop, caplog) -> None:
    caplog.set_level(logging.INFO)
    shop.handle(event("paid", order_id="buyer@example.com"))
    assert caplog.messages == [f"{INVOICE}:paid: a person was asked"]


def calls_of(shop: Shop, what: dict[str, Any]) -> list[str]:
    """Returns the calls that the function makes for an event, and forgets that it ran."""
    made: list[str] = []
    shop.calls.before = made.append
    shop.handle(what)
    shop.calls.forget()
    return made


ALL_CALLS = ["get_item", "put_item", "deliver", "publish", "update_item", "put_item"]


def test_these_are_all_calls_of_a_delivery(shop) -> None:
    assert calls_of(shop, OVERPAID) == ALL_CALLS


@pytest.mark.parametrize("end", ["before", "after"])
@pytest.mark.parametrize("number", range(len(ALL_CALLS)))
@pytest.mark.parametrize("fault", [Crash, TimeoutError])
def test_wherever_the_function_ends_the_order_is_delivered_by_the_next_run(shop, number, end, fault) -> None:
    made = itertools.count()

    def fail(_: str) -> None:
        if next(made) == number:
            raise fault

    setattr(shop.calls, end, fail)
    outcome = shop.run_as_lambda(OVERPAID)
    assert outcome in ("delivered", "delivered before", "twin")
    assert shop.run_as_lambda(OVERPAID) == "twin"
    # Only a run that ended between the delivery and its note delivers again, under the same order id.
    again = (number, end) in {(2, "after"), (3, "before"), (3, "after"), (4, "before")}
    assert shop.delivered == [ORDER] * (2 if again else 1)
    assert len(shop.mails()) == (2 if (number, end) in {(3, "after"), (4, "before")} else 1)


def test_a_shop_that_cannot_deliver_is_asked_three_times_and_again_from_the_queue(shop) -> None:
    def fail(name: str) -> None:
        if name == "deliver":
            raise TimeoutError

    shop.calls.before = fail
    assert shop.run_as_lambda(PAID) == "failed"
    # The other invoice does not get the order, however long ago that was: the first one is still to be delivered.
    shop.calls.forget()
    shop.clock.now_s += 24 * 60 * 60
    assert shop.handle(SECOND) == "a person was asked"
    assert shop.run_as_lambda(PAID) == "delivered"
    assert shop.delivered == [ORDER]


class AtOnce:
    """Runs the function for several events in threads; at each call, a schedule says whose call is next.

    Args:
        shop: Whose function.
        events: One for each thread.
        schedule: The number of an event for each turn; then the first that still runs.
    """

    def __init__(self, shop: Shop, events: list[dict[str, Any]], schedule: tuple[int, ...]) -> None:
        self._shop, self._events, self._turns = shop, events, iter(schedule)
        self._change, self._me = threading.Condition(), threading.local()
        self._alive, self._waiting = set(range(len(events))), set[int]()
        self._chosen: int | None = None
        self._outcomes = ["none"] * len(events)

    def run(self) -> list[str]:
        """Returns what became of each event. What failed is run again when all have ended, as Lambda does."""
        self._shop.calls.before, self._shop.calls.after = self._before, self._after
        threads = [threading.Thread(target=self._run, args=(number,)) for number in range(len(self._events))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._shop.calls.forget()
        self._shop.clock.now_s += RETRIES_AFTER_S[0]
        return [
            f"then {self._shop.handle(event)}" if outcome == "DeliveryUnderWay" else outcome
            for event, outcome in zip(self._events, self._outcomes, strict=True)
        ]

    def _run(self, number: int) -> None:
        self._me.number = number
        try:
            self._outcomes[number] = self._shop.handle(self._events[number])
        except Exception as failure:
            self._outcomes[number] = type(failure).__name__
        with self._change:
            self._alive.discard(number)
            self._choose()

    def _choose(self) -> None:
        # Only when all are at a call: then nothing but the schedule decides.
        if self._alive and self._waiting == self._alive:
            wanted = next(self._turns, 0)
            self._chosen = wanted if wanted in self._alive else min(self._alive)
            self._change.notify_all()

    def _before(self, _: str) -> None:
        with self._change:
            self._waiting.add(self._me.number)
            self._choose()
            assert self._change.wait_for(lambda: self._chosen == self._me.number, timeout=60)
            self._chosen = None

    def _after(self, _: str) -> None:
        with self._change:
            self._waiting.discard(self._me.number)


# All orders of the first three calls of each, which are the read, the claim, and what follows from it; then in turns.
SCHEDULES = [order + (0, 1) * 4 for order in sorted(set(itertools.permutations((0, 0, 0, 1, 1, 1))))]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda turns: "".join(map(str, turns[:6])))
def test_twins_at_once_deliver_once(shop, schedule) -> None:
    outcomes = AtOnce(shop, [PAID, PAID], schedule).run()
    assert shop.delivered == [ORDER]
    assert outcomes.count("delivered") == 1
    assert set(outcomes) - {"delivered"} <= {"then twin", "twin", "delivered before"}
    assert shop.mails() == []


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda turns: "".join(map(str, turns[:6])))
def test_two_invoices_of_an_order_paid_at_once_deliver_once_and_a_person_hears_of_the_other(shop, schedule) -> None:
    outcomes = AtOnce(shop, [PAID, SECOND], schedule).run()
    assert sorted(outcomes) == ["a person was asked", "delivered"]
    assert shop.delivered == [ORDER]
    [mail] = shop.mails()
    assert mail.startswith(f"Invoice {(INVOICE, 'SECOND02')[outcomes.index('a person was asked')]} ")


def test_a_claim_whose_answer_was_lost_is_taken_up_by_the_next_run(shop, account) -> None:
    # botocore sends the write again, and its own first copy is in the way.
    claim = shop.calls.through("again", account.table.put_item)
    twice = itertools.count()

    def put_item(**write: Any) -> Any:
        if next(twice) == 0:
            claim(**write)
        return claim(**write)

    shop.module.deliveries._dynamodb.put_item = put_item
    assert shop.run_as_lambda(PAID) == "delivered"
    assert shop.delivered == [ORDER]


def test_a_claim_outlasts_its_run_and_ends_before_the_next_one(shop, account) -> None:
    shop.handle(PAID)
    claimed_until_s = int(account.items()[f"order {ORDER}"]["claimed_until"]["N"])
    assert FUNCTION["Timeout"] < claimed_until_s - shop.clock.now_s < RETRIES_AFTER_S[0]


def test_the_role_may_do_what_the_code_calls_and_nothing_else() -> None:
    [policy] = FUNCTION["Policies"]
    assert policy["Statement"] == [
        {
            "Effect": "Allow",
            "Action": ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
            "Resource": {"Fn::GetAtt": ["Deliveries", "Arn"]},
        },
        {"Effect": "Allow", "Action": "sns:Publish", "Resource": {"Ref": "People"}},
    ]


@pytest.fixture(scope="module")
def deployed() -> dict[str, Any]:
    """The template as CloudFormation gets it."""
    template = yaml_parse((EXAMPLE / "template.yaml").read_text())
    template["Resources"]["FulfilOrderFunction"]["Properties"]["CodeUri"] = "s3://bucket/key"
    return translate_template(template, InvoicesStack="shop", Email="owner@shop.example")["Resources"]


def test_what_eventbridge_or_the_function_fails_at_waits_in_the_queue_for_as_long_as_sqs_keeps_anything(
    deployed,
) -> None:
    queue = {"Fn::GetAtt": ["FailedEvents", "Arn"]}
    assert deployed["FulfilOrderFunction"]["Properties"]["DeadLetterConfig"] == {"TargetArn": queue}
    [target] = deployed["FulfilOrderFunctionPayment"]["Properties"]["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": queue}
    assert deployed["FailedEvents"]["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
    allowed, _ = deployed["FailedEventsPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    rule = {"Fn::GetAtt": ["FulfilOrderFunctionPayment", "Arn"]}
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": rule}}


def test_only_the_rule_may_invoke_the_function(deployed) -> None:
    [permission] = [each for each in deployed.values() if each["Type"] == "AWS::Lambda::Permission"]
    rule = {"Fn::GetAtt": ["FulfilOrderFunctionPayment", "Arn"]}
    assert permission["Properties"]["SourceArn"] == rule


def test_the_readme_says_the_times_of_the_code() -> None:
    readme = re.sub(r"\s+", " ", (EXAMPLE / "README.md").read_text())
    assert f"as long as the invocation that made it, {FUNCTION['Timeout']} seconds" in readme
    assert "remembers events for 30 days" in readme


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("order_id", "price"), [("A-1001", (Decimal("19.99"), "USD")), ("A-1002", None), ("", None)])
def test_the_shop_of_the_example_knows_one_order(order_id, price) -> None:
    assert sys.modules["shop"].price_of(order_id, None) == price
