"""The table that the unit tests use, held to moto's: the same record and the same answer for every write and state."""

import contextlib
import time
from typing import Any

import boto3
from botocore.exceptions import ClientError

from invoicing.contract.errors import OutcomeUnknown
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceRequest
from invoicing.keys import IdempotencyKey, InvoiceRecords
from tests.unit.model_table import ModelTable

REQUEST = InvoiceRequest.model_validate({"amount": 1})
INVOICE = Invoice(pay_url="https://pay.cryptocloud.plus/X", invoice_id="X")


class Recording(ModelTable):
    """Keeps the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[str, dict[str, Any]]] = []

    def put_item(self, **write: Any) -> None:
        self.writes.append(("put_item", write))
        super().put_item(**write)

    def update_item(self, **write: Any) -> None:
        self.writes.append(("update_item", write))
        super().update_item(**write)


def writes_of(key: IdempotencyKey, outcome: Invoice | Exception, table_name: str) -> Recording:
    def create() -> Invoice:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    table = Recording()
    with contextlib.suppress(OutcomeUnknown):
        InvoiceRecords(table_name, table).deliver_once(key, REQUEST, create, remaining_s=lambda: 20)
    return table


def test_the_model_answers_every_write_in_every_state_as_moto_does(stack, fresh) -> None:
    client: Any = boto3.client(
        "dynamodb", endpoint_url=stack.endpoints["table_url"], region_name=stack.endpoints["region"]
    )
    key, name = IdempotencyKey("http", fresh), stack.endpoints["table_name"]
    completing, releasing = writes_of(key, INVOICE, name), writes_of(key, OutcomeUnknown(), name)
    [claim, complete], [other_claim, release] = completing.writes, releasing.writes
    now_ms = int(time.time() * 1000)
    claimed = claim[1]["Item"]
    done, ended = completing.items[key.record_id], releasing.items[key.record_id]
    records = {
        "none": None,
        "claimed": claimed,
        "claimed by another": other_claim[1]["Item"],
        "claimed without a token": {name: value for name, value in claimed.items() if name != "claim"},
        "claim ran out": {**claimed, "in_progress_expiration": {"N": str(now_ms - 60_000)}},
        "another's claim ran out": {**other_claim[1]["Item"], "in_progress_expiration": {"N": str(now_ms - 60_000)}},
        "claim ended": ended,
        "done": done,
        "done a day ago": {**done, "expiration": {"N": str(now_ms // 1000 - 60)}},
    }
    outcomes = set()
    for state, record in records.items():
        for operation, write in (claim, complete, other_claim, release):
            model, expected, found = ModelTable(), None, None
            client.delete_item(TableName=name, Key={"id": {"S": key.record_id}})
            if record:
                model.items[key.record_id] = record
                client.put_item(TableName=name, Item=record)
            try:
                getattr(model, operation)(**write)
            except ClientError as error:
                expected = error.response["Error"]["Code"], error.response.get("Item")
            try:
                getattr(client, operation)(**write)
            except ClientError as error:
                found = error.response["Error"]["Code"], error.response.get("Item")
            assert found == expected, (state, operation)
            after = client.get_item(TableName=name, Key={"id": {"S": key.record_id}}).get("Item")
            assert after == model.items.get(key.record_id), (state, operation)
            outcomes.add((operation, expected is None))
    assert len(outcomes) == 4
