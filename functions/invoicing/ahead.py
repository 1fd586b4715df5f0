"""What a function begins on the network while it still imports the rest of itself, and why.

A cold start is imports and then handshakes: three round trips each to Secrets Manager, to DynamoDB and to the provider.
Here they begin as soon as there is something to begin them with, and pass while Python imports what remains.

Nothing depends on it. What fails here, or comes too late, is left aside, and the request does it in its own time and
says what is wrong.
"""

import contextlib
import os
import time
from concurrent.futures import Future
from typing import Any

from urllib3.connection import HTTPConnection

from invoicing.aws import dynamodb_client, open_table_connection, secrets_manager_client
from invoicing.contract.origins import origin_of
from invoicing.provider.connection import in_thread, open_connection

CONNECT_LIMIT_S = 3.0
# Recording an invoice and completing its key are written side by side.
_TABLE_CONNECTIONS = 2

#: The secret, as Secrets Manager answers; ``None`` if nothing was begun.
secret: "Future[Any] | None" = None
#: A connection to the provider, and the wall time at which it was open.
provider: "Future[tuple[HTTPConnection, float]] | None" = None
#: The same to the site of the price list, where there is a list.
prices: "Future[tuple[HTTPConnection, float]] | None" = None


def begin() -> None:
    """Begins what the environment names. A setting that is wrong or missing is for those to say who need it."""
    global secret, provider, prices
    environ = os.environ
    with contextlib.suppress(Exception):
        secret = in_thread(secrets_manager_client().get_secret_value, SecretId=environ["CRYPTOCLOUD_SECRET_ARN"])
    with contextlib.suppress(Exception):
        provider = in_thread(_connect, environ["CRYPTOCLOUD_API_URL"])
    if url := environ.get("PRICE_LIST_URL"):
        prices = in_thread(_connect, url)
    with contextlib.suppress(Exception):
        dynamodb_client()
        for _ in range(_TABLE_CONNECTIONS):
            in_thread(open_table_connection)


def _connect(url: str) -> tuple[HTTPConnection, float]:
    return open_connection(origin_of(url), CONNECT_LIMIT_S), time.time()
