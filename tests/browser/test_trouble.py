"""What a buyer reads when something fails, what is tried again, and which pay links are refused."""

import hashlib
import json
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from infra.local.shop import Shop
from invoicing.keys import IdempotencyKey
from tests.browser.conftest import Visit

SHOP = "The payment could not be started. Nothing was charged. Please contact the shop."
UNAVAILABLE = "The payment service is not available right now. Nothing was charged. Please try again in a moment."
NETWORK = "The payment service could not be reached. Please check your connection and try again."
LABELS = {SHOP: "Pay with crypto"}  # after all others: Try again
AT_ONCE = {"Retry-After": "0.001"}


def problem(code: str, *, status: int, retryable: bool) -> dict[str, object]:
    return {
        "status": status,
        "json": {"code": code, "status": status, "retryable": retryable},
        "headers": {**AT_ONCE, "Content-Type": "application/problem+json"},
    }


def misbehave(fault: str, **arguments: object) -> Callable[[Visit], None]:
    return lambda visit: visit.stack.misbehave(fault, **arguments)


# By code: what makes it happen on the local stack, what the buyer reads, how often it is sent.
ON_THE_STACK = {
    "invalid_request": (lambda visit: visit.set(amount="0"), SHOP, 1),
    "invoice_rejected": (misbehave("status", value=400), SHOP, 1),
    "provider_credentials_rejected": (misbehave("status", value=401), SHOP, 1),
    "provider_unavailable": (misbehave("status", value=429, retry_after="60", times=2), UNAVAILABLE, 2),
    "outcome_unknown": (misbehave("html", times=2), UNAVAILABLE, 2),
    "network_error": (lambda visit: visit.page.context.set_offline(True), NETWORK, 2),
}
# What the stack of these tests cannot be made to answer.
IN_THE_BROWSER = {
    "service_not_configured": (problem("service_not_configured", status=500, retryable=False), SHOP, 1),
    "internal_error": (problem("internal_error", status=500, retryable=False), SHOP, 1),
    "pay_link_refused": (problem("pay_link_refused", status=502, retryable=False), SHOP, 1),
    "prices_unavailable": (problem("prices_unavailable", status=503, retryable=True), UNAVAILABLE, 2),
    "idempotency_key_reused": (problem("idempotency_key_reused", status=422, retryable=False), UNAVAILABLE, 2),
    "http_429": ({"status": 429, "json": {"message": "Too Many Requests"}, "headers": AT_ONCE}, UNAVAILABLE, 2),
    "http_503": ({"status": 503, "json": {"message": "Service Unavailable"}, "headers": AT_ONCE}, UNAVAILABLE, 2),
    "http_502": ({"status": 502, "body": "<h1>Bad gateway</h1>", "headers": AT_ONCE}, UNAVAILABLE, 2),
    "http_404": ({"status": 404, "json": {"message": "Not Found"}}, SHOP, 1),
}


def expect_failure(visit: Visit, code: str, text: str, *, requests: int) -> None:
    [event] = visit.told()
    assert (event["name"], event["detail"]["code"], event["detail"]["message"]) == ("error", code, text)
    expect(visit.message).to_have_text(text)
    expect(visit.button).to_have_accessible_name(LABELS.get(text, "Try again"))
    expect(visit.button).to_have_accessible_description(text)
    expect(visit.button).to_have_attribute("aria-disabled", "false")
    assert len(visit.sent) == requests
    visit.expect_still_at_shop()


@pytest.mark.parametrize("code", ON_THE_STACK)
def test_the_buyer_reads_what_happened(visit, code) -> None:
    arrange, text, requests = ON_THE_STACK[code]
    visit.listen()
    arrange(visit)
    visit.button.click()
    expect_failure(visit, code, text, requests=requests)
    assert len(set(visit.keys)) == 1


@pytest.mark.parametrize("code", IN_THE_BROWSER)
def test_the_buyer_reads_what_happened_behind_the_stack(visit, code) -> None:
    reply, text, requests = IN_THE_BROWSER[code]
    visit.listen()
    visit.answer(reply)
    visit.button.click()
    expect_failure(visit, code, text, requests=requests)


def test_a_reply_without_an_invoice_is_no_clear_answer(visit) -> None:
    bodies = ["", "<h1>Hello</h1>", "null", "{}", '"text"', '{"pay_url": ""}']
    visit.page.clock.install()
    visit.listen()
    visit.answer(*({"status": 200, "body": body} for body in bodies for _ in range(2)))
    for count in range(1, len(bodies) + 1):
        visit.button.click()
        visit.until(lambda: visit.page.clock.run_for(500) or len(visit.page.evaluate("window.told")) == count)  # noqa: B023
        expect(visit.message).to_have_text(UNAVAILABLE)
        assert len(visit.sent) == 2 * count
    assert {event["detail"]["code"] for event in visit.told()} == {"outcome_unknown"}


