"""Nobody is shut out by the button's looks: axe-core in every state, contrast, direction, and the configurator."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Frame, Page, expect

from tests.browser.conftest import Visit, visiting
from tests.browser.site import Site
from tests.support import ROOT
from tests.support.stack import Stack

AXE = ROOT / "tests" / "browser" / "frameworks" / "node_modules" / "axe-core" / "axe.min.js"
ELEMENT = "document.querySelector('crypto-pay')"
UNAVAILABLE = {"status": 503, "json": {}, "headers": {"Retry-After": "60"}}
# Luminances from white to black: backgrounds of all pages.
GREYS = [round(0xFF * step / 16) for step in range(17)]


def violations(page: Page | Frame) -> list[str]:
    """Returns what axe-core finds in a page: the rule and the elements that break it."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then(({ violations }) => violations)")
    return [f"{rule['id']}: {[node['html'] for node in rule['nodes']]}" for rule in found]


def busy(visit: Visit) -> None:
    visit.page.route("**/v1/invoice/create", lambda _: None)
    visit.button.click()
    expect(visit.button).to_have_attribute("aria-busy", "true")


def failed(visit: Visit, reply: dict[str, object]) -> None:
    visit.answer(reply)
    visit.button.click()
    expect(visit.message).to_have_class("error")


def wrong_email(visit: Visit) -> None:
    visit.email.fill("buyer at example")
    visit.button.click()
    expect(visit.email).to_be_focused()


def followed(visit: Visit, status: str) -> None:
    """Buys in a new tab, and hears this of the invoice."""
    visit.page.route(
        "**/v1/invoice/info?*",
        lambda route: route.fulfill(
            json={"status": "success", "status_invoice": status}, headers={"Access-Control-Allow-Origin": "*"}
        ),
    )
    visit.set(new_tab="")
    with visit.page.expect_popup() as opened:
        visit.button.click()
    opened.value.wait_for_url("**/pay/*")
    opened.value.close()
    expect(visit.message).not_to_be_empty()


def by_the_list(visit: Visit) -> None:
    visit.set(amount=None, currency=None, items="mug", prices="prices.json")
    expect(visit.button).to_have_accessible_name("Pay with crypto · $19.99")
    visit.set(quantity="2")
    expect(visit.message).to_have_text("$39.98")


