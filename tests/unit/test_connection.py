"""One connection without a network: whose address is taken, when it is idle, and where a reply ends."""

import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from invoicing import sockets
from invoicing.contract.origins import origin_of
from invoicing.provider import connection
from invoicing.provider.connection import _Reply, open_connection, read_head
from invoicing.sockets import in_thread, is_idle

ORIGIN = origin_of("https://api.cryptocloud.plus")


class Peer:
    """An open socket in place of a real one."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


def refuse(error: BaseException) -> Callable[[], Peer]:
    def answer() -> Peer:
        raise error

    return answer


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Gives the host addresses, each with what comes of opening it; returns the places of those that were tried."""

    def resolve(*answers: Callable[[], Any]) -> list[int]:
        tried: list[int] = []

        def open_address(address: int, *_: Any) -> Any:
            tried.append(address)
            return answers[address]()

        monkeypatch.setattr(sockets, "_open", open_address)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(range(len(answers))))
        return tried

    monkeypatch.setattr(sockets, "_HEAD_START_S", 0.05)
    return resolve


def test_the_first_address_that_answers_is_taken_and_no_other_is_tried(host) -> None:
    peer = Peer()
    tried = host(lambda: peer, Peer)
    opened = open_connection(ORIGIN, 5)
    assert (opened.sock, opened.host, opened.port) == (peer, "api.cryptocloud.plus", 443)
    assert opened.auto_open == 0
    assert tried == [0]
    assert not peer.closed.is_set()


def test_an_address_that_refuses_is_followed_by_the_next(host) -> None:
    peer = Peer()
    tried = host(refuse(ConnectionRefusedError()), refuse(TimeoutError()), lambda: peer)
    assert open_connection(ORIGIN, 5).sock is peer
    assert tried == [0, 1, 2]


def test_an_address_that_hangs_delays_the_next_and_is_closed_if_it_answers_too_late(host) -> None:
    released, late, peer = threading.Event(), Peer(), Peer()

    def hang() -> Peer:
        released.wait(5)
        return late

    host(hang, lambda: peer)
    assert open_connection(ORIGIN, 5).sock is peer
    released.set()
    assert late.closed.wait(5)
    assert not peer.closed.is_set()


def test_an_address_that_was_slow_is_taken_if_the_next_ones_refuse(host) -> None:
    released, peer = threading.Event(), Peer()

    def slow() -> Peer:
        released.wait(5)
        return peer

    def refuse_and_release() -> Peer:
        released.set()
        raise ConnectionRefusedError

    host(slow, refuse_and_release)
    assert open_connection(ORIGIN, 5).sock is peer


def test_of_all_refusals_the_owner_hears_that_of_a_certificate_or_else_the_first(host) -> None:
    untrusted = ssl.SSLCertVerificationError("self-signed")
    host(refuse(ConnectionRefusedError()), refuse(untrusted), refuse(TimeoutError()))
    with pytest.raises(ssl.SSLCertVerificationError):
        open_connection(ORIGIN, 5)
    host(refuse(ConnectionRefusedError()), refuse(TimeoutError()))
    with pytest.raises(ConnectionRefusedError):
        open_connection(ORIGIN, 5)


def test_addresses_that_all_hang_take_the_time_that_there_is_and_no_more(host) -> None:
    released = threading.Event()
    host(*[lambda: released.wait(5) and Peer()] * 2)
    with pytest.raises(TimeoutError):
        open_connection(ORIGIN, 0.15)
    released.set()


class Waiting(socket.socket):
    """A socket with this to read: bytes, or what reading raises."""

    def __init__(self, content: bytes | Exception) -> None:
        self.content = content
        self.timeouts: list[float] = []

    def settimeout(self, value: float | None) -> None:
        self.timeouts.append(value)

    def recv(self, *_: int) -> bytes:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.mark.parametrize(
    ("content", "idle"),
    [
        (BlockingIOError(), True),
        (ssl.SSLWantReadError(), True),
        (b"", False),  # the peer has closed it
        (b"H", False),  # nobody asked for that
        (ConnectionResetError(), False),
    ],
)
def test_a_connection_is_idle_if_there_is_nothing_to_read_and_nothing_is_waited_for(content, idle) -> None:
    waiting = Waiting(content)
    assert is_idle(waiting) is idle
    assert waiting.timeouts == [0]


