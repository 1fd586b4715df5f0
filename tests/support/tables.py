"""Tables of template.yaml, in moto and in this process: the expressions of the code are evaluated for real."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3

from tests.support import ROOT
from tests.support.templates import read_template

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@contextmanager
def table(resource: str) -> Iterator["DynamoDBClient"]:
    """Gives a client for an account that has one table, which is named after its resource.

    Args:
        resource: The table's name in template.yaml.
    """
    from moto import mock_aws  # here, because most tests do without its hundreds of modules

    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_table(client, resource, resource)
        yield client


def create_table(client: "DynamoDBClient", name: str, resource: str) -> None:
    """Creates a table as the template has it.

    Args:
        client: A DynamoDB client.
        name: What the table is to be called.
        resource: Its name in template.yaml.
    """
    properties = read_template(ROOT / "template.yaml")["Resources"][resource]["Properties"]
    names = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
    client.create_table(TableName=name, **{each: properties[each] for each in names if each in properties})
