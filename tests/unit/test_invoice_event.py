"""The events that are published are those of docs/invoice-event.schema.json, which consumers rely on."""

import copy
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from invoicing.contract.errors import ProviderUnavailable, ServiceNotConfigured
from invoicing.contract.statuses import STATUSES, Status
from invoicing.events import DETAIL_TYPES, SOURCE, EventBus
from invoicing.invoice_record import InvoiceRecord
from tests.support import ROOT
from tests.support.bus import Bus

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "invoice-event.schema.json").read_text())
# Consumers must ignore what they do not know. What this version of the code publishes, the schema names.
STRICT = copy.deepcopy(SCHEMA)
STRICT["$defs"]["detail"]["additionalProperties"] = False
STRICT["$defs"]["detail"]["properties"]["items"]["items"]["additionalProperties"] = False
CONSUMERS, OURS = (jsonschema_rs.Draft202012Validator(schema, validate_formats=True) for schema in (SCHEMA, STRICT))

PUBLISHED = [status for status in STATUSES if status != "created"]
RECORD = InvoiceRecord("DZLF4212", "19.99", "USD", "v1", 1_700_000_000, order_id="A-1001", items=(("mug", 2),))


@pytest.fixture(scope="module")
def bus() -> Iterator[Bus]:
    from moto import mock_aws  # here, because most tests do without its hundreds of modules

    with mock_aws():
        yield Bus({"source": [SOURCE], "detail": {"stack": ["shop"]}})


def unpublished(*statuses: Status, **fields: Any) -> InvoiceRecord:
    seen_s = {status: 1_700_000_060 + number for number, status in enumerate(statuses)}
    return InvoiceRecord(
        **{
            **{name: getattr(RECORD, name) for name in RECORD.__slots__},
            "status": statuses[-1],
            "seen_s": seen_s,
            "unpublished": frozenset(statuses),
            **fields,
        }
    )


def publish(bus: Bus, *statuses: Status, **fields: Any) -> list[dict[str, Any]]:
    EventBus("default", "shop", bus.client).publish(unpublished(*statuses, **fields))
    return bus.delivered()


@pytest.mark.parametrize("status", PUBLISHED)
@pytest.mark.parametrize("fields", [{}, {"order_id": None, "items": ()}, {"amount": "100000", "currency": "EUR"}])
def test_an_event_of_each_status_is_as_the_schema_says(bus, status, fields) -> None:
    [event] = publish(bus, status, **fields)
    OURS.validate(event)
    assert event["detail"]["status"] == status


@pytest.mark.parametrize("status", PUBLISHED)
def test_an_event_of_an_unrecorded_invoice_is_too(bus, status) -> None:
    EventBus("default", "shop", bus.client).publish_unrecorded("DZLF4212", status)
    [event] = bus.delivered()
    OURS.validate(event)
    assert event["detail"]["recorded"] is False


def test_what_is_published_together_are_events_of_their_own(bus) -> None:
    events = publish(bus, "partial", "paid")
    for event in events:
        OURS.validate(event)
    assert [event["detail-type"] for event in events] == ["Invoice Partially Paid", "Invoice Paid"]
    assert [event["detail"]["time"] for event in events] == ["2023-11-14T22:14:20Z", "2023-11-14T22:14:21Z"]


def test_the_schema_knows_the_statuses_and_types_of_the_code_and_no_other() -> None:
    detail = SCHEMA["$defs"]["detail"]["properties"]
    assert set(detail["status"]["enum"]) == DETAIL_TYPES.keys() == set(PUBLISHED)
    assert set(SCHEMA["properties"]["detail-type"]["enum"]) == set(DETAIL_TYPES.values())
    assert set(SCHEMA["$defs"]["detail"]["required"]) == detail.keys()


def test_every_field_says_what_it_is() -> None:
    for name, field in SCHEMA["$defs"]["detail"]["properties"].items():
        assert field.get("description"), name


def sample() -> dict[str, Any]:
    return {
        "source": SOURCE,
        "detail-type": "Invoice Paid",
        "detail": {
            "version": "1",
            "event_id": "DZLF4212:paid",
            "stack": "shop",
            "invoice_id": "DZLF4212",
            "order_id": "A-1001",
            "items": None,
            "status": "paid",
            "amount": "19.99",
            "currency": "USD",
            "recorded": True,
            "time": "2026-11-25T10:15:00Z",
        },
    }


