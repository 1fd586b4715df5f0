"""One HTTP/1.1 connection: how it is opened, how the head of a reply is read, and when it may be used again.

urllib3 and http.client send requests over it and read bodies. This module adds what they lack: it tries every address
of a host, it reads a head that is not quite right as it was meant, and it never takes unasked data for a reply.
"""

import contextlib
import functools
import http.client
import io
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from invoicing.contract.origins import Origin

# After this long without an answer from one address, the next is tried as well. RFC 8305 (Happy Eyeballs) advises 250
# ms for TCP alone; here the TLS handshake, two more round trips, is within it.
_HEAD_START_S = 0.5
# The limit for all heads of one reply together, interim ones included.
_MAX_HEAD_BYTES = 64 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9])[ \t]+([1-9][0-9]{2})(?:[ \t].*)?", re.IGNORECASE | re.DOTALL)
_LENGTH = re.compile(r"[0-9]{1,18}")
# The headers that ``_Reply``, urllib3 and ``outcomes.Reply`` read.
_HEADERS = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-type", "etag"),
        *("location", "retry-after", "transfer-encoding"),
    }
)

_LOADING = threading.Lock()


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """Returns what checks certificates and host names. All connections share it: to load the authorities takes 20 ms.

    Args:
        authorities: A file of the certificates to trust; ``None`` stands for the system's, as OpenSSL finds them.
    """
    with _LOADING:  # whoever comes second waits for the first, and does not load them as well
        return loaded_context(None if authorities == os.environ.get("SSL_CERT_FILE") else authorities)


@functools.cache
def loaded_context(authorities: str | None) -> ssl.SSLContext:
    """Returns what ``tls_context`` does, from one thread at a time."""
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def open_connection(origin: Origin, timeout_s: float) -> HTTPConnection:
    """Returns an open connection to the address of the host that answers first.

    Args:
        origin: The host to connect to.
        timeout_s: Seconds for everything: resolver, TCP and TLS.

    Raises:
        OSError: No address answered in time, or each refused; ``ssl.SSLCertVerificationError`` if one of them has a
            certificate that is not trusted.
        UnicodeError: The host's name is not one.
    """
    tls = tls_context() if origin.scheme == "https" else None
    connection = (HTTPSConnection if tls else HTTPConnection)(origin.host, origin.port)
    connection.sock = _first_that_answers(origin, tls, timeout_s)
    connection.auto_open = 0  # a closed connection stays closed: it must not open another by itself
    connection.response_class = _Reply
    return connection


def is_idle(sock: socket.socket) -> bool:
    """Returns whether an open connection has nothing to read, in any layer, and so can take a request.

    Bytes that came before the request are not its reply. Over TLS they may be decrypted already, where a check of the
    socket does not see them. Tickets of TLS 1.3 also come unasked, but they are no data; reading removes them.
    """
    sock.settimeout(0)
    try:
        if isinstance(sock, ssl.SSLSocket) and (sock.pending() or not _has_whole_records_only(sock)):
            return False
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        pass
    return False


def shut_down(sock: socket.socket) -> None:
    """Ends both directions of a connection, even while another thread reads from it."""
    with contextlib.suppress(OSError):
        # Not the method of an SSLSocket: that removes the TLS layer first, and would send what comes just then in
        # clear.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _has_whole_records_only(sock: ssl.SSLSocket) -> bool:
    # OpenSSL answers "more is needed" for a ticket and for the first half of a reply alike. RFC 8446, 5.1: a record is
    # a header of five bytes, the last two of them its length, and what follows.
    waiting = socket.socket.recv(sock, _MAX_HEAD_BYTES, socket.MSG_PEEK)
    at = 0
    while at < len(waiting):
        at += 5 + int.from_bytes(waiting[at + 3 : at + 5])
    return at == len(waiting)


def _first_that_answers(origin: Origin, tls: ssl.SSLContext | None, timeout_s: float) -> socket.socket:
    # Each attempt has all the time that is left, and after a head start the next address is tried too. A share of the
    # time for each would be too short for a distant host with many addresses.
    ends_s = time.monotonic() + timeout_s
    # In threads, because no timeout bounds the resolver or a handshake that trickles. A thread that is given up has
    # sent no request and never will: only the caller of this function writes requests.
    addresses = in_thread(socket.getaddrinfo, origin.host, origin.port, type=socket.SOCK_STREAM).result(timeout_s)
    running: set[Future[socket.socket]] = set()
    errors: list[BaseException] = []
    try:
        for number, address in enumerate(addresses, 1):
            running.add(in_thread(_open, address, origin.host, tls, ends_s))
            is_last = number == len(addresses)
            while running:
                left_s = ends_s - time.monotonic()
                ended, running = wait(running, left_s if is_last else min(left_s, _HEAD_START_S), FIRST_COMPLETED)
                for attempt in ended:
                    if error := attempt.exception():
                        errors.append(error)
                    else:
                        ended.remove(attempt)
                        running |= ended
                        return attempt.result()
                if not ended:
                    break
    finally:
        for attempt in running:
            attempt.add_done_callback(_close_late)
    # A refused certificate goes first: only the owner can fix it. Otherwise the first error is reported.
    errors.sort(key=lambda error: not isinstance(error, ssl.SSLCertVerificationError))
    raise errors[0] if errors else TimeoutError


