"""One payment and two who follow it, in every order of late, lost and repeated writes, until one of them dies.

The real code runs up to its next call of the table, the provider or the bus. Then every way in which that call can end
is tried, and at every point between the calls the buyer may pay and the writes arrive that are still on their way.
"""

import functools
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from invoicing import payments as payments_module
from invoicing.contract.errors import InvoicingError
from invoicing.contract.statuses import DELIVERABLE
from invoicing.events import EventBus
from invoicing.invoice_record import NOW, InvoiceRecord, new_item
from invoicing.invoices import InvoiceTable
from invoicing.payments import Payments
from invoicing.provider.outcomes import Api
from tests.support.payments import FakeCredentials

ID = "DZLF4212"
NOW_S = 1_000_000
CREATED = InvoiceRecord(ID, "19.99", "USD", "v1", NOW_S - 700)
# What the provider says, one after the other. It may lag behind what the buyer did.
COURSES = (("created", "paid"), ("partial", "paid"), ("canceled", "paid"))
RANKS = {"created": 0, "partial": 1, "canceled": 2, "paid": 3}
# What becomes of a write: how often it arrives before its sender goes on, whether the sender gets an answer, and
# whether a copy is still on its way.
FATES = {
    "answered": (1, True, False),
    "answered, and a copy comes late": (1, True, True),
    "sent twice, the second answered": (2, True, False),
    "comes late": (0, False, True),
    "lost": (0, False, False),
    "its answer lost": (1, False, False),
}
REFUSED, UNANSWERED, DIED = "refused", "unanswered", "died"


