"""The table of invoices: what was asked for, how far the payment is, and when to ask the provider again.

Every write says under which condition it holds, because each may arrive late, twice or not at all:

| write | condition | what it keeps from happening |
|---|---|---|
| ``record`` | there is no such invoice | a late copy undoes a payment |
| ``step`` | the invoice exists with a lower status | a status goes back; an update creates an invoice |
| ``published`` | exactly these statuses are unpublished, nobody hurried since | news or a hint in between is lost |
| ``take_turn`` | nobody asked in the last seconds | a hundred pages ask the provider a hundred times |
| ``hurry`` | the invoice exists and is not paid | an update creates an invoice, or wakes one that is done |
| ``postpone`` | nothing became due or unpublished meanwhile | news that came in between waits |
| ``put_behind`` | it is still due | one that was asked about meanwhile is due again |
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from invoicing.aws import LASTING_ERRORS
from invoicing.contract.errors import InternalError, ProviderUnavailable, ServiceNotConfigured
from invoicing.contract.statuses import DELIVERABLE, STATUSES, Status, lower_than, status_or_none
from invoicing.observability import logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEX = "due"
# Pages of one invoice ask the provider once in this many seconds, whatever their number.
ASK_AGAIN_AFTER_S = 5
# How long after its creation an invoice is asked about, if nobody says sooner that it was paid.
_HOURS = (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 26)
SCHEDULE_S = (10 * 60, 30 * 60, *(hours * 60 * 60 for hours in _HOURS))
# Partitions of the index: what cannot wait, and the schedule's, by a hash of the invoice's id.
NOW = "now"
SHARDS = tuple("0123456789")
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
MAX_READ_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class InvoiceRecord:
    """One invoice as the table has it.

    Args:
        invoice_id: The provider's id, without ``INV-``.
        amount: What was asked for, as a plain decimal, in whole units of the currency.
        currency: The currency that it was asked for in.
        api: The version of the provider's API that created it.
        created_s: When it was created, in whole seconds since 1970.
        order_id: The caller's id of the order.
        items: What was bought, if the shop sets the prices: id and quantity of each.
        status: The highest status that was seen.
        seen_s: When each status was first seen, in whole seconds since 1970.
        unpublished: The statuses whose events may not have been published yet.
        due_s: When the provider is to be asked again; ``None`` when it is not.
        late_since_s: When it was due first, if it was put behind others since; else ``due_s``.
        hurried: How often it was made due at once.
    """

    invoice_id: str
    amount: str
    currency: str
    api: str
    created_s: int
    order_id: str | None = None
    items: tuple[tuple[str, int], ...] = ()
    status: Status = "created"
    seen_s: dict[Status, int] = field(default_factory=dict)
    unpublished: frozenset[Status] = frozenset()
    due_s: int | None = None
    late_since_s: int | None = None
    hurried: int = 0


class InvoiceTable:
    """The table of invoices.

    Args:
        table_name: A DynamoDB table with the string key ``invoice_id``, ``expiration`` as its time to live, and the
            index ``due`` (keys only) with the string key ``queue`` and the number ``due`` to sort by.
        client: A DynamoDB client.
        clock: Wall time in seconds since 1970.
    """

    def __init__(self, table_name: str, client: "DynamoDBClient", *, clock: Callable[[], float] = time.time) -> None:
        self._table_name = table_name
        self._client = client
        self._clock = clock

    def record(self, item: Mapping[str, Any]) -> None:
        """Records a new invoice, if there is none of this id yet.

        An invoice that is there already is no failure: it is this call's own first attempt, whose answer was lost.

        Args:
            item: What ``new_item`` returns.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to write.
        """
        with contextlib.suppress(_ConditionRefused), _as_unavailable():
            self._client.put_item(
                TableName=self._table_name, Item=item, ConditionExpression="attribute_not_exists(invoice_id)"
            )

    def read(self, invoice_id: str) -> InvoiceRecord | None:
        """Returns the invoice, or ``None`` if there is none of this id.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to use.
            InternalError: The record is damaged.
        """
        with _as_unavailable():
            found = self._client.get_item(TableName=self._table_name, Key=_key(invoice_id), ConsistentRead=True)
        return _record_of(found["Item"]) if "Item" in found else None

    def read_due(self, invoice_ids: Sequence[str]) -> tuple[list[InvoiceRecord], list[str]]:
        """Reads invoices that the index has as due.

        A damaged record is counted and logged: one must not keep the others waiting.

        Args:
            invoice_ids: At most ``MAX_READ_AT_ONCE``.

        Returns:
            Those that are due indeed, in this order (the index may be late: another run may have asked already), and
            the ids of those that could not be read.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to use.
        """
        keys = [_key(invoice_id) for invoice_id in invoice_ids]
        with _as_unavailable():
            answer = self._client.batch_get_item(
                RequestItems={self._table_name: {"Keys": keys, "ConsistentRead": True}}
            )
        # Not read at once again: DynamoDB leaves some when it is busy.
        left = answer["UnprocessedKeys"].get(self._table_name, {"Keys": []})["Keys"]
        unread = [key["invoice_id"]["S"] for key in left]
        records: dict[str, InvoiceRecord] = {}
        for item in answer["Responses"].get(self._table_name, []):
            invoice_id = item["invoice_id"]["S"]
            try:
                records[invoice_id] = _record_of(item)
            except InternalError as error:
                metrics.add_metric(type(error).__name__, "Count", 1)
                logger.error("a damaged record is left out", reason=error.reason)
                unread.append(invoice_id)
        now_s = self._clock()
        found = [records[invoice_id] for invoice_id in invoice_ids if invoice_id in records]
        return [invoice for invoice in found if invoice.due_s is not None and invoice.due_s <= now_s], unread

    def step(self, invoice_id: str, status: Status) -> InvoiceRecord | None:
        """Takes the invoice to a higher status, and notes that this is to be published.

        Returns:
            The invoice after the step, or ``None`` if it was no step forward or there is no such invoice.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to use.
        """
        lower = lower_than(status)
        if not lower:
            return None
        names = [f":lower{number}" for number in range(len(lower))]
        return self._update(
            invoice_id,
            # The first time counts, and what is unpublished is due at once.
            "SET #status = :status, #seen = if_not_exists(#seen, :now), #queue = :queue, #due = :now "
            "ADD #unpublished :statuses",
            f"attribute_exists(invoice_id) AND #status IN ({', '.join(names)})",
            {"#status": "status", "#seen": _seen_at(status), "#unpublished": "unpublished", **_DUE_NAMES},
            {
                ":status": {"S": status},
                ":statuses": {"SS": [status]},
                ":now": _number(int(self._clock())),
                ":queue": {"S": NOW},
                **{name: {"S": other} for name, other in zip(names, lower, strict=True)},
            },
        )

    def published(self, invoice: InvoiceRecord) -> None:
        """Notes that the events of an invoice were published, and when it is due next.

        If another status or a hint came meanwhile, nothing is noted: whoever looks next publishes these again. An
        invoice that somebody hurried stays due at once: what is published now may be older than the hint.

        Args:
            invoice: The invoice as it was when its events were published.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to use.
        """
        due_s = self._next_due_s(invoice)
        to_due, names, values = _next(invoice.invoice_id, due_s)
        if invoice.hurried and invoice.status not in DELIVERABLE:
            update, names, values = "REMOVE #unpublished", {}, {}
        else:
            # Without a due time this is a REMOVE already.
            update = f"{to_due}, #unpublished" if due_s is None else f"{to_due} REMOVE #unpublished"
        same, hurried = _hurried_no_more_than(invoice)
        self._update(
            invoice.invoice_id,
            update,
            f"attribute_exists(invoice_id) AND #unpublished = :published AND {same}",
            {"#unpublished": "unpublished", "#hurried": "hurried", **names},
            {":published": {"SS": sorted(invoice.unpublished)}, **hurried, **values},
        )

    def take_turn(self, invoice_id: str) -> bool:
        """Returns whether this caller may ask the provider about an invoice now.

        All callers of all execution environments together get one turn in ``ASK_AGAIN_AFTER_S`` seconds.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to use.
        """
        now_s = int(self._clock())
        taken = self._update(
            invoice_id,
            "SET #asked = :now",
            "attribute_exists(invoice_id) AND (attribute_not_exists(#asked) OR #asked < :before)",
            {"#asked": "asked_at"},
            {":now": _number(now_s), ":before": _number(now_s - ASK_AGAIN_AFTER_S)},
        )
        return taken is not None

    def hurry(self, invoice_id: str) -> None:
        """Makes an invoice due at once, unless nothing can be news any more.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to use.
        """
        self._update(
            invoice_id,
            # Counted, so that whoever asked just before does not put it off again.
            "SET #queue = :queue, #due = :now ADD #hurried :one",
            "attribute_exists(invoice_id) AND NOT #status IN (:paid, :overpaid)",
            {"#status": "status", "#hurried": "hurried", **_DUE_NAMES},
            {
                ":one": _number(1),
                ":queue": {"S": NOW},
                ":now": _number(int(self._clock())),
                ":paid": {"S": "paid"},
                ":overpaid": {"S": "overpaid"},
            },
        )

    def postpone(self, invoice: InvoiceRecord) -> None:
        """Notes when an invoice is due next, after the provider was asked about it and had no news.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to use.
        """
        to_due, names, values = _next(invoice.invoice_id, self._next_due_s(invoice))
        same, hurried = _hurried_no_more_than(invoice)
        self._update(
            invoice.invoice_id,
            to_due,
            f"attribute_exists(invoice_id) AND attribute_not_exists(#unpublished) AND {same}",
            {"#unpublished": "unpublished", "#hurried": "hurried", **names},
            {**hurried, **values},
        )

    def put_behind(self, invoice: InvoiceRecord) -> None:
        """Puts an invoice that could not be asked about behind all others that are due, so that these have their turn.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to use.
        """
        self._update(
            invoice.invoice_id,
            # It is late since it was due first. That is forgotten when another due time is written.
            "SET #due = :now, behind_at = :now, late_since = :since",
            "attribute_exists(invoice_id) AND #due <= :now",
            {"#due": "due"},
            {":now": _number(int(self._clock())), ":since": _number(invoice.late_since_s or 0)},
        )

    def due(self, queue: str) -> Iterator[tuple[str, int]]:
        """Returns ids and due times of the invoices that are due, the oldest first.

        Args:
            queue: ``NOW`` or one of ``SHARDS``.

        Raises:
            ProviderUnavailable: The table was not reached.
            ServiceNotConfigured: There is no such table, or it is not for this function to use.
        """
        start: dict[str, Any] = {}
        while True:
            with _as_unavailable():
                page = self._client.query(
                    TableName=self._table_name,
                    IndexName=INDEX,
                    KeyConditionExpression="#queue = :queue AND #due <= :now",
                    ExpressionAttributeNames=_DUE_NAMES,
                    ExpressionAttributeValues={":queue": {"S": queue}, ":now": _number(int(self._clock()))},
                    **start,
                )
            for item in page["Items"]:
                yield item["invoice_id"]["S"], int(item["due"]["N"])
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _update(
        self, invoice_id: str, update: str, condition: str, names: dict[str, str], values: dict[str, Any]
    ) -> InvoiceRecord | None:
        # DynamoDB refuses an empty map of values.
        some_values: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        try:
            with _as_unavailable():
                written = self._client.update_item(
                    TableName=self._table_name,
                    Key=_key(invoice_id),
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ReturnValues="ALL_NEW",
                    **some_values,
                )
        except _ConditionRefused:
            return None
        return _record_of(written["Attributes"])

    def _next_due_s(self, invoice: InvoiceRecord) -> int | None:
        # Nothing is news after these. A postback about a canceled invoice is still followed.
        if invoice.status in DELIVERABLE or invoice.status == "canceled":
            return None
        return next_due_s(invoice.created_s, self._clock())


def new_item(invoice: InvoiceRecord, *, retention_s: int) -> dict[str, Any]:
    """Returns a new invoice as the table keeps it, in DynamoDB's JSON.

    Args:
        invoice: The invoice; nothing has happened to it yet.
        retention_s: How long it is kept after its creation, in seconds.
    """
    item: dict[str, Any] = {
        "invoice_id": {"S": invoice.invoice_id},
        "amount": {"S": invoice.amount},
        "currency": {"S": invoice.currency},
        "api": {"S": invoice.api},
        "status": {"S": "created"},
        "created_at": _number(invoice.created_s),
        "expiration": _number(invoice.created_s + retention_s),
        "queue": {"S": shard_of(invoice.invoice_id)},
        "due": _number(invoice.created_s + SCHEDULE_S[0]),
    }
    if invoice.order_id is not None:
        item["order_id"] = {"S": invoice.order_id}
    if invoice.items:
        item["items"] = {
            "L": [{"M": {"id": {"S": name}, "quantity": _number(quantity)}} for name, quantity in invoice.items]
        }
    return item


def next_due_s(created_s: int, now_s: float) -> int | None:
    """Returns when an invoice is due next by the schedule, or ``None`` after its last time.

    Args:
        created_s: When it was created, in seconds since 1970.
        now_s: Now, likewise.
    """
    return next((created_s + after_s for after_s in SCHEDULE_S if created_s + after_s > now_s), None)


def shard_of(invoice_id: str) -> str:
    """Returns the partition of the index that an invoice waits in: a hot one would be throttled."""
    return SHARDS[hashlib.sha256(invoice_id.encode()).digest()[0] % len(SHARDS)]


_DUE_NAMES = {"#queue": "queue", "#due": "due"}


class _ConditionRefused(Exception):
    """The condition of a write does not hold."""


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ConditionalCheckFailedException":
            raise _ConditionRefused from None
        if code in LASTING_ERRORS:
            raise ServiceNotConfigured(f"the table of invoices answered {code}: see its name and the role") from None
        raise ProviderUnavailable(f"table of invoices answered {code}") from None
    except BotoCoreError as error:
        raise ProviderUnavailable(f"table of invoices not reached: {type(error).__name__}") from None


def _key(invoice_id: str) -> dict[str, Any]:
    return {"invoice_id": {"S": invoice_id}}


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def _seen_at(status: Status) -> str:
    return f"{status}_at"


def _hurried_no_more_than(invoice: InvoiceRecord) -> tuple[str, dict[str, Any]]:
    """Returns the condition that nobody has hurried an invoice since it was read, and the condition's values."""
    if not invoice.hurried:
        return "attribute_not_exists(#hurried)", {}
    return "#hurried = :hurried", {":hurried": _number(invoice.hurried)}


