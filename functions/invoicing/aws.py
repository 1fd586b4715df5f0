"""The AWS clients, from one session, with explicit time limits and over our own connections."""

import functools
import logging
import time
from typing import TYPE_CHECKING, Any

import boto3
import urllib3
from botocore import exceptions
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.utils import get_environ_proxies
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProtocolError, ReadTimeoutError, SSLError

from invoicing import ahead
from invoicing.sockets import Opened, take, tls_context

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

# The longest that a call may take: two attempts and the back-off between them, at most 1 s in standard mode.
SECRETS_LIMIT_S = 7.0
TABLE_LIMIT_S = 3.0
EVENTS_LIMIT_S = 3.0
# Errors of table, index and bus that only the owner can fix. All others are treated as temporary:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/CommonErrors.html
LASTING_ERRORS = frozenset({"AccessDeniedException", "ResourceNotFoundException", "ValidationException"})
# A peer may have dropped a connection that was idle for longer.
_MAX_IDLE_S = 5.0
_MAX_CONNECTIONS = 10  # to one host, as botocore has it
_SECRETS = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2, "mode": "standard"})
_TABLE = _EVENTS = Config(connect_timeout=0.5, read_timeout=0.5, retries={"total_max_attempts": 2, "mode": "standard"})


# At DEBUG botocore logs whole replies, the secret's value among them. That must never reach the log, at any level. Set
# here, before there is any client: the first call is made while the rest is imported.
logging.getLogger("botocore").setLevel(logging.WARNING)


@functools.cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


@functools.cache
def secrets_manager_client() -> "SecretsManagerClient":
    """Returns a Secrets Manager client; a call takes at most ``SECRETS_LIMIT_S``."""
    client: SecretsManagerClient = _client("secretsmanager", _SECRETS)
    return client


def events_client() -> "EventBridgeClient":
    """Returns an EventBridge client; a call takes at most ``EVENTS_LIMIT_S``."""
    client: EventBridgeClient = _client("events", _EVENTS)
    return client


@functools.cache
def dynamodb_client() -> "DynamoDBClient":
    """Returns a DynamoDB client; a call takes at most ``TABLE_LIMIT_S``."""
    client: DynamoDBClient = _client("dynamodb", _TABLE)
    return client


def _client(service: Any, config: Config) -> Any:
    """Returns a client whose requests, once signed, go over our connections.

    botocore's own connections each read all authorities again: 18 ms of processor time, four times in a start
    (https://github.com/boto/botocore/issues/3171). And they cannot begin before boto3 is imported. What a handler of
    ``before-send`` returns is the reply: https://docs.aws.amazon.com/botocore/latest/topics/events.html.
    """
    client: Any = _session().client(service, config=config)
    url = client.meta.endpoint_url
    if not get_environ_proxies(url):  # what goes through a proxy is botocore's
        timeout = urllib3.Timeout(connect=client.meta.config.connect_timeout, read=client.meta.config.read_timeout)
        client.meta.events.register("before-send", functools.partial(_send, timeout=timeout))
        if begun := ahead.to_aws.get(url):
            pool: Any = _pools(url).connection_from_url(url)
            pool.ConnectionCls = functools.partial(_Connection, begun=begun)
    return client


def _pools(url: str) -> urllib3.PoolManager:
    return _all_pools(url.startswith("https:"))


@functools.cache
def _all_pools(secure: bool) -> urllib3.PoolManager:
    # A local stack has no TLS, and need not read the authorities.
    tls = tls_context(ahead.AWS_AUTHORITIES) if secure else None
    return urllib3.PoolManager(ssl_context=tls, maxsize=_MAX_CONNECTIONS)


class _Connection(HTTPSConnection):
    """A connection that takes over a socket that was opened ahead, if there is one."""

    def __init__(self, *args: Any, begun: list[Opened], **named: Any) -> None:
        super().__init__(*args, **named)
        self._begun = begun

    def connect(self) -> None:
        while opened := self._next():
            if sock := take(opened, _MAX_IDLE_S, time.time()):
                sock.settimeout(self.timeout)
                self.sock, self.is_verified = sock, True
                return
        super().connect()

    def _next(self) -> Opened | None:
        try:
            return self._begun.pop()
        except IndexError:  # another thread, which writes another record, may have taken the last one just now
            return None


def _send(request: AWSPreparedRequest, timeout: urllib3.Timeout, **_: object) -> AWSResponse:
    url = request.url
    try:
        reply = _pools(url).urlopen(
            request.method,
            url,
            body=request.body,
            headers=request.headers,
            redirect=False,
            retries=False,
            timeout=timeout,
            preload_content=False,
            decode_content=False,
        )
        response = AWSResponse(url, reply.status, reply.headers, reply)  # type: ignore[arg-type]
        response.content  # noqa: B018 - it is read now, so that what fails on the way fails here
    # In the words of botocore, by which it decides what to try again, and ``keys`` what was never sent.
    except SSLError as error:
        raise exceptions.SSLError(endpoint_url=url, error=error) from None
    except NewConnectionError as error:
        raise exceptions.EndpointConnectionError(endpoint_url=url, error=error) from None
    except ConnectTimeoutError as error:
        raise exceptions.ConnectTimeoutError(endpoint_url=url, error=error) from None
    except ReadTimeoutError as error:
        raise exceptions.ReadTimeoutError(endpoint_url=url, error=error) from None
    except ProtocolError as error:
        raise exceptions.ConnectionClosedError(error=error, request=request, endpoint_url=url) from None
    except Exception as error:
        raise exceptions.HTTPClientError(error=error) from None
    return response
