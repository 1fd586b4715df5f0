"""A button that names what is bought: the request, the total by the shop's price list, and who hears of it."""

import json
import re

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Visit

ELEMENT = "document.querySelector('crypto-pay')"
PRICES = {
    "currency": "USD",
    "items": {"mug": {"price": "19.99", "name": "Enamel mug"}, "tee-l": {"price": "24.50"}, "pin": {"price": "0.1"}},
}
INVOICE = {"status": "success", "pay_url": "https://pay.cryptocloud.plus/ABCD1234", "invoice_id": "ABCD1234"}


def sell(visit: Visit, items: str, **attributes: str | None) -> None:
    """Makes the button one that sells ``items``."""
    visit.set(**{"amount": None, "currency": None, "email_field": None, "items": items, **attributes})


def publish(visit: Visit, prices: object, **reply: object) -> list[str]:
    """Publishes a price list at /list.json; returns the addresses that were asked for, filled as they are."""
    asked: list[str] = []

    def fulfill(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(**{"json": prices, **reply})

    visit.page.route("**/list*.json", fulfill)
    return asked


def sent_for(visit: Visit, items: str, **attributes: str | None) -> dict[str, object]:
    """Returns the request of a click on a button that sells ``items``."""
    visit.listen("created")
    visit.answer({"status": 200, "json": INVOICE})
    sell(visit, items, pay_origin=None, **attributes)
    visit.button.click()
    visit.told()
    return json.loads(visit.sent[-1].post_data)


@pytest.mark.parametrize(
    ("items", "quantity", "sent"),
    [
        ("mug", None, [("mug", 1)]),
        (" mug \n tee-l:2 ", None, [("mug", 1), ("tee-l", 2)]),
        ("mug", "3", [("mug", 3)]),
        ("mug tee-l:2", " 3 ", [("mug", 3), ("tee-l", 2)]),
        # What is no quantity goes as it is written: the service names it, and nobody pays for one by mistake.
        ("mug:0", None, [("mug", "0")]),
        ("mug:12x", None, [("mug", "12x")]),
        ("mug", "1.5", [("mug", 1.5)]),
        ("mug", "many", [("mug", "many")]),
    ],
)
def test_the_request_names_the_items_and_no_price(visit, items, quantity, sent) -> None:
    assert sent_for(visit, items, quantity=quantity) == {
        "order_id": "A-1001",
        "items": [{"id": name, "quantity": count} for name, count in sent],
    }


def test_other_items_or_another_quantity_are_another_purchase(visit) -> None:
    sent_for(visit, "mug")
    for count, change in enumerate([{"items": "mug:2"}, {"items": "mug"}, {"quantity": "2"}], start=2):
        visit.set(**change)
        visit.button.click()
        visit.told(count)
    assert len(set(visit.keys)) == 4


def test_a_page_hears_what_is_bought_before_it_is_sent(visit) -> None:
    sell(visit, "mug tee-l:2")
    visit.page.evaluate(
        "addEventListener('crypto-pay:request', (event) => { window.asked = event.detail; event.preventDefault(); })"
    )
    visit.button.click()
    assert visit.page.evaluate("window.asked.items") == [{"id": "mug", "quantity": 1}, {"id": "tee-l", "quantity": 2}]


@pytest.mark.parametrize(
    ("items", "lang", "total"),
    [
        ("mug", "en", "$19.99"),
        ("mug:3", "en", "$59.97"),
        ("mug tee-l:2", "pt-BR", "US$ 68,99"),
        ("mug", "es", "19,99 US$"),
        ("mug:999", "ru", "19 970,01 $"),
        # 0.1 three times is 0.30000000000000004 in floating point.
        ("pin:3", "en", "$0.30"),
    ],
)
def test_the_total_by_the_list_is_on_the_button_as_the_language_writes_it(visit, items, lang, total) -> None:
    publish(visit, PRICES)
    sell(visit, items, lang=lang, prices="/list.json")
    expect(visit.button).to_have_accessible_name(
        re.compile(rf"^Pay with crypto · {total.replace(' ', r'\s').replace('$', '[$]')}$")
    )


def test_the_currency_is_that_of_the_list(visit) -> None:
    publish(visit, {**PRICES, "currency": "JPY", "items": {"mug": {"price": "1999"}}})
    sell(visit, "mug:2", prices="/list.json", currency="EUR")
    expect(visit.button).to_have_accessible_name("Pay with crypto · ¥3,998")


def test_a_buyer_who_chooses_the_quantity_sees_and_hears_the_new_total(visit) -> None:
    publish(visit, PRICES)
    sell(visit, "mug", prices="/list.json")
    expect(visit.button).to_have_accessible_name("Pay with crypto · $19.99")
    expect(visit.message).to_be_empty()  # nothing changed yet
    visit.page.evaluate(f"{ELEMENT}.quantity = 3")
    expect(visit.button).to_have_accessible_name("Pay with crypto · $59.97")
    expect(visit.message).to_have_text("$59.97")
    expect(visit.message).to_have_class("quiet")


def test_one_list_is_fetched_once_for_all_buttons_and_never_out_of_the_cache_unasked(visit) -> None:
    asked = publish(visit, PRICES)
    visit.page.evaluate(
        "window.modes = []; const { fetch } = window;"
        "window.fetch = (url, init) => { modes.push(init.cache); return fetch(url, init); }; undefined"
    )
    sell(visit, "mug", prices="/list.json")
    visit.page.evaluate(f"document.body.append({ELEMENT}.cloneNode(true), {ELEMENT}.cloneNode(true))")
    for button in visit.button.all():
        expect(button).to_have_accessible_name("Pay with crypto · $19.99")
    assert len(asked) == 1
    assert visit.page.evaluate("window.modes") == ["no-cache"]


def test_the_last_list_counts(visit) -> None:
    publish(visit, PRICES)
    visit.page.route("**/slow.json", lambda route: slow.append(route))
    slow: list[Route] = []
    sell(visit, "mug", prices="/slow.json")
    visit.until(lambda: slow)
    visit.set(prices="/list.json")
    expect(visit.button).to_have_accessible_name("Pay with crypto · $19.99")
    with visit.page.expect_response("**/slow.json"):
        slow[0].fulfill(json={"currency": "USD", "items": {"mug": {"price": "1.00"}}})
    expect(visit.button).to_have_accessible_name("Pay with crypto · $19.99")
    visit.set(prices=None)
    expect(visit.button).to_have_accessible_name("Pay with crypto")


@pytest.mark.parametrize(
    ("prices", "reply"),
    [
        (PRICES, {"status": 404, "json": {"message": "Not Found"}}),
        (None, {"body": "<h1>Hello</h1>", "json": None}),
        ({"currency": "USD", "items": {"tee-l": {"price": "1"}}}, {}),
        ({"currency": "USD", "items": {"mug": {}}}, {}),
        ({"currency": "USD", "items": {"mug": {"price": "NaN"}}}, {}),
        ({"currency": "dollars", "items": {"mug": {"price": "1.00"}}}, {}),
        ({}, {}),
    ],
    ids=["404", "HTML", "unknown item", "no price", "NaN", "no currency", "empty"],
)
def test_without_a_usable_list_the_button_shows_no_total_and_pays_all_the_same(visit, prices, reply) -> None:
    reply = {name: value for name, value in reply.items() if value is not None}
    asked: list[str] = []

    def fulfill(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(**(reply or {"json": prices}))

    visit.page.route("**/list.json", fulfill)
    sell(visit, "mug", prices="/list.json")
    visit.until(lambda: asked)
    assert sent_for(visit, "mug")["items"] == [{"id": "mug", "quantity": 1}]
    expect(visit.button).to_have_accessible_name("Pay with crypto")


def test_a_list_that_cannot_be_read_is_named_to_the_developer(visit) -> None:
    with visit.page.expect_console_message(lambda line: "no price list" in line.text) as complaint:
        sell(visit, "mug", prices="/nothing.json")
    assert "no price list at /nothing.json" in complaint.value.text
