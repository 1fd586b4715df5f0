"""Tables of template.yaml: one in moto and in this process, which evaluates the code's expressions, or a stack's."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from invoicing.contract.statuses import Status
from invoicing.invoice_record import InvoiceRecord, new_item
from tests.support.account import NOBODY, REGION, SERVICE, create_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.support.stack import Stack


@contextmanager
def table(resource: str, template: Path = SERVICE) -> Iterator["DynamoDBClient"]:
    """Gives a client for an account that has one table, which is named after its resource.

    Args:
        resource: The table's name in the template.
        template: The template, that of the service unless an example's is named.
    """
    from moto import mock_aws  # here, because most tests do without its hundreds of modules

    with mock_aws():
        client = boto3.client("dynamodb", region_name=REGION)
        create_table(client, resource, resource, template)
        yield client


def record_invoice(stack: "Stack", invoice_id: str, status: Status = "created") -> None:
    """Records an invoice in a local stack's table, in place of what is there under its id.

    Args:
        stack: The stack.
        invoice_id: The provider's id, without ``INV-``. The provider need not know it.
        status: The highest status that was seen.
    """
    client = boto3.client("dynamodb", endpoint_url=stack.endpoints["table_url"], **NOBODY)
    item = new_item(InvoiceRecord(invoice_id, "19.99", "USD", "v1", int(time.time())), retention_s=24 * 60 * 60)
    client.put_item(TableName=stack.endpoints["invoice_table_name"], Item={**item, "status": {"S": status}})
