"""docs/payments.md says what the code does, and the commands that it gives an owner do what it says."""

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from invoicing.contract.statuses import DELIVERABLE, STATUSES
from invoicing.events import DETAIL_TYPES
from invoicing.invoice_record import SCHEDULE_S, InvoiceRecord, new_item
from invoicing.invoices import InvoiceTable
from tests.support import ROOT
from tests.support.samples import Clock
from tests.support.tables import table
from tests.unit.test_facts import WATCH_EVERY_MIN

PAGE = (ROOT / "docs" / "payments.md").read_text()
ONE_LINE = re.sub(r"\s+", " ", PAGE)
HOUR_S = 60 * 60


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_page_says_of_each_status_whether_to_deliver() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (yes|no)\b", section("What each status means"), re.MULTILINE)
    assert dict(rows) == {status: "yes" if status in DELIVERABLE else "no" for status in STATUSES}


def test_the_page_says_which_statuses_each_type_of_event_is_about() -> None:
    rows = re.findall(r"^\| `(Invoice [\w ]+)` \| (.*) \|$", section("The event"), re.MULTILINE)
    said = {status: detail_type for detail_type, cell in rows for status in re.findall(r"`(\w+)`", cell)}
    assert said == DETAIL_TYPES


def test_the_page_says_when_an_invoice_is_asked_about_and_how_late_a_payment_is_known() -> None:
    minutes = [after_s // 60 for after_s in SCHEDULE_S if after_s < HOUR_S]
    hours = [after_s // HOUR_S for after_s in SCHEDULE_S if after_s >= HOUR_S]
    *every_other, before_last, last = hours
    assert [*every_other, before_last] == list(range(1, before_last + 1, 2))
    said = (
        f"{minutes[0]} minutes, {minutes[1]} minutes, {hours[0]} hour and {hours[1]} hours after it was created, then "
    )
    said += f"every 2 hours until {before_last} hours, and for the last time after {last} hours."
    assert said in ONE_LINE
    longest_s = max(later - earlier for earlier, later in itertools.pairwise((0, *SCHEDULE_S)))
    assert f"{longest_s // HOUR_S} hours and {WATCH_EVERY_MIN} minutes after it was confirmed" in ONE_LINE
    assert f"After {last} hours only a postback or a page that asks brings news." in ONE_LINE


@pytest.fixture
def invoices() -> Iterator[InvoiceTable]:
    with table("InvoiceTable") as client:
        yield InvoiceTable("InvoiceTable", client, clock=Clock())


def test_a_record_is_put_by_hand_from_the_line_of_the_log_as_the_page_says(invoices, tmp_path) -> None:
    record = InvoiceRecord("DZLF4212", "19.99", "USD", "v1", 900_000, order_id="it's A-1001", items=(("mug", 2),))
    item = new_item(record, retention_s=90 * 24 * HOUR_S)
    line = json.dumps({"level": "ERROR", "message": "invoice not recorded", "record": json.dumps(item)})
    # What `aws logs filter-log-events --query 'events[].message'` prints.
    (tmp_path / "lines.json").write_text(json.dumps([line, line]))
    [code] = re.findall(r"python3 -c '(.*)'\n", PAGE)
    printed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second = map(json.loads, printed.stdout.splitlines())
    assert first == second == item

    [condition] = re.findall(r'--condition-expression "(.*)"', PAGE)
    client = invoices._client
    client.put_item(TableName="InvoiceTable", Item=first, ConditionExpression=condition)
    read = invoices.read("DZLF4212")
    assert (read.order_id, read.items, read.amount, read.status) == ("it's A-1001", (("mug", 2),), "19.99", "created")
    # The next run of the watch asks about it.
    [shard] = [item["queue"]["S"]]
    assert [invoice_id for invoice_id, _ in invoices.due(shard)] == ["DZLF4212"]
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        client.put_item(TableName="InvoiceTable", Item=first, ConditionExpression=condition)