def test_a_request_without_end_is_given_up_later_than_the_service_answers(visit) -> None:
    visit.page.clock.install()
    visit.listen()
    visit.page.route("**/v1/invoice/create", lambda _: None)
    visit.button.click()
    visit.until(lambda: visit.sent)
    visit.page.clock.run_for(30_000)
    expect(visit.button).to_have_attribute("aria-busy", "true")
    visit.page.clock.run_for(6_000)
    expect_failure(visit, "outcome_unknown", UNAVAILABLE, requests=1)


def test_a_page_that_is_no_allowed_origin_reads_of_the_network_and_its_owner_of_cors(visit) -> None:
    provider_url = visit.stack.endpoints["provider_url"]
    api_origin = visit.stack.endpoints["invoice_url"].removesuffix("/v1/invoice/create")
    stranger = Shop(0, api_origin=api_origin, pay_origin=provider_url)
    try:
        visit.page.goto(stranger.server.url)
        with visit.page.expect_console_message(lambda line: "AllowedOrigins" in line.text) as complaint:
            visit.button.click()
        expect(visit.message).to_have_text(NETWORK)
        assert stranger.server.url in complaint.value.text
    finally:
        stranger.server.stop()
    assert visit.stack.seen()["calls"] == []


def created(visit: Visit) -> str:
    """Creates an invoice, stays at the shop, and returns the id of the key's record."""
    visit.listen("created")
    visit.button.click()
    visit.told()
    return IdempotencyKey("http", visit.keys[0]).record_id


def test_an_invoice_in_progress_is_waited_for(visit) -> None:
    record_id = created(visit)
    change = {
        "UpdateExpression": "SET #status = :status, in_progress_expiration = :later",
        "ExpressionAttributeNames": {"#status": "status"},
    }
    later = int(time.time() * 1000) + 60_000
    visit.stack.table.update_item(
        Key={"id": record_id}, **change, ExpressionAttributeValues={":status": "INPROGRESS", ":later": later}
    )
    visit.button.click()
    visit.until(lambda: len(visit.sent) >= 4)
    visit.stack.table.update_item(
        Key={"id": record_id}, **change, ExpressionAttributeValues={":status": "COMPLETED", ":later": later}
    )
    assert [event["name"] for event in visit.told(2)] == ["created", "created"]
    assert visit.told()[0]["detail"] == visit.told()[1]["detail"]
    assert len(set(visit.keys)) == 1


def test_the_buyer_reads_of_an_invoice_in_progress_after_thirty_seconds(visit) -> None:
    visit.page.clock.install()
    visit.listen()
    visit.answer(
        {**problem("invoice_in_progress", status=409, retryable=True), "headers": {"Retry-After": "1"}},
    )
    visit.button.click()
    for count in range(1, 25):
        visit.until(lambda: len(visit.sent) >= count)  # noqa: B023
        visit.page.clock.run_for(1_000)
    assert visit.page.evaluate("window.told") == []
    visit.until(lambda: visit.page.clock.run_for(1_000) or visit.page.evaluate("window.told.length"))
    expect(visit.message).to_have_text(UNAVAILABLE)
    expect(visit.button).to_have_accessible_name("Try again")


def test_a_key_that_the_service_refuses_is_replaced(visit) -> None:
    visit.stack.table.update_item(
        Key={"id": created(visit)},
        UpdateExpression="SET validation = :other",
        ExpressionAttributeValues={":other": hashlib.sha256(b"another request").hexdigest()},
    )
    visit.button.click()
    assert [event["name"] for event in visit.told(2)] == ["created", "created"]
    assert visit.keys[0] == visit.keys[1] != visit.keys[2]


def test_what_may_succeed_is_tried_again_by_itself_under_the_same_key(visit) -> None:
    visit.stack.misbehave("html")
    visit.button.click()
    visit.arrive()
    assert len(visit.sent) == 2
    assert len(set(visit.keys)) == 1


def test_a_failure_and_try_again_lead_to_the_pay_page_under_the_same_key(visit) -> None:
    visit.stack.misbehave("status", value=429, retry_after="60", times=2)
    visit.button.click()
    expect(visit.button).to_have_accessible_name("Try again")
    expect(visit.button).to_be_focused()
    visit.button.click()
    visit.arrive()
    assert len(visit.sent) == 3
    assert len(set(visit.keys)) == 1


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [("4", 4), ("Thu, 01 Jan 2026 00:01:05 GMT", 2), (None, 2), ("0", 2), ("soon", 2)],
)
def test_the_time_in_retry_after_is_waited(visit, retry_after, wait_s) -> None:
    # A minute, because the clock goes on between these two lines, and cannot be paused in the past.
    visit.page.clock.install(time="2026-01-01T00:00:00Z")
    visit.page.clock.pause_at("2026-01-01T00:01:00Z")
    visit.page.evaluate(
        "window.sentAt = []; const { fetch } = window;"
        "window.fetch = (...request) => { sentAt.push(Date.now()); return fetch(...request); }; undefined"
    )
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    visit.answer({**problem("provider_unavailable", status=503, retryable=True), "headers": headers})
    visit.button.click()
    visit.until(lambda: visit.page.clock.run_for(100) or visit.page.evaluate("window.sentAt.length == 2"))
    first_ms, second_ms = visit.page.evaluate("window.sentAt")
    # The clock may have gone on a little before the answer to the first request was there.
    assert second_ms - first_ms >= wait_s * 1000


