"""From asked to paid on the real gateway and runtime: the pay page, the postback, the status, the event."""

import json
import time
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from tests.support.paying import deliveries, details, make_due, postbacks, press, status_of
from tests.support.stack import Stack

SECRET_KEY = "local-secret-key"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def shop(either_stack: Stack) -> Stack:
    """A stack of each version of the provider's API, on whose bus nothing has happened."""
    either_stack.tell("/bus/forget")
    either_stack.tell("/events/forget")
    return either_stack


def detail_of(invoice_id: str, status: str, order_id: str | None, event: dict[str, Any]) -> dict[str, Any]:
    """Returns the whole detail that is promised of a recorded invoice of 19.99 EUR; only its time is the event's."""
    return {
        "version": "1",
        "event_id": f"{invoice_id}:{status}",
        "stack": "local",
        "invoice_id": invoice_id,
        "order_id": order_id,
        "items": None,
        "status": status,
        "amount": "19.99",
        "currency": "EUR",
        "recorded": True,
        "time": event["detail"]["time"],
    }


def ask_for(stack: Stack, order_id: str | None = None) -> dict[str, Any]:
    order = {"order_id": order_id} if order_id else {}
    answer = stack.post({"amount": "19.99", "currency": "EUR", **order})
    assert answer.status == 200
    return answer.payload


def send(stack: Stack, invoice_id: str, claims: dict[str, Any], secret_key: str, **header: Any) -> int:
    """Posts a postback that the sandbox did not make; returns the status of the answer."""
    token = jwt.encode(claims, secret_key, **{"algorithm": "HS256", **header})
    body = urlencode({"status": "success", "invoice_id": invoice_id, "token": token})
    response = stack._http.request("POST", stack.endpoints["postback_url"], body=body, headers={"Content-Type": FORM})
    return response.status


@pytest.mark.parametrize("postback_format", ["json", "form"])
@pytest.mark.parametrize("quoted_token", [False, True])
def test_a_payment_is_heard_of_once_in_either_format(shop, fresh, postback_format, quoted_token) -> None:
    shop.tell("/provider/project", postback_format=postback_format, quoted_token=quoted_token)
    invoice = ask_for(shop, fresh)
    began_s = int(time.time())
    press(shop, invoice)
    [postback] = postbacks(shop)
    assert (postback["status"], postback["content_type"]) == (
        200,
        {"json": "application/json", "form": FORM}[postback_format],
    )
    invoice_id = invoice["invoice_id"]
    assert status_of(shop, invoice_id).payload == {"status": "success", "status_invoice": "paid"}
    directly = shop.invoke({"uuid": invoice_id}, shop.endpoints["status_function_name"])
    assert directly.payload == {"status": "success", "status_invoice": "paid"}
    delivered = deliveries(shop)
    [event] = delivered["events"]
    assert (event["source"], event["detail-type"]) == ("cryptocloud-invoices", "Invoice Paid")
    assert event["detail"] == detail_of(invoice_id, "paid", fresh, event)
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began_s)) <= event["detail"]["time"]
    assert delivered["MailPaidOrders"] == [f"Order {fresh} is paid: 19.99 EUR (invoice {invoice_id})"]
    assert delivered["MailPaidWithoutOrder"] == []


def test_a_payment_without_an_order_has_a_mail_of_its_own(shop) -> None:
    invoice = ask_for(shop)
    press(shop, invoice)
    postbacks(shop)
    delivered = deliveries(shop)
    assert [event["detail"]["order_id"] for event in delivered["events"]] == [None]
    assert delivered["MailPaidOrders"] == []
    [mail] = delivered["MailPaidWithoutOrder"]
    assert invoice["invoice_id"] in mail


def test_an_order_id_of_any_characters_reaches_event_and_mail_as_it_is(shop, fresh) -> None:
    order_id = f'{fresh} time "1" \\ <order> — 順序 {{}}'
    invoice = ask_for(shop, order_id)
    press(shop, invoice)
    postbacks(shop)
    delivered = deliveries(shop)
    assert [event["detail"]["order_id"] for event in delivered["events"]] == [order_id]
    assert delivered["MailPaidOrders"] == [f"Order {order_id} is paid: 19.99 EUR (invoice {invoice['invoice_id']})"]


@pytest.mark.parametrize(
    ("action", "status", "detail_type", "answers"),
    [
        ("pay-too-much", "overpaid", "Invoice Paid", [200]),
        ("pay-part", "partial", "Invoice Partially Paid", []),
        ("cancel", "canceled", "Invoice Canceled", []),
        ("expire", "canceled", "Invoice Canceled", []),
    ],
)
def test_what_else_may_happen_is_said_to_the_page_that_asks_and_published(
    shop, fresh, action, status, detail_type, answers
) -> None:
    invoice = ask_for(shop, fresh)
    press(shop, invoice, action)
    assert [postback["status"] for postback in postbacks(shop)] == answers
    assert status_of(shop, invoice["invoice_id"]).payload["status_invoice"] == status
    [event] = deliveries(shop)["events"]
    assert event["detail-type"] == detail_type
    assert event["detail"] == detail_of(invoice["invoice_id"], status, fresh, event)


