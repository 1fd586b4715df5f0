"""The transport without a network: which attempt follows which, which connection is kept, and what is counted.

Sockets, TLS and everything that a peer may send are in tests/integration/test_provider_*.py.
"""

import signal
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from invoicing.contract.errors import InvoiceRejected, OutcomeUnknown, ProviderUnavailable
from invoicing.credentials import Credentials
from invoicing.observability import metrics
from invoicing.provider import transport
from invoicing.provider.outcomes import Call, Reply
from invoicing.provider.transport import MAX_ATTEMPTS, Transport
from tests.support.samples import Clock

CREDENTIALS = Credentials.model_validate({"api_key": "key-1", "shop_id": "shop-1"})
LATENCY = ("ProviderLatency", frozenset({"service"}))


class Connection:
    """Answers each request with a status, and an empty body; an exception is raised in its place."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str, bytes | None, dict[str, str]]] = []
        self.sock: object | None = object()
        self.timeout = 0.0
        self.closed = False

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], *, preload_content: bool
    ) -> None:
        assert not preload_content, "a body that nobody reads would be waited for"
        self.sent.append((method, path, body, headers))

    def getresponse(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Response(answer)

    def close(self) -> None:
        self.closed = True


class Response:
    def __init__(self, status: int) -> None:
        self.status = status
        self.headers = {"Content-Type": "application/json", "Retry-After": "1", "Location": "/elsewhere", "ETag": '"a"'}

    def read(self, most: int) -> bytes:
        return b'{"a": 1}'[:most]

    def isclosed(self) -> bool:
        return True


@pytest.fixture
def open_connections(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Connection]]:
    """Lets the transport open these, one after the other, and wait for nothing between attempts."""

    def prepare(*connections: Connection | Exception) -> None:
        left = list(connections)

        def open_connection(*_: object) -> Connection:
            connection = left.pop(0)
            if isinstance(connection, Exception):
                raise connection
            return connection

        monkeypatch.setattr(transport, "open_connection", open_connection)

    monkeypatch.setattr(transport, "is_idle", lambda _: True)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return prepare


def judge(reply: Reply) -> Reply:
    if reply.status == 503:
        raise ProviderUnavailable
    if reply.status == 400:
        raise InvoiceRejected
    return reply


CALL = Call("POST", "/v1/invoice/create", b'{"amount": 1}', judge)


def perform(client: Transport, call: Call[Any] = CALL, **arguments: Any) -> Any:
    return client.perform(call, CREDENTIALS, **{"deadline_s": time.monotonic() + 20, **arguments})


def test_a_call_is_sent_whole_with_the_key_and_its_reply_is_judged(open_connections) -> None:
    open_connections(connection := Connection(200))
    assert perform(Transport("http://127.0.0.1:1")) == Reply(
        200, b'{"a": 1}', "application/json", "1", "/elsewhere", '"a"'
    )
    headers = {
        "Authorization": "Token key-1",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": "cryptocloud-invoices",
    }
    assert connection.sent == [("POST", "/v1/invoice/create", b'{"amount": 1}', headers)]
    # The connection is shut down at the deadline; its own timeout comes after that.
    assert connection.timeout == pytest.approx(21, abs=0.5)


def test_a_call_without_credentials_has_no_key_and_one_without_a_body_names_no_type(open_connections) -> None:
    open_connections(connection := Connection(200))
    client = Transport("http://127.0.0.1:1", latency=None)
    call = Call("GET", "/prices.json", b"", judge, headers={"If-None-Match": '"a"'})
    metrics.clear_metrics()
    client.perform(call, None, deadline_s=time.monotonic() + 20)
    headers = {"Accept": "application/json", "User-Agent": "cryptocloud-invoices", "If-None-Match": '"a"'}
    assert connection.sent == [("GET", "/prices.json", None, headers)]
    assert "ProviderLatency" not in metrics.metric_set


def test_the_log_names_whom_a_call_was_for(open_connections) -> None:
    open_connections(ConnectionRefusedError())
    with pytest.raises(ProviderUnavailable) as refusal:
        perform(Transport("http://127.0.0.1:1", peer="the site"), attempts=1)
    assert refusal.value.reason == "no connection to the site: ConnectionRefusedError"


def test_what_was_not_created_is_tried_again_at_most_so_often_and_each_attempt_is_timed(
    open_connections, counted
) -> None:
    client = Transport("http://127.0.0.1:1")
    open_connections(*(Connection(503) for _ in range(3)), Connection(200))
    with pytest.raises(ProviderUnavailable):
        perform(client)
    latencies_s = counted()[LATENCY]
    assert len(latencies_s) == MAX_ATTEMPTS == 3
    assert 0 < sum(latencies_s) <= client.held_s < 1
    assert perform(client).status == 200
    open_connections(Connection(503), Connection(200))
    with pytest.raises(ProviderUnavailable):
        perform(Transport("http://127.0.0.1:1"), attempts=1)


def test_between_two_attempts_as_much_time_passes_as_the_provider_asks_for(open_connections, monkeypatch) -> None:
    def judge_busy(reply: Reply) -> Reply:
        if reply.status == 429:
            raise ProviderUnavailable(retry_after_s=2)
        return reply

    slept_s: list[float] = []
    monkeypatch.setattr("time.sleep", slept_s.append)
    open_connections(Connection(429), Connection(200))
    assert perform(Transport("http://127.0.0.1:1"), Call("GET", "/", b"", judge_busy)).status == 200
    assert slept_s == [2]


def test_an_unknown_outcome_is_never_tried_again(open_connections) -> None:
    open_connections(Connection(ConnectionResetError()), Connection(200))
    client = Transport("http://127.0.0.1:1")
    with pytest.raises(OutcomeUnknown) as unknown:
        perform(client)
    assert unknown.value.reason == "no answer after the request was sent: ConnectionResetError"
    assert not client.answered


def test_a_connection_is_used_again_only_after_a_reply_that_was_believed(open_connections) -> None:
    client = Transport("http://127.0.0.1:1")
    open_connections(first := Connection(200, 400), second := Connection(200))
    perform(client)
    with pytest.raises(InvoiceRejected):
        perform(client)
    assert client.answered
    assert (len(first.sent), first.closed) == (2, True)
    perform(client)
    assert (len(second.sent), second.closed) == (1, False)


@pytest.mark.parametrize(("idle_s", "is_used"), [(0, True), (20, True), (20.1, False), (-0.1, False)])
def test_a_connection_is_used_for_20_s_and_not_where_the_clock_was_set_back(open_connections, idle_s, is_used) -> None:
    clock = Clock()
    client = Transport("http://127.0.0.1:1", wall_clock=clock)
    open_connections(first := Connection(200, 200), Connection(200))
    perform(client)
    clock.now_s += idle_s
    perform(client)
    assert (len(first.sent) == 2, first.closed) == (is_used, not is_used)


def test_a_connection_that_the_peer_ended_or_wrote_to_is_not_used(open_connections, monkeypatch) -> None:
    client = Transport("http://127.0.0.1:1")
    open_connections(first := Connection(200), second := Connection(200), Connection(200))
    perform(client)
    first.sock = None
    perform(client)
    monkeypatch.setattr(transport, "is_idle", lambda _: False)
    perform(client)
    assert (len(first.sent), len(second.sent), second.closed) == (1, 1, True)


@pytest.mark.parametrize(("left_s", "is_called"), [(1.1, True), (0.9, False), (-5, False)])
def test_an_attempt_that_could_not_finish_is_not_begun(open_connections, left_s, is_called) -> None:
    open_connections(connection := Connection(200))
    client = Transport("http://127.0.0.1:1")
    if is_called:
        perform(client, deadline_s=time.monotonic() + left_s)
    else:
        with pytest.raises(ProviderUnavailable) as refusal:
            perform(client, deadline_s=time.monotonic() + left_s)
        assert refusal.value.reason == "no time left for a call to the provider"
    assert bool(connection.sent) is is_called


def test_a_provider_that_cannot_be_reached_was_asked_for_nothing(open_connections) -> None:
    open_connections(*[ConnectionRefusedError()] * 3)
    client = Transport("http://127.0.0.1:1")
    with pytest.raises(ProviderUnavailable) as refusal:
        perform(client)
    assert refusal.value.reason == "no connection to the provider: ConnectionRefusedError"
    assert not client.answered


def test_what_takes_too_long_is_hung_up_and_the_timer_does_not_outlive_the_call(open_connections, monkeypatch) -> None:
    class Hanging(Connection):
        def getresponse(self) -> Any:
            assert hung_up.wait(5)
            raise ConnectionResetError

    hung_up = threading.Event()
    monkeypatch.setattr(transport, "MIN_ATTEMPT_S", 0)
    monkeypatch.setattr(transport, "_MIN_ANSWER_S", 0)
    monkeypatch.setattr(transport, "shut_down", lambda _: hung_up.set())
    open_connections(Hanging(), Connection(200))
    client = Transport("http://127.0.0.1:1")
    with pytest.raises(OutcomeUnknown):
        perform(client, deadline_s=time.monotonic() + 0.05)
    assert hung_up.is_set()
    perform(client)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_certificate_that_is_refused_is_named_in_the_log(open_connections) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_message = "self-signed certificate"
    open_connections(*[error] * 3)
    with pytest.raises(ProviderUnavailable) as refusal:
        perform(Transport("https://api.cryptocloud.plus"))
    assert refusal.value.reason == "certificate of the provider refused: self-signed certificate"


def test_a_connection_that_took_nearly_all_the_time_is_closed_and_not_used(open_connections, monkeypatch) -> None:
    # Time passes while it connects.
    now_s = time.monotonic()
    open_connections(connection := Connection(200))
    opened = transport.open_connection

    def slow(*arguments: Any) -> Any:
        monkeypatch.setattr("time.monotonic", lambda: now_s + 2.6)
        return opened(*arguments)

    monkeypatch.setattr(transport, "open_connection", slow)
    with pytest.raises(ProviderUnavailable) as refusal:
        perform(Transport("http://127.0.0.1:1"), deadline_s=now_s + 3)
    assert refusal.value.reason == "no time left after connecting to the provider"
    assert (connection.sent, connection.closed) == ([], True)


def test_a_mistake_of_ours_while_a_reply_is_judged_is_an_unknown_outcome_because_the_request_is_out(
    open_connections,
) -> None:
    def broken(_: Reply) -> Any:
        raise KeyError("a bug")

    open_connections(connection := Connection(200))
    with pytest.raises(OutcomeUnknown) as unknown:
        perform(Transport("http://127.0.0.1:1"), Call("POST", "/", b"", broken))
    assert unknown.value.reason == "reply 200 could not be judged: KeyError"
    assert connection.closed


def test_the_body_of_a_status_that_is_not_read_is_not_waited_for(open_connections) -> None:
    open_connections(Connection(302))
    reply = perform(Transport("http://127.0.0.1:1"), Call("GET", "/", b"", judge, reads=frozenset({200})))
    assert (reply.status, reply.body) == (302, b"")


def test_a_body_may_have_so_many_bytes_and_not_one_more(open_connections) -> None:
    for most, body in ((8, b'{"a": 1}'), (7, None)):
        open_connections(Connection(200))
        call = Call("GET", "/", b"", judge, max_reply_bytes=most)
        assert perform(Transport("http://127.0.0.1:1"), call).body == body
