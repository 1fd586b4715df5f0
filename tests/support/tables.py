"""Tables of templates, in moto and in this process: the expressions of the code are evaluated for real."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from tests.support import ROOT
from tests.support.templates import read_template

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SERVICE = ROOT / "template.yaml"


@contextmanager
def table(resource: str, template: Path = SERVICE) -> Iterator["DynamoDBClient"]:
    """Gives a client for an account that has one table, which is named after its resource.

    Args:
        resource: The table's name in the template.
        template: The template, that of the service unless an example's is named.
    """
    from moto import mock_aws  # here, because most tests do without its hundreds of modules

    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_table(client, resource, resource, template)
        yield client


def create_table(client: "DynamoDBClient", name: str, resource: str, template: Path = SERVICE) -> None:
    """Creates a table as a template has it.

    Args:
        client: A DynamoDB client.
        name: What the table is to be called.
        resource: Its name in the template.
        template: As for ``table``.
    """
    properties = read_template(template)["Resources"][resource]["Properties"]
    names = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
    client.create_table(TableName=name, **{each: properties[each] for each in names if each in properties})