def _next(invoice_id: str, due_s: int | None) -> tuple[str, dict[str, str], dict[str, Any]]:
    if due_s is None:
        return "REMOVE #queue, #due", _DUE_NAMES, {}
    values = {":queue": {"S": shard_of(invoice_id)}, ":due": _number(due_s)}
    return "SET #queue = :queue, #due = :due", _DUE_NAMES, values


def _record_of(item: dict[str, Any]) -> InvoiceRecord:
    try:
        status = status_or_none(item["status"]["S"])
        seen_s = {other: int(item[_seen_at(other)]["N"]) for other in STATUSES if _seen_at(other) in item}
        unpublished: frozenset[Status] = frozenset(
            filter(None, map(status_or_none, item.get("unpublished", {"SS": []})["SS"]))
        )
        due_s = int(item["due"]["N"]) if "due" in item else None
        # An event needs amount and times.
        if status is None or unpublished - seen_s.keys() or not Decimal(item["amount"]["S"]).is_finite():
            raise ValueError("no status, no amount, or no time of a status")  # noqa: TRY301 - the same as any other damage
        return InvoiceRecord(
            invoice_id=item["invoice_id"]["S"],
            amount=item["amount"]["S"],
            currency=item["currency"]["S"],
            api=item["api"]["S"],
            created_s=int(item["created_at"]["N"]),
            order_id=item["order_id"]["S"] if "order_id" in item else None,
            items=tuple((line["M"]["id"]["S"], int(line["M"]["quantity"]["N"])) for line in item["items"]["L"])
            if "items" in item
            else (),
            status=status,
            seen_s=seen_s,
            unpublished=unpublished,
            due_s=due_s,
            late_since_s=int(item["late_since"]["N"]) if due_s and item.get("behind_at") == item["due"] else due_s,
            hurried=int(item.get("hurried", {"N": "0"})["N"]),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        invoice_id = item.get("invoice_id", {}).get("S", "of no id")
        raise InternalError(f"the record of invoice {invoice_id} is damaged: {type(error).__name__}") from None