def test_an_invoice_paid_in_two_parts_has_an_event_for_each_step(shop) -> None:
    invoice = ask_for(shop)
    press(shop, invoice, "pay-part")
    status_of(shop, invoice["invoice_id"])
    press(shop, invoice, "pay")
    postbacks(shop)
    assert [detail["status"] for detail in details(shop)] == ["partial", "paid"]


def test_a_payment_whose_postback_is_lost_is_heard_of_by_the_schedule(shop, fresh) -> None:
    shop.tell("/provider/postbacks/interfere", fate="lost")
    invoice = ask_for(shop, fresh)
    press(shop, invoice)
    assert [postback["state"] for postback in postbacks(shop)] == ["lost"]
    shop.tell("/schedules/run")
    assert details(shop) == []  # its turn has not come
    make_due(shop, invoice["invoice_id"])
    shop.tell("/schedules/run")
    [event] = deliveries(shop)["events"]
    assert event["detail"] == detail_of(invoice["invoice_id"], "paid", fresh, event)


def test_a_postback_that_comes_twice_at_once_is_one_payment(shop) -> None:
    shop.tell("/provider/postbacks/interfere", fate="doubled")
    invoice = ask_for(shop)
    press(shop, invoice)
    assert [postback["status"] for postback in postbacks(shop)] == [200, 200]
    published = details(shop)
    assert {json.dumps(detail) for detail in published} == {json.dumps(published[0])}
    assert published[0]["event_id"] == f"{invoice['invoice_id']}:paid"


def test_a_postback_that_comes_late_says_nothing_new(shop) -> None:
    shop.tell("/provider/postbacks/interfere", fate="held")
    invoice = ask_for(shop)
    press(shop, invoice)
    assert status_of(shop, invoice["invoice_id"]).payload["status_invoice"] == "paid"
    shop.tell("/provider/postbacks/let_go")
    assert [postback["status"] for postback in postbacks(shop)] == [200]
    assert [detail["status"] for detail in details(shop)] == ["paid"]


@pytest.mark.parametrize(
    ("expires_in_s", "secret_key", "header"),
    [
        pytest.param(300, "guessed", {}, id="another key"),
        pytest.param(300, "", {"algorithm": "none"}, id="no signature"),
        pytest.param(300, SECRET_KEY, {"algorithm": "HS512"}, id="another algorithm"),
        pytest.param(-61, SECRET_KEY, {}, id="expired"),
        pytest.param(None, SECRET_KEY, {}, id="without an end"),
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_forged_postback_is_refused_and_costs_no_provider_call(shop, expires_in_s, secret_key, header) -> None:
    invoice = ask_for(shop)
    claims = {"id": 13} if expires_in_s is None else {"id": 13, "exp": int(time.time()) + expires_in_s}
    assert send(shop, invoice["invoice_id"], claims, secret_key, **header) == 401
    assert shop.seen()["asked"] == []
    assert details(shop) == []


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_signed_postback_is_believed_in_nothing_but_which_invoice_to_ask_about(shop) -> None:
    invoice = ask_for(shop)
    claims = {"id": 13, "exp": int(time.time()) + 300}
    assert send(shop, invoice["invoice_id"], claims, SECRET_KEY) == 200
    assert len(shop.seen()["asked"]) == 1
    assert status_of(shop, invoice["invoice_id"]).payload["status_invoice"] == "created"
    assert details(shop) == []


def test_the_dashboards_test_postback_is_received(shop) -> None:
    shop.tell("/provider/postbacks/test")
    [postback] = postbacks(shop)
    assert postback["status"] == 200
    assert details(shop) == []


def test_an_invoice_of_somebody_else_is_not_found_and_costs_no_provider_call(shop) -> None:
    answer = status_of(shop, "UNKNOWN1")
    assert (answer.status, answer.problem["code"]) == (404, "invoice_not_found")
    assert shop.seen()["asked"] == []


@pytest.mark.parametrize("fate", ["entry_refused", "InternalException", "dropped"])
def test_an_event_that_the_bus_does_not_take_is_published_by_the_next_run(shop, fate) -> None:
    # Botocore tries twice what may have failed for a moment.
    shop.tell("/bus/fail", operation="PutEvents", error=fate, times=2)
    invoice = ask_for(shop)
    press(shop, invoice)
    [postback] = postbacks(shop)
    assert (postback["status"], details(shop)) == (503, [])
    shop.tell("/bus/forget")
    shop.tell("/schedules/run")
    assert [detail["event_id"] for detail in details(shop)] == [f"{invoice['invoice_id']}:paid"]
