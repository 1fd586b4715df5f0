"""The provider's client on raw sockets: what is on the wire, and which connection is used again."""

import json
import socket
import time

import pytest

from invoicing.contract.errors import OutcomeUnknown, ProviderUnavailable
from invoicing.provider import transport as provider_module
from invoicing.provider.transport import Transport
from invoicing.provider.v2 import MAX_IDS_IN_A_CALL, v2
from tests.support.raw_provider import CREDENTIALS, Wire, answer, create
from tests.support.samples import Clock


def answering_all(wire: Wire) -> None:
    while True:
        wire.read()
        wire.write(answer(f"C{wire.number}"))


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


def test_a_hundred_invoices_of_version_2_are_read_as_long_as_the_provider_prints_them(client_of, serve) -> None:
    # As large as https://docs.cryptocloud.plus/en/api-reference-v2/invoice-information, with some currencies to choose.
    currency = dict.fromkeys(("icon_base", "icon_network", "icon_qr"), "https://cdn.cryptocloud.plus/currency/x.svg")
    invoices = [
        {"uuid": f"INV-INVOICE{number:03}", "status": "paid", "currency": currency, "currency_list": [currency] * 20}
        for number in range(MAX_IDS_IN_A_CALL)
    ]
    body = json.dumps({"status": "success", "result": invoices}).encode()
    assert len(body) > 256 * 1024

    def script(wire: Wire) -> None:
        wire.read()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        wire.write(head.encode() + body)

    ids = [f"INVOICE{number:03}" for number in range(MAX_IDS_IN_A_CALL)]
    statuses = client_of(serve(script)).perform(v2().info(ids), CREDENTIALS, deadline_s=time.monotonic() + 4)
    assert statuses == dict.fromkeys(ids, "paid")


@pytest.mark.parametrize("status", ["101 Switching Protocols", "204 No Content", "500 Oops", "403 Forbidden"])
def test_the_late_answer_to_one_request_never_reaches_the_next_caller(client_of, serve, status) -> None:
    def script(wire: Wire) -> None:
        wire.read()
        if wire.number == 1:
            wire.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            wire.read()  # the next caller's request, if it comes this way
            wire.write(answer("OF-THE-FIRST"))
        else:
            wire.write(answer("OF-THE-SECOND"))

    client = client_of(serve(script))
    with pytest.raises(OutcomeUnknown):
        create(client)
    assert create(client).invoice_id == "OF-THE-SECOND"


def test_a_connection_is_not_used_again_after_an_answer_that_was_too_large(client_of, serve) -> None:
    def script(wire: Wire) -> None:
        wire.read()
        if wire.number == 1:
            wire.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 70000\r\n\r\n" + b" " * 70_000
            )
        wire.write(answer(f"C{wire.number}"))

    client = client_of(serve(script))
    with pytest.raises(OutcomeUnknown):
        create(client)
    assert create(client).invoice_id == "C2"


def test_an_interim_100_is_not_the_answer(client_of, serve) -> None:
    def script(wire: Wire) -> None:
        wire.read()
        wire.write(b"HTTP/1.1 100 Continue\r\n\r\n" + answer("AFTER-100"))

    assert create(client_of(serve(script))).invoice_id == "AFTER-100"


def test_a_chunked_answer_is_an_answer_and_keeps_the_connection(client_of, serve) -> None:
    def script(wire: Wire) -> None:
        while True:
            wire.read()
            body = answer("CHUNKED").partition(b"\r\n\r\n")[2]
            wire.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            wire.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    server = serve(script)
    client = client_of(server)
    assert [create(client).invoice_id for _ in range(3)] == ["CHUNKED"] * 3
    assert server.connections == 1


@pytest.mark.parametrize("body", [b"", b"half", b"\x1f\x8b broken gzip"])
def test_a_refusal_is_judged_by_its_status_whatever_its_body(client_of, serve, body) -> None:
    def script(wire: Wire) -> None:
        wire.read()
        if wire.number == 1:
            wire.write(b"HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\n" + body)
        else:
            wire.write(answer(f"C{wire.number}"))

    assert create(client_of(serve(script))).invoice_id == "C2"


def test_nothing_is_sent_when_connecting_took_the_time(client_of, serve, monkeypatch) -> None:
    monkeypatch.setattr(provider_module, "MIN_ATTEMPT_S", 0.0)
    server = serve(answering_all)
    with pytest.raises(ProviderUnavailable):
        create(client_of(server), within_s=0.3)
    assert server.requests == []


def test_attempts_are_spaced_out(client_of, serve, monkeypatch) -> None:
    def script(wire: Wire) -> None:
        wire.read()
        wire.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" if wire.number < 3 else answer("THIRD"))

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
        started_s = time.monotonic()
        with pytest.raises(ProviderUnavailable):
            create(Transport(f"http://127.0.0.1:{listener.getsockname()[1]}"), within_s=1.5)
        assert time.monotonic() - started_s < 1.5
        for peer in waiting:
            peer.close()


def test_the_time_that_a_call_held_the_instance_is_that_of_its_attempts_without_the_waits(client_of, serve) -> None:
    def unavailable_first(wire: Wire) -> None:
        wire.read()
        unavailable = b"HTTP/1.1 503 x\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
        wire.write(unavailable if wire.number == 1 else answer("B"))

    client = client_of(serve(unavailable_first))
    started_s = time.monotonic()
    assert create(client).invoice_id == "B"
    assert time.monotonic() - started_s > 1
    assert client.held_s < 0.9
    assert client.answered


def test_a_call_whose_last_attempt_brings_no_answer_was_not_answered(client_of, serve) -> None:
    def unavailable_then_silent(wire: Wire) -> None:
        wire.read()
        if wire.number == 1:
            wire.write(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n")
        else:
            wire.read()  # nothing more comes until the client hangs up

    client = client_of(serve(unavailable_then_silent))
    with pytest.raises(OutcomeUnknown):
        create(client, within_s=2.0)
    assert not client.answered
    assert client.held_s > 1
