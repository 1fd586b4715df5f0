"""The first release kept keys by Powertools' idempotency. Its records and ours read each other, on one table.

So they do while a new version is rolled out, after it, and after a roll-back. The other party here is Powertools' own
layer, configured as that release configured it.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.serialization.custom_dict import CustomDictSerializer
from botocore.config import Config

from invoicing.contract.errors import IdempotencyKeyReused, InvoiceInProgress, OutcomeUnknown
from invoicing.contract.exact_json import encode_json_object, parse_json_object
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceRequest
from invoicing.keys import IdempotencyKey, InvoiceRecords

# As that release wrote them: the reply as text, and what makes two requests one.
REPLY = CustomDictSerializer(
    to_dict=lambda invoice: {"payload": encode_json_object(invoice.payload())},
    from_dict=lambda record: Invoice.model_validate(parse_json_object(record["payload"])),
)
FIELDS = {"amount": "19.9", "currency": "EUR", "order_id": "A-1"}
REQUEST = InvoiceRequest.model_validate({**FIELDS, "amount": "19.90"})
INVOICE = Invoice(pay_url="https://pay.cryptocloud.plus/OLD", invoice_id="OLD", amount="19.90")


def never() -> Invoice:
    raise AssertionError("created again")


@pytest.fixture
def client(stack) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=stack.endpoints["table_url"],
        region_name=stack.endpoints["region"],
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def first_release(stack, client) -> Callable[..., Invoice]:
    """Does what the first release did for a key."""
    layer = DynamoDBPersistenceLayer(stack.endpoints["table_name"], boto3_client=client)
    config = IdempotencyConfig(
        event_key_jmespath="key",
        payload_validation_jmespath="request",
        raise_on_no_idempotency_key=True,
        expires_after_seconds=24 * 60 * 60,
        hash_function="sha256",
    )
    config.register_lambda_context(SimpleNamespace(get_remaining_time_in_millis=lambda: 20_000))

    def deliver(key: IdempotencyKey, create: Callable[[], Invoice], fields: dict[str, str] = FIELDS) -> Invoice:
        once = idempotent_function(
            lambda record: create(),  # noqa: ARG005 - Powertools hashes it by its name
            data_keyword_argument="record",
            persistence_store=layer,
            config=config,
            output_serializer=REPLY,
            key_prefix=key.name_space,
        )
        return once(record={"key": key.value, "request": fields})

    return deliver


@pytest.fixture
def ours(stack, client) -> Callable[..., Any]:
    records = InvoiceRecords(stack.endpoints["table_name"], client)

    def deliver(key: IdempotencyKey, create: Callable[[], Invoice], request: InvoiceRequest = REQUEST) -> Any:
        return records.deliver_once(key, request, create, remaining_s=lambda: 20)

    return deliver


@pytest.fixture(params=["http", "direct"])
def key(request, fresh) -> IdempotencyKey:
    return IdempotencyKey(request.param, fresh)


def test_an_invoice_of_the_first_release_is_replayed(first_release, ours, key) -> None:
    first_release(key, lambda: INVOICE)
    delivery = ours(key, never)
    assert (delivery.replayed, repr(delivery.invoice)) == (True, repr(INVOICE))


def test_the_deployed_function_replays_an_invoice_of_the_first_release(stack, first_release, fresh) -> None:
    reply = stack.post({**FIELDS, "amount": "19.90"}).payload
    invoice = Invoice.model_validate({**reply, "amount_usd": None})
    first_release(IdempotencyKey("http", fresh), lambda: invoice)
    answer = stack.post({**FIELDS, "amount": 19.9}, key=fresh)
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert answer.payload["invoice_id"] == invoice.invoice_id


def test_after_a_roll_back_our_invoice_is_replayed(first_release, ours, key) -> None:
    ours(key, lambda: INVOICE)
    assert repr(first_release(key, never)) == repr(INVOICE)


def test_a_key_that_failed_is_free_for_the_other_release(first_release, ours, key) -> None:
    def failing() -> Invoice:
        raise OutcomeUnknown

    with pytest.raises(OutcomeUnknown):
        ours(key, failing)
    assert first_release(key, lambda: INVOICE) == INVOICE
    assert ours(key, never).invoice == INVOICE


def test_a_key_that_failed_in_the_first_release_is_free_for_ours(first_release, ours, key) -> None:
    def failing() -> Invoice:
        raise OutcomeUnknown

    with pytest.raises(OutcomeUnknown):
        first_release(key, failing)
    assert not ours(key, lambda: INVOICE).replayed


def test_a_request_that_runs_in_one_release_makes_the_other_wait(first_release, ours, key) -> None:
    def meanwhile_the_first_release() -> Invoice:
        with pytest.raises(IdempotencyAlreadyInProgressError):
            first_release(key, never)
        return INVOICE

    ours(key, meanwhile_the_first_release)


def test_a_request_that_runs_in_the_first_release_makes_ours_wait(first_release, ours, key) -> None:
    def meanwhile_ours() -> Invoice:
        with pytest.raises(InvoiceInProgress):
            ours(key, never)
        return INVOICE

    first_release(key, meanwhile_ours)


def test_a_key_used_for_another_request_is_refused_by_both(first_release, ours, key) -> None:
    ours(key, lambda: INVOICE)
    with pytest.raises(IdempotencyValidationError):
        first_release(key, never, {**FIELDS, "amount": "20"})
    with pytest.raises(IdempotencyKeyReused):
        ours(key, never, REQUEST.model_copy(update={"currency": "USD"}))
