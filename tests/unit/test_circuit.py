"""The circuit breaker: what counts, one probe, and a store that is down stops no traffic."""

import time
from collections.abc import Callable, Iterator

import boto3
import pytest
from aws_lambda_powertools.utilities.circuit_breaker import base
from botocore.stub import ANY, Stubber

from invoicing.circuit import FAILURE_THRESHOLD, RECOVERY_TIMEOUT_S, ProviderCircuit
from invoicing.contract.errors import (
    InvoiceRejected,
    InvoicingError,
    OutcomeUnknown,
    ProviderCredentialsRejected,
    ProviderUnavailable,
)
from invoicing.contract.invoice import Invoice

INVOICE = Invoice(pay_url="https://pay.cryptocloud.plus/DZLF4212", invoice_id="DZLF4212")
KEY = {"id": {"S": "circuit#cryptocloud"}}


class Table:
    """A circuit on a stubbed table; every call to the table must be announced."""

    def __init__(self) -> None:
        client = boto3.client("dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
        self.calls: list[str] = []
        self.announced: list[str] = []
        # The library swallows most failures of its store, the stub's complaint about a call too many among them.
        client.meta.events.register("before-parameter-build.dynamodb", self._note)
        self._stub = Stubber(client)
        self._stub.activate()
        self.circuit = ProviderCircuit("table", client)

    def _note(self, event_name: str, **_: object) -> None:
        self.calls.append(event_name.rpartition(".")[2])

    def refuses(self, operation: str, code: str) -> None:
        self.announced.append({"get_item": "GetItem", "put_item": "PutItem"}[operation])
        self._stub.add_client_error(operation, code)

    def holds(self, state: str | None, opened_s_ago: float = 0) -> None:
        item = {
            **KEY,
            "state": {"S": state or ""},
            "failure_count": {"N": "3"},
            "opened_at": {"N": str(int(time.time() - opened_s_ago))},
        }
        self.announced.append("GetItem")
        self._stub.add_response("get_item", {"Item": item} if state else {})

    def takes(self, operation: str, state: str) -> None:
        if operation == "put_item":
            expected = {"TableName": "table", "Item": ANY}
            if state == "HALF_OPEN":
                expected |= dict.fromkeys(
                    ("ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"), ANY
                )
        else:
            expected = {
                "TableName": "table",
                "Key": KEY,
                **dict.fromkeys(("UpdateExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"), ANY),
            }
        self.announced.append({"put_item": "PutItem", "update_item": "UpdateItem"}[operation])
        self._stub.add_response(operation, {}, expected)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    for counters in ("_LOCAL_FAILURES", "_LOCAL_SUCCESSES", "_LAST_OBSERVED_STATE"):
        monkeypatch.setattr(base, counters, {})
    table = Table()
    yield table
    assert table.calls == table.announced


def raising(error: InvoicingError) -> Callable[[], Invoice]:
    def create() -> Invoice:
        raise error

    return create


def never() -> Invoice:
    raise AssertionError("the provider was called")


@pytest.mark.parametrize("failure", [ProviderUnavailable(), OutcomeUnknown()])
def test_a_run_of_failures_opens_the_circuit_and_callers_hear_so_at_once(table: Table, failure: InvoicingError) -> None:
    table.holds(None)
    table.takes("put_item", "OPEN")
    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(type(failure)):
            table.circuit.call(raising(failure))
    with pytest.raises(ProviderUnavailable) as refusal:
        table.circuit.call(never)
    assert 0 < (refusal.value.retry_after_s or 0) <= RECOVERY_TIMEOUT_S


ANSWERS = [
    InvoiceRejected(answered=True),
    ProviderCredentialsRejected(answered=True),
    OutcomeUnknown("provider answered 403", answered=True),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_refusal_is_an_answer_and_never_opens_the_circuit(table: Table, answer: InvoicingError) -> None:
    table.holds(None)
    for _ in range(FAILURE_THRESHOLD * 3):
        with pytest.raises(type(answer)):
            table.circuit.call(raising(answer))
    assert table.circuit.call(lambda: INVOICE) == INVOICE


def test_a_success_ends_a_run_of_failures(table: Table) -> None:
    table.holds(None)
    for _ in range(FAILURE_THRESHOLD * 2):
        for _ in range(FAILURE_THRESHOLD - 1):
            with pytest.raises(OutcomeUnknown):
                table.circuit.call(raising(OutcomeUnknown()))
        assert table.circuit.call(lambda: INVOICE) == INVOICE


@pytest.mark.parametrize("answer", [None, *ANSWERS])
def test_one_probe_that_is_answered_closes_the_circuit(table: Table, answer: InvoicingError | None) -> None:
    table.holds("OPEN", opened_s_ago=RECOVERY_TIMEOUT_S + 1)
    table.takes("put_item", "HALF_OPEN")
    table.takes("update_item", "CLOSED")
    if answer:
        with pytest.raises(type(answer)):
            table.circuit.call(raising(answer))
    else:
        assert table.circuit.call(lambda: INVOICE) == INVOICE
    assert table.calls == table.announced
    assert table.circuit.call(lambda: INVOICE) == INVOICE


def test_a_probe_that_fails_opens_it_again(table: Table) -> None:
    table.holds("OPEN", opened_s_ago=RECOVERY_TIMEOUT_S + 1)
    table.takes("put_item", "HALF_OPEN")
    table.takes("update_item", "OPEN")
    with pytest.raises(OutcomeUnknown):
        table.circuit.call(raising(OutcomeUnknown()))
    with pytest.raises(ProviderUnavailable):
        table.circuit.call(never)


def test_who_does_not_win_the_probe_waits(table: Table) -> None:
    table.holds("OPEN", opened_s_ago=RECOVERY_TIMEOUT_S + 1)
    table.refuses("put_item", "ConditionalCheckFailedException")
    with pytest.raises(ProviderUnavailable) as refusal:
        table.circuit.call(never)
    assert refusal.value.retry_after_s == 1


def test_a_store_that_cannot_be_read_stops_no_traffic(table: Table) -> None:
    table.refuses("get_item", "ThrottlingException")
    assert table.circuit.call(lambda: INVOICE) == INVOICE


def test_a_store_that_fails_at_the_election_stops_no_traffic(table: Table) -> None:
    table.holds("OPEN", opened_s_ago=RECOVERY_TIMEOUT_S + 1)
    table.refuses("put_item", "ThrottlingException")
    assert table.circuit.call(lambda: INVOICE) == INVOICE


def test_healthy_traffic_reads_the_state_once_a_cache_period(table: Table) -> None:
    table.holds(None)  # a second read would have no response
    for _ in range(50):
        assert table.circuit.call(lambda: INVOICE) == INVOICE