class Paused(BaseException):
    """A follower that waits for the answer to ``call``."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        self.call = name, json.dumps(arguments, sort_keys=True)


class Ended(NamedTuple):
    """A follower that has finished, failed or died."""

    how: str


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet: Any = SimpleNamespace(**dict.fromkeys(("info", "warning", "error", "add_metric"), lambda *_, **__: None))
    for module in (payments_module, __import__("invoicing.events").events):
        monkeypatch.setattr(module, "logger", quiet)
        monkeypatch.setattr(module, "metrics", quiet)


@pytest.fixture(autouse=True)
def moto(account: Any) -> Iterator[None]:
    """The table that evaluates the expressions."""
    _moto.client = account
    yield
    arrive.cache_clear()
    run.cache_clear()


_moto: Any = SimpleNamespace()


@functools.cache
def run(who: str, answers: tuple[str, ...]) -> Paused | Ended:
    """Runs a follower from its start through the answers that it got."""
    left = iter(answers)

    def call(name: str, **arguments: Any) -> Any:
        answer = next(left, None)
        if answer is None:
            raise Paused(name, arguments)
        if answer == UNANSWERED:
            raise ReadTimeoutError(endpoint_url="")
        if answer == REFUSED:
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, name)
        return json.loads(answer)

    def perform(*_: Any, **__: Any) -> Any:
        return {ID: call("ask")["status"]}

    client: Any = SimpleNamespace(
        get_item=functools.partial(call, "get_item"), update_item=functools.partial(call, "update_item")
    )
    bus: Any = SimpleNamespace(put_events=functools.partial(call, "put_events"))
    provider: Any = SimpleNamespace(perform=perform)
    api = Api("v1", ("USD",), create=None, info=lambda _: None, ids_in_a_call=1)  # type: ignore[arg-type, return-value]
    table = InvoiceTable("InvoiceTable", client, clock=lambda: NOW_S)
    follower = Payments(table, FakeCredentials(), provider, api, EventBus("default", "shop", bus))  # type: ignore[arg-type]
    if DIED in answers:
        return Ended(DIED)
    try:
        {"postback": follower.follow, "page": follower.status_of, "watcher": functools.partial(watch, follower)}[who](
            ID
        )
    except Paused as paused:
        return paused
    except InvoicingError:
        return Ended("failed")
    return Ended("done")


def watch(follower: Payments, invoice_id: str) -> None:
    """Does what a run of the watcher does with an invoice that is due."""
    invoice = follower.table.read(invoice_id)
    assert invoice is not None
    if invoice.unpublished:
        follower.publish(invoice)
    else:
        follower.follow_all([invoice])


class World(NamedTuple):
    """The followers and their answers, the writes on their way, the record, and what the provider says."""

    followers: tuple[tuple[str, tuple[str, ...]], ...]
    course: tuple[str, ...]
    record: str
    late: tuple[str, ...] = ()
    published: frozenset[str] = frozenset()
    hinted: bool = False
    last_asker: int | None = None
    faults: int = 0

    def at(self, number: int) -> Paused | Ended:
        """Returns what a follower is doing."""
        return run(*self.followers[number])

    def after(self, number: int, answer: str, **changes: Any) -> "World":
        """Returns the world in which a follower has got an answer."""
        who, answers = self.followers[number]
        followers = (*self.followers[:number], (who, (*answers, answer)), *self.followers[number + 1 :])
        return self._replace(followers=followers, **changes)

    @property
    def item(self) -> dict[str, Any]:
        """The record."""
        item: dict[str, Any] = json.loads(self.record)
        return item


@functools.cache
def arrive(record: str, write: str) -> tuple[str, str]:
    """Returns the record after a write has arrived, and what the table answers."""
    _moto.client.put_item(TableName="InvoiceTable", Item=json.loads(record))
    try:
        answer = _moto.client.update_item(**json.loads(write))
    except _moto.client.exceptions.ConditionalCheckFailedException:
        return record, REFUSED
    after = json.dumps(answer["Attributes"], sort_keys=True)
    return after, json.dumps({"Attributes": answer["Attributes"]}, sort_keys=True)


def written(world: World, write: str) -> tuple[World, str]:
    """Returns the world in which a write has arrived, and the answer to it."""
    record, answer = arrive(world.record, write)
    hurried = answer != REFUSED and "ADD #hurried" in write
    return world._replace(record=record, hinted=world.hinted or hurried), answer


def check(before: World, after: World) -> None:
    """Holds the promises of a step from one world to the next."""
    item, last = after.item, after.last_asker
    status, unpublished = item["status"]["S"], item.get("unpublished", {"SS": []})["SS"]
    waits = item.get("queue") == {"S": NOW} and int(item["due"]["N"]) <= NOW_S
    assert RANKS[status] >= RANKS[before.item["status"]["S"]], f"a status goes back: {after}"
    assert waits or not unpublished, f"nobody would ever publish {unpublished}: {after}"
    passed = {name.removesuffix("_at") for name in item if name.endswith("_at")} & RANKS.keys() - {"created"}
    assert passed <= {*after.published, *unpublished}, f"an event is lost: {after}"
    assert waits or not after.hinted or status in DELIVERABLE, f"a hint is lost: {after}"
    if last is not None and after.followers[last][0] == "postback" and after.at(last) == Ended("done"):
        assert waits or status in DELIVERABLE, f"a postback is forgotten: {after}"


def steps(world: World, most_faults: int) -> Iterator[World]:
    """Yields every world that can be next."""
    if len(world.course) > 1:
        yield world._replace(course=world.course[1:])
    for number, write in enumerate(world.late):
        late = (*world.late[:number], *world.late[number + 1 :])
        yield written(world._replace(late=late), write)[0]
    for number in range(len(world.followers)):
        at = world.at(number)
        if isinstance(at, Ended):
            continue
        if world.faults < most_faults:
            yield world.after(number, DIED, faults=world.faults + 1)
        yield from ANSWERS[at.call[0]](world, number, at.call[1], most_faults)


def asked(world: World, number: int, _: str, __: int) -> Iterator[World]:
    """The provider says what it says now: whoever asks has heard of all that was hinted at before."""
    yield world.after(number, json.dumps({"status": world.course[0]}), hinted=False, last_asker=number)


def read(world: World, number: int, _: str, __: int) -> Iterator[World]:
    """The table has what it has now."""
    yield world.after(number, json.dumps({"Item": world.item}))


def published(world: World, number: int, call: str, most_faults: int) -> Iterator[World]:
    """The bus accepts events, or does so without an answer, or does not get them."""
    statuses = {json.loads(entry["Detail"])["status"] for entry in json.loads(call)["Entries"]}
    out = world.published | statuses
    yield world.after(number, json.dumps({"FailedEntryCount": 0, "Entries": []}), published=out)
    if world.faults < most_faults:
        yield world.after(number, UNANSWERED, published=out, faults=world.faults + 1)
        yield world.after(number, UNANSWERED, faults=world.faults + 1)


def updated(world: World, number: int, write: str, most_faults: int) -> Iterator[World]:
    """A write has one of its fates."""
    for fate, (times, is_answered, copy) in FATES.items():
        if (faults := world.faults + (fate != "answered")) > most_faults:
            continue
        after, answer = world, UNANSWERED
        for _ in range(times):
            after, answer = written(after, write)
        late = tuple(sorted((*world.late, write))) if copy else world.late
        yield after.after(number, answer if is_answered else UNANSWERED, late=late, faults=faults)


ANSWERS = {"ask": asked, "get_item": read, "put_events": published, "update_item": updated}


def explore(who: tuple[str, ...], course: tuple[str, ...], most_faults: int) -> int:
    """Tries everything; returns how many worlds there are."""
    item = json.dumps(new_item(CREATED, retention_s=90 * 24 * 60 * 60), sort_keys=True)
    first = World(tuple((name, ()) for name in who), course, item)
    left, seen = [first], {first}
    while left:
        world = left.pop()
        new = set(steps(world, most_faults)) - seen
        for after in new:
            check(world, after)
        seen |= new
        left += new
    return len(seen)


@pytest.mark.parametrize("course", COURSES, ids=" then ".join)
@pytest.mark.parametrize(
    "who", [("postback", "postback"), ("postback", "watcher"), ("postback", "page"), ("watcher", "watcher")]
)
def test_no_news_and_no_hint_is_lost_in_any_order_of_late_lost_and_repeated_writes(who, course) -> None:
    assert explore(who, course, most_faults=1) > 500
