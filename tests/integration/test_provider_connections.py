"""Which connection takes a request: never one with anything unread, and whichever address of a host answers."""

import contextlib
import io
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from invoicing import sockets
from invoicing.contract.errors import ProviderUnavailable
from invoicing.provider.outcomes import Call
from invoicing.provider.transport import Transport
from tests.support.raw_provider import CREDENTIALS, RawProvider, Wire, answer, create

HOST = "api.provider.example"


@pytest.fixture(params=["plain", "TLS 1.2", "TLS 1.3"])
def tls(request, certificate_for) -> ssl.SSLContext | None:
    if request.param == "plain":
        return None
    context = certificate_for()
    if request.param == "TLS 1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def serving(first: Callable[[Wire], None]) -> Callable[[Wire], None]:
    """A script whose first connection does something after its first request; all others answer."""

    def script(wire: Wire) -> None:
        wire.read()
        if wire.number == 1:
            first(wire)
        while True:
            wire.write(answer(f"C{wire.number}"))
            wire.read()

    return script


def wait_for_bytes(client: Transport) -> None:
    assert client._connection is not None
    readable, _, _ = select.select([client._connection.sock], [], [], 5)
    assert readable


def test_a_connection_is_used_again(client_of, serve, tls) -> None:
    server = serve(serving(lambda _: None), tls)
    client = client_of(server)
    assert [create(client).invoice_id for _ in range(3)] == ["C1", "C1", "C1"]
    assert server.connections == 1


@pytest.mark.parametrize("extra", [answer("OF-NOBODY"), answer("OF-NOBODY") + b" " * 20_000, b"\r\n", b"HTTP/1.1 408"])
def test_what_came_with_a_reply_is_never_the_next_reply(client_of, serve, tls, extra) -> None:
    # Over TLS all of it is one record, or the first part of it: what http.client left is decrypted, and in no socket.
    server = serve(serving(lambda wire: wire.write(answer("C1") + extra)), tls)
    client = client_of(server)
    assert [create(client).invoice_id for _ in range(2)] == ["C1", "C2"]
    assert server.connections == 2


@pytest.mark.parametrize("beyond", [-100, -1, 0, 1, 7_000])
def test_a_second_reply_is_found_wherever_the_first_ends_in_the_files_buffer(client_of, serve, tls, beyond) -> None:
    # Where it ends with the buffer, the rest of the record is decrypted, and neither in the file nor in the socket.
    size = io.DEFAULT_BUFFER_SIZE + beyond - len(answer("C1")) - len(b"\r\nX-Padding: ")
    padded = answer("C1").replace(b"\r\n\r\n", b"\r\nX-Padding: " + b"x" * size + b"\r\n\r\n")
    server = serve(serving(lambda wire: wire.write(padded + answer("OF-NOBODY"))), tls)
    client = client_of(server)
    assert [create(client).invoice_id for _ in range(2)] == ["C1", "C2"]


def then(client: Transport, go: threading.Event) -> str:
    assert create(client).invoice_id == "C1"
    go.set()
    wait_for_bytes(client)
    return create(client).invoice_id


@pytest.mark.parametrize("extra", [answer("OF-NOBODY"), b"\r\n", b"H"])
def test_what_came_after_a_reply_is_never_the_next_reply(client_of, serve, tls, extra) -> None:
    go = threading.Event()

    def first(wire: Wire) -> None:
        wire.write(answer("C1"))
        go.wait(5)
        wire.write(extra)
        wire.read()

    server = serve(serving(first), tls)
    assert then(client_of(server), go) == "C2"
    assert server.connections == 2


def _close(wire: Wire) -> None:
    wire.sock.close()


def _reset(wire: Wire) -> None:
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.sock.close()


@pytest.mark.parametrize("end", [_close, _reset])
def test_a_connection_that_the_provider_ended_costs_no_request(client_of, serve, tls, end) -> None:
    go = threading.Event()

    def first(wire: Wire) -> None:
        wire.write(answer("C1"))
        go.wait(5)
        end(wire)

    server = serve(serving(first), tls)
    assert then(client_of(server), go) == "C2"
    assert server.connections == 2


def test_a_connection_whose_tls_the_provider_ended_costs_no_request(client_of, serve, certificate_for) -> None:
    go = threading.Event()

    def first(wire: Wire) -> None:
        wire.write(answer("C1"))
        go.wait(5)
        wire.sock.unwrap()  # sends close_notify and waits for ours; TCP stays open

    server = serve(serving(first), certificate_for())
    assert then(client_of(server), go) == "C2"


def test_the_first_half_of_a_record_is_no_ticket(client_of, serve, certificate_for) -> None:
    go = threading.Event()

    def first(wire: Wire) -> None:
        wire.write(answer("C1"))
        go.wait(5)
        socket.socket.send(wire.sock, b"\x17\x03\x03\x01\x00" + b"the first bytes of 256")
        wire.read()

    server = serve(serving(first), certificate_for())
    assert then(client_of(server), go) == "C2"


