"""The local Secrets Manager and DynamoDB: what moto does not do as AWS does."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from infra.local.aws import Gate
from infra.local.loopback import LoopbackServer, QuietHandler

COMPANY_TIMEOUT_S = 0.2


class _Service(QuietHandler):
    """Answers a request that has company with 500."""

    def do_POST(self) -> None:
        self.read_body()
        try:
            self.server.owner.wait(COMPANY_TIMEOUT_S)
        except threading.BrokenBarrierError:
            self.server.owner.reset()
            self.answer(200)
        else:
            self.answer(500)


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
