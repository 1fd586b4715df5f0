"""One invoice per key: Powertools' idempotency on DynamoDB, with the rules of a payment around it.

The key is claimed before the provider is called and completed afterwards. Any failure releases it, an unknown outcome
too: an invoice whose link nobody ever received cannot be paid, and the buyer must not be stuck.
"""

import hashlib
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyItemAlreadyExistsError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
from aws_lambda_powertools.utilities.idempotency.serialization.custom_dict import CustomDictSerializer

from invoicing.contract.errors import IdempotencyKeyReused, InvoiceInProgress, ProviderUnavailable
from invoicing.contract.exact_json import encode_json_object, parse_json_object
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceRequest
from invoicing.observability import INVOICE_REPLAYED, KEY_NOT_RELEASED, RECORD_LOST, logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY_LIFETIME_S = 24 * 60 * 60


class IdempotencyKey(NamedTuple):
    """A caller's key. The two ways in never share one: a page must not be handed a Lambda's invoice.

    Args:
        way_in: How the caller came.
        value: The key as the caller chose it.
    """

    way_in: Literal["http", "direct"]
    value: str

    @property
    def record_id(self) -> str:
        """The id of the key's record in the table: enough to find it by hand, and not the key itself."""
        return f"{self.way_in}#{hashlib.sha256(json.dumps(self.value).encode()).hexdigest()}"


class Delivery(NamedTuple):
    """An invoice, and whether it is one that was created by an earlier request with the same key."""

    invoice: Invoice
    replayed: bool


# A record keeps the reply as text: the library would turn a Decimal into a string.
_AS_TEXT = CustomDictSerializer(
    to_dict=lambda invoice: {"payload": encode_json_object(invoice.payload())},
    from_dict=lambda record: Invoice.model_validate(parse_json_object(record["payload"])),
)


class _ClaimingStore(DynamoDBPersistenceLayer):
    """The library's store, which knows its own claim again.

    botocore sends a claim once more when the answer to it was lost. The library then finds the key taken, by itself,
    and would tell the caller for the rest of the Lambda timeout that the request is running.
    """

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        super().__init__(table_name, boto3_client=client)
        self._claim: str | None = None
        # The stubs know only handlers that return nothing; this event takes new parameters.
        client.meta.events.register("provide-client-params.dynamodb.PutItem", self._sign)  # type: ignore[arg-type]

    def _sign(self, params: dict[str, Any], **_: object) -> dict[str, Any] | None:
        if self._claim is None:  # another user of the client: the circuit breaker
            return None
        return {**params, "Item": {**params["Item"], "claim": {"S": self._claim}}}

    def _put_record(self, data_record: DataRecord) -> None:
        self._claim = uuid.uuid4().hex
        try:
            super()._put_record(data_record)
        except IdempotencyItemAlreadyExistsError as error:
            answer = getattr(error.__cause__, "response", {})
            if answer.get("Item", {}).get("claim", {}).get("S") != self._claim:
                raise
        finally:
            self._claim = None


class InvoiceRecords:
    """The table of keys.

    Args:
        table_name: A DynamoDB table with the string key ``id`` and ``expiration`` as its time to live.
        client: A DynamoDB client.
    """

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._store = _ClaimingStore(table_name, client)
        self._config = IdempotencyConfig(
            event_key_jmespath="key",
            payload_validation_jmespath="request",
            raise_on_no_idempotency_key=True,
            expires_after_seconds=KEY_LIFETIME_S,
            hash_function="sha256",
        )

    def deliver_once(
        self,
        key: IdempotencyKey,
        request: InvoiceRequest,
        create: Callable[[], Invoice],
        *,
        remaining_s: Callable[[], float],
    ) -> Delivery:
        """Returns the invoice that the key stands for, created now or by an earlier request.

        Args:
            key: The caller's key.
            request: What the caller asks for; the same key with another request is refused.
            create: Creates the invoice; called at most once.
            remaining_s: Seconds until Lambda ends this invocation: so long the claim holds if nothing releases it.

        Raises:
            InvoiceInProgress: A request with this key is still running.
            IdempotencyKeyReused: The key was used with another request.
            ProviderUnavailable: The table was not reached before anything was created.
            Exception: Whatever ``create`` raises; the key is free again then.
        """
        # What happened to the invoice, whatever then happens to the record: with a store that fails after the call the
        # library raises its own error in place of the result.
        created: list[Invoice] = []
        failed: list[Exception] = []

        # The library hashes this argument by name, and the context must be known before the claim: it says when the
        # claim expires.
        def run(*, record: dict[str, Any]) -> Invoice:  # noqa: ARG001
            try:
                created.append(create())
            except Exception as exception:
                failed.append(exception)
                raise
            return created[0]

        self._config.register_lambda_context(
            SimpleNamespace(get_remaining_time_in_millis=lambda: int(remaining_s() * 1000))  # type: ignore[arg-type]
        )
        once = idempotent_function(
            run,
            data_keyword_argument="record",
            persistence_store=self._store,
            config=self._config,
            output_serializer=_AS_TEXT,
            key_prefix=key.way_in,
        )
        try:
            invoice: Invoice = once(record={"key": key.value, "request": _fingerprint(request)})
        except IdempotencyValidationError:
            raise IdempotencyKeyReused from None
        except (IdempotencyAlreadyInProgressError, IdempotencyInconsistentStateError):
            raise InvoiceInProgress from None
        except IdempotencyPersistenceLayerError as error:
            invoice = _in_spite_of(error, created, failed)
        if created:
            return Delivery(invoice, replayed=False)
        logger.info("invoice replayed", invoice_id=invoice.invoice_id)
        metrics.add_metric(INVOICE_REPLAYED, "Count", 1)
        return Delivery(invoice, replayed=True)


def _in_spite_of(error: Exception, created: list[Invoice], failed: list[Exception]) -> Invoice:
    """Returns or raises what the provider call came to, although the table failed afterwards."""
    reason = f"table not reached: {type(error.__cause__).__name__}"
    if failed:
        logger.warning("idempotency key not released", reason=reason)
        metrics.add_metric(KEY_NOT_RELEASED, "Count", 1)
        raise failed[0] from None
    if not created:
        raise ProviderUnavailable(reason) from None
    logger.error("idempotency record lost", reason=reason)
    metrics.add_metric(RECORD_LOST, "Count", 1)
    return created[0]


def _fingerprint(request: InvoiceRequest) -> dict[str, Any]:
    # 100, "100.00" and another order of fields are one request. The shop is always ours, sent or not.
    fields = request.model_dump(include=set(InvoiceRequest.model_fields) - {"shop_id"}, exclude_none=True)
    return {name: f"{value.normalize():f}" if isinstance(value, Decimal) else value for name, value in fields.items()}