def test_tickets_of_tls_1_3_do_not_cost_the_connection(client_of, serve, certificate_for) -> None:
    server = serve(serving(lambda _: None), certificate_for())
    client = client_of(server)
    # Opened early, as a server that sends tickets later would have it: here they come with the end of the handshake.
    client._connection, client._used_at_s = client._connect(time.monotonic() + 5), time.time()
    wait_for_bytes(client)
    assert [create(client).invoice_id for _ in range(2)] == ["C1", "C1"]
    assert server.connections == 1


def test_a_body_that_nobody_reads_is_never_the_next_reply(client_of, serve, tls) -> None:
    go = threading.Event()

    def first(wire: Wire) -> None:
        stale = answer("OF-NOBODY")
        wire.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(stale))
        go.wait(5)
        wire.write(stale)
        wire.read()

    client = client_of(serve(serving(first), tls))
    call = Call("GET", "/v1/invoice/info?uuid=X", b"", lambda reply: reply.status, reads=frozenset())
    assert client.perform(call, CREDENTIALS, deadline_s=time.monotonic() + 5) == 404
    go.set()
    assert create(client).invoice_id == "C2"


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the provider's host have the addresses of these ports."""

    def to(*ports: int) -> None:
        addresses: list[Any] = [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)) for port in ports
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)

    return to


@pytest.fixture
def dropping_port() -> Any:
    """A port that answers no SYN: its queue is full."""
    with contextlib.ExitStack() as cleanup:
        listener = cleanup.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            peer = cleanup.enter_context(socket.socket())
            peer.setblocking(False)
            peer.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture
def mute_port() -> Any:
    """A port that takes connections and answers nothing, not even in TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def answering(wire: Wire) -> None:
    while True:
        wire.read()
        wire.write(answer("SERVED"))


@pytest.fixture
def well(serve, certificate_for) -> RawProvider:
    return serve(answering, certificate_for(HOST))


@pytest.fixture
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_HEAD_START_S", 0.05)


@pytest.mark.usefixtures("quick_start")
@pytest.mark.parametrize("dead", ["dropping_port", "mute_port", "closed_port"])
@pytest.mark.parametrize("count", [1, 5])
def test_one_address_that_is_dead_keeps_nobody_out(client_of, well, resolve, request, dead, count) -> None:
    port = request.getfixturevalue(dead)
    client = client_of(f"https://{HOST}")
    resolve(*[port] * count, well.port)
    assert create(client, attempts=1).invoice_id == "SERVED"
    assert f"Host: {HOST}\r\n".encode() in well.requests[0]


def test_an_address_that_refuses_costs_no_head_start(client_of, well, resolve, closed_port, monkeypatch) -> None:
    monkeypatch.setattr(sockets, "_HEAD_START_S", 60.0)
    client = client_of(f"https://{HOST}")
    resolve(closed_port, closed_port, well.port)
    assert create(client, attempts=1).invoice_id == "SERVED"


@pytest.mark.usefixtures("quick_start")
def test_the_first_address_may_still_answer_when_the_others_fail(client_of, serve, certificate_for, resolve) -> None:
    go = threading.Event()
    tls = certificate_for(HOST)

    def slow(wire: Wire) -> None:
        go.wait(5)
        wire.sock = tls.wrap_socket(wire.sock, server_side=True)
        wire.write = wire.sock.sendall
        with wire.sock:
            answering(wire)

    first, second = serve(slow), serve(lambda _: go.set())  # the second hangs up
    client = client_of(f"https://{HOST}")
    resolve(first.port, second.port)
    assert create(client).invoice_id == "SERVED"


@pytest.mark.usefixtures("quick_start")
def test_an_address_that_answers_too_late_is_hung_up_on(client_of, well, serve, resolve, certificate_for) -> None:
    go, ended = threading.Event(), threading.Event()
    tls = certificate_for(HOST)

    def late(wire: Wire) -> None:
        go.wait(5)
        # A reset, here or in the handshake, is a hang-up before it read our tickets.
        with contextlib.suppress(ConnectionError), tls.wrap_socket(wire.sock, server_side=True) as secure:
            assert secure.recv(1) == b""
        ended.set()

    client = client_of(f"https://{HOST}")
    resolve(serve(late).port, well.port)
    assert create(client).invoice_id == "SERVED"
    go.set()
    assert ended.wait(5)


def test_a_certificate_for_another_host_is_refused_at_each_address(
    client_of, well, serve, resolve, certificate_for, closed_port
) -> None:
    other = serve(answering, certificate_for("other.example"))
    client = client_of(f"https://{HOST}")
    resolve(other.port, well.port)
    assert create(client).invoice_id == "SERVED"
    client = client_of(f"https://{HOST}")
    resolve(closed_port, other.port)
    with pytest.raises(ProviderUnavailable) as raised:
        create(client, attempts=1)
    assert "certificate of the provider refused: Hostname mismatch" in raised.value.reason
    assert other.requests == []


def test_small_packets_are_sent_at_once(client_of, well, resolve) -> None:
    client = client_of(f"https://{HOST}")
    resolve(well.port)
    create(client)
    assert client._connection is not None
    assert client._connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
