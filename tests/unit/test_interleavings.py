"""One invoice per key, whatever becomes of its writes: late, twice, lost or unanswered, in every order.

The store's real code runs up to its next call of the table or of the provider. Then every way in which that call can
end is tried, and at every point between the calls the writes arrive that are still on their way.
"""

import functools
import json
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from invoicing import keys
from invoicing.contract.errors import OutcomeUnknown
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceRequest
from invoicing.keys import Delivery, IdempotencyKey, InvoiceRecords
from tests.unit.model_table import ModelTable

KEY = IdempotencyKey("http", "k")
REQUEST = InvoiceRequest.model_validate({"amount": 1})
CLAIM_S = 30

# What becomes of a write: how often it arrives before its sender goes on, whether the sender gets an answer, and
# whether a copy is still on its way.
FATES = {
    "answered": (1, True, False),
    "sent twice, the second answered": (2, True, False),
    "answered, and a copy comes late": (1, True, True),
    "comes late": (0, False, True),
    "lost": (0, False, False),
    "its answer lost": (1, False, False),
    "its answer lost, and a copy comes late": (1, False, True),
}
# What a caller of the table or the provider gets; the fifth kind is the text of the record in the way.
DONE, UNANSWERED, CREATED, FAILED = "done", "unanswered", "created", "failed"


class Paused(BaseException):
    """A client that waits for the answer to ``call``: a write, or the provider."""

    def __init__(self, call: tuple[str, dict[str, Any]]) -> None:
        self.call = call


class Ended(NamedTuple):
    """A client that has its answer, and what it counted."""

    outcome: Delivery | Exception
    counted: tuple[str, ...]


@pytest.fixture(autouse=True)
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "uuid", SimpleNamespace(uuid4=lambda: SimpleNamespace(hex=_running.client)))
    monkeypatch.setattr(keys, "metrics", SimpleNamespace(add_metric=lambda name, *_: _running.counted.append(name)))
    silent = SimpleNamespace(**dict.fromkeys(("info", "warning", "error"), lambda *_, **__: None))
    monkeypatch.setattr(keys, "logger", silent)


_running = SimpleNamespace(client="", counted=[])


@functools.lru_cache(maxsize=200_000)
def run(client: str, history: tuple[tuple[int, str], ...], started_ms: int) -> Paused | Ended:
    """Runs a client from its start through the answers that it got, each at its time in milliseconds."""
    answers = iter(history)
    times = [started_ms]
    _running.client, _running.counted = client, []

    def answer_to(name: str, arguments: dict[str, Any]) -> Any:
        time_ms, answer = next(answers, (0, ""))
        if not answer:
            raise Paused((name, arguments))
        times.append(time_ms)
        if answer == UNANSWERED:
            raise ReadTimeoutError(endpoint_url="")
        if answer == FAILED:
            raise OutcomeUnknown
        if answer.startswith("{"):
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}, "Item": json.loads(answer)}, name)
        return Invoice(pay_url="https://pay.cryptocloud.plus/X", invoice_id=client)

    table: Any = SimpleNamespace(
        put_item=lambda **write: answer_to("put_item", write),
        update_item=lambda **write: answer_to("update_item", write),
    )
    records = InvoiceRecords("table", table, clock=lambda: times[-1] / 1000)
    try:
        outcome: Any = records.deliver_once(
            KEY, REQUEST, lambda: answer_to("provider", {}), remaining_s=lambda: CLAIM_S
        )
    except Paused as paused:
        return paused
    except Exception as exception:
        outcome = exception
    return Ended(outcome, tuple(_running.counted))


class Client(NamedTuple):
    """When it made its claim, and what it got since."""

    started_ms: int = 0
    history: tuple[tuple[int, str], ...] = ()


class World(NamedTuple):
    """The clients, the writes that are on their way, and the record."""

    clients: tuple[Client, ...]
    late: tuple[str, ...] = ()
    record: str = "null"
    now_ms: int = 1_000_000
    faults: int = 0
    ran_out: bool = False

    def at(self, number: int) -> Paused | Ended:
        """Returns what a client is doing."""
        client = self.clients[number]
        return run(str(number), client.history, client.started_ms or self.now_ms)

    def ends(self) -> list[Ended]:
        """Returns what the clients got that have ended."""
        return [at for number in range(len(self.clients)) if isinstance(at := self.at(number), Ended)]

    def had_the_key(self, number: int) -> bool:
        """Returns whether a client was allowed to create."""
        return any(answer in (CREATED, FAILED) for _, answer in self.clients[number].history)

    def after(self, number: int, answer: str, **changes: Any) -> "World":
        """Returns the world in which a client has got an answer."""
        client = self.clients[number]
        started_ms = client.started_ms or self.now_ms
        client = Client(started_ms, (*client.history, (self.now_ms + 1, answer)))
        clients = (*self.clients[:number], client, *self.clients[number + 1 :])
        return self._replace(clients=clients, now_ms=self.now_ms + 1, **changes)