def test_a_long_wait_is_shown_to_the_buyer_and_the_button_does_not_wait(visit) -> None:
    visit.listen()
    visit.answer({**problem("provider_unavailable", status=503, retryable=True), "headers": {"Retry-After": "11"}})
    visit.button.click()
    expect_failure(visit, "provider_unavailable", UNAVAILABLE, requests=1)


def test_a_pay_link_of_another_origin_than_the_providers_is_refused(visit) -> None:
    visit.listen()
    visit.set(pay_origin=None)  # the default is the real provider's, and the sandbox is elsewhere
    visit.button.click()
    expect_failure(visit, "foreign_pay_url", SHOP, requests=1)


def test_a_link_that_only_looks_like_a_pay_link_is_refused(visit) -> None:
    pay_origin = visit.stack.endpoints["provider_url"]
    host = pay_origin.removeprefix("http://")
    visit.set(pay_origin=f"{pay_origin} data:, javascript:, http://pay.example null * about:blank")
    links = [
        f"{pay_origin}.shop.example/pay/DZLF4212",
        f"http://buyer@{host}/pay/DZLF4212",
        f"http://:secret@{host}/pay/DZLF4212",
        f"https://{host}/pay/DZLF4212",
        f"http://pay.example\\@{host}/pay/DZLF4212",
        "javascript:alert(1)",
        "data:text/html,pay",
        "http://pay.example/pay/DZLF4212",
        f"blob:{pay_origin}/pay",
        "/pay/DZLF4212",
        7,
    ]
    visit.listen()
    visit.answer(*({"status": 200, "json": {"status": "success", "pay_url": link}} for link in links))
    for count in range(1, len(links) + 1):
        visit.button.click()
        assert visit.told(count)[-1]["detail"]["code"] == "foreign_pay_url"
        expect(visit.message).to_have_text(SHOP)
        visit.expect_still_at_shop()
    assert len(visit.sent) == len(links)


@pytest.mark.parametrize("between", [" ", ",", " , "])
def test_pay_origin_is_a_list(visit, between) -> None:
    visit.set(pay_origin=between.join(["https://pay.example", "nonsense", visit.stack.endpoints["provider_url"]]))
    visit.button.click()
    visit.arrive()


@pytest.mark.parametrize("host", ["pay.cryptocloud.plus", "pay.trybit.com"])
def test_both_hosts_of_the_provider_are_allowed_by_default(visit, host) -> None:
    visit.set(pay_origin=None)
    visit.page.route(f"https://{host}/**", lambda route: route.fulfill(status=200, body="pay page"))
    visit.answer({"status": 200, "json": {"status": "success", "pay_url": f"https://{host}/DZLF4212"}})
    visit.button.click()
    visit.page.wait_for_url(f"https://{host}/DZLF4212")


def test_whatever_throws_while_paying_ends_in_an_error_that_the_buyer_reads(visit) -> None:
    visit.listen()
    visit.page.evaluate("Object.defineProperty(window, 'crypto', { value: {} })")
    visit.button.click()
    expect_failure(visit, "unexpected_error", SHOP, requests=0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"endpoint": None}, "attribute_missing. endpoint"),
        ({"amount": None}, "attribute_missing. amount or items"),
        ({"amount": " ", "items": "\n"}, "attribute_missing. amount or items"),
        ({"items": "mug"}, "attribute_conflict. amount or items"),
    ],
)
def test_an_attribute_too_few_or_too_many_is_named_to_the_developer(visit, change, complaint) -> None:
    visit.set(**change)
    with visit.page.expect_console_message() as line:
        visit.button.click()
    assert line.value.text == f"<crypto-pay>: {complaint}"
    expect(visit.message).to_have_text(SHOP)
    assert visit.sent == []


def test_the_developer_reads_the_problem_in_the_console(visit) -> None:
    visit.set(amount="-1")
    with visit.page.expect_console_message(lambda line: line.text.startswith("<crypto-pay>")) as complaint:
        visit.button.click()
    logged = complaint.value.args[1].json_value()
    assert [error["pointer"] for error in logged["errors"]] == ["/amount"]
    assert logged["request_id"] in json.dumps(logged)
