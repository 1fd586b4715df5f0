"""The AWS clients: no call waits for longer than the deadlines reckon with, and every failure has botocore's name."""

import io
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NoReturn

import pytest
import urllib3
from botocore import exceptions
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProtocolError, ReadTimeoutError, SSLError

from invoicing import ahead, aws, sockets
from invoicing.sockets import loaded_context

CACHES = (aws.secrets_manager_client, aws.dynamodb_client, aws._all_pools, loaded_context)


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


class Pools:
    """urllib3's pools, which do what a test says with each request."""

    def __init__(self, do: Callable[[], urllib3.HTTPResponse]) -> None:
        self._do = do
        self.sent: list[tuple[str, str]] = []
        self.timeouts: list[urllib3.Timeout] = []

    def urlopen(self, method: str, url: str, *, timeout: urllib3.Timeout, **_: Any) -> urllib3.HTTPResponse:
        self.sent.append((method, url))
        self.timeouts.append(timeout)
        return self._do()


def raising(error: Exception) -> Callable[[], NoReturn]:
    def do() -> NoReturn:
        raise error

    return do


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (NewConnectionError(None, "refused"), exceptions.EndpointConnectionError),  # type: ignore[arg-type]
        (ConnectTimeoutError(), exceptions.ConnectTimeoutError),
        (ReadTimeoutError(None, "/", "late"), exceptions.ReadTimeoutError),  # type: ignore[arg-type]
        (ProtocolError("closed"), exceptions.ConnectionClosedError),
        (SSLError("not trusted"), exceptions.SSLError),
        (RuntimeError("anything else"), exceptions.HTTPClientError),
    ],
)
def test_a_call_that_fails_is_tried_twice_and_has_botocores_name_for_it(monkeypatch, error, name) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    pools = Pools(raising(error))
    monkeypatch.setattr(aws, "_pools", lambda _: pools)
    with pytest.raises(exceptions.BotoCoreError) as raised:
        aws.dynamodb_client().get_item(TableName="table", Key={"id": {"S": "x"}})
    assert type(raised.value) is name
    assert pools.sent == [("POST", "https://dynamodb.eu-west-1.amazonaws.com/")] * 2
    assert {(timeout.connect_timeout, timeout.read_timeout) for timeout in pools.timeouts} == {(0.5, 0.5)}


def test_a_reply_is_read_as_botocore_reads_it(monkeypatch) -> None:
    body = b'{"Item": {"id": {"S": "x"}}}'
    reply = urllib3.HTTPResponse(io.BytesIO(body), {"Content-Length": str(len(body))}, 200, preload_content=False)
    pools = Pools(lambda: reply)
    monkeypatch.setattr(aws, "_pools", lambda _: pools)
    assert aws.dynamodb_client().get_item(TableName="table", Key={"id": {"S": "x"}})["Item"] == {"id": {"S": "x"}}
    assert len(pools.sent) == 1


def test_what_goes_through_a_proxy_is_left_to_botocore(monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    pools = Pools(raising(RuntimeError("not this way")))
    monkeypatch.setattr(aws, "_pools", lambda _: pools)
    with pytest.raises(exceptions.BotoCoreError):
        aws.secrets_manager_client().get_secret_value(SecretId="secret")
    assert pools.sent == []


def test_the_authorities_are_read_once_for_all_clients(monkeypatch) -> None:
    made: list[str | None] = []
    create = ssl.create_default_context
    monkeypatch.setattr("ssl.create_default_context", lambda cafile: made.append(cafile) or create(cafile=cafile))
    monkeypatch.setattr(ahead, "AWS_AUTHORITIES", None)
    for client in (aws.secrets_manager_client(), aws.dynamodb_client(), aws.events_client()):
        url = client.meta.endpoint_url
        assert aws._pools(url).connection_from_url(url).ConnectionCls
    assert made == [None]


class Socket:
    """A socket that was opened ahead, with something to read or without."""

    def __init__(self, *, idle: bool = True) -> None:
        self.idle = idle
        self.closed = False
        self.timeout: object = None

    def settimeout(self, timeout_s: object) -> None:
        self.timeout = timeout_s

    def close(self) -> None:
        self.closed = True


def opened(result: Socket | Exception | None, *, ago_s: float = 0.0) -> "Future[Any]":
    future: Future[Any] = Future()
    if isinstance(result, Exception):
        future.set_exception(result)
    elif result:
        future.set_result((result, time.time() - ago_s))
    return future


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Connects once with these at hand, and returns the socket; ``None`` if the connection opened its own."""
    monkeypatch.setattr(sockets, "is_idle", lambda sock: sock.idle)
    monkeypatch.setattr(aws.HTTPSConnection, "connect", lambda _: None)

    def once(begun: "list[Future[Any]]") -> object:
        connection = aws._Connection("dynamodb.eu-west-1.amazonaws.com", begun=begun, timeout=0.5)
        connection.connect()
        assert bool(connection.sock) is connection.is_verified
        return connection.sock

    return once


def test_a_connection_takes_over_a_socket_that_was_opened_ahead(connect) -> None:
    early = Socket()
    assert connect([opened(early)]) is early
    assert early.timeout == 0.5
    assert not early.closed


def test_a_socket_that_was_opened_ahead_is_taken_once(connect) -> None:
    begun = [opened(early := Socket())]
    assert [connect(begun), connect(begun)] == [early, None]


def test_a_socket_that_another_thread_takes_first_is_no_fault(connect) -> None:
    class Racing(list[Any]):
        def __bool__(self) -> bool:
            return True

    assert connect(Racing()) is None


@pytest.mark.parametrize("ago_s", [5.5, -1.0])
def test_a_socket_that_was_opened_too_long_ago_or_in_the_future_is_closed(connect, ago_s) -> None:
    early = Socket()
    assert connect([opened(early, ago_s=ago_s)]) is None
    assert early.closed


def test_a_socket_with_something_to_read_is_closed_and_the_next_one_taken(connect) -> None:
    ended, good = Socket(idle=False), Socket()
    assert connect([opened(good), opened(ended)]) is good
    assert ended.closed


def test_a_socket_that_is_not_open_yet_is_not_waited_for_and_is_closed_when_it_is(connect) -> None:
    late, early = opened(None), Socket()
    assert connect([late]) is None
    late.set_result((early, time.time()))
    assert early.closed


def test_a_socket_that_could_not_be_opened_costs_nothing(connect) -> None:
    assert connect([opened(ConnectionRefusedError())]) is None


@pytest.mark.parametrize(
    ("client", "limit_s"),
    [(aws.secrets_manager_client, aws.SECRETS_LIMIT_S), (aws.dynamodb_client, aws.TABLE_LIMIT_S)],
)
def test_the_limit_of_a_call_is_all_that_it_can_take(client, limit_s) -> None:
    config = client().meta.config
    attempts = config.retries["total_max_attempts"]
    assert config.retries["mode"] == "standard"
    # Between attempts the standard mode waits for up to 2^n seconds, n counted from 0:
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    back_offs_s = sum(2**attempt for attempt in range(attempts - 1))
    assert attempts * (config.connect_timeout + config.read_timeout) + back_offs_s == limit_s
