"""The AWS clients, from one session and with explicit time limits."""

import functools
import logging
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import boto3
from botocore.awsrequest import AWSHTTPSConnection, AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from urllib3.exceptions import ConnectTimeoutError

from invoicing import ahead
from invoicing.sockets import Opened, is_idle, tls_context

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
_SECRETS = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2, "mode": "standard"})
_TABLE = _EVENTS = Config(connect_timeout=0.5, read_timeout=0.5, retries={"total_max_attempts": 2, "mode": "standard"})


# At DEBUG botocore logs whole replies, the secret's value among them. That must never reach the log, at any level. Set
# here, before there is any client: the first call is made while the rest is imported.
logging.getLogger("botocore").setLevel(logging.WARNING)


class _Connection(AWSHTTPSConnection):
    """botocore's connection, which takes over one that was begun ahead if there is one."""

    def __init__(self, *args: Any, begun: list[Opened], **named: Any) -> None:
        super().__init__(*args, **named)
        self._begun = begun

    def connect(self) -> None:
        while self._begun:
            if self._takes_over(self._begun.pop()):
                return
        super().connect()

    def _takes_over(self, opened: Opened) -> bool:
        try:
            # It is not waited for longer than for a connection that begins now.
            sock, opened_at_s = opened.result(self.timeout)
        except Exception:
            if opened.done():
                return False
            raise ConnectTimeoutError(self, "the connection that was begun ahead hangs") from None
        if not 0 <= time.time() - opened_at_s <= _MAX_IDLE_S or not is_idle(sock):
            sock.close()
            return False
        sock.settimeout(self.timeout)
        self.sock = sock
        self.is_verified = True
        return True


class _Http(URLLib3Session):
    """botocore's HTTP, with the TLS context that all our connections share.

    botocore itself reads the authorities, more than a hundred, again for each connection: 18 ms of processor time.
    https://github.com/boto/botocore/issues/3171

    Args:
        client: A client, whose address and limits it takes.
    """

    def __init__(self, client: Any) -> None:
        url, config = client.meta.endpoint_url, client.meta.config
        self._shared = tls_context(ahead.AWS_AUTHORITIES) if url.startswith("https:") else None
        timeout: Any = (config.connect_timeout, config.read_timeout)
        socket_options: Any = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        super().__init__(timeout=timeout, proxies=get_environ_proxies(url), socket_options=socket_options)
        if self._shared and (begun := ahead.to_aws.get(url)):
            pool: Any = self._manager.connection_from_url(url)  # type: ignore[attr-defined]
            pool.ConnectionCls = functools.partial(_Connection, begun=begun)

    def _get_ssl_context(self) -> ssl.SSLContext | None:
        return self._shared

    def _setup_ssl_cert(self, conn: Any, url: str, verify: object) -> None:
        pass  # the context knows whom to trust

    def answer(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Returns the reply to a signed request, in place of the client's own HTTP."""
        return self.send(request)


@functools.cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


def _client(service: Any, config: Config) -> Any:
    client: Any = _session().client(service, config=config)
    # https://docs.aws.amazon.com/botocore/latest/topics/events.html: what answers this event fulfils the request.
    client.meta.events.register("before-send", _Http(client).answer)
    return client


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
