"""The main job on the real runtime: an invoice for a site and for another Lambda, exact to the byte."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import ROOT
from tests.support.account import API_KEY, SHOP_ID
from tests.support.metrics import metrics_in
from tests.support.stack import EMAIL, SITE


def sent_upstream(amount: str, **fields: str) -> str:
    members = [f'"amount": {amount}', '"currency": "USD"']
    members += [f'"{name}": {json.dumps(value)}' for name, value in fields.items()]
    return f"{{{', '.join([*members, f'"shop_id": "{SHOP_ID}"'])}}}"


@pytest.mark.parametrize(
    ("written", "amount"), [("100.0", "100.0"), ('"0.10"', "0.10"), ("19.99", "19.99"), ("1e2", "100")]
)
def test_the_documented_request_reaches_the_provider_with_key_shop_and_exact_amount(stack, written, amount) -> None:
    answer = stack.post(f'{{"amount": {written}, "currency": "USD", "description": "Pay"}}')
    assert answer.status == 200
    [call] = stack.seen()["calls"]
    assert call == {"authorization": f"Token {API_KEY}", "body": sent_upstream(amount, description="Pay")}


@pytest.mark.parametrize(
    ("written", "amount"), [("100.0", "100.0"), ('"0.10"', "0.10"), ("19.99", "19.99"), ("1e2", "100.0")]
)
def test_a_direct_amount_is_as_exact_although_the_runtime_parses_it(stack, fresh, written, amount) -> None:
    assert stack.invoke(f'{{"amount": {written}, "order_id": "{fresh}"}}').error_type is None
    [call] = stack.seen()["calls"]
    assert call == {"authorization": f"Token {API_KEY}", "body": sent_upstream(amount, order_id=fresh)}


def test_the_payload_is_the_providers(stack, way_in) -> None:
    payload = way_in(stack, {"amount": 100.0}).payload
    [invoice_id] = stack.seen()["invoices"]
    assert payload == {
        "status": "success",
        "pay_url": f"{stack.endpoints['provider_url']}/pay/{invoice_id}",
        "currency": "BTC",
        "invoice_id": invoice_id,
    }


def test_all_fields_of_the_contract_are_passed_on(stack, way_in, fresh) -> None:
    fields = {
        "amount": "19.99",
        "currency": "UAH",
        "order_id": f"Pedido nº {fresh}",
        "email": EMAIL,
        "description": "two\nlines",
        "shop_id": SHOP_ID,
    }
    assert way_in(stack, fields).payload["status"] == "success"
    [call] = stack.seen()["calls"]
    assert json.loads(call["body"]) == {**fields, "amount": 19.99}


def test_a_reply_is_not_cached_and_carries_the_id_that_the_log_has(stack) -> None:
    answer = stack.post({"amount": 1})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    lines = [line for line in stack.log_text().splitlines() if answer.headers["X-Request-Id"] in line]
    assert any('"message":"invoice created"' in line for line in lines)


@pytest.mark.parametrize("authorization", [[], ["Token <API KEY>"]])
def test_a_program_written_against_the_providers_page_works_with_only_the_host_changed(stack, authorization) -> None:
    sample = ROOT / "tests" / "integration" / "provider_page_sample.py"
    command = [ROOT / ".venv-local" / "bin" / "python", sample, stack.endpoints["invoice_url"], *authorization]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout.startswith(f"Sucesso: {stack.endpoints['provider_url']}/pay/")
    assert stack.seen()["calls"][0]["authorization"] == f"Token {API_KEY}"


@pytest.mark.parametrize("path", ["/pay/v1/invoice/create", "/v1/invoice/create/"])
def test_what_a_custom_domain_leaves_in_the_path_does_not_matter(stack, path) -> None:
    assert stack.pass_on(b'{"amount": 1}', path=path).payload["status"] == "success"


@pytest.mark.parametrize("prefix", ["", "INV-"])
def test_the_sandbox_describes_an_invoice_as_the_provider_does(stack, prefix) -> None:
    invoice_id = stack.post({"amount": 1}).payload["invoice_id"]
    url = f"{stack.endpoints['provider_url']}/v1/invoice/info?uuid={prefix}{invoice_id}"
    assert stack._http.request("GET", url).status == 401
    reply = stack._http.request("GET", url, headers={"Authorization": f"Token {API_KEY}"})
    assert reply.json() == {"status": "success", "status_invoice": "created"}


def test_a_pay_link_leads_to_the_pay_page(stack) -> None:
    pay_url = stack.post({"amount": "19.99", "currency": "EUR"}).payload["pay_url"]
    page = stack._http.request("GET", pay_url)
    assert page.status == 200
    assert b"19.99 EUR" in page.data


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_may_be_named_with_parameters_and_in_any_case(stack, content_type) -> None:
    assert stack.post({"amount": 1}, {"Content-Type": content_type}).status == 200


def test_a_listed_site_may_call_and_its_preflight_passes(stack) -> None:
    assert stack.post({"amount": 1}, {"Origin": SITE}).headers["Access-Control-Allow-Origin"] == SITE
    preflight = stack._http.request(
        "OPTIONS",
        stack.endpoints["invoice_url"],
        headers={"Origin": SITE, "Access-Control-Request-Method": "POST"},
    )
    assert preflight.headers["Access-Control-Allow-Origin"] == SITE
    assert {"authorization", "content-type", "idempotency-key"} <= set(
        preflight.headers["Access-Control-Allow-Headers"].split(",")
    )


def test_sequential_requests_share_one_warm_sandbox(start_stack) -> None:
    stack = start_stack()
    for _ in range(20):
        assert stack.post({"amount": 1}).status == 200
    assert stack.log_text().count('"cold_start":true') == 1
    assert stack.log_text().count('"message":"invoice created"') == 20


def test_an_invoice_and_an_error_are_counted_once_each_and_latency_per_attempt(start_stack) -> None:
    stack = start_stack()
    stack.post({"amount": 1})
    stack.misbehave("status", value=503)
    stack.post({"amount": 1})
    stack.post({"amount": 0})
    directives = [metric["_aws"]["CloudWatchMetrics"][0] for metric in metrics_in(stack.log_text())]
    names = [definition["Name"] for directive in directives for definition in directive["Metrics"]]
    invoice = ["ProviderLatency", "InvoiceCreated", "AmountAskedUSD"]
    assert names == ["ColdStart", *invoice, *invoice, "InvalidRequest"]
    assert "No application metrics" not in stack.log_text()
    latencies_s = [metric["ProviderLatency"] for metric in metrics_in(stack.log_text()) if "ProviderLatency" in metric]
    assert [len(values) for values in latencies_s] == [1, 2]


def test_requests_run_side_by_side(stack) -> None:
    for _ in range(4):
        stack.misbehave("slow", value=0.5)
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: stack.post({"amount": 1}), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.payload["invoice_id"] for answer in answers}) == 8
