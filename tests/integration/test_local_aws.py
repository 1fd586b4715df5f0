"""The local AWS: what moto does not do as AWS does, and how a test makes it fail."""

import json
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


def test_a_fault_can_be_for_one_table_and_calls_are_counted_by_table(gate) -> None:
    def put(table: str) -> int:
        body = json.dumps({"TableName": table}).encode()
        headers = {"X-Amz-Target": "DynamoDB_20120810.PutItem"}
        return urllib3.request("POST", gate.server.url, body=body, headers=headers, retries=False).status

    gate.fail("PutItem", table="invoices", times=2)
    gate.fail("PutItem")
    assert [put(table) for table in ("keys", "keys", "invoices", "invoices", "invoices")] == [400, 200, 400, 400, 200]
    assert gate.report() == {"PutItem": 5}
    assert gate.report_by_table() == {"keys": {"PutItem": 2}, "invoices": {"PutItem": 3}}
    gate.forget()
    assert (gate.report(), gate.report_by_table()) == ({}, {})
