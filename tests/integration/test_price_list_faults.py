"""What a site can do to the reader of its price list, on real sockets: how long each fault takes, and what counts then.

What is wrong within a list that arrives whole is in tests/unit/test_price_list.py.
"""

import gzip
import resource
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from invoicing.contract.errors import PricesUnavailable
from invoicing.observability import metrics
from invoicing.prices import KEPT_S, READ_AGAIN_AFTER_S, READ_LIMIT_S, SERVED_S, Prices, site_of
from invoicing.provider.transport import Transport
from tests.support.price_lists import MUG_AND_TEE, as_file
from tests.support.raw_provider import RawProvider, Wire, answer, create
from tests.support.samples import Clock

REFUSED, NOT_READ = "PriceListRefused", "PriceListNotRead"
# What a read may take beyond its limit: the machine is busy.
TOLERANCE_S = 1.0


def reply(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def good(price: str) -> bytes:
    return as_file({"currency": "USD", "items": {"mug": {"price": price}}})


def sends(data: bytes) -> Callable[[Wire], None]:
    return lambda wire: wire.write(data)


def hangs(after: bytes = b"") -> Callable[[Wire], None]:
    def script(wire: Wire) -> None:
        if after:
            wire.write(after)
        wire.read()  # nothing more comes until the reader hangs up

    return script


def trickles(every_s: float) -> Callable[[Wire], None]:
    def script(wire: Wire) -> None:
        body = good("9")
        wire.write(reply(b"", length=len(body)))
        for at in range(len(body)):
            wire.write(body[at : at + 1])
            time.sleep(every_s)  # what this fault is

    return script


def sends_without_end(wire: Wire) -> None:
    wire.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        wire.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def resets(wire: Wire) -> None:
    wire.write(reply(good("9")[:-9], length=len(good("9"))))
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def bomb(layers: int) -> bytes:
    """A GiB of blanks in gzip, once or more often."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(b" " * 1024 * 1024) for _ in range(1024)]
    packed = b"".join(parts) + packer.flush()
    for _ in range(layers - 1):
        packed = gzip.compress(packed)
    return packed


class Fault(NamedTuple):
    """One row: what the site does with a request, and how that is counted."""

    does: Callable[[Wire], None]
    counted: str


FAULTS: dict[str, Fault] = {
    "hangs": Fault(hangs(), NOT_READ),
    "hangs within the head": Fault(hangs(b"HTTP/1.1 200 OK\r\nContent-"), NOT_READ),
    "hangs within the list": Fault(hangs(reply(good("9")[:-9], length=len(good("9")))), NOT_READ),
    "slow: a byte every tenth of a second": Fault(trickles(0.1), NOT_READ),
    "closes at once": Fault(lambda _: None, NOT_READ),
    "no HTTP": Fault(sends(b"220 ready\r\n"), NOT_READ),
    "the length in doubt": Fault(sends(reply(good("9"), "200 OK", "Content-Length: 7")), NOT_READ),
    "500": Fault(sends(reply(good("9"), "500 Oops")), NOT_READ),
    "503": Fault(sends(reply(b"", "503 Busy", "Retry-After: 1")), NOT_READ),
    "429": Fault(sends(reply(b"", "429 Busy")), NOT_READ),
    "truncated": Fault(sends(reply(good("9")[:-9], length=len(good("9")))), REFUSED),
    "truncated within a chunk": Fault(
        sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + good("9")), REFUSED
    ),
    "truncated where nothing says how long it is": Fault(sends(b"HTTP/1.1 200 OK\r\n\r\n" + good("9")[:-9]), REFUSED),
    "reset within the list": Fault(resets, REFUSED),
    "huge": Fault(sends(reply(good("9").ljust(2 * 1024 * 1024))), REFUSED),
    "huge in chunks without an end": Fault(sends_without_end, REFUSED),
    "said to be huge": Fault(sends(reply(good("9"), length=10**15)), REFUSED),
    "one byte over 1 MiB": Fault(sends(reply(good("9").ljust(1024 * 1024 + 1))), REFUSED),
    "gzip bomb": Fault(sends(reply(bomb(1), "200 OK", "Content-Encoding: gzip")), REFUSED),
    "gzip bomb in gzip": Fault(sends(reply(bomb(2), "200 OK", "Content-Encoding: gzip, gzip")), REFUSED),
    "gzip that is none": Fault(sends(reply(good("9"), "200 OK", "Content-Encoding: gzip")), REFUSED),
    "packed as nobody asked for": Fault(sends(reply(b"\x0b\x00", "200 OK", "Content-Encoding: br")), REFUSED),
    "HTML with 200": Fault(sends(reply(b"<!doctype html>", "200 OK", "Content-Type: text/html")), REFUSED),
    "nothing with 200": Fault(sends(reply(b"")), REFUSED),
    "204": Fault(sends(b"HTTP/1.1 204 No Content\r\n\r\n"), REFUSED),
    "206": Fault(sends(reply(good("9"), "206 Partial Content")), REFUSED),
    "404 with a list": Fault(sends(reply(good("9"), "404 Not Found")), REFUSED),
    "403": Fault(sends(reply(b"{}", "403 Forbidden")), REFUSED),
    "304 without a question": Fault(sends(b"HTTP/1.1 304 Not Modified\r\n\r\n"), REFUSED),
    "switches protocols": Fault(sends(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), REFUSED),
    "empty items": Fault(sends(reply(as_file({"currency": "USD", "items": {}}))), REFUSED),
    "price of three decimals": Fault(sends(reply(good("9.999"))), REFUSED),
    "negative price": Fault(sends(reply(good("-9"))), REFUSED),
    "NaN": Fault(sends(reply(good("1").replace(b'"1"', b"NaN"))), REFUSED),
    "id twice": Fault(
        sends(reply(b'{"currency": "USD", "items": {"mug": {"price": "1"}, "mug": {"price": "2"}}}')), REFUSED
    ),
}


class Reader(NamedTuple):
    """Prices that are read from such a site, and the clock that they go by."""

    prices: Prices
    clock: Clock

    def price(self) -> str:
        """The price that counts now, or ``none``; within the time that a request has for it."""
        started_s = time.monotonic()
        try:
            return str(self.prices.current(deadline_s=started_s + 20).price_of("mug"))
        except PricesUnavailable:
            return "none"
        finally:
            assert time.monotonic() - started_s < READ_LIMIT_S + TOLERANCE_S


@pytest.fixture
def reader_of() -> Iterator[Callable[[RawProvider], Reader]]:
    transports: list[Transport] = []

    def connect(site: RawProvider) -> Reader:
        url, clock = f"{site.url}/prices.json", Clock()
        transports.append(site_of(url))
        return Reader(Prices(url, transports[-1], ("USD",), clock=clock), clock)

    yield connect
    for transport in transports:
        if transport._connection:
            transport._connection.close()


def after_a_good_one(fault: Callable[[Wire], None]) -> Callable[[Wire], None]:
    """A site that publishes a good list on its first connection, and misbehaves on every other."""

    def script(wire: Wire) -> None:
        wire.read()
        if wire.number == 1:
            wire.write(reply(good("1"), "200 OK", "Connection: close"))
        else:
            fault(wire)

    return script


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_a_site_does_the_last_good_list_goes_on_and_without_one_there_are_no_prices(
    serve, reader_of, name
) -> None:
    fault = FAULTS[name]
    reader = reader_of(serve(after_a_good_one(fault.does)))
    assert reader.price() == "1"
    reader.clock.now_s += KEPT_S
    metrics.clear_metrics()
    assert reader.price() == "1"
    assert metrics.metric_set.keys() & {REFUSED, NOT_READ} == {fault.counted}
    # Whatever was left unread is nobody's next answer, and ten seconds later a day has passed.
    reader.clock.now_s += SERVED_S - KEPT_S
    assert reader.price() == "none"


def test_a_bomb_takes_no_more_memory_than_a_list_may_have(serve, reader_of) -> None:
    packed = bomb(1)
    site = serve(after_a_good_one(sends(reply(packed, "200 OK", "Content-Encoding: gzip"))))
    reader = reader_of(site)
    reader.price()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader.clock.now_s += KEPT_S
    assert reader.price() == "1"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


def test_a_site_that_is_not_there_holds_nobody(reader_of) -> None:
    site = RawProvider(lambda _: None)
    site.close()
    reader = reader_of(site)
    assert reader.price() == "none"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed(serve, reader_of, status) -> None:
    elsewhere = serve(sends(reply(good("9"))))
    reader = reader_of(serve(after_a_good_one(sends(reply(b"", status, f"Location: {elsewhere.url}/prices.json")))))
    assert reader.price() == "1"
    reader.clock.now_s += KEPT_S
    assert reader.price() == "1"
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "sent",
    [
        reply(good("2"), "200 OK", "Content-Type: application/json; charset=utf-8"),
        reply(good("2"), "200 OK", "Content-Type: text/plain"),
        reply(b"\xef\xbb\xbf" + good("2")),
        reply(gzip.compress(good("2")), "200 OK", "Content-Encoding: gzip"),
        reply(good("2").ljust(1024 * 1024)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(good("2")), good("2")),
        b"HTTP/1.0 200 OK\r\n\r\n" + good("2"),
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + reply(good("2")),
        reply(good("2"), "200 OK", 'ETag: "a\x01b"', "Set-Cookie: a=b", "Strict-Transport-Security: max-age=1"),
    ],
    ids=["JSON", "text", "BOM", "gzip", "1 MiB", "chunks", "HTTP/1.0", "early hints", "a tag that is none"],
)
def test_a_good_list_is_read_however_a_host_serves_it(serve, reader_of, sent) -> None:
    reader = reader_of(serve(after_a_good_one(sends(sent))))
    reader.price()
    reader.clock.now_s += KEPT_S
    assert reader.price() == "2"


def test_a_list_that_is_slow_and_in_time_is_read(serve, reader_of) -> None:
    reader = reader_of(serve(after_a_good_one(trickles(0.01))))
    reader.price()
    reader.clock.now_s += KEPT_S
    assert reader.price() == "9"


def test_a_list_that_has_not_changed_is_not_sent_again_and_the_connection_is_kept(serve, reader_of) -> None:
    def site(wire: Wire) -> None:
        while True:
            if b'If-None-Match: "v1"' in wire.read():
                wire.write(b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\n\r\n')
            else:
                wire.write(reply(good("1"), "200 OK", 'ETag: "v1"'))

    server = serve(site)
    reader = reader_of(server)
    for _ in range(4):
        assert reader.price() == "1"
        reader.clock.now_s += KEPT_S
    assert (len(server.requests), server.connections) == (4, 1)


def test_the_site_gets_neither_the_key_nor_anything_of_the_provider(serve, reader_of, client_of) -> None:
    site = serve(after_a_good_one(sends(reply(good("2")))))
    provider = serve(after_a_good_one(sends(answer("B"))))
    client = client_of(provider)
    reader = reader_of(site)
    reader.price()
    with pytest.raises(Exception, match="outcome_unknown"):
        create(client)  # the key is in use, next to it
    reader.clock.now_s += KEPT_S
    assert reader.price() == "2"
    assert b"the-key" in provider.requests[0]
    for request in site.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        assert body == b""
        assert head.split(b"\r\n")[0] == b"GET /prices.json HTTP/1.1"
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
        assert names == {b"host", b"accept", b"accept-encoding", b"user-agent"}


def test_a_list_that_hangs_holds_one_request_in_ten_seconds(serve, reader_of) -> None:
    site = serve(after_a_good_one(hangs()))
    reader = reader_of(site)
    reader.price()
    reader.clock.now_s += KEPT_S
    started_s = time.monotonic()
    assert [reader.price() for _ in range(50)] == ["1"] * 50
    assert time.monotonic() - started_s < READ_LIMIT_S + TOLERANCE_S
    assert len(site.requests) == 2
    reader.clock.now_s += READ_AGAIN_AFTER_S
    reader.price()
    assert len(site.requests) == 3


def test_a_certificate_that_is_not_trusted_ends_it(reader_of, serve, certificate_for) -> None:
    trusted = certificate_for()
    site = serve(after_a_good_one(sends(reply(good("2")))), trusted)
    assert reader_of(site).price() == "1"
    other = serve(after_a_good_one(sends(reply(good("2")))), certificate_for("elsewhere.example"))
    assert reader_of(other).price() == "none"


def test_five_thousand_items_are_one_list(serve, reader_of) -> None:
    items = {f"item-{number}": {"price": f"{number + 1}.99", "name": f"Item {number}"} for number in range(5_000)}
    file = as_file({**MUG_AND_TEE, "items": {**items, "mug": {"price": "7"}}})
    assert 200_000 < len(file) < 400_000
    reader = reader_of(serve(after_a_good_one(sends(reply(file)))))
    reader.price()
    reader.clock.now_s += KEPT_S
    assert reader.price() == "7"
