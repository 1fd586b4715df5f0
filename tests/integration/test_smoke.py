"""``make smoke`` against the real local stack, well and unwell."""

import json
import re
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import trustme
import urllib3

from infra.local.loopback import LoopbackServer, QuietHandler, reserve_port
from tests.support import ROOT
from tests.support.account import API_KEY
from tests.support.metrics import emitted
from tests.support.price_lists import MUG_AND_TEE
from tests.support.price_site import PriceSite
from tests.support.stack import SITE


def smoke(url: str, **arguments: str) -> tuple[int, str]:
    options = [f"--{name}={value}" for name, value in arguments.items()]
    run = subprocess.run(
        [sys.executable, "-m", "infra.smoke", url, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in run.stderr, run.stderr
    assert API_KEY not in run.stdout + run.stderr
    return run.returncode, run.stdout + run.stderr


def lines(output: str) -> list[str]:
    return re.findall(r"^(ok|FAIL|-) ", output, re.MULTILINE)


def test_a_stack_that_is_well_passes_and_gets_one_invoice(stack) -> None:
    status, output = smoke(stack.endpoints["invoice_url"], origin=SITE, create="1")
    assert (status, lines(output)) == (0, ["ok"] * 8 + ["-"]), output
    [invoice] = stack.seen()["invoices"].values()
    assert invoice["amount"] == 0.01
    assert output.endswith("All is well.\n")


def test_without_create_no_invoice_is_asked_for_and_what_was_not_checked_is_said(stack) -> None:
    status, output = smoke(stack.endpoints["invoice_url"])
    assert (status, lines(output)) == (0, ["ok"] * 5 + ["-"] * 3), output
    assert stack.seen()["calls"] == []


def test_a_check_sets_off_no_alarm_and_asks_nobody_but_the_table_of_invoices(start_stack) -> None:
    stack = start_stack()
    assert smoke(stack.endpoints["invoice_url"], origin=SITE)[0] == 0
    counted = {name for name, _ in emitted(stack.log_text())}
    # What an alarm looks at: tests/unit/test_observability.py has that none looks at what callers do wrong.
    assert counted <= {"ColdStart", "InvalidRequest", "OriginNotAllowed", "InvoiceNotFound"}
    assert stack.calls_of("table") == {"GetItem": 1}
    assert stack.seen()["asked"] == []


@pytest.mark.parametrize(
    ("lost", "broken"), [("GET /v1/invoice/info", "status of an invoice"), ("POST /v1/invoice/postback", "no postback")]
)
def test_a_route_that_is_not_there_is_found(stack, lost, broken) -> None:
    class WithoutRoute(QuietHandler):
        """A proxy in front of the stack that lets one route not through."""

        def _pass_on(self) -> None:
            body = self.read_body()
            if f"{self.command} {self.path.partition('?')[0]}" == lost:
                self.answer(404, b'{"message":"Not Found"}', Content_Type="application/json")
                return
            url = stack.endpoints["invoice_url"].removesuffix("/v1/invoice/create") + self.path
            reply = urllib3.request(self.command, url, body=body, headers=dict(self.headers), retries=False)
            passed = {name.replace("-", "_"): value for name, value in reply.headers.items()}
            for name in ("Content_Length", "Connection", "Date", "Server"):
                passed.pop(name, None)
            self.answer(reply.status, reply.data, **passed)

        do_GET = do_POST = do_OPTIONS = _pass_on

    server = LoopbackServer(0, WithoutRoute, None)
    status, output = smoke(f"{server.url}/v1/invoice/create")
    server.stop()
    assert status == 1
    [failure] = re.findall(r"^FAIL .*", output, re.MULTILINE)
    assert broken in failure
    assert "404 (Not Found) in place of" in failure


def test_the_make_target_passes_its_variables_on(stack) -> None:
    command = ["make", "--silent", "smoke", f"URL={stack.endpoints['invoice_url']}", f"ORIGIN={SITE}", "CREATE=1"]
    run = subprocess.run([*command, "AMOUNT=7.5"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    [invoice] = stack.seen()["invoices"].values()
    assert invoice["amount"] == 7.5


def test_a_stack_with_a_price_list_passes_and_says_that_an_invoice_needs_an_item(start_stack) -> None:
    site = PriceSite(MUG_AND_TEE)
    try:
        stack = start_stack(parameters={"PriceListUrl": site.url})
        url = stack.endpoints["invoice_url"]
        status, output = smoke(url, create="1", item="mug")
        assert (status, lines(output)) == (0, ["ok"] * 6 + ["-"] * 2), output
        assert [invoice["amount"] for invoice in stack.seen()["invoices"].values()] == [19.99]
        for arguments in ({}, {"item": "hat"}):
            status, output = smoke(url, create="1", **arguments)
            assert (status, lines(output).count("FAIL")) == (1, 1), output
            assert "wants ITEM=" in output
    finally:
        site.server.stop()


def test_a_site_that_is_not_let_in_fails_with_the_command_that_lets_it_in(stack) -> None:
    status, output = smoke(stack.endpoints["invoice_url"], origin="https://other.example")
    assert (status, lines(output)[0]) == (1, "FAIL")
    assert "make deploy ORIGINS=https://other.example" in output


@pytest.fixture(scope="module")
def open_stack(start_lasting_stack):
    """Every site is let in, amounts are from 5 to the most that there is, and nobody has filled the secret."""
    parameters = {"AllowedOrigins": "*", "MinAmount": "5", "MaxAmount": "999999999.99"}
    return start_lasting_stack(parameters=parameters, fill_secret=False, sandboxes=1)


def test_a_stack_that_lets_every_site_in_fails_unless_it_is_meant_so(open_stack) -> None:
    status, output = smoke(open_stack.endpoints["invoice_url"], origin="https://shop.example")
    assert status == 1
    assert "Every site is let in" in output
    assert smoke(open_stack.endpoints["invoice_url"], origin="*")[0] == 0


def test_an_empty_secret_fails_with_how_to_fill_it_and_then_the_smallest_amount_is_found(open_stack) -> None:
    status, output = smoke(open_stack.endpoints["invoice_url"], origin="*", create="1")
    assert (status, lines(output)) == (1, ["ok"] * 5 + ["FAIL", "-"])
    assert "service_not_configured" in output
    assert "make secret" in output

    open_stack.tell("/secrets/fill", secret_string=f'{{"api_key": "{API_KEY}", "shop_id": "local-shop"}}')
    assert smoke(open_stack.endpoints["invoice_url"], origin="*", create="1")[0] == 0
    [invoice] = open_stack.seen()["invoices"].values()
    assert invoice["amount"] == 5


def test_a_provider_that_is_down_fails_with_what_to_do(stack) -> None:
    stack.tell("/provider/stop")
    try:
        status, output = smoke(stack.endpoints["invoice_url"], create="1")
    finally:
        stack.tell("/provider/start")
    assert status == 1
    assert "provider_unavailable" in output
    assert "Nothing was created" in output


def test_a_wrong_path_is_another_stack(stack) -> None:
    status, output = smoke(stack.endpoints["invoice_url"].replace("/v1/", "/v0/v1/"))
    assert status == 1
    assert "check URL" in output


def test_nobody_there_is_said_once() -> None:
    with reserve_port() as reservation:
        status, output = smoke(f"http://127.0.0.1:{reservation.getsockname()[1]}/v1/invoice/create", origin=SITE)
    assert (status, lines(output)) == (1, ["FAIL"])
    assert "Connection refused" in output


def test_a_certificate_that_nobody_vouches_for_is_not_trusted() -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.handle_request, daemon=True).start()
    status, output = smoke(f"https://127.0.0.1:{server.server_port}/v1/invoice/create")
    server.server_close()
    assert status == 1
    assert "unable to get local issuer certificate" in output


@pytest.mark.parametrize(
    ("invoice_ids", "complaint"),
    [(["A", "B"], "two invoices under one key"), (["A", "A"], "lacks Idempotent-Replayed: true")],
)
def test_a_key_that_keeps_no_invoice_is_found_out(invoice_ids, complaint) -> None:
    class Forgetful(QuietHandler):
        def do_POST(self) -> None:
            self.read_body()
            is_key = "Idempotency-Key" in self.headers
            self.answer(200, json.dumps({"invoice_id": invoice_ids.pop(0)} if is_key else {}).encode())

    server = LoopbackServer(0, Forgetful, None)
    status, output = smoke(f"{server.url}/v1/invoice/create", origin="*", create="1")
    server.stop()
    assert status == 1
    assert complaint in output


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://shop.example/v1/invoice/create", "must be https"),
        ("https://shop.example/", "must be the InvoiceUrl"),
        ("https://user:pass@shop.example/v1/invoice/create", "must be the InvoiceUrl"),
        ("", "must be the InvoiceUrl"),
    ],
)
def test_an_address_that_cannot_be_right_is_not_asked(url, complaint) -> None:
    status, output = smoke(url)
    assert status == 2
    assert complaint in output
    assert "pass@" not in output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"amount": "abc"}, "AMOUNT is 'abc': it must be a number"),
        ({"origin": "shop.example"}, "ORIGIN is 'shop.example': it must be a site"),
        ({"create": "yes"}, "CREATE must be 1"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_sent(arguments, complaint) -> None:
    status, output = smoke("https://shop.example/v1/invoice/create", **arguments)
    assert status == 2
    assert complaint in output
