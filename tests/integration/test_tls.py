"""TLS to the provider: 1.2 or later, and no request without a certificate that is trusted."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from infra.local.loopback import QuietHandler

PAYLOAD = {"status": "success", "pay_url": "https://pay.cryptocloud.plus/DZLF4212", "invoice_id": "DZLF4212"}


class Provider(QuietHandler):
    def do_POST(self) -> None:
        self.server.requests += 1
        self.read_body()
        self.answer(200, json.dumps(PAYLOAD).encode(), Content_Type="application/json")


class Server(ThreadingHTTPServer):
    """Counts the requests that it gets."""

    requests = 0
    daemon_threads = True
    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.tls.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[ssl.SSLContext], Server]]:
    servers = []

    def start(tls: ssl.SSLContext) -> Server:
        server = Server(("127.0.0.1", 0), Provider)
        server.tls = tls
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def tls_of(authority: trustme.CA, host: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def stack_on(start_stack, server: Server, trusted: Path):
    return start_stack(
        parameters={
            "ProviderUrl": f"https://127.0.0.1:{server.server_port}",
            "PayOrigins": "https://pay.cryptocloud.plus",
        },
        environment={"SSL_CERT_FILE": str(trusted)},
    )


@pytest.fixture
def authority(tmp_path) -> tuple[trustme.CA, Path]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority, tmp_path / "ca.pem"


def test_a_trusted_provider_is_called(start_stack, serve, authority) -> None:
    trusted, path = authority
    server = serve(tls_of(trusted))
    stack = stack_on(start_stack, server, path)
    assert stack.post({"amount": 1}).payload == PAYLOAD
    assert stack.post({"amount": 1}).payload == PAYLOAD
    assert server.requests == 2


@pytest.mark.parametrize("case", ["unknown authority", "other host"])
def test_a_refused_certificate_gets_no_request_and_the_log_says_so(start_stack, serve, authority, case) -> None:
    trusted, path = authority
    server = serve(tls_of(trustme.CA()) if case == "unknown authority" else tls_of(trusted, "pay.example"))
    stack = stack_on(start_stack, server, path)
    assert stack.post({"amount": 1}).payload["code"] == "provider_unavailable"
    assert "certificate of the provider refused" in stack.log_text()
    assert server.requests == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_a_provider_with_an_old_protocol_is_not_called(start_stack, serve, authority) -> None:
    trusted, path = authority
    tls = tls_of(trusted)
    tls.set_ciphers("DEFAULT:@SECLEVEL=0")  # without it OpenSSL refuses the old protocol on both sides
    tls.maximum_version = tls.minimum_version = ssl.TLSVersion.TLSv1_1
    stack = stack_on(start_stack, serve(tls), path)
    assert stack.post({"amount": 1}).payload["code"] == "provider_unavailable"