def arrive(record: str, call: tuple[str, dict[str, Any]]) -> tuple[str, str]:
    """Returns the record after a write has arrived, and what the table answers."""
    table = ModelTable()
    if (before := json.loads(record)) is not None:
        table.items[KEY.record_id] = before
    try:
        getattr(table, call[0])(**call[1])
    except ClientError as error:
        return record, json.dumps(error.response.get("Item", {}))
    return json.dumps(table.items[KEY.record_id], sort_keys=True), DONE


def steps(world: World, most_faults: int) -> Iterator[World]:
    """Yields every world that can be next."""
    for number, write in enumerate(world.late):
        record, _ = arrive(world.record, json.loads(write))
        late = (*world.late[:number], *world.late[number + 1 :])
        yield world._replace(late=late, record=record, now_ms=world.now_ms + 1)
    if world.record != "null" and not world.ran_out and world.faults < most_faults:
        # So much time passes that claims run out, although their clients go on: their clocks may be wrong.
        yield world._replace(ran_out=True, now_ms=world.now_ms + CLAIM_S * 1000 + 1, faults=world.faults + 1)
    for number in range(len(world.clients)):
        at = world.at(number)
        if isinstance(at, Ended):
            continue
        if at.call[0] == "provider":
            yield world.after(number, CREATED)
            yield world.after(number, FAILED)
            continue
        for name, (times, is_answered, copy) in FATES.items():
            if (faults := world.faults + (name != "answered")) <= most_faults:
                record, answer = world.record, UNANSWERED
                for _ in range(times):
                    record, answer = arrive(record, at.call)
                late = tuple(sorted((*world.late, json.dumps(at.call)))) if copy else world.late
                yield world.after(
                    number, answer if is_answered else UNANSWERED, record=record, late=late, faults=faults
                )


def check(world: World) -> Counter[str]:
    """Holds the promises in a world in which all has ended and arrived; returns what was counted on the way."""
    ends = world.ends()
    deliveries = [end.outcome for end in ends if isinstance(end.outcome, Delivery)]
    delivered = {delivery.invoice.invoice_id for delivery in deliveries}
    counted = Counter(name for end in ends for name in end.counted)
    assert len(delivered) <= 1 + counted["RecordLost"], world

    last = len(world.clients)
    later = world._replace(clients=(*world.clients, Client()), now_ms=world.now_ms + 1)
    got = later.after(last, arrive(later.record, later.at(last).call)[1]).at(last)
    if delivered and not counted["RecordLost"]:
        assert isinstance(got, Ended), world
        assert got.outcome == Delivery(deliveries[0].invoice, replayed=True), world
    # One that never had the key may get it by a late copy of its claim: then others wait until that has run out.
    elif not delivered and not counted["KeyNotReleased"] and all(map(world.had_the_key, range(last))):
        assert isinstance(got, Paused), f"a request that has ended holds the key: {world}"
    return counted


def explore(clients: int, most_faults: int) -> tuple[int, Counter[str]]:
    """Tries everything; returns how many ends there are, and what was counted on the way to them."""
    first = World(clients=(Client(),) * clients)
    left, seen, ends, counted = [first], {first}, 0, Counter[str]()
    while left:
        world = left.pop()
        if not world.late and len(world.ends()) == clients:
            ends += 1
            counted += check(world)
        else:
            new = set(steps(world, most_faults)) - seen
            seen |= new
            left += new
    return ends, counted


@pytest.mark.parametrize(("clients", "most_faults", "at_least"), [(1, 3, 200), (2, 2, 6000)])
def test_one_key_is_one_invoice_in_every_order_of_late_lost_and_repeated_writes(clients, most_faults, at_least) -> None:
    ends, counted = explore(clients, most_faults)
    assert ends >= at_least
    assert counted.keys() >= {"RecordLost", "KeyNotReleased"}


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_three_clients_and_many_faults_are_one_invoice_too(data: st.DataObject) -> None:
    world = World(clients=(Client(),) * 3)
    while world.late or len(world.ends()) < 3:
        world = data.draw(st.sampled_from(list(steps(world, most_faults=8))))
    check(world)


@pytest.mark.parametrize("fate", FATES)
def test_a_claim_that_nobody_answered_does_not_hold_the_key(fate) -> None:
    times, _, copy = FATES[fate]
    world = World((Client(), Client()))
    claim = world.at(0).call
    record = "null"
    for _ in range(times):
        record, _ = arrive(record, claim)
    world = world.after(0, UNANSWERED)
    record, answer = arrive(record, world.at(0).call)
    assert answer == DONE
    if copy:
        record, _ = arrive(record, claim)
    assert arrive(record, world._replace(now_ms=world.now_ms + 1).at(1).call)[1] == DONE
