"""One invoice per key: the record of a key in DynamoDB, its three states and the three writes between them.

A key is *free* when it has no record, when the record's ``expiration`` has passed, or when its claim has ended
(``status`` is ``INPROGRESS`` and ``in_progress_expiration`` has passed). It is *claimed* while ``status`` is
``INPROGRESS`` until ``in_progress_expiration``, and *done* while ``status`` is ``COMPLETED`` until ``expiration``.

Nothing is read: a write whose condition fails answers with the record that is in its way. Each write may arrive late,
twice or unanswered, so each is conditional on the token of the claim that it belongs to. Times are those of
``time.time()``, in UTC: ``expiration`` in seconds, because DynamoDB deletes by it, and ``in_progress_expiration`` in
milliseconds. Names, units and contents of the attributes are those of the first release, which may run beside this one.
"""

import contextlib
import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from invoicing.aws import LASTING_ERRORS
from invoicing.contract.errors import (
    IdempotencyKeyReused,
    InternalError,
    InvoiceInProgress,
    ProviderUnavailable,
    ServiceNotConfigured,
)
from invoicing.contract.exact_json import encode_json_object, parse_json_object
from invoicing.contract.invoice import Invoice
from invoicing.contract.origins import origin_of
from invoicing.contract.requests import InvoiceRequest, ItemsRequest
from invoicing.observability import INVOICE_REPLAYED, KEY_NOT_RELEASED, RECORD_LOST, logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY_LIFETIME_S = 24 * 60 * 60
# The longest that Lambda lets an invocation run, and so the longest that a claim can hold:
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_LONGEST_CLAIM_MS = 900_000
_CONDITION_FAILED = "ConditionalCheckFailedException"

# Compared with the time of the claim, even if the write arrives later: a late claim must not find a key free that
# another request has taken since.
_FREE = (
    "(attribute_not_exists(id) OR expiration < :claimed_s"
    " OR (#status = :in_progress AND in_progress_expiration < :claimed_ms))"
)
_MINE = "claim = :claim"
_NOT_MINE = "(attribute_not_exists(claim) OR claim <> :claim)"
_SHA256 = re.compile("[0-9a-f]{64}")

type _Attributes = Mapping[str, Mapping[str, Any]]


class IdempotencyKey(NamedTuple):
    """A caller's key. No two name spaces share one: a page must not be handed a Lambda's invoice.

    Args:
        name_space: ``http`` for the header of an HTTP request, ``direct`` for the order id of a direct one, and
            ``direct-key`` for the key of a direct one: an order's id and another order's key may be the same text.
        value: The key as the caller chose it.
    """

    name_space: Literal["http", "direct", "direct-key"]
    value: str

    @property
    def record_id(self) -> str:
        """The id of the key's record in the table: enough to find it by hand, and not the key itself."""
        return f"{self.name_space}#{hashlib.sha256(json.dumps(self.value).encode()).hexdigest()}"


class Delivery(NamedTuple):
    """An invoice, and whether it is one that was created by an earlier request with the same key."""

    invoice: Invoice
    replayed: bool


