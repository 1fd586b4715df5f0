"""The local Secrets Manager and DynamoDB: what moto does not do as AWS does."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import urllib3

from infra.local.aws import Gate
from infra.local.loopback import LoopbackServer

COMPANY_TIMEOUT_S = 0.2


class _Service(BaseHTTPRequestHandler):
    """Answers a request that has company with 500."""

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self.server.owner.wait(COMPANY_TIMEOUT_S)
        except threading.BrokenBarrierError:
            self.server.owner.reset()
            self.send_response(200)
        else:
            self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def gate() -> Iterator[Gate]:
    service = LoopbackServer(0, _Service, threading.Barrier(2))
    gate = Gate(service.url, 0)
    yield gate
    gate.server.stop()
    service.stop()


def test_a_conditional_write_is_atomic_because_the_service_sees_one_request_at_a_time(gate) -> None:
    with ThreadPoolExecutor(3) as callers:
        answers = callers.map(lambda _: urllib3.request("POST", gate.server.url, body=b"{}", retries=False), range(3))
        assert [answer.status for answer in answers] == [200, 200, 200]
