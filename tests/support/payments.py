"""What a payment meets, for tests: a provider and a bus that answer or fail as a test asks, and a table in moto."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from invoicing.contract.errors import ProviderCredentialsRejected
from invoicing.credentials import Credentials
from invoicing.events import EventBus
from invoicing.invoices import InvoiceRecord, InvoiceTable, new_item
from invoicing.payments import Payments
from invoicing.provider.outcomes import Api, Call
from tests.support.samples import Clock
from tests.support.tables import table

ID = "DZLF4212"
OLD = Credentials.model_validate({"api_key": "old", "shop_id": "shop"})
NEW = Credentials.model_validate({"api_key": "new", "shop_id": "shop"})


class FakeCredentials:
    def __init__(self) -> None:
        self.current, self.after_reading_again = OLD, OLD

    def get(self) -> Credentials:
        return self.current

    def read_again(self) -> Credentials:
        return self.after_reading_again


class FakeProvider:
    """Answers with what ``statuses`` says, or raises ``failure``; remembers what it was asked."""

    def __init__(self) -> None:
        self.statuses: dict[str, Any] = {}
        self.failure: Exception | None = None
        self.valid = OLD
        self.asked: list[list[str]] = []

    def info(self, ids: Sequence[str]) -> Call[Any]:
        return Call("GET", ",".join(ids), b"", lambda _: None)

    def perform(self, call: Call[Any], credentials: Credentials, **_: float) -> dict[str, Any]:
        ids = call.path.split(",")
        self.asked.append(ids)
        if credentials != self.valid:
            raise ProviderCredentialsRejected
        if self.failure:
            raise self.failure
        return {invoice_id: self.statuses[invoice_id] for invoice_id in ids if invoice_id in self.statuses}


class FakeBus:
    """EventBridge, which accepts everything or answers as a test asks."""

    def __init__(self) -> None:
        self.details: list[dict[str, Any]] = []
        self.refuse = 0

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if self.refuse:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
        self.details += [json.loads(entry["Detail"]) for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}

    @property
    def ids(self) -> list[str]:
        return [detail["event_id"] for detail in self.details]


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    with table("InvoiceTable") as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def invoices(account: Any, clock: Clock) -> InvoiceTable:
    for item in account.scan(TableName="InvoiceTable")["Items"]:
        account.delete_item(TableName="InvoiceTable", Key={"invoice_id": item["invoice_id"]})
    return InvoiceTable("InvoiceTable", account, clock=clock)


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def credentials() -> FakeCredentials:
    return FakeCredentials()


@pytest.fixture
def payments(invoices, provider, bus, credentials) -> Payments:
    api = Api("v1", ("USD",), create=None, info=provider.info, ids_in_a_call=2)  # type: ignore[arg-type]
    return Payments(invoices, credentials, provider, api, EventBus("default", "shop-stack", bus))  # type: ignore[arg-type]


@pytest.fixture
def recorded(invoices, clock, provider) -> InvoiceRecord:
    record = InvoiceRecord(ID, "19.99", "USD", "v1", int(clock()), order_id="A-1001", items=(("mug", 2),))
    invoices.record(new_item(record, retention_s=90 * 24 * 60 * 60))
    provider.statuses[ID] = "created"
    return record
