"""One HTTP/1.1 connection: how it is opened, how the head of a reply is read, and when it may be used again.

urllib3 and http.client send requests over it and read bodies. This module adds what they lack: it tries every address
of a host, it reads a head that is not quite right as it was meant, and it never takes unasked data for a reply.
"""

import http.client
import io
import re
import socket
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from invoicing.contract.origins import Origin
from invoicing.sockets import open_socket, shut_down

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


def open_connection(origin: Origin, timeout_s: float) -> HTTPConnection:
    """Returns an open connection, as ``open_socket`` opens it.

    Args:
        origin: The host to connect to.
        timeout_s: Seconds for everything: resolver, TCP and TLS.

    Raises:
        OSError: As ``open_socket``, and so ``UnicodeError``.
    """
    return connection_over(open_socket(origin, timeout_s), origin)


def connection_over(sock: socket.socket, origin: Origin) -> HTTPConnection:
    """Returns the connection over an open socket.

    Args:
        sock: The socket, with TLS if the origin's scheme is https.
        origin: The host that it is connected to.
    """
    connection = (HTTPSConnection if origin.scheme == "https" else HTTPConnection)(origin.host, origin.port)
    connection.sock = sock
    connection.auto_open = 0  # a closed connection stays closed: it must not open another by itself
    connection.response_class = _Reply
    return connection


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
