"""A shop that delivers what is paid: the example's function on the real runtime, and the payment before it."""

from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from tests.support import ROOT
from tests.support.account import NOBODY
from tests.support.paying import deliveries, details, press
from tests.support.stack import Stack
from tests.support.tables import create_table

EXAMPLE = ROOT / "examples" / "fulfil-order"
BUILT = ROOT / ".aws-sam" / "local" / "template.yaml"
FUNCTION = "FulfilOrderFunction"
# Lambda's managed runtime has boto3; here the tests' environment has it.
MANAGED_BOTO3 = {"PYTHONPATH": str(Path(boto3.__file__).parents[1])}
ORDER = {"order_id": "A-1001", "amount": "19.99", "currency": "USD"}


@pytest.fixture(scope="module")
def both(start_lasting_stack, tmp_path_factory) -> Stack:
    """The local stack with the example's own template nested in it, and the example's table."""
    template = yaml.safe_load(BUILT.read_text())
    for resource in template["Resources"].values():
        for name in {"CodeUri", "TemplateURL"} & resource["Properties"].keys():
            resource["Properties"][name] = str(BUILT.parent / resource["Properties"][name])
    template["Resources"]["Shop"] = {
        "Type": "AWS::Serverless::Application",
        "Properties": {
            "Location": str(EXAMPLE / "template.yaml"),
            "Parameters": {"InvoicesStack": "local", "Email": "owner@shop.example"},
        },
    }
    path = tmp_path_factory.mktemp("both") / "template.yaml"
    path.write_text(yaml.safe_dump(template))
    stack = start_lasting_stack(template=str(path), environment=MANAGED_BOTO3)
    client = boto3.client("dynamodb", endpoint_url=stack.endpoints["table_url"], **NOBODY)
    create_table(client, "Deliveries", "Deliveries", EXAMPLE / "template.yaml")
    return stack


def delivered(stack: Stack) -> dict[str, Any]:
    table = boto3.resource("dynamodb", endpoint_url=stack.endpoints["table_url"], **NOBODY).Table("Deliveries")
    return table.get_item(Key={"id": "order A-1001"}, ConsistentRead=True).get("Item", {})


def test_an_order_is_delivered_when_it_is_paid_and_once(both) -> None:
    invoice = both.invoke(ORDER).payload
    press(both, invoice)
    both.tell("/events/wait", count=1)
    [event] = deliveries(both)["events"]
    assert [detail["event_id"] for detail in details(both)] == [f"{invoice['invoice_id']}:paid"]
    assert delivered(both) == {}
    outcomes = [both.invoke(event, FUNCTION).payload for _ in range(2)]
    assert outcomes == ["delivered", "twin"], both.log_text()
    assert delivered(both)["invoice_id"] == invoice["invoice_id"]
    assert f"{invoice['invoice_id']}:paid: delivered" in both.log_text()
