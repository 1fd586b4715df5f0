"""The provider's client on raw sockets: what is on the wire, and which connection is used again."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from invoicing.contract.errors import OutcomeUnknown, ProviderUnavailable
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceRequest
from invoicing.contract.settings import ProviderSettings
from invoicing.credentials import Credentials
from invoicing.provider import transport as provider_module
from invoicing.provider.transport import Provider
from invoicing.provider.v1 import V1

CREDENTIALS = Credentials.model_validate({"api_key": "the-key", "shop_id": "the-shop"})


def answer(invoice_id: str, status: str = "200 OK") -> bytes:
    payload = {"pay_url": f"https://pay.cryptocloud.plus/{invoice_id}", "invoice_id": invoice_id}
    body = json.dumps(payload).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class RawProvider:
    """Hands each connection to the next script; a script gets its number and functions to read and write."""

    def __init__(self, script: Callable[[int, Callable[[], bytes], Callable[[bytes], None]], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        def read() -> bytes:
            request = b""
            while b"\r\n\r\n" not in request or not request.endswith(b"}"):
                received = connection.recv(65_536)
                if not received:
                    raise ConnectionResetError
                request += received
            self.requests.append(request)
            return request

        with connection, contextlib.suppress(OSError):
            self._script(number, read, connection.sendall)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., RawProvider]]:
    servers: list[RawProvider] = []

    def start(script: Any) -> RawProvider:
        servers.append(RawProvider(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def client_of() -> Iterator[Callable[..., Provider]]:
    clients: list[Provider] = []

    def connect(server: RawProvider, clock: Callable[[], float] = time.time) -> Provider:
        settings = ProviderSettings(cryptocloud_secret_arn="arn", cryptocloud_api_url=server.url)
        clients.append(Provider(settings, wall_clock=clock))
        return clients[-1]

    yield connect
    for client in clients:
        if client._connection:
            client._connection.close()


def create(client: Provider, *, within_s: float = 5.0) -> Invoice:
    request = InvoiceRequest.model_validate({"amount": "19.99", "order_id": "A-1"})
    return client.perform(V1.create(request, CREDENTIALS.shop_id), CREDENTIALS, deadline_s=time.monotonic() + within_s)


def answering_all(number: int, read: Callable[[], bytes], write: Callable[[bytes], None]) -> None:
    while True:
        read()
        write(answer(f"C{number}"))


def test_the_request_on_the_wire(client_of, serve) -> None:
    server = serve(answering_all)
    create(client_of(server))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/invoice/create HTTP/1.1"
    assert {"Authorization: Token the-key", "Content-Type: application/json"} <= set(lines)
    assert body == b'{"amount": 19.99, "currency": "USD", "order_id": "A-1", "shop_id": "the-shop"}'


def test_one_connection_serves_many_requests_until_it_idled_too_long(client_of, serve) -> None:
    server, clock = serve(answering_all), Clock()
    client = client_of(server, clock)
    for idle_s, connections in ((0, 1), (1, 1), (20, 1), (21, 2), (5, 2), (-3600, 3)):
        clock.now_s += idle_s
        create(client)
        assert server.connections == connections


@pytest.mark.parametrize("status", ["103 Early Hints", "204 No Content", "500 Oops", "403 Forbidden"])
def test_the_late_answer_to_one_request_never_reaches_the_next_caller(client_of, serve, status) -> None:
    def script(number: int, read: Callable[[], bytes], write: Callable[[bytes], None]) -> None:
        read()
        if number == 1:
            write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            read()  # the next caller's request, if it comes this way
            write(answer("OF-THE-FIRST"))
        else:
            write(answer("OF-THE-SECOND"))

    client = client_of(serve(script))
    with pytest.raises(OutcomeUnknown):
        create(client)
    assert create(client).invoice_id == "OF-THE-SECOND"


def test_a_connection_is_not_used_again_after_an_answer_that_was_too_large(client_of, serve) -> None:
    def script(number: int, read: Callable[[], bytes], write: Callable[[bytes], None]) -> None:
        read()
        if number == 1:
            write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 70000\r\n\r\n" + b" " * 70_000)
        write(answer(f"C{number}"))

    client = client_of(serve(script))
    with pytest.raises(OutcomeUnknown):
        create(client)
    assert create(client).invoice_id == "C2"


def test_an_interim_100_is_not_the_answer(client_of, serve) -> None:
    def script(_: int, read: Callable[[], bytes], write: Callable[[bytes], None]) -> None:
        read()
        write(b"HTTP/1.1 100 Continue\r\n\r\n" + answer("AFTER-100"))

    assert create(client_of(serve(script))).invoice_id == "AFTER-100"


def test_a_chunked_answer_is_an_answer_and_keeps_the_connection(client_of, serve) -> None:
    def script(_: int, read: Callable[[], bytes], write: Callable[[bytes], None]) -> None:
        while True:
            read()
            body = answer("CHUNKED").partition(b"\r\n\r\n")[2]
            write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    server = serve(script)
    client = client_of(server)
    assert [create(client).invoice_id for _ in range(3)] == ["CHUNKED"] * 3
    assert server.connections == 1


@pytest.mark.parametrize("body", [b"", b"half", b"\x1f\x8b broken gzip"])
def test_a_refusal_is_judged_by_its_status_whatever_its_body(client_of, serve, body) -> None:
    def script(number: int, read: Callable[[], bytes], write: Callable[[bytes], None]) -> None:
        read()
        if number == 1:
            write(b"HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\n" + body)
        else:
            write(answer(f"C{number}"))

    assert create(client_of(serve(script))).invoice_id == "C2"


def test_nothing_is_sent_when_connecting_took_the_time(client_of, serve, monkeypatch) -> None:
    monkeypatch.setattr(provider_module, "MIN_ATTEMPT_S", 0.0)
    server = serve(answering_all)
    with pytest.raises(ProviderUnavailable):
        create(client_of(server), within_s=0.3)
    assert server.requests == []


def test_attempts_are_spaced_out(client_of, serve, monkeypatch) -> None:
    def script(number: int, read: Callable[[], bytes], write: Callable[[bytes], None]) -> None:
        read()
        write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" if number < 3 else answer("THIRD"))

    slept_s: list[float] = []
    monkeypatch.setattr(provider_module.time, "sleep", slept_s.append)
    assert create(client_of(serve(script))).invoice_id == "THIRD"
    assert len(slept_s) == 2
    assert all(0 <= delay_s < 1 for delay_s in slept_s)


def test_a_peer_that_accepts_nobody_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(provider_module, "_CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        # A full queue: the kernel lets further connections wait for an answer to their SYN.
        waiting = [socket.socket() for _ in range(3)]
        for peer in waiting:
            peer.setblocking(False)
            peer.connect_ex(listener.getsockname())
        settings = ProviderSettings(
            cryptocloud_secret_arn="arn",
            cryptocloud_api_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
        )
        started_s = time.monotonic()
        with pytest.raises(ProviderUnavailable):
            create(Provider(settings), within_s=1.5)
        assert time.monotonic() - started_s < 1.5
        for peer in waiting:
            peer.close()
