"""Faults while a function starts: whatever becomes of what is begun on the network then, the first buyer gets the link.

Under Lambda's runtime client, from the artifact, over TLS. ``functions/invoicing/ahead.py`` says what is begun.
"""

import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.benchmarks.contest import OURS, Surroundings, surroundings
from tests.benchmarks.network import Network
from tests.benchmarks.runtime_api import Sandbox
from tests.support.account import API_KEY, SHOP_ID
from tests.support.door import FAULTS, Door
from tests.support.events import http_event
from tests.support.raw_provider import RawProvider, Wire, answer

VARIABLES = {
    "provider": "CRYPTOCLOUD_API_URL",
    "secrets": "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "table": "AWS_ENDPOINT_URL_DYNAMODB",
}
AUTHORITIES = ("SSL_CERT_FILE", "AWS_CA_BUNDLE")
EVENT = http_event({"amount": 19.99, "order_id": "A-1"})


@pytest.fixture(scope="module")
def shared_surroundings() -> Iterator[Surroundings]:
    with surroundings() as around:
        yield around


@pytest.fixture
def around(shared_surroundings) -> Surroundings:
    shared_surroundings.provider.forget()
    shared_surroundings.table.forget()
    return shared_surroundings


@pytest.fixture(scope="module")
def network(shared_surroundings, tmp_path_factory) -> Iterator[Network]:
    urls = [getattr(shared_surroundings, peer).server.url for peer in VARIABLES]
    with Network(tmp_path_factory.mktemp("network"), 0, urls) as network:
        yield network


@pytest.fixture
def door_to(network) -> Iterator[Callable[[str, str], Door]]:
    ports = {peer: urlsplit(url).port for peer, url in zip(VARIABLES, network.urls, strict=True)}
    doors: list[Door] = []

    def make(peer: str, fault: str) -> Door:
        doors.append(Door(ports[peer], fault))
        return doors[-1]

    yield make
    for door in doors:
        door.close()


@contextmanager
def started(around: Surroundings, network: Network, doors: Mapping[str, Door]) -> Iterator[Sandbox]:
    """A sandbox that reaches every peer over TLS, and some only through a door."""
    urls = dict(zip(VARIABLES.values(), network.urls, strict=True))
    urls |= {VARIABLES[peer]: door.url for peer, door in doors.items()}
    with around.start(OURS, **urls, **dict.fromkeys(AUTHORITIES, str(network.authorities))) as sandbox:
        yield sandbox


def created(around: Surroundings, reply: Any) -> None:
    assert reply.payload["statusCode"] == 200, reply
    invoice_id = json.loads(reply.payload["body"])["invoice_id"]
    report = around.provider.report()
    assert len(report["calls"]) == 1
    assert [f"INV-{each.removeprefix('INV-')}" for each in report["invoices"]] == [
        f"INV-{invoice_id.removeprefix('INV-')}"
    ]
    assert around.table.report_by_table()["invoices"] == {"PutItem": 1}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("peer", VARIABLES)
def test_a_fault_that_ends_with_the_start_changes_no_answer(around, network, door_to, peer, fault) -> None:
    door = door_to(peer, fault)
    with started(around, network, {peer: door}) as sandbox:
        sandbox.init_s()
        door.open()
        created(around, sandbox.invoke(EVENT))


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_all_peers_at_once_change_no_answer_either(around, network, door_to, fault) -> None:
    doors = {peer: door_to(peer, fault) for peer in VARIABLES}
    with started(around, network, doors) as sandbox:
        sandbox.init_s()
        for door in doors.values():
            door.open()
        created(around, sandbox.invoke(EVENT))


@pytest.mark.parametrize(
    ("peer", "status", "code"),
    [("provider", 503, "provider_unavailable"), ("secrets", 503, "provider_unavailable"), ("table", 200, None)],
)
def test_a_fault_that_lasts_is_answered_as_at_any_other_time(around, network, door_to, peer, status, code) -> None:
    door = door_to(peer, "refused")
    with started(around, network, {peer: door}) as sandbox:
        first, second = (sandbox.invoke(EVENT).payload for _ in range(2))
        assert (first["statusCode"], json.loads(first["body"]).get("code")) == (status, code)
        assert (second["statusCode"], json.loads(second["body"]).get("code")) == (status, code)
        door.open()
        assert sandbox.invoke(EVENT).payload["statusCode"] == 200


def paying_at(wire: Wire) -> None:
    """Answers every request, with the number of the connection in the invoice's id."""
    while True:
        assert API_KEY.encode() in wire.read()
        wire.write(answer(f"C{wire.number}"))


def first_invoices(around: Surroundings, provider: RawProvider, count: int) -> list[str]:
    """Returns the ids of the invoices that a new sandbox creates, or the problems in place of them."""
    environment = {"CRYPTOCLOUD_API_URL": provider.url, "SSL_CERT_FILE": os.environ["SSL_CERT_FILE"]}
    pay_origins = {"CRYPTOCLOUD_PAY_ORIGINS": "https://pay.cryptocloud.plus"}
    with around.start(OURS, **environment, **pay_origins) as sandbox:
        sandbox.init_s()
        replies = [sandbox.invoke(EVENT).payload for _ in range(count)]
    return [json.loads(reply["body"]).get("invoice_id", reply["body"]) for reply in replies]


def test_the_tickets_of_tls_1_3_on_an_idle_connection_are_not_taken_for_its_end(around, serve, certificate_for) -> None:
    # Python's server sends two of them after the handshake, which nobody reads before the first request.
    context = certificate_for()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    provider = serve(paying_at, context)
    assert first_invoices(around, provider, 2) == ["C1", "C1"]
    assert provider.connections == 1


def test_a_connection_that_the_provider_has_closed_since_the_start_is_not_used(around, serve, certificate_for) -> None:
    provider = serve(lambda wire: paying_at(wire) if wire.number > 1 else None, certificate_for())
    assert first_invoices(around, provider, 2) == ["C2", "C2"]
    assert len(provider.requests) == 2


def test_a_certificate_that_is_not_trusted_gets_neither_key_nor_request(around, serve, certificate_for) -> None:
    provider = serve(paying_at, certificate_for("other.example"))
    assert "provider_unavailable" in first_invoices(around, provider, 1)[0]
    assert provider.requests == []


def secret_of(wire: Wire) -> None:
    """Answers every request as Secrets Manager answers, with the shop's secret."""
    while True:
        assert b"secretsmanager.GetSecretValue" in wire.read()
        body = json.dumps({"SecretString": json.dumps({"api_key": API_KEY, "shop_id": SHOP_ID})}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        wire.write(head.encode() + body)


def status_with(around: Surroundings, manager: RawProvider) -> int:
    """Returns the status of the first reply of a sandbox whose Secrets Manager this is."""
    trusted = {"AWS_CA_BUNDLE": os.environ["SSL_CERT_FILE"]}
    with around.start(OURS, AWS_ENDPOINT_URL_SECRETS_MANAGER=manager.url, **trusted) as sandbox:
        return sandbox.invoke(EVENT).payload["statusCode"]


def test_the_secret_is_asked_for_once_over_the_connection_that_was_begun_first(around, serve, certificate_for) -> None:
    manager = serve(secret_of, certificate_for())
    assert status_with(around, manager) == 200
    assert (manager.connections, len(manager.requests)) == (1, 1)


def test_a_secrets_manager_that_is_not_trusted_is_asked_nothing(around, serve, certificate_for) -> None:
    manager = serve(secret_of, certificate_for("other.example"))
    assert status_with(around, manager) == 503
    assert manager.requests == []
