"""The button and ``<crypto-pay-status>`` say what becomes of an invoice, in all three engines.

Against a server of the test's own that speaks the contract of ``GET /v1/invoice/info``.
"""

import json

import pytest

from tests.browser.engine_shop import BUTTON, ELEMENT, MESSAGE, Scenario, Shop, assert_as_promised
from tests.browser.engines import until

STATUS = "document.querySelector('crypto-pay-status')"
STATUS_TEXT = f"return {STATUS}.shadowRoot.querySelector('p').textContent"
# What a page that is seen again does at once, instead of in five seconds.
ASK = "document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))"


def buy(shop: Shop) -> None:
    """Buys in a new tab from the test's own server; the shop is the current tab afterwards."""
    url = shop.site.server.url
    shop.open(shop.site.button("new-tab"))
    shop.tab.run(
        f"""localStorage.clear(); window.told = [];
        addEventListener("crypto-pay:paid", ({{ detail }}) => told.push(detail));
        {ELEMENT}.endpoint = "{url}/v1/invoice/create"; {ELEMENT}.payOrigin = "{url}";"""
    )
    shop.site.add("/pay/ABCD1234", "<h1>Pay page</h1>")
    invoice = {"status": "success", "invoice_id": "ABCD1234", "pay_url": f"{url}/pay/ABCD1234", "currency": "BTC"}
    shop.site.replies = [(200, json.dumps(invoice), {})]
    shop.site.statuses = {"ABCD1234": "created"}
    shop.tab.click(BUTTON)
    shop.other_tab()
    until(lambda: shop.tab.run("return location.pathname") == "/pay/ABCD1234")
    shop.tab.close()
    shop.tab.switch(shop.first)


def ask_until(shop: Shop, condition: str, expected: object) -> None:
    until(lambda: shop.tab.run(f"{ASK}; {condition}") == expected)


def paid_in_the_other_tab(shop: Shop) -> str:
    buy(shop)
    ask_until(shop, f"return {MESSAGE}.textContent", "Waiting for the payment…")
    shop.site.statuses["ABCD1234"] = "partial"
    ask_until(shop, f"return {MESSAGE}.textContent", "Partly paid.")
    shop.site.statuses["ABCD1234"] = "overpaid"
    ask_until(shop, f"return {BUTTON}.innerText.trim()", "Paid. Thank you!")
    assert shop.tab.run("return told") == [{"invoice_id": "ABCD1234", "status": "overpaid"}]
    shop.tab.run(f"{ELEMENT}.pay()")
    assert len(shop.site.keys) == 1
    asked = len(shop.site.asked)
    shop.tab.run(ASK)
    assert len(shop.site.asked) == asked
    return "the button says “Paid. Thank you!”"


def expired_in_the_other_tab(shop: Shop) -> str:
    buy(shop)
    shop.site.statuses["ABCD1234"] = "canceled"
    ask_until(shop, f"return {MESSAGE}.textContent", "The invoice has expired.")
    shop.site.replies = [(503, "", {"Retry-After": "60"})]
    shop.tab.click(BUTTON)
    until(lambda: len(shop.site.keys) == 2)
    assert len(set(shop.site.keys)) == 2
    until(lambda: len(shop.tab.tabs()) == 1)  # the waiting tab closes itself: nobody is to look for it meanwhile
    return "the button says so, and the next click is a new purchase"


def back_at_the_shop(shop: Shop) -> str:
    buy(shop)
    shop.open(f"<crypto-pay-status></crypto-pay-status>{shop.site.button()}")
    shop.tab.run("window.told = []; addEventListener('crypto-pay:paid', ({ detail }) => told.push(detail))")
    ask_until(shop, STATUS_TEXT, "Waiting for the payment…")
    shop.site.statuses["ABCD1234"] = "paid"
    ask_until(shop, STATUS_TEXT, "Paid. Thank you!")
    assert shop.tab.run("return told") == [{"invoice_id": "ABCD1234", "status": "paid"}]
    return "`<crypto-pay-status>` says “Paid. Thank you!”"


def nothing_bought(shop: Shop) -> str:
    shop.open(f"<crypto-pay-status></crypto-pay-status>{shop.site.button()}")
    shop.tab.run("localStorage.clear()")
    shop.open(f"<crypto-pay-status lang='es'></crypto-pay-status>{shop.site.button()}")
    assert shop.tab.run(STATUS_TEXT) == ""
    assert shop.site.asked == []
    return "`<crypto-pay-status>` is empty"


SCENARIOS: dict[str, Scenario] = {
    "Paid in the other tab": paid_in_the_other_tab,
    "Expired in the other tab": expired_in_the_other_tab,
    "Back at the shop": back_at_the_shop,
    "Back at the shop, nothing bought": nothing_bought,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_table_says_what_becomes_of_an_invoice(engine, shop, scenario) -> None:
    assert_as_promised(SCENARIOS, scenario, engine[0], shop)
