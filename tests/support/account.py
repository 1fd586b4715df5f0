"""What a function finds in an AWS account: its environment, and table and secret, which moto keeps here."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from tests.support import ROOT
from tests.support.templates import read_template

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGION = "us-east-1"
API_KEY = "local-api-key"
SHOP_ID = "local-shop"
SECRET_KEY = "local-secret-key"
SERVICE = ROOT / "template.yaml"
TABLE = "keys"
INVOICES = "invoices"
SECRET = "secret"
#: For clients of emulators, which ask for no credentials. Without any, boto3 would look for some on the network.
NOBODY = {"region_name": REGION, "aws_access_key_id": "local", "aws_secret_access_key": "local"}


def function_environment(
    *,
    provider_url: str,
    secrets_url: str,
    table_url: str,
    site: str,
    secret: str = SECRET,
    table: str = TABLE,
) -> dict[str, str]:
    """Returns the environment of ``create_invoice``, as Lambda and the template give it one.

    Args:
        provider_url: The origin of the provider's API and of its pay links.
        secrets_url: Where Secrets Manager is.
        table_url: Where DynamoDB is.
        site: The one origin whose pages may call.
        secret: The name of the secret.
        table: The name of the table.
    """
    return {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets_url,
        "AWS_ENDPOINT_URL_DYNAMODB": table_url,
        "ALLOWED_ORIGINS": site,
        "CRYPTOCLOUD_API_URL": provider_url,
        "CRYPTOCLOUD_PAY_ORIGINS": provider_url,
        "CRYPTOCLOUD_SECRET_ARN": secret,
        "IDEMPOTENCY_TABLE": table,
        "INVOICE_TABLE": INVOICES,
        "MIN_AMOUNT": "0.01",
        "MAX_AMOUNT": "100000",
        "PROVIDER_TIMEOUT": "20",
        # On Lambda none can be written.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def create_tables_and_secret(moto_url: str) -> None:
    """Creates the tables of keys and invoices as the template has them, and a filled secret.

    Args:
        moto_url: Where moto's server is.
    """
    account = {"endpoint_url": moto_url, **NOBODY}
    boto3.client("secretsmanager", **account).create_secret(
        Name=SECRET, SecretString=json.dumps({"api_key": API_KEY, "shop_id": SHOP_ID, "secret_key": SECRET_KEY})
    )
    dynamodb = boto3.client("dynamodb", **account)
    for name, resource in ((TABLE, "IdempotencyTable"), (INVOICES, "InvoiceTable")):
        create_table(dynamodb, name, resource)


def create_table(client: "DynamoDBClient", name: str, resource: str, template: Path = SERVICE) -> None:
    """Creates a table as a template has it.

    Args:
        client: A DynamoDB client.
        name: What the table is to be called.
        resource: Its name in the template.
        template: The file.
    """
    properties = read_template(template)["Resources"][resource]["Properties"]
    names = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
    client.create_table(TableName=name, **{each: properties[each] for each in names if each in properties})
