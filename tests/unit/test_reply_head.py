"""The head of a reply, in all the shapes in which servers and proxies send it."""

import http.client
import io

import pytest

from invoicing.provider.connection import read_head


def head_of(sent: bytes) -> tuple[int, int, list[tuple[str, str]]]:
    file = io.BytesIO(sent + b"BODY")
    head = read_head(file)
    assert file.read() == b"BODY"
    return head


@pytest.mark.parametrize(
    ("status_line", "version_and_status"),
    [
        (b"HTTP/1.1 200 OK", (11, 200)),
        (b"HTTP/1.1 200", (11, 200)),
        (b"HTTP/1.1 200 ", (11, 200)),
        (b"HTTP/1.1  200  OK", (11, 200)),
        (b"HTTP/1.0 503 B\xfcsy", (10, 503)),
        (b"http/1.1 200 OK", (11, 200)),
        (b"\r\n\r\nHTTP/1.1 200 OK", (11, 200)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", (11, 200)),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK", (11, 200)),
        (b"HTTP/1.1 102 Wait\r\n\r\n" * 50 + b"HTTP/1.1 200 OK", (11, 200)),
        # Nobody asked for another protocol, and what follows is no HTTP.
        (b"HTTP/1.1 101 Switching Protocols", (11, 101)),
    ],
)
def test_the_status_line_of_the_final_reply_is_found(status_line: bytes, version_and_status: tuple[int, int]) -> None:
    assert head_of(status_line + b"\r\n\r\n")[:2] == version_and_status


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"X Cache Status: HIT\r\nContent-Length: 4", ["content-length: 4"]),
        (b"preload\r\nContent-Length: 4", ["content-length: 4"]),
        (b": nameless\r\nContent-Length: 4", ["content-length: 4"]),
        (b"X-Caf\xe9: 1\r\nContent-Length: 4", ["content-length: 4"]),
        (b"From nobody\r\nContent-Length: 4", ["content-length: 4"]),
        (b'"Content-Type": text/html\r\nContent-Length: 4', ["content-length: 4"]),
        (b"Dropped\r\n 4, and the rest of it\r\nContent-Length: 4", ["content-length: 4"]),
        (b"X: a\r\n b\r\nContent-Length: 4", ["content-length: 4"]),
        (b" rest of nothing\r\nContent-Length: 4", ["content-length: 4"]),
        (b"X: y\r\n" * 5_000 + b"Content-Length: 4", ["content-length: 4"]),
        (b"Content-Type: a/b;\r\n c=d\r\n\te", ["content-type: a/b; c=d e"]),
        (b"Transfer-Encoding:\r\n chunked", ["transfer-encoding: chunked"]),
        (b"Retry-After:5", ["retry-after: 5"]),
        (b"Retry-After :  5  ", ["retry-after: 5"]),
        (b"Content-Length : 4", ["content-length: 4"]),
        (b"Transfer-Encoding: Chunked ", ["transfer-encoding: chunked"]),
        (b"Location: /a\rContent-Length: 9", ["location: /a\rContent-Length: 9"]),
        (b"Connection: close\nContent-Length: 4", ["connection: close", "content-length: 4"]),
        (b"Content-Length: 4\r\ncontent-length: 4", ["content-length: 4"]),
        (b"Content-Length: 4, 4", ["content-length: 4"]),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: Chunked", ["transfer-encoding: chunked"]),
        (b"Transfer-Encoding: chunked, chunked", ["transfer-encoding: chunked"]),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 9", ["transfer-encoding: chunked"]),
        (b"Transfer-Encoding: identity\r\nContent-Length: 4", ["content-length: 4"]),
        (b"Content-Type: a/b\r\nContent-Type: c/d", ["content-type: a/b", "content-type: c/d"]),
    ],
)
def test_header_lines_are_read_as_they_were_meant(sent: bytes, read: list[str]) -> None:
    _, _, headers = head_of(b"HTTP/1.1 200 OK\r\n" + sent + b"\r\n\r\n")
    assert [": ".join(header) for header in headers] == read


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n" * 40_000,
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 102 Wait\r\n\r\n" * 5_000,
        b'{"status": "success"}\r\n\r\n',
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
)
def test_a_head_that_leaves_doubt_is_refused(sent: bytes) -> None:
    with pytest.raises(http.client.HTTPException):
        read_head(io.BytesIO(sent))
