"""Replies as servers, proxies and firewalls really send them, and as nobody should, on raw sockets."""

import gzip
import random
import select
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from invoicing.contract.errors import InvoicingError, OutcomeUnknown
from invoicing.contract.invoice import Invoice
from invoicing.provider import transport as transport_module
from invoicing.provider.outcomes import Call, Reply
from tests.support.raw_provider import CREDENTIALS, Wire, answer, create, payload

BODY = payload("DZLF4212")
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
JSON = b"Content-Type: application/json\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def sending(reply: bytes, *, hold: bool = False) -> Callable[[Wire], None]:
    """A script that answers each request so, and then closes the connection or keeps it."""

    def script(wire: Wire) -> None:
        while True:
            wire.read()
            wire.write(reply)
            if not hold:
                return

    return script


def chunked(*chunks: bytes, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    parts = [b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in (*chunks, b"")[: len(chunks)]]
    return b"".join(parts) + b"0" + extension + b"\r\n" + trailer + b"\r\n"


# A connection that is kept: nothing but the head says where the body ends.
KEPT = {
    "interim 103 before": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK + JSON + LENGTH + b"\r\n" + BODY,
    "interim 100, 102, 103 before": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n" + OK + JSON + LENGTH + b"\r\n" + BODY,
    "a line that is no header": OK + b"X Cache Status: HIT\r\n" + JSON + LENGTH + b"\r\n" + BODY,
    "a header in two lines": OK + b"Strict-Transport-Security: 1;\r\npreload\r\n" + JSON + LENGTH + b"\r\n" + BODY,
    "a name that is not ASCII": OK + b"X-Caf\xe9: 1\r\n" + JSON + LENGTH + b"\r\n" + BODY,
    "space before the colons": OK + (JSON + LENGTH).replace(b":", b" :") + b"\r\n" + BODY,
    "folded lines": OK + b"Content-Type:\r\n application/json\r\nX: a\r\n\tb\r\n" + LENGTH + b"\r\n" + BODY,
    "bare line feeds": (OK + JSON + LENGTH).replace(b"\r", b"") + b"\n" + BODY,
    "empty lines before": b"\r\n\r\n" + OK + JSON + LENGTH + b"\r\n" + BODY,
    "no reason": b"HTTP/1.1 200\r\n" + JSON + LENGTH + b"\r\n" + BODY,
    "lower case": b"http/1.1 200 ok\r\n" + JSON.lower() + LENGTH.lower() + b"\r\n" + BODY,
    "type twice": OK + JSON * 2 + LENGTH + b"\r\n" + BODY,
    "type twice, once with a charset": OK + JSON + b"Content-Type: application/json; charset=utf-8\r\n" + LENGTH
    + b"\r\n" + BODY,
    "type with a comma in quotes": OK + b'Content-Type: application/json; note="a, b"\r\n' + LENGTH + b"\r\n" + BODY,
    "length twice": OK + JSON + LENGTH * 2 + b"\r\n" + BODY,
    "length twice on a line": OK + JSON + b"Content-Length: %d, %d\r\n" % (len(BODY), len(BODY)) + b"\r\n" + BODY,
    "byte order mark": OK + JSON + b"Content-Length: %d\r\n\r\n" % (len(BODY) + 3) + b"\xef\xbb\xbf" + BODY,
    "chunked": OK + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY[:7], BODY[7:]),
    "chunked twice": OK + JSON + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + chunked(BODY),
    "chunked and a length": OK + JSON + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + chunked(BODY),
    "chunked with extension": OK + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY, extension=b";a=b"),
    "chunked with trailer": OK + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    + chunked(BODY, trailer=b"Server-Timing: a\r\nnot a header\r\n"),
    "gzip that nobody asked for": OK + JSON + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    % len(gzip.compress(BODY)) + gzip.compress(BODY),
    "deflate that nobody asked for": OK + JSON + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n"
    % len(zlib.compress(BODY)) + zlib.compress(BODY),
    "1000 header lines": OK + b"X: y\r\n" * 998 + JSON + LENGTH + b"\r\n" + BODY,
}  # fmt: skip
# A connection that ends with the reply.
ENDED = {
    "close": OK + JSON + LENGTH + b"Connection: close\r\n\r\n" + BODY,
    "close and no length": OK + JSON + b"Connection: close\r\n\r\n" + BODY,
    "no length": OK + JSON + b"\r\n" + BODY,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + JSON + LENGTH + b"\r\n" + BODY,
    "HTTP/1.0 without length": b"HTTP/1.0 200 OK\r\n" + JSON + b"\r\n" + BODY,
}