# Each would mislead a consumer.
WRONG = [
    {"version": "2"},
    {"amount": 19.99},
    {"amount": "1E+2"},
    {"amount": None},
    {"amount": "-1"},
    {"currency": None},
    {"event_id": "DZLF4212:paid:unrecorded"},
    {"event_id": "DZLF4212:created"},
    {"status": "created"},
    {"status": "partial"},
    {"recorded": False},
    {"time": None},
    {"time": "2026-11-25T10:15:00+01:00"},
    {"time": "yesterday"},
    {"items": []},
    {"items": [{"id": "mug"}]},
    {"items": [{"id": "mug", "quantity": 0}]},
    {"invoice_id": "INV DZLF4212"},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_the_schema_refuses_what_is_never_sent(change) -> None:
    event = sample()
    assert CONSUMERS.is_valid(event)
    event["detail"] |= change
    assert not CONSUMERS.is_valid(event)


@pytest.mark.parametrize("name", sample()["detail"])
def test_no_field_may_be_missing(name) -> None:
    event = sample()
    del event["detail"][name]
    assert not CONSUMERS.is_valid(event)


def test_a_consumer_takes_a_field_that_a_later_version_adds_and_ours_must_name_it_first() -> None:
    event = sample()
    event["detail"]["later"] = 1
    assert CONSUMERS.is_valid(event)
    assert not OURS.is_valid(event)


def test_the_docs_have_a_row_for_each_field_of_an_event_and_for_no_other() -> None:
    page = (ROOT / "docs" / "payments.md").read_text()
    table = page.split("\n## The event\n")[1].split("\n## ")[0]
    fields = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert fields == list(SCHEMA["$defs"]["detail"]["properties"])


def test_the_example_in_the_docs_is_an_event() -> None:
    page = (ROOT / "docs" / "payments.md").read_text()
    [example] = re.findall(r"```json\n(\{.*?\})\n```", page.split("\n## The event\n")[1].split("\n## ")[0], re.DOTALL)
    OURS.validate(json.loads(example))


def test_every_detail_type_goes_with_its_own_statuses_only() -> None:
    for status, detail_type in itertools.product(PUBLISHED, set(DETAIL_TYPES.values())):
        event = sample()
        event["detail-type"] = detail_type
        event["detail"] |= {"status": status, "event_id": f"DZLF4212:{status}"}
        assert CONSUMERS.is_valid(event) is (DETAIL_TYPES[status] == detail_type), (status, detail_type)


class Answering:
    """EventBridge with one answer, or one failure; remembers what it got."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer
        self.entries: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        self.entries += Entries
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def answered(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "PutEvents")


PUBLISHED_METRIC, NOT_PUBLISHED_METRIC = (
    (name, frozenset({"service"})) for name in ("EventPublished", "EventNotPublished")
)


def test_events_go_to_the_owners_bus_and_each_is_counted_and_logged(counted, log) -> None:
    client: Any = Answering({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}, {"EventId": "2"}]})
    EventBus("shop-bus", "shop", client).publish(unpublished("partial", "paid"))
    assert [entry["EventBusName"] for entry in client.entries] == ["shop-bus"] * 2
    assert counted() == {PUBLISHED_METRIC: [2.0]}
    assert [(line["level"], line["message"], line["event_id"]) for line in log()] == [
        ("INFO", "event published", "DZLF4212:partial"),
        ("INFO", "event published", "DZLF4212:paid"),
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answered("ThrottlingException"), "ThrottlingException"),
        (ReadTimeoutError(endpoint_url=""), "ReadTimeoutError"),
        (
            {
                "FailedEntryCount": 2,
                "Entries": [{"ErrorCode": "ThrottlingException"}, {"EventId": "1"}, {"ErrorCode": "InternalFailure"}],
            },
            "InternalFailure, ThrottlingException",
        ),
    ],
)
def test_events_that_the_bus_did_not_take_are_counted_and_may_be_tried_again(answer, reason, counted) -> None:
    client: Any = Answering(answer)
    with pytest.raises(ProviderUnavailable) as raised:
        EventBus("default", "shop", client).publish(unpublished("partial", "paid"))
    assert raised.value.reason == f"events not published: {reason}"
    assert counted() == {NOT_PUBLISHED_METRIC: [2.0]}


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException", "ValidationException"])
def test_a_bus_that_only_the_owner_can_fix_is_counted_and_is_not_worth_trying_again(code, counted) -> None:
    client: Any = Answering(answered(code))
    with pytest.raises(ServiceNotConfigured) as raised:
        EventBus("default", "shop", client).publish(unpublished("paid"))
    assert raised.value.reason == f"the event bus answered {code}: see EventBus and the role"
    assert counted() == {NOT_PUBLISHED_METRIC: [1.0]}