STATES: dict[str, Callable[[Visit], object]] = {
    "idle": lambda visit: visit.button,
    "with the amount": lambda visit: visit.set(show_amount="", email_field=None),
    "focused": lambda visit: visit.button.focus(),
    "hovered": lambda visit: visit.button.hover(),
    "busy": busy,
    "to be tried again": lambda visit: failed(visit, UNAVAILABLE),
    "failed": lambda visit: failed(visit, {"status": 400, "json": {}}),
    "disabled": lambda visit: visit.set(disabled=""),
    "with a wrong e-mail address": wrong_email,
    "with the total of a list": by_the_list,
    "waiting": lambda visit: followed(visit, "created"),
    "paid in part": lambda visit: followed(visit, "partial"),
    "expired": lambda visit: followed(visit, "canceled"),
    "paid": lambda visit: followed(visit, "paid"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(visit, scheme) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    for name, arrange in STATES.items():
        visit.page.unroute_all()
        visit.page.goto(visit.stack.endpoints["shop_url"])
        # The page's own colours, then the element's.
        for sheet in ("", "crypto-pay { --crypto-pay-background: initial; --crypto-pay-color: initial; }"):
            visit.page.evaluate(
                "(text) => { const sheet = new CSSStyleSheet(); sheet.replaceSync(text);"
                " document.adoptedStyleSheets = [sheet]; }",
                sheet,
            )
            if not sheet:
                arrange(visit)
            assert violations(visit.page) == [], (name, scheme, sheet)


def test_the_button_says_once_that_it_is_paid_and_does_nothing_more(visit) -> None:
    followed(visit, "paid")
    expect(visit.button).to_have_accessible_name("Paid. Thank you!")
    expect(visit.button).to_have_attribute("aria-disabled", "true")
    expect(visit.message).to_have_text("Paid. Thank you!")  # for those who listen; seen, it is on the button alone
    expect(visit.message).to_have_class("quiet")
    visit.button.click(force=True)
    visit.expect_still_at_shop()
    assert len(visit.sent) == 1
    visit.page.evaluate(f"{ELEMENT}.reset()")
    expect(visit.button).to_have_accessible_name("Pay with crypto")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["tee.html", "thanks.html"])
def test_axe_finds_nothing_on_the_other_pages_of_the_shop(visit, scheme, page) -> None:
    followed(visit, "created")
    visit.page.emulate_media(color_scheme=scheme)
    visit.page.set_viewport_size({"width": 390, "height": 900})
    visit.page.goto(f"{visit.stack.endpoints['shop_url']}{page}")
    if page == "thanks.html":
        expect(visit.page.get_by_role("status")).to_have_text("Waiting for the payment…")
    assert violations(visit.page) == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.fixture
def framed(visit: Visit) -> Iterator[Frame]:
    """The button in a frame that may do nothing but run scripts, after a click: the link is there."""
    urls = visit.stack.endpoints
    site = Site(invoice_url=urls["invoice_url"], pay_origin=urls["provider_url"], order="A-1001")
    inner = site.add(
        "/frame", f"<main><h1>Shop</h1>{site.button()}</main>", '<meta name="color-scheme" content="light dark">'
    )
    visit.answer({"status": 200, "json": {"status": "success", "pay_url": f"{urls['provider_url']}/pay/AAAA"}})
    visit.page.goto(
        site.add("/page", f'<main><h1>Page</h1><iframe title="Shop" src="{inner}" sandbox="allow-scripts">')
    )
    frame = visit.page.frame(url=inner)
    frame.locator("crypto-pay").get_by_role("button").click()
    expect(frame.locator("crypto-pay").get_by_role("link")).to_be_visible()
    yield frame
    site.server.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_link_of_a_frame(visit, framed, scheme) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    assert violations(framed) == []
    expect(framed.locator("crypto-pay").get_by_role("status")).to_have_text("Continue to payment")


def luminance(red: int, green: int, blue: int) -> float:
    parts = [part / 255 for part in (red, green, blue)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_the_focus_ring_has_three_to_one_on_every_background(visit) -> None:
    in_css = visit.page.evaluate(
        f"""() => {{
          const element = {ELEMENT};
          element.style.setProperty("--crypto-pay-focus", "initial");
          element.focus();
          const {{ outlineColor, boxShadow }} = getComputedStyle(element.shadowRoot.querySelector("button"));
          return [outlineColor, boxShadow];
        }}"""
    )
    rings = [luminance(*map(int, re.search(r"rgb\((\d+), (\d+), (\d+)\)", color).groups())) for color in in_css]
    for grey in GREYS:
        assert max(contrast(ring, luminance(grey, grey, grey)) for ring in rings) >= 3, grey


def test_an_error_looks_like_one_and_is_tied_to_the_button(visit) -> None:
    failed(visit, {"status": 400, "json": {}})
    expect(visit.button).to_have_accessible_description(re.compile("Please contact the shop"))
    page_color = visit.page.evaluate("getComputedStyle(document.body).color")
    expect(visit.message).not_to_have_css("color", page_color)
    expect(visit.message).to_have_css("border-left-width", "6px")
    visit.page.unroute_all()
    visit.button.click()
    visit.arrive()


def test_from_right_to_left_the_error_turns_round_and_the_email_does_not(visit) -> None:
    visit.page.evaluate("document.documentElement.dir = 'rtl'")
    failed(visit, {"status": 400, "json": {}})
    expect(visit.message).to_have_attribute("dir", "auto")
    expect(visit.email).to_have_css("direction", "ltr")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_the_button_answers_to_the_pointer(visit) -> None:
    expect(visit.button).to_have_css("filter", "none")
    visit.button.hover()
    expect(visit.button).to_have_css("filter", "brightness(1.12)")
    visit.page.mouse.down()
    expect(visit.button).to_have_css("filter", "brightness(0.85)")


@pytest.fixture
def configurator(stack: Stack, context: BrowserContext) -> Iterator[Visit]:
    """The page on which owners of shops put their button together."""
    with visiting(stack, context) as visit:
        visit.page.goto(f"{stack.endpoints['shop_url']}configure.html")
        expect(visit.button).to_be_visible()
        yield visit


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing_in_the_configurator(configurator, scheme, width) -> None:
    configurator.page.emulate_media(color_scheme=scheme)
    configurator.page.set_viewport_size({"width": width, "height": 900})
    for choice in ("is in your price list", "is in the page"):
        configurator.page.get_by_label(choice).check()
        assert violations(configurator.page) == []
        assert configurator.page.evaluate("document.documentElement.scrollWidth") == width


def pasted(page: Page, snippet: str) -> list[Any]:
    """Returns attributes and text of the button that a page makes of the snippet: those of the button on show."""
    shown, pasted = page.evaluate(
        """(snippet) => {
          const policy = trustedTypes.createPolicy("test", { createHTML: (text) => text });
          const page = new DOMParser().parseFromString(policy.createHTML(snippet), "text/html");
          return [document, page].map((one) => {
            const element = one.querySelector("crypto-pay");
            const attributes = [...element.attributes].map(({ name, value }) => [name, value]);
            return [Object.fromEntries(attributes), element.textContent];
          });
        }""",
        re.sub(r"<style>.*</style>", "", snippet, flags=re.DOTALL),  # the page that parses it forbids it
    )
    for of_the_preview in ("style", "pay-origin"):
        del shown[0][of_the_preview]
    assert shown == pasted
    return pasted


def test_the_snippet_of_the_configurator_sells_by_the_price_list(configurator) -> None:
    page = configurator.page
    page.get_by_label("Items").fill("mug tee-l:2")
    expect(configurator.button).to_have_accessible_name("Pay with crypto · $68.99")
    shown, _ = pasted(page, page.locator("pre").inner_text())
    assert (shown["items"], shown["prices"]) == ("mug tee-l:2", "prices.json")
    expect(page.get_by_label("Amount", exact=True)).to_be_hidden()
    assert not {"amount", "currency", "show-amount"} & set(shown)
    page.get_by_label("is in the page").check()
    shown, _ = pasted(page, page.locator("pre").inner_text())
    assert shown["amount"] == "19.99"
    assert not {"items", "prices"} & set(shown)


def test_the_snippet_of_the_configurator_is_the_button_that_it_shows(configurator) -> None:
    page = configurator.page
    page.get_by_label("is in the page").check()
    page.get_by_label("Amount", exact=True).fill("25.50")
    page.get_by_label("Currency").select_option("EUR")
    page.get_by_label("Description").fill('Mug "large" <b> & co.')
    page.get_by_label("Text on the button").fill("Buy <now>")
    page.get_by_label("Show the amount").check()
    page.get_by_label("Corners").fill("20")
    expect(configurator.button).to_have_accessible_name("Buy <now> · €25.50")
    expect(configurator.button).to_have_css("border-top-left-radius", "20px")
    snippet = page.locator("pre").inner_text()
    assert "crypto-pay { --crypto-pay-radius: 20px; }" in snippet
    shown, text = pasted(page, snippet)
    assert shown["currency"] == "EUR"
    assert shown["description"] == 'Mug "large" <b> & co.'
    assert text == "Buy <now>"
    configurator.button.click()
    configurator.arrive()
    assert json.loads(configurator.stack.seen()["calls"][0]["body"])["amount"] == 25.5


def test_the_configurator_copies_the_snippet_and_warns_of_a_text_that_is_hard_to_read(configurator, context) -> None:
    page = configurator.page
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("pre").inner_text()
    page.get_by_label("Button", exact=True).fill("#ffff00")
    expect(page.get_by_text("hard to read on this colour: its contrast is 1.1")).to_be_visible()
