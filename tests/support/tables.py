"""Tables of template.yaml, in moto and in this process: the expressions of the code are evaluated for real."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3

from tests.support import ROOT
from tests.support.account import REGION
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

    properties = read_template(ROOT / "template.yaml")["Resources"][resource]["Properties"]
    names = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
    with mock_aws():
        client = boto3.client("dynamodb", region_name=REGION)
        client.create_table(TableName=resource, **{name: properties[name] for name in names if name in properties})
        yield client