def _open(address: Any, host: str, tls: ssl.SSLContext | None, ends_s: float) -> socket.socket:
    family, kind, protocol, _, socket_address = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(max(ends_s - time.monotonic(), 0.001))  # 0 would mean not to wait at all
        sock.connect(socket_address)
        return tls.wrap_socket(sock, server_hostname=host.rstrip(".")) if tls else sock
    except BaseException:
        sock.close()
        raise


def _close_late(attempt: "Future[socket.socket]") -> None:
    if attempt.exception() is None:
        attempt.result().close()


def in_thread[**P, R](action: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
    """Returns what an action will return or raise, which runs in a thread of its own and keeps no process alive."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(action(*args, **kwargs))
        except BaseException as exception:
            future.set_exception(exception)

    threading.Thread(target=run, daemon=True).start()
    return future


class _Reply(http.client.HTTPResponse):
    """A reply whose head is read here. http.client reads the body only, and no bytes after the body get lost."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock = sock

    def begin(self) -> None:
        # What http.client.HTTPResponse.begin sets, in its words.
        self.version, self.status, headers = read_head(self.fp)
        self.code, self.reason = self.status, ""
        self.headers = self.msg = http.client.HTTPMessage()
        for name, value in headers:
            self.headers[name] = value
        self.chunked = "transfer-encoding" in self.headers
        self.chunk_left = None
        length = self.headers["content-length"]
        self.length = 0 if self.status in (101, 204, 304) else int(length) if length else None
        connection = self.headers.get("connection", "").lower()
        kept = "close" not in connection if self.version == 11 else "keep-alive" in connection
        self.will_close = not (kept and (self.chunked or self.length is not None))

    def _close_conn(self) -> None:
        # The file reads ahead, and nothing can look into its buffer later. So a connection is shut down if there is
        # anything in it. With nothing more to read, peek() shows what the buffer has.
        self.fp.raw.readinto = _nothing_more  # type: ignore[method-assign]
        if self.fp.peek(1):
            shut_down(self._sock)
        super()._close_conn()  # type: ignore[misc]


def _nothing_more(_: object) -> None:
    return None


def read_head(file: io.BufferedIOBase) -> tuple[int, int, list[tuple[str, str]]]:
    """Reads the head of the final reply.

    http.client stops at a line that is no header, and takes what comes after it, ``Content-Length`` too, for missing:
    https://github.com/python/cpython/issues/81274. It also takes interim replies for the reply. This skips
    what is no header, and takes the length of the body from RFC 9112, 6.3.

    Args:
        file: Where the reply is read from; afterwards it is at the body.

    Returns:
        The version of HTTP, 10 or 11; the status; and the headers that somebody reads, with names in lower case: at
        most one of ``content-length`` and ``transfer-encoding`` (which is ``chunked``).

    Raises:
        http.client.HTTPException: No such head came, it is longer than 64 KiB with all interim replies before it, or
            it leaves a doubt about how long the body is.
    """
    left = _MAX_HEAD_BYTES
    lines: list[bytes] = []
    while True:
        line = file.readline(left)
        left -= len(line)
        if not line.endswith(b"\n"):
            raise http.client.HTTPException("head of the reply is cut off or over 64 KiB")
        if line := line.rstrip(b"\r\n"):
            lines.append(line)
        elif lines:  # an empty line before the status line is nothing: RFC 9112, 2.2
            status_line = _STATUS_LINE.fullmatch(lines[0])
            if not status_line:
                raise http.client.HTTPException("no status line")
            minor, status = map(int, status_line.groups())
            # RFC 9110, 15.2: interim replies may come unasked. 101 is none of them: what follows it is not HTTP.
            if status >= 200 or status == 101:
                return 11 if minor else 10, status, _headers_in(lines[1:])
            lines.clear()


def _headers_in(lines: list[bytes]) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    name = ""
    for line in lines:
        text = line.decode("latin-1")
        if text[0] not in " \t":
            # RFC 9112, 5.1 forbids a space before the colon and has proxies take it off.
            name, _, value = text.partition(":")
            name = name.rstrip().lower()
        elif name in _HEADERS:  # RFC 9112, 5.2: the rest of the line before
            value = f"{headers.pop()[1]} {text.strip()}"
        if name in _HEADERS:
            headers.append((name, value.strip()))
    lengths, codings = _items(headers, "content-length"), _items(headers, "transfer-encoding") - {"identity"}
    headers = [header for header in headers if header[0] not in ("content-length", "transfer-encoding")]
    # The same length twice counts as one: proxies repeat headers.
    if codings == {"chunked"}:
        return [*headers, ("transfer-encoding", "chunked")]
    if codings or len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise http.client.HTTPException("length of the body is in doubt")
    return [*headers, *(("content-length", length) for length in lengths)]


def _items(headers: list[tuple[str, str]], name: str) -> set[str]:
    return {item.strip().lower() for header in headers if header[0] == name for item in header[1].split(",")}