RECORD = b"\x17\x03\x03\x00\x04abcd"  # RFC 8446, 5.1: a type, a version, and a length of four


@pytest.mark.parametrize(
    ("decrypted", "undecrypted", "idle"),
    [(0, b"", True), (0, RECORD, True), (0, RECORD * 2, True), (1, b"", False), (0, RECORD[:3], False),
     (0, RECORD[:-1], False), (0, RECORD + RECORD[:6], False)],
)  # fmt: skip
def test_over_tls_neither_what_is_decrypted_nor_half_a_record_may_be_waiting(
    monkeypatch, decrypted: int, undecrypted: bytes, idle: bool
) -> None:
    class Tls(ssl.SSLSocket):
        def pending(self) -> int:
            return decrypted

        def settimeout(self, value: float | None) -> None:
            assert value == 0

        def recv(self, *_: int) -> bytes:
            raise ssl.SSLWantReadError

    peeked: list[int] = []

    def peek(_: object, _most: int, flags: int) -> bytes:
        peeked.append(flags)
        return undecrypted

    monkeypatch.setattr("socket.socket.recv", peek)
    assert is_idle(Tls.__new__(Tls)) is idle
    assert set(peeked) <= {socket.MSG_PEEK}


class _Sent(io.RawIOBase):
    def __init__(self, sent: bytes) -> None:
        self._sent = io.BytesIO(sent)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._sent.readinto(buffer)


class Wire:
    """A socket from which a peer's bytes come."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Sent(self._sent))


@pytest.mark.parametrize(
    ("head", "length", "is_kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4", 4, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close", 4, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: Close", 4, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", None, True),
        (b"HTTP/1.1 200 OK", None, False),  # it lasts as long as the connection
        (b"HTTP/1.0 200 OK\r\nContent-Length: 4", 4, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\nConnection: keep-alive", 4, True),
        (b"HTTP/1.1 101 Switching Protocols", 0, True),
        (b"HTTP/1.1 204 No Content", 0, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4", 0, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0", 0, True),
    ],
)
def test_where_a_body_ends_and_whether_another_reply_may_follow(head: bytes, length: int | None, is_kept: bool) -> None:
    reply = _Reply(Wire(head + b"\r\n\r\n"), method="POST")  # type: ignore[arg-type]
    reply.begin()
    assert (reply.length, not reply.will_close) == (length, is_kept)
    reply.close()


@pytest.mark.parametrize(("behind", "is_used_again"), [(b"", True), (b"H", False)])
def test_a_connection_with_anything_behind_the_body_is_shut_down(
    monkeypatch, behind: bytes, is_used_again: bool
) -> None:
    shut: list[object] = []
    monkeypatch.setattr(connection, "shut_down", shut.append)
    wire = Wire(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nBODY" + behind)
    reply = _Reply(wire, method="POST")  # type: ignore[arg-type]
    reply.begin()
    assert reply.read() == b"BODY"
    assert shut == ([] if is_used_again else [wire])


def test_the_head_of_a_reply_may_have_64_kib_and_no_more() -> None:
    def head(size: int) -> io.BytesIO:
        begin, end = b"HTTP/1.1 200 OK\r\nX-Padding: ", b"\r\n\r\n"
        return io.BytesIO(begin + b"x" * (size - len(begin) - len(end)) + end)

    assert read_head(head(65_536)) == (11, 200, [])
    with pytest.raises(http.client.HTTPException, match="64 KiB"):
        read_head(head(65_537))


def test_a_thread_that_cannot_start_is_an_action_that_failed(monkeypatch) -> None:
    # After an invoice was created nothing may be raised for this: its key would be free again.
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    assert isinstance(in_thread(lambda: 1).exception(timeout=0), RuntimeError)
