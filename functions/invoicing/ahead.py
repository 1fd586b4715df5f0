"""What a function begins on the network while it still imports the rest of itself, and why.

A cold start is imports and then handshakes: two or three round trips each to the provider, to Secrets Manager and to
DynamoDB. Here they begin with nothing but Python's own sockets, and pass while urllib3, boto3 and all the rest are
imported. The secret is asked for as soon as there is a client.

Nothing depends on it. What fails here, or comes too late, is left aside, and the request does it in its own time and
says what is wrong.
"""

import contextlib
import os
import socket
import time
from concurrent.futures import Future
from typing import Any

from invoicing.contract.origins import origin_of
from invoicing.sockets import Opened, in_thread, open_socket

CONNECT_LIMIT_S = 3.0
# To the table there are two: recording an invoice and completing its key are written side by side.
_AWS = {"secretsmanager": ("SECRETS_MANAGER", 1), "dynamodb": ("DYNAMODB", 2)}
#: A file of the authorities to trust in calls to AWS, as botocore reads it; ``None`` means the system's.
AWS_AUTHORITIES = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")

#: The secret, as Secrets Manager answers; ``None`` if nothing was begun.
secret: "Future[Any] | None" = None
#: To the provider.
provider: Opened | None = None
#: To the site of the price list, where there is a list.
prices: Opened | None = None
#: To AWS, by URL: the first connections of the clients.
to_aws: dict[str, list[Opened]] = {}


def begin() -> None:
    """Begins what the environment names. A setting that is wrong or missing is for those to say who need it."""
    global secret, provider, prices
    environ = os.environ
    with contextlib.suppress(Exception):
        provider = in_thread(_connect, environ["CRYPTOCLOUD_API_URL"])
    for service, (name, count) in _AWS.items():
        with contextlib.suppress(Exception):
            url = _aws_url(service, name)
            if url.startswith("https:"):
                to_aws[url] = [in_thread(_connect, url, AWS_AUTHORITIES) for _ in range(count)]
    if site := environ.get("PRICE_LIST_URL"):
        prices = in_thread(_connect, site)

    # Only now: this imports boto3.
    from invoicing.aws import dynamodb_client, secrets_manager_client

    with contextlib.suppress(Exception):
        secret = in_thread(secrets_manager_client().get_secret_value, SecretId=environ["CRYPTOCLOUD_SECRET_ARN"])
    with contextlib.suppress(Exception):
        dynamodb_client()


def _connect(url: str, authorities: str | None = None) -> tuple[socket.socket, float]:
    # Its age counts from here, not from the end of the handshake: Lambda may freeze us in between, for minutes, and the
    # peer would drop what looked new.
    begun_at_s = time.time()
    return open_socket(origin_of(url), CONNECT_LIMIT_S, authorities), begun_at_s


def _aws_url(service: str, name: str) -> str:
    # Where botocore finds another address, such as one of FIPS or of China, nobody uses this connection.
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    named = os.environ.get(f"AWS_ENDPOINT_URL_{name}") or os.environ.get("AWS_ENDPOINT_URL")
    return named or f"https://{service}.{os.environ['AWS_REGION']}.amazonaws.com"
