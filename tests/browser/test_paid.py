"""From the click to "Paid": the button, the provider's pay page, and the shop again, in all three engines."""

import pytest

from tests.browser.engine_shop import BUTTON, ELEMENT, MESSAGE, Scenario, Shop, assert_as_promised
from tests.browser.engines import until

STATUS = "document.querySelector('crypto-pay-status')"
# A page that is just being loaded has no such element yet.
STATUS_TEXT = f"return {STATUS}?.shadowRoot?.querySelector('p')?.textContent"
LISTEN = "window.told = []; addEventListener('crypto-pay:paid', ({ detail }) => told.push(detail))"


def press(shop: Shop, action: str) -> None:
    """Presses a button of the pay page, which is the current tab, and waits for its answer."""
    button = f"document.querySelector('[value={action}]')"
    shop.tab.run("window.pressed = true")
    shop.tab.click(button)
    until(lambda: shop.tab.run("return document.readyState === 'complete' && !window.pressed"))


def buy_in_a_new_tab(shop: Shop) -> str:
    """Clicks; returns the invoice's id. The current tab is the one with the pay page."""
    shop.open(shop.site.button("new-tab"))
    shop.tab.run(LISTEN)
    shop.tab.click(BUTTON)
    shop.other_tab()
    return shop.arrived()


def at_the_shop(shop: Shop, expression: str, expected: str) -> None:
    """Waits until the first tab says this; comes back to the tab with the pay page."""
    tab = next(tab for tab in shop.tab.tabs() if tab != shop.first)
    shop.tab.switch(shop.first)
    until(lambda: shop.tab.run(f"return {expression}.innerText.trim()") == expected)
    shop.tab.switch(tab)


def paid_in_the_other_tab(shop: Shop) -> str:
    invoice_id = buy_in_a_new_tab(shop)
    at_the_shop(shop, MESSAGE, "Waiting for the payment…")
    press(shop, "pay-part")
    at_the_shop(shop, MESSAGE, "Partly paid.")
    press(shop, "pay-too-much")
    at_the_shop(shop, BUTTON, "Paid. Thank you!")
    shop.tab.switch(shop.first)
    assert shop.tab.run("return told") == [{"invoice_id": invoice_id, "status": "overpaid"}]
    shop.tab.run(f"{ELEMENT}.pay()")
    assert not shop.tab.run(f"return {BUTTON}.getAttribute('aria-busy') === 'true'")
    assert shop.invoices() == [invoice_id]
    return "the button says “Paid. Thank you!”"


def expired_in_the_other_tab(shop: Shop) -> str:
    first = buy_in_a_new_tab(shop)
    press(shop, "expire")
    at_the_shop(shop, MESSAGE, "The invoice has expired.")
    shop.tab.close()
    shop.tab.switch(shop.first)
    shop.tab.click(BUTTON)
    shop.other_tab()
    assert shop.arrived() != first
    return "the button says so, and the next click is a new purchase"


def back_at_the_shop(shop: Shop) -> str:
    thanks = shop.site.add("/thanks", f"<script>{LISTEN}</script><crypto-pay-status></crypto-pay-status>")
    shop.stack.tell("/provider/project", success_url=thanks)
    shop.open(shop.site.button())
    shop.tab.click(BUTTON)
    first = shop.arrived()
    press(shop, "pay")
    shop.tab.click("document.querySelector('[href$=thanks]')")
    until(lambda: shop.tab.run("return location.pathname") == "/thanks")
    until(lambda: shop.tab.run(STATUS_TEXT) == "Paid. Thank you!")
    assert shop.tab.run("return told") == [{"invoice_id": first, "status": "paid"}]
    # Who buys the same again is not led to the invoice that is paid.
    shop.open(shop.site.button())
    shop.tab.click(BUTTON)
    assert shop.arrived() != first
    return "`<crypto-pay-status>` says “Paid. Thank you!”"


def nothing_bought(shop: Shop) -> str:
    shop.open(f"<crypto-pay-status></crypto-pay-status>{shop.site.button()}")
    assert shop.tab.run(STATUS_TEXT) == ""
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