@pytest.mark.parametrize("kind", KEPT)
def test_a_whole_reply_is_believed_without_waiting_and_keeps_the_connection(client_of, serve, kind) -> None:
    server = serve(sending(KEPT[kind], hold=True))
    client = client_of(server)
    started_s = time.monotonic()
    assert [create(client).invoice_id for _ in range(2)] == ["DZLF4212"] * 2
    assert time.monotonic() - started_s < 2.0
    assert server.connections == 1


@pytest.mark.parametrize("kind", ENDED)
def test_a_reply_that_ends_the_connection_is_believed(client_of, serve, kind) -> None:
    server = serve(sending(ENDED[kind]))
    client = client_of(server)
    assert [create(client).invoice_id for _ in range(2)] == ["DZLF4212"] * 2
    assert server.connections == 2


def test_a_body_without_length_on_a_connection_that_stays_is_believed_at_the_deadline(client_of, serve) -> None:
    client = client_of(serve(sending(OK + JSON + b"\r\n" + BODY, hold=True)))
    assert create(client, within_s=1.1).invoice_id == "DZLF4212"


def _bomb() -> bytes:
    return gzip.compress(b"[" + b" " * 200_000_000, 9)


UNUSABLE = {
    "nothing": b"",
    "no HTTP": BODY,
    "half a status line": b"HTTP/1.1 20",
    "half a head": OK + JSON + b"Content-Le",
    "half a body": OK + JSON + LENGTH + b"\r\n" + BODY[:20],
    "half a chunk": OK + JSON + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + BODY,
    "no chunk": OK + JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY,
    "a negative chunk": OK + JSON + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n" + BODY,
    "half a body without length": OK + JSON + b"\r\n" + BODY[:20],
    "two lengths": OK + JSON + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
    "two types": OK + JSON + b"Content-Type: text/html\r\n" + LENGTH + b"\r\n" + BODY,
    "two byte order marks": OK + JSON + b"Connection: close\r\n\r\n" + b"\xef\xbb\xbf" * 2 + BODY,
    "broken gzip": OK + JSON + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n\x1f\x8bbroken!",
    "unknown coding": OK + JSON + b"Content-Encoding: br\r\n" + LENGTH + b"\r\n" + BODY[::-1],
    "six codings": OK + JSON + b"Content-Encoding: gzip,gzip,gzip,gzip,gzip,gzip\r\n" + LENGTH + b"\r\n" + BODY,
    "a head of lines over 64 KiB": OK + b"X: y\r\n" * 20_000 + JSON + LENGTH + b"\r\n" + BODY,
    "a head over 64 KiB": OK + b"X: " + b"y" * 70_000 + b"\r\n" + JSON + LENGTH + b"\r\n" + BODY,
    "HTTP/2": OK.replace(b"1.1", b"2") + JSON + LENGTH + b"\r\n" + BODY,
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + answer("DZLF4212"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_reply_that_leaves_doubt_is_an_unknown_outcome(client_of, serve, kind) -> None:
    server = serve(sending(UNUSABLE[kind]))
    with pytest.raises(OutcomeUnknown):
        create(client_of(server))
    assert server.connections == 1  # and is not tried again


def test_a_bomb_takes_neither_memory_nor_time(client_of, serve) -> None:
    bomb = _bomb()
    head = OK + JSON + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    client = client_of(serve(sending(head + bomb)))
    tracemalloc.start()
    started_s = time.monotonic()
    try:
        with pytest.raises(OutcomeUnknown):
            create(client)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started_s < 1.0


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n" + JSON + b"\r\n"
ENDLESS = {
    "interim replies": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "header lines": (OK, b"X: y\r\n"),
    "one header line": (OK, b"x" * 1_000),
    "body": (OK + JSON + b"\r\n", b" " * 1_000),
    "chunks": (CHUNKED, b"1\r\n \r\n" * 1_000),
    "trailers": (CHUNKED + b"0\r\n", b"X: y\r\n" * 1_000),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_reply_without_end_is_given_up_at_the_deadline(client_of, serve, kind) -> None:
    # Faster than any timeout of the socket: https://github.com/python/cpython/issues/150743
    def script(wire: Wire) -> None:
        wire.read()
        begin, again = ENDLESS[kind]
        wire.write(begin)
        while True:
            wire.write(again)

    client = client_of(serve(script))
    started_s = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        create(client, within_s=1.2)
    assert time.monotonic() - started_s < 1.7


def test_a_body_that_trickles_is_given_up_at_the_deadline(client_of, serve) -> None:
    def script(wire: Wire) -> None:
        wire.read()
        wire.write(OK + JSON + b"Content-Length: 60000\r\n\r\n")
        while True:
            wire.write(b" ")
            wire.sock.settimeout(0.02)
            try:
                wire.sock.recv(1)
            except TimeoutError:
                continue
            return

    started_s = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        create(client_of(serve(script)), within_s=1.1)
    assert time.monotonic() - started_s < 1.6


REFUSED = b'{"status":"error","result":{"authorization":"Unauthorized request."}}'
REFUSED_HEAD = b"HTTP/1.1 400 Bad Request\r\n" + JSON + b"Content-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (REFUSED_HEAD % len(REFUSED) + REFUSED, REFUSED),
        (REFUSED_HEAD % 0, b""),
        (REFUSED_HEAD % len(REFUSED) + REFUSED[:9], None),
        (REFUSED_HEAD % 1_001 + b" " * 1_001, None),
        (REFUSED_HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") + b"zz\r\n", None),
        (REFUSED_HEAD.replace(b"Content-Type", b"Content-Encoding: gzip\r\nA") % 9 + b"not gzip!", None),
    ],
)
def test_the_judge_gets_the_status_also_of_a_body_that_it_reads_and_that_did_not_come_whole(
    client_of, serve, reply, body
) -> None:
    call = Call("POST", "/", b"{}", lambda reply: reply, reads=frozenset({200, 400}), max_reply_bytes=1_000)
    result: Reply = client_of(serve(sending(reply))).perform(call, CREDENTIALS, deadline_s=time.monotonic() + 5)
    assert (result.status, result.body) == (400, body)


def test_a_body_that_is_read_is_waited_for_until_the_deadline_only(client_of, serve) -> None:
    call = Call("POST", "/", b"{}", lambda reply: reply, reads=frozenset({400}))
    client = client_of(serve(sending(REFUSED_HEAD % 100, hold=True)))
    started_s = time.monotonic()
    result: Reply = client.perform(call, CREDENTIALS, deadline_s=started_s + 1.1)
    assert time.monotonic() - started_s < 1.6
    assert (result.status, result.body) == (400, None)


@pytest.mark.parametrize("status", [204, 304])
def test_a_reply_that_has_no_body_by_its_status_keeps_the_connection(client_of, serve, status) -> None:
    # RFC 9112, 6.3: whatever its headers say, as a 304 repeats those of the body that it is about.
    server = serve(sending(b"HTTP/1.1 %d\r\nContent-Length: 500\r\n\r\n" % status, hold=True))
    client = client_of(server)
    call = Call("GET", "/", b"", lambda reply: reply.body, reads=frozenset({status}))
    results = [client.perform(call, CREDENTIALS, deadline_s=time.monotonic() + 5) for _ in range(2)]
    assert results == [b"", b""]
    assert server.connections == 1
    assert b"content-length" not in server.requests[0].lower()


def test_a_judge_that_fails_leaves_an_unknown_outcome_and_no_connection(client_of, serve) -> None:
    def judge(_: Reply) -> None:
        raise ZeroDivisionError

    server = serve(sending(answer("X"), hold=True))
    client = client_of(server)
    with pytest.raises(OutcomeUnknown) as raised:
        client.perform(Call("POST", "/", b"{}", judge), CREDENTIALS, deadline_s=time.monotonic() + 5)
    assert "ZeroDivisionError" in raised.value.reason
    assert create(client).invoice_id == "X"
    assert server.connections == 2


def test_a_call_of_one_attempt_is_not_tried_again(client_of, serve) -> None:
    server = serve(sending(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(InvoicingError):
        create(client_of(server), attempts=1)
    assert server.connections == 1


SEEDS = [
    *KEPT.values(), *ENDED.values(), *UNUSABLE.values(), REFUSED_HEAD % len(REFUSED) + REFUSED,
    b"HTTP/1.1 503 Busy\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 401 Unauthorized\r\nRetry-After: 5\r\nContent-Length: 29\r\n\r\n" + b'{"message":"Unauthenticated."}',
]  # fmt: skip
SPLICES = [b"\r\n", b"\r", b"\n", b":", b" ", b"\x00", b"\xff", b"-", b"9" * 30, b"{", b'"', b",", b";", b"0\r\n\r\n",
           b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Encoding: gzip\r\n",
           b"Connection: close\r\n", b"Retry-After: Mon, 99 Feb 99999 99:99:99 +9999\r\n", b"HTTP/1.1 100 C\r\n\r\n",
           b"Content-Type: multipart/mixed; boundary=a\r\n", b"Content-Type: message/rfc822\r\n"]  # fmt: skip


def mutated(rng: random.Random, invoice_id: str) -> bytes:
    reply = bytearray(rng.choice(SEEDS).replace(b"DZLF4212", invoice_id.encode()))
    for _ in range(rng.choice([0, 1, 1, 1, 2, 8])):
        at = rng.randrange(len(reply) + 1)
        match rng.randrange(10):
            case 0 | 1:
                reply[at:at] = rng.choice(SPLICES)
            case 2 | 3:
                del reply[at : at + rng.choice([1, 2, 10])]
            case 4 | 5:
                reply[at : at + 1] = rng.randbytes(1)
            case 6:
                del reply[at:]
            case _:
                # Where a line begins, most of the rules are.
                at = reply.find(b"\n", at) + 1
                reply[at:at] = rng.choice(SPLICES)
    return bytes(reply)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_comes_back_is_a_result_a_judged_error_or_unknown(client_of, serve, monkeypatch, caplog, seed) -> None:
    monkeypatch.setattr(transport_module, "MIN_ATTEMPT_S", 0.0)
    monkeypatch.setattr(transport_module, "_MIN_ANSWER_S", 0.0)
    rng = random.Random(seed)
    replies: list[bytes] = []

    def script(wire: Wire) -> None:
        while True:
            wire.read()
            wire.write(replies[-1])
            if len(replies) % 16:
                return

    client = client_of(serve(script))
    outcomes: dict[str, int] = {}
    for number in range(250):
        invoice_id = f"{rng.getrandbits(32):08X}"
        replies.append(mutated(rng, invoice_id))
        try:
            result: object = create(client, within_s=0.05, attempts=1)
        except InvoicingError as error:
            result = error
        if isinstance(result, Invoice):
            # Another buyer's invoice would be the end of trust; a mutation may have changed this one's id.
            assert not any(result.invoice_id.encode() in reply for reply in replies[:-1]), (number, replies[-2:])
        outcomes[type(result).__name__] = outcomes.get(type(result).__name__, 0) + 1
        if client._connection and client._connection.sock and len(replies) % 16:
            select.select([client._connection.sock], [], [], 5)  # until it has heard that the server hung up
    assert outcomes["Invoice"] >= 25, outcomes
    assert outcomes["OutcomeUnknown"] >= 25, outcomes
    # urllib3 logs what it cannot read, with what it read.
    assert [record for record in caplog.records if record.name.startswith("urllib3")] == []
