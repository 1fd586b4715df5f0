"""Version 2 of the provider's API behind the same contract, over the real gateway, runtime and provider."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.account import API_KEY, SHOP_ID
from tests.support.metrics import total
from tests.support.stack import EMAIL, Stack


@pytest.mark.parametrize(
    ("written", "amount"), [("100.0", "100.0"), ('"0.10"', "0.10"), ("19.99", "19.99"), ("1e2", "100")]
)
def test_v2_gets_the_documented_request_with_key_shop_and_exact_amount(v2_stack, written, amount) -> None:
    body = f'{{"amount": {written}, "currency": "EUR", "order_id": "A", "email": "{EMAIL}", "description": "Pay"}}'
    assert v2_stack.post(body).status == 200
    [call] = v2_stack.seen()["calls"]
    sent = f'{{"amount": {amount}, "currency": "EUR", "order_id": "A", "email": "{EMAIL}", "shop_id": "{SHOP_ID}"}}'
    assert call == {"authorization": f"Token {API_KEY}", "body": sent}


def test_the_payload_is_that_of_v1_and_the_id_is_bare(v2_stack, way_in) -> None:
    payload = way_in(v2_stack, {"amount": 100.0}).payload
    [invoice_id] = v2_stack.seen()["invoices"]
    assert payload == {
        "status": "success",
        "pay_url": f"{v2_stack.endpoints['provider_url']}/pay/{invoice_id}",
        "invoice_id": invoice_id,
        "amount": 100.0,
        "amount_usd": 100.0,
    }


def test_a_link_without_its_scheme_is_delivered_with_https(v2_stack) -> None:
    v2_stack.misbehave("bare_link")
    payload = v2_stack.post({"amount": 1}).payload
    host = v2_stack.endpoints["provider_url"].removeprefix("http://")
    assert payload["pay_url"] == f"https://{host}/pay/{payload['invoice_id']}"


@pytest.mark.parametrize("form", [400, 401, 403])
def test_a_key_refused_in_any_form_is_read_again_and_costs_no_invoice_once_it_is_right(v2_stack, way_in, form) -> None:
    v2_stack.misbehave("refused_key", value=form)
    assert way_in(v2_stack, {"amount": 1}).problem["code"] == "provider_credentials_rejected"
    assert way_in(v2_stack, {"amount": 1}).payload["status"] == "success"


def test_the_currencies_of_v2_are_for_v2_only(stack, v2_stack, way_in) -> None:
    assert way_in(v2_stack, {"amount": 1, "currency": "KZT"}).payload["status"] == "success"
    problem = way_in(stack, {"amount": 1, "currency": "KZT"}).problem
    assert problem["errors"] == [{"pointer": "/currency", "detail": "must be one of USD, RUB, EUR, GBP, UAH"}]
    assert stack.seen()["calls"] == []


def created_line(stack: Stack, invoice_id: str) -> dict[str, Any]:
    [line] = [line for line in stack.log_text().splitlines() if invoice_id in line and '"invoice created"' in line]
    return json.loads(line)


def test_the_line_of_an_invoice_names_dialect_and_host_and_says_when_no_real_money_comes(stack, v2_stack) -> None:
    for each, api in ((stack, "v1"), (v2_stack, "v2")):
        line = created_line(each, each.post({"amount": 1}).payload["invoice_id"])
        assert (line["provider_api"], line["provider_host"], line.get("test_mode")) == (api, "127.0.0.1", None)
    before = total(v2_stack.log_text(), "TestInvoiceCreated")
    v2_stack.misbehave("test_mode")
    payload = v2_stack.post({"amount": 1}).payload
    assert "test_mode" not in payload
    assert created_line(v2_stack, payload["invoice_id"])["test_mode"] is True
    assert total(v2_stack.log_text(), "TestInvoiceCreated") == before + 1


def test_a_failure_names_dialect_and_host_and_a_redirect_counts_as_a_move(either_stack) -> None:
    before = total(either_stack.log_text(), "ProviderMoved")
    either_stack.misbehave("redirect")
    request_id = either_stack.post({"amount": 1}).problem["request_id"]
    [line] = [
        json.loads(line)
        for line in either_stack.log_text().splitlines()
        if request_id in line and '"invoice not created"' in line
    ]
    assert line["provider_host"] == "127.0.0.1"
    assert "provider answered 302 to http://127.0.0.1:" in line["reason"]
    assert total(either_stack.log_text(), "ProviderMoved") == before + 1


def test_a_key_keeps_its_invoice_when_the_owner_changes_the_dialect(stack, v2_stack, fresh) -> None:
    first = stack.post({"amount": 1}, key=fresh)
    [record] = [
        record for record in stack.records() if record.get("data") and first.payload["invoice_id"] in str(record)
    ]
    # Each stack has a provider of its own, and with it another origin for links.
    old, new = (it.endpoints["provider_url"] for it in (stack, v2_stack))
    moved = {name: value.replace(old, new) if isinstance(value, str) else value for name, value in record.items()}
    v2_stack.table.put_item(Item=moved)
    again = v2_stack.post({"amount": 1}, key=fresh)
    assert again.payload == {**first.payload, "pay_url": first.payload["pay_url"].replace(old, new)}
    assert again.headers["Idempotent-Replayed"] == "true"
    assert v2_stack.seen()["calls"] == []


def test_the_owners_lifetime_and_coins_go_with_every_invoice(start_stack) -> None:
    parameters = {"ProviderApi": "v2", "InvoiceLifetime": "90", "Coins": "USDT_TRC20,BTC"}
    stack = start_stack(parameters=parameters, sandboxes=1)
    assert stack.post({"amount": 1}).status == 200
    [call] = stack.seen()["calls"]
    assert json.loads(call["body"])["add_fields"] == {
        "time_to_pay": {"hours": 1, "minutes": 30},
        "available_currencies": ["USDT_TRC20", "BTC"],
    }
    [invoice] = stack.seen()["invoices"].values()
    created, ends = (datetime.fromisoformat(invoice[name]) for name in ("created", "expiry_date"))
    assert (ends - created).total_seconds() == 90 * 60


def ask(stack: Stack, call: str, question: dict[str, Any], key: str = API_KEY) -> tuple[int, Any]:
    """Asks the sandbox itself."""
    reply = stack._http.request(
        "POST",
        f"{stack.endpoints['provider_url']}/v2/invoice/merchant/{call}",
        json=question,
        headers={"Authorization": f"Token {key}"},
    )
    return reply.status, reply.json()


def test_the_sandbox_says_what_became_of_invoices_as_v2_does(v2_stack) -> None:
    first, second = (v2_stack.post({"amount": amount, "order_id": f"A-{amount}"}).payload for amount in (1, 2))
    ids = [f"INV-{first['invoice_id']}", second["invoice_id"], "INV-UNKNOWN1"]
    status, reply = ask(v2_stack, "info", {"uuids": ids})
    assert (status, reply["status"]) == (200, "success")
    assert [(it["uuid"], it["status"], it["order_id"], it["amount_in_fiat"]) for it in reply["result"]] == [
        (f"INV-{first['invoice_id']}", "created", "A-1", 1.0),
        (f"INV-{second['invoice_id']}", "created", "A-2", 2.0),
    ]
    v2_stack.tell("/provider/status", invoice_id=first["invoice_id"], status="paid")
    [told] = ask(v2_stack, "info", {"uuids": ids[:1]})[1]["result"]
    assert (told["status"], told["invoice_status"]) == ("paid", "success")
    assert ask(v2_stack, "info", {"uuids": ["X"] * 101})[0] == 400
    assert ask(v2_stack, "info", {"uuids": ids}, key="wrong") == (
        400,
        {"status": "error", "result": {"authorization": "Unauthorized request."}},
    )


def test_the_sandbox_lists_and_cancels_as_v2_does(v2_stack) -> None:
    paid, open_one = (v2_stack.post({"amount": 1, "order_id": name}).payload for name in ("paid", "open"))
    v2_stack.tell("/provider/status", invoice_id=paid["invoice_id"], status="paid")
    today = datetime.now(UTC).strftime("%d.%m.%Y")
    listed = ask(v2_stack, "list", {"start": today, "end": today, "offset": 1, "limit": 5})[1]["result"]
    assert [(it["order_id"], it["pay_url"]) for it in listed] == [("open", open_one["pay_url"])]
    assert ask(v2_stack, "canceled", {"uuid": f"INV-{open_one['invoice_id']}"}) == (
        200,
        {"status": "success", "result": ["ok"]},
    )
    for uuid in (open_one["invoice_id"], paid["invoice_id"], "UNKNOWN1"):
        assert ask(v2_stack, "canceled", {"uuid": uuid})[1]["result"] == "Invoice is not created"
    assert [it["status_invoice"] for it in v2_stack.seen()["invoices"].values()] == ["paid", "canceled"]


def test_a_fault_of_another_call_waits_for_that_call(v2_stack) -> None:
    v2_stack.misbehave("status", value=503, call="info")
    assert v2_stack.post({"amount": 1}).status == 200
    assert ask(v2_stack, "info", {"uuids": []})[0] == 503
    assert ask(v2_stack, "info", {"uuids": []})[0] == 200
    v2_stack.post({"amount": 1, "order_id": "sandbox:status=503"})
    assert len(v2_stack.seen()["calls"]) == 4


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ({"invoice_id": "UNKNOWN1", "status": "paid"}, "no invoice"),
        ({"invoice_id": "UNKNOWN1", "status": "payed"}, "unknown status"),
    ],
)
def test_a_status_that_cannot_be_is_refused(v2_stack, order, complaint) -> None:
    reply = v2_stack._http.request("POST", f"{v2_stack.endpoints['control_url']}/provider/status", json=order)
    assert reply.status == 400
    assert complaint in reply.json()["error"]