class _Claim(NamedTuple):
    """One request's claim of a key.

    Args:
        record_id: The key's record.
        fingerprint: What the request asks for, as a SHA-256 in hexadecimal digits.
        token: This claim and no other.
        at_ms: When it was made, in milliseconds since 1970.
    """

    record_id: str
    fingerprint: str
    token: str
    at_ms: int

    def values(self) -> dict[str, dict[str, str]]:
        """Returns the values that ``_FREE``, ``_MINE`` and ``_NOT_MINE`` name."""
        return {
            ":claim": {"S": self.token},
            ":claimed_s": {"N": str(self.at_ms // 1000)},
            ":claimed_ms": {"N": str(self.at_ms)},
            ":in_progress": {"S": "INPROGRESS"},
        }


class InvoiceRecords:
    """The table of keys.

    Args:
        table_name: A DynamoDB table with the string key ``id`` and ``expiration`` as its time to live.
        client: A DynamoDB client.
        clock: Seconds since 1970, UTC.
    """

    def __init__(self, table_name: str, client: "DynamoDBClient", *, clock: Callable[[], float] = time.time) -> None:
        self._table_name = table_name
        self._client = client
        self._clock = clock

    def deliver_once(
        self,
        key: IdempotencyKey,
        request: InvoiceRequest | ItemsRequest,
        create: Callable[[], Invoice],
        *,
        remaining_s: Callable[[], float],
    ) -> Delivery:
        """Returns the invoice of the key, created now or by an earlier request.

        Args:
            key: The caller's key.
            request: What the caller asks for; the same key with another request is refused.
            create: Creates the invoice; called at most once.
            remaining_s: Seconds until Lambda ends this invocation. A claim that nobody releases expires then.

        Raises:
            InvoiceInProgress: A request with this key is still running.
            IdempotencyKeyReused: The key was used with another request.
            ProviderUnavailable: The table was not reached before anything was created.
            ServiceNotConfigured: The table does not exist, or this function may not write to it.
            InternalError: The key's record is damaged.
            Exception: Whatever ``create`` raises; the key is free again then.
        """
        claim = _Claim(key.record_id, fingerprint(request), uuid.uuid4().hex, self._now_ms())
        in_the_way = self._claim(claim, claim.at_ms + int(remaining_s() * 1000))
        if in_the_way is not None:
            invoice = _invoice_of(in_the_way, claim)
            logger.info("invoice replayed", invoice_id=invoice.invoice_id)
            metrics.add_metric(INVOICE_REPLAYED, "Count", 1)
            return Delivery(invoice, replayed=True)
        try:
            invoice = create()
        except Exception:
            self._release(claim)
            raise
        self._complete(claim, invoice)
        return Delivery(invoice, replayed=False)

    def _claim(self, claim: _Claim, until_ms: int) -> _Attributes | None:
        """Makes a free key one that is claimed; returns the record that is in the way, if there is one.

        Condition: the key is free, and its last claim is not this one. A late copy would claim it again otherwise, for
        a request that has ended.

        Raises:
            ProviderUnavailable: The table gave no answer.
            ServiceNotConfigured: It gave one that will not change.
        """
        try:
            self._client.put_item(
                TableName=self._table_name,
                Item={
                    "id": {"S": claim.record_id},
                    "status": {"S": "INPROGRESS"},
                    "expiration": {"N": self._a_day_from_now()},
                    "in_progress_expiration": {"N": str(until_ms)},
                    "validation": {"S": claim.fingerprint},
                    "claim": {"S": claim.token},
                },
                ConditionExpression=f"{_FREE} AND {_NOT_MINE}",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=claim.values(),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except (BotoCoreError, ClientError) as error:
            code = _code(error)
            if code == _CONDITION_FAILED:
                record: _Attributes = getattr(error, "response", {}).get("Item", {})
                # botocore sends a write again when its answer was lost: the record in the way may be this claim.
                return None if record.get("claim") == {"S": claim.token} else record
            if code in LASTING_ERRORS:
                raise ServiceNotConfigured(f"the table of keys answered {code}: see its name and the role") from None
            if not isinstance(error, ConnectTimeoutError | EndpointConnectionError):
                self._release(claim)  # the claim may have arrived, or be on its way
            raise ProviderUnavailable(f"table not reached: {code}") from None
        return None

    def _complete(self, claim: _Claim, invoice: Invoice) -> None:
        """Makes a claimed key one that is done. If that fails, it is counted, and the invoice is still delivered.

        Condition: the claim is this one. Otherwise it ran out and another request has the key, and perhaps an invoice.
        """
        failure = self._update(
            claim,
            "SET #status = :completed, #data = :data, expiration = :expiration",
            _MINE,
            {
                ":claim": {"S": claim.token},
                ":completed": {"S": "COMPLETED"},
                ":data": {"S": json.dumps({"payload": encode_json_object(invoice.payload())})},
                ":expiration": {"N": self._a_day_from_now()},
            },
        )
        if failure:
            reason = "another request took the key" if failure == _CONDITION_FAILED else f"table not written: {failure}"
            logger.error("idempotency record lost", invoice_id=invoice.invoice_id, reason=reason)
            metrics.add_metric(RECORD_LOST, "Count", 1)

    def _release(self, claim: _Claim) -> None:
        """Makes a claimed key free by ending its claim now.

        If that fails it is counted, and the caller still gets the failure that led here. Condition: the claim is this
        one, or has not arrived yet. The record stays, so that a late copy of the claim fails.
        """
        failure = self._update(
            claim,
            "SET #status = :in_progress, in_progress_expiration = :now_ms, expiration = :expiration,"
            " validation = :validation, claim = :claim REMOVE #data",
            f"{_MINE} OR {_FREE}",
            {
                **claim.values(),
                ":now_ms": {"N": str(self._now_ms())},
                ":expiration": {"N": self._a_day_from_now()},
                ":validation": {"S": claim.fingerprint},
            },
        )
        if failure and failure != _CONDITION_FAILED:  # where that failed, the key is another request's by now
            logger.warning("idempotency key not released", reason=f"table not written: {failure}")
            metrics.add_metric(KEY_NOT_RELEASED, "Count", 1)

    def _update(self, claim: _Claim, change: str, condition: str, values: _Attributes) -> str | None:
        """Returns what went wrong, or ``None``. Whatever it is, it must not hide what became of the invoice."""
        try:
            self._client.update_item(
                TableName=self._table_name,
                Key={"id": {"S": claim.record_id}},
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeNames={"#data": "data", "#status": "status"},
                ExpressionAttributeValues=values,
            )
        except Exception as error:
            return _code(error)
        return None

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _a_day_from_now(self) -> str:
        return str(int(self._clock()) + KEY_LIFETIME_S)


def fingerprint(request: InvoiceRequest | ItemsRequest) -> str:
    """Returns what makes two requests one, as the SHA-256 in the record's ``validation``.

    100, ``"100.00"`` and another order of fields or items are one request. The shop is always ours, sent or not. Items
    count, and not what they cost: a try and its retry are one request, whatever becomes of the price in between.

    Args:
        request: What the caller asks for.
    """
    # A direct caller's request also has its idempotency key.
    fields = request.model_dump(exclude={"shop_id", "idempotency_key"}, exclude_none=True)
    if "items" in fields:
        fields["items"] = sorted((item["id"], item["quantity"]) for item in fields["items"])
    exact = {name: f"{value.normalize():f}" if isinstance(value, Decimal) else value for name, value in fields.items()}
    return hashlib.sha256(json.dumps(exact, sort_keys=True).encode()).hexdigest()


def _invoice_of(record: _Attributes, claim: _Claim) -> Invoice:
    """Returns the invoice in a record that was in the way of a claim.

    Raises:
        InvoiceInProgress: The key is claimed.
        IdempotencyKeyReused: The record is that of another request.
        InternalError: The record is damaged. Only its owner can repair it, so the error does not invite another try.
    """
    match record:
        case {"validation": {"S": known}, "expiration": {"N": _}} if _SHA256.fullmatch(known):
            if known != claim.fingerprint:
                raise IdempotencyKeyReused
            match record:
                case {"status": {"S": "INPROGRESS"}, "in_progress_expiration": {"N": until_ms}} if (
                    float(until_ms) <= claim.at_ms + _LONGEST_CLAIM_MS
                ):
                    raise InvoiceInProgress
                case {"status": {"S": "COMPLETED"}, "data": {"S": data}}:
                    # What is wrong with it may quote it: only that it is wrong is logged.
                    with contextlib.suppress(ValueError):
                        return _invoice_in(data)
    raise InternalError(f"the idempotency record {claim.record_id} is damaged: look for its invoice, then delete it")


def _invoice_in(data: str) -> Invoice:
    match parse_json_object(data):
        case {"payload": str(payload)}:
            invoice = Invoice.model_validate(parse_json_object(payload))
            origin_of(invoice.pay_url)
            return invoice
    raise ValueError("no payload")


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response["Error"]["Code"])
    return type(error).__name__
