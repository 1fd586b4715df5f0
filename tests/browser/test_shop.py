"""The demo shop, which sells two things by a price list of its own: honest buyers, and buyers who change the page."""

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import Visit, visiting
from tests.support import ROOT
from tests.support.stack import Stack

SITE = ROOT / "examples" / "static-site"
ELEMENT = "document.querySelector('crypto-pay')"
SHOP = "The payment could not be started. Nothing was charged. Please contact the shop."


@pytest.fixture(scope="module")
def list_stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """A stack that reads the demo shop's price list."""
    return start_lasting_stack(price_list=True)


@pytest.fixture
def buyer(list_stack: Stack, context: BrowserContext) -> Iterator[Visit]:
    """A buyer at the demo shop as it is."""
    list_stack.tell("/provider/forget")
    with visiting(list_stack, context) as visit:
        yield visit


def asked_of_the_provider(buyer: Visit) -> list[tuple[float, str]]:
    """Returns amount and currency of each invoice that the provider was asked for."""
    requests = [json.loads(call["body"]) for call in buyer.stack.seen()["calls"]]
    return [(request["amount"], request["currency"]) for request in requests]


@pytest.mark.parametrize(("page", "quantity", "amount"), [("", 1, 19.99), ("", 3, 59.97), ("tee.html", 2, 49.0)])
def test_a_buyer_pays_what_the_button_says(buyer, page, quantity, amount) -> None:
    buyer.page.goto(f"{buyer.stack.endpoints['shop_url']}{page}")
    buyer.page.get_by_label("Quantity").select_option(str(quantity))
    expect(buyer.button).to_have_accessible_name(f"Pay with crypto · ${amount:.2f}")
    buyer.button.click()
    buyer.arrive()
    assert asked_of_the_provider(buyer) == [(amount, "USD")]
    expect(buyer.page.locator("strong")).to_have_text(f"{amount} USD")


def test_the_way_from_the_click_to_paid_ends_on_the_page_of_thanks(buyer) -> None:
    buyer.button.click()
    buyer.arrive()
    buyer.page.get_by_role("button", name="Pay", exact=True).click()
    buyer.page.get_by_role("link", name="Back to the shop").click()
    buyer.page.wait_for_url("**/thanks.html")
    expect(buyer.page.locator("crypto-pay-status").get_by_role("status")).to_have_text("Paid. Thank you!")


# What a cheat does in the developer tools, and for which amount the provider is asked then: None if for none.
CHEATS: dict[str, tuple[str, float | None]] = {
    "an amount in place of the items": (f"{ELEMENT}.items = null; {ELEMENT}.amount = '0.01'", None),
    "an amount beside the items": (f"{ELEMENT}.amount = '0.01'", None),
    "another price in the page": ("document.querySelector('.price').textContent = '0.01 USD'", 19.99),
    "a list of the cheat's": (
        "window.fetch = ((fetch) => (url, init) => `${url}`.endsWith('cheap.json')"
        """ ? Promise.resolve(new Response('{"currency": "USD", "items": {"mug": {"price": "0.01"}}}'))"""
        f" : fetch(url, init))(window.fetch); {ELEMENT}.prices = 'cheap.json'",
        19.99,
    ),
    "an item that is cheaper": (f"{ELEMENT}.items = 'sticker'", None),
    "no item": (f"{ELEMENT}.items = ' '", None),
    "none of it": (f"{ELEMENT}.quantity = 0", None),
    "less than none": (f"{ELEMENT}.quantity = -1", None),
    "a part of one": (f"{ELEMENT}.quantity = 0.001", None),
    "a quantity that is no number": (f"{ELEMENT}.quantity = '1e-3x'", None),
    "a cheaper currency": (f"{ELEMENT}.currency = 'UAH'", None),
    "an amount in the request": (
        "window.fetch = ((fetch) => (url, init) => fetch(url, init?.body ? "
        "{ ...init, body: JSON.stringify({ ...JSON.parse(init.body), amount: 0.01 }) } : init))(window.fetch)",
        None,
    ),
    "a price in the request": (
        "window.fetch = ((fetch) => (url, init) => fetch(url, init?.body ? "
        '{ ...init, body: init.body.replace(\'"quantity"\', \'"price":0.01,"quantity"\') } : init))(window.fetch)',
        None,
    ),
    "an amount alone in the request": (
        "window.fetch = ((fetch) => (url, init) => fetch(url, init?.body ? "
        "{ ...init, body: '{\"amount\":0.01}' } : init))(window.fetch)",
        None,
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_gets_the_honest_price_or_an_error(buyer, cheat) -> None:
    code, amount = CHEATS[cheat]
    expect(buyer.button).to_have_accessible_name("Pay with crypto · $19.99")
    buyer.page.evaluate(f"() => {{ {code} }}")
    buyer.button.click()
    if amount:
        buyer.arrive()
        expect(buyer.page.locator("strong")).to_have_text(f"{amount} USD")
    else:
        expect(buyer.message).to_have_text(SHOP)
        assert buyer.stack.seen()["invoices"] == {}
    assert asked_of_the_provider(buyer) == ([(amount, "USD")] if amount else [])


def test_the_pages_say_what_the_list_says() -> None:
    prices = json.loads((SITE / "prices.json").read_text())
    for name, item in {"index.html": "mug", "tee.html": "tee-l"}.items():
        page = (SITE / name).read_text()
        assert f'items="{item}" prices="prices.json"' in page
        assert f'<p class="price">{prices["items"][item]["price"]} {prices["currency"]}</p>' in page
        assert f"<h1>{prices['items'][item]['name']}</h1>" in page
