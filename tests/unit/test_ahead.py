"""What is begun while a sandbox starts: whatever becomes of it, the first request is answered as without it."""

import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from invoicing import ahead, aws, sockets
from invoicing.contract.errors import ProviderUnavailable
from invoicing.credentials import CredentialStore
from invoicing.provider import transport
from invoicing.provider.outcomes import Call, Reply
from invoicing.provider.transport import Transport
from tests.support.samples import Clock

SECRET = {"SecretString": '{"api_key": "key-1", "shop_id": "shop-1"}'}


def done(result: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    (future.set_exception if isinstance(result, Exception) else future.set_result)(result)
    return future


class Manager:
    """Secrets Manager, which counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - boto3's name
        self.calls += 1
        assert SecretId == "arn"
        return SECRET


class Connection:
    def __init__(self) -> None:
        self.sock: object | None = object()
        self.closed = False
        self.requests = 0

    def request(self, *_: Any, **__: Any) -> None:
        self.requests += 1

    def getresponse(self) -> Any:
        return SimpleNamespace(status=200, headers={}, read=lambda _: b"{}", isclosed=lambda: True)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def nothing_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "secret", None)
    monkeypatch.setattr(ahead, "provider", None)
    monkeypatch.setattr(ahead, "prices", None)
    monkeypatch.setattr(ahead, "to_aws", {})
    for name in ("CRYPTOCLOUD_SECRET_ARN", "CRYPTOCLOUD_API_URL", "PRICE_LIST_URL", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_connection_to_the_site_of_the_price_list_is_begun_where_there_is_a_list(monkeypatch) -> None:
    monkeypatch.setattr(ahead, "open_socket", lambda origin, limit_s, _: (origin.host, limit_s))
    monkeypatch.setattr(ahead, "in_thread", lambda action, *args, **named: done(action(*args, **named)))
    monkeypatch.setattr(aws, "dynamodb_client", lambda: None)
    for url, begun in (("", False), ("https://shop.example/prices.json", True)):
        monkeypatch.setenv("PRICE_LIST_URL", url)
        ahead.begin()
        assert bool(ahead.prices) is begun
    assert ahead.prices
    assert ahead.prices.result()[0] == ("shop.example", ahead.CONNECT_LIMIT_S)


def test_the_secret_the_provider_and_the_table_are_begun_with(monkeypatch) -> None:
    monkeypatch.setattr(aws, "secrets_manager_client", Manager)
    monkeypatch.setattr(aws, "dynamodb_client", lambda: None)
    monkeypatch.setattr(ahead, "open_socket", lambda origin, limit_s, _: (origin.host, limit_s))
    monkeypatch.setattr(ahead, "in_thread", lambda action, *args, **named: done(action(*args, **named)))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("CRYPTOCLOUD_SECRET_ARN", "arn")
    monkeypatch.setenv("CRYPTOCLOUD_API_URL", "https://api.cryptocloud.plus")
    ahead.begin()
    assert ahead.secret
    assert ahead.secret.result() == SECRET
    assert ahead.provider
    connection, opened_at_s = ahead.provider.result()
    assert connection == ("api.cryptocloud.plus", ahead.CONNECT_LIMIT_S)
    assert ahead.prices is None, "there is no price list"
    assert opened_at_s == pytest.approx(time.time(), abs=60)
    hosts = {url: [each.result()[0][0] for each in opened] for url, opened in ahead.to_aws.items()}
    # The record of the invoice and that of its key are written side by side.
    assert hosts == {
        "https://secretsmanager.eu-west-1.amazonaws.com": ["secretsmanager.eu-west-1.amazonaws.com"],
        "https://dynamodb.eu-west-1.amazonaws.com": ["dynamodb.eu-west-1.amazonaws.com"] * 2,
    }


def test_the_age_of_a_connection_counts_from_its_beginning(monkeypatch) -> None:
    # A frozen instance may wake up minutes later in the middle of a handshake.
    clock = Clock()
    monkeypatch.setattr("time.time", lambda: clock.now_s)

    def frozen(*_: Any) -> str:
        clock.now_s += 300
        return "socket"

    monkeypatch.setattr(ahead, "open_socket", frozen)
    begun_at_s = clock.now_s
    assert ahead._connect("https://api.cryptocloud.plus") == ("socket", begun_at_s)


@pytest.mark.parametrize(
    "environment",
    [{}, {"CRYPTOCLOUD_SECRET_ARN": "arn", "CRYPTOCLOUD_API_URL": "not a URL"}, {"CRYPTOCLOUD_API_URL": "ftp://x"}],
)
def test_settings_that_are_missing_or_wrong_break_no_start(monkeypatch, environment) -> None:
    def no_region() -> Any:
        raise ValueError("You must specify a region.")

    monkeypatch.setattr(aws, "secrets_manager_client", no_region)
    monkeypatch.setattr(aws, "dynamodb_client", no_region)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ahead.begin()
    assert ahead.secret is None
    assert ahead.provider is None or isinstance(ahead.provider.exception(timeout=10), ValueError)


def test_the_secret_that_was_read_ahead_is_the_first_one_and_costs_no_second_call() -> None:
    manager, clock = Manager(), Clock()
    store = CredentialStore(manager, "arn", first=done(SECRET), clock=clock)  # type: ignore[arg-type]
    assert store.get().shop_id == "shop-1"
    assert manager.calls == 0
    clock.now_s += 301
    store.get()
    assert manager.calls == 1


def test_a_secret_that_could_not_be_read_ahead_is_read_by_the_next_who_needs_it() -> None:
    manager = Manager()
    failed: Any = done(ConnectionRefusedError())
    store = CredentialStore(manager, "arn", first=failed)  # type: ignore[arg-type]
    with pytest.raises(ConnectionRefusedError):
        store.get()
    assert store.get().shop_id == "shop-1"
    assert manager.calls == 1


CALL: Call[Reply] = Call("POST", "/v1/invoice/create", b"{}", lambda reply: reply)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Connection:
    """The connection that a transport opens itself."""
    connection = Connection()
    monkeypatch.setattr(transport, "open_connection", lambda *_: connection)
    monkeypatch.setattr(transport, "connection_over", lambda early, _: early)
    for module in (sockets, transport):
        monkeypatch.setattr(module, "is_idle", lambda sock: sock is not None)
    return connection


def perform(opened: "Future[Any]", wall_s: float = 1000.0) -> Transport:
    client = Transport("http://127.0.0.1:1", opened=opened, wall_clock=lambda: wall_s)
    client.perform(CALL, None, deadline_s=time.monotonic() + 20)
    return client


def test_the_connection_that_was_opened_ahead_takes_the_first_request_and_the_next(own) -> None:
    early = Connection()
    client = perform(done((early, 990.0)))
    client.perform(CALL, None, deadline_s=time.monotonic() + 20)
    assert (early.requests, own.requests) == (2, 0)


@pytest.mark.parametrize("opened_at_s", [979.0, 1001.0])
def test_a_connection_that_was_opened_too_long_ago_or_in_the_future_is_closed(own, opened_at_s) -> None:
    early = Connection()
    perform(done((early, opened_at_s)))
    assert (early.closed, early.requests, own.requests) == (True, 0, 1)


def test_a_connection_that_failed_costs_the_request_nothing(own) -> None:
    perform(done(ConnectionRefusedError()))
    assert own.requests == 1


def test_a_connection_that_is_not_open_yet_is_not_waited_for_and_is_closed_when_it_is(own) -> None:
    late: Future[Any] = Future()
    perform(late)
    assert own.requests == 1
    late.set_result((early := Connection(), 1000.0))
    assert (early.closed, early.requests) == (True, 0)


def test_a_connection_that_fails_later_still_costs_nothing(own) -> None:
    late: Future[Any] = Future()
    perform(late)
    late.set_exception(ProviderUnavailable("late"))
    assert own.requests == 1
