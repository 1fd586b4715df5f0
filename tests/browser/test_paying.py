"""A buyer pays: one click, many clicks, a slow provider, the way back, a new tab, the keyboard, a narrow screen."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.support.stack import EMAIL


def test_a_click_leads_to_the_pay_page(visit) -> None:
    visit.button.click()
    invoice_id = visit.arrive()
    expect(visit.page.get_by_text("19.99 USD")).to_be_visible()
    assert list(visit.stack.seen()["invoices"]) == [invoice_id]
    [call] = visit.stack.seen()["calls"]
    assert '"amount": 19.99,' in call["body"]
    assert json.loads(call["body"])["order_id"] == "A-1001"


def test_a_double_click_is_one_request(visit) -> None:
    visit.stack.misbehave("slow", value=0.5)
    visit.button.dblclick()
    visit.arrive()
    assert len(visit.sent) == len(visit.stack.seen()["invoices"]) == 1


def test_a_reload_in_mid_request_and_another_click_give_one_invoice(visit) -> None:
    visit.stack.misbehave("slow", value=1.5)
    visit.button.click()
    visit.until_provider_is_asked()
    visit.page.reload()
    visit.button.click()
    # On a busy machine the provider may take longer than the one try that the button makes by itself.
    visit.until(lambda: "/pay/" in visit.page.url or visit.button.get_by_text("Try again").is_visible())
    if "/pay/" not in visit.page.url:
        visit.button.click()
    assert list(visit.stack.seen()["invoices"]) == [visit.arrive()]
    assert len(visit.stack.seen()["calls"]) == 1
    assert len(set(visit.keys)) == 1


def test_two_buttons_for_one_purchase_give_one_invoice(visit) -> None:
    visit.stack.misbehave("slow", value=0.5)
    visit.page.evaluate("document.body.append(document.querySelector('crypto-pay').cloneNode(true))")
    for button in visit.button.all():
        button.click()
    visit.arrive()
    assert len(visit.stack.seen()["calls"]) == 1


def test_a_slow_provider_shows_progress_and_keeps_the_focus(visit) -> None:
    visit.stack.misbehave("slow", value=1)
    visit.button.click()
    expect(visit.button).to_have_attribute("aria-busy", "true")
    expect(visit.button).to_have_attribute("aria-disabled", "true")
    expect(visit.button).to_have_accessible_name("Preparing your payment…")
    expect(visit.message).to_have_text("Preparing your payment…")
    expect(visit.button).to_be_focused()
    expect(visit.email).not_to_be_editable()
    visit.arrive()


@pytest.mark.parametrize("reduced", [True, False])
def test_progress_moves_only_for_those_who_like_it(visit, reduced) -> None:
    visit.page.emulate_media(reduced_motion="reduce" if reduced else "no-preference")
    visit.stack.misbehave("slow", value=0.5)
    visit.button.click()
    expect(visit.button).to_have_attribute("aria-busy", "true")
    spinner = "getComputedStyle(document.querySelector('crypto-pay').shadowRoot.querySelector('button'), '::before')"
    assert visit.page.evaluate(f"{spinner}.animationName") == ("none" if reduced else "turn")
    visit.arrive()


def test_the_back_button_brings_back_a_button_that_leads_to_the_same_invoice(visit) -> None:
    visit.page.evaluate("window.restored = 'as it was'")
    visit.button.click()
    first = visit.arrive()
    visit.page.go_back(wait_until="commit")
    expect(visit.button).to_have_attribute("aria-busy", "false")
    assert visit.page.evaluate("window.restored") == "as it was"  # out of the browser's cache, not loaded again
    visit.button.click()
    assert visit.arrive() == first
    assert len(visit.stack.seen()["calls"]) == 1


def test_a_request_ends_with_the_page_that_is_left(visit) -> None:
    visit.stack.misbehave("slow", value=0.5)
    visit.button.click()
    visit.until_provider_is_asked()
    visit.page.goto(f"{visit.stack.endpoints['shop_url']}?other")
    visit.page.go_back(wait_until="commit")
    expect(visit.button).to_have_accessible_name("Pay with crypto")
    visit.expect_still_at_shop()


def test_a_buyer_who_stops_the_browser_gets_the_button_back(visit) -> None:
    visit.page.clock.install()
    # A server that answers 204 leaves the browser where it is.
    visit.page.route("**/pay/*", lambda route: route.fulfill(status=204))
    with visit.page.expect_response("**/pay/*"):
        visit.button.click()
    expect(visit.button).to_have_attribute("aria-busy", "true")
    visit.page.clock.run_for(10_000)
    expect(visit.button).to_have_attribute("aria-busy", "false")


def test_a_new_tab_opens_for_sites_that_opt_in_and_cannot_reach_the_shop(visit, context) -> None:
    visit.set(new_tab="")
    visit.stack.misbehave("slow", value=0.5)
    with context.expect_page() as opened:
        visit.button.click()
    tab = opened.value
    assert tab.title() == "Preparing your payment…"
    tab.wait_for_url("**/pay/*")
    assert tab.evaluate("window.opener") is None
    expect(visit.button).to_have_accessible_name("Pay with crypto")
    visit.expect_still_at_shop()


def test_the_new_tab_closes_when_there_is_nothing_to_pay(visit, context) -> None:
    visit.set(new_tab="")
    visit.stack.misbehave("status", value=400)
    with context.expect_page() as opened:
        visit.button.click()
    visit.until(opened.value.is_closed)
    expect(visit.message).to_contain_text("contact the shop")


def test_a_blocked_new_tab_is_the_same_tab(visit) -> None:
    visit.page.evaluate("window.open = () => null")
    visit.set(new_tab="")
    visit.button.click()
    visit.arrive()


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_is_enough(visit, key) -> None:
    visit.page.get_by_label("Quantity").focus()
    visit.page.keyboard.press("Tab")
    expect(visit.email).to_be_focused()
    visit.page.keyboard.type(EMAIL)
    visit.page.keyboard.press("Tab")
    expect(visit.button).to_be_focused()
    expect(visit.button).to_have_css("outline-style", "solid")
    visit.page.keyboard.press(key)
    visit.arrive()
    assert json.loads(visit.stack.seen()["calls"][0]["body"])["email"] == EMAIL


def test_an_address_that_the_page_gives_never_leaves_a_button_that_does_nothing(visit) -> None:
    # Without the field the browser has nobody to tell: what is wrong with the address, the service says.
    visit.set(email_field=None, email="Buyer <buyer@example.com>")
    visit.button.click()
    expect(visit.message).to_have_text(
        "The payment could not be started. Nothing was charged. Please contact the shop."
    )


def test_enter_in_the_email_field_pays(visit) -> None:
    visit.page.get_by_label("E-mail (optional)").fill(EMAIL)
    visit.page.keyboard.press("Enter")
    visit.arrive()


@pytest.mark.parametrize(
    "email", ["buyer at example", "buyer@example.com@other.example", "buyer@müller.example@b.example"]
)
def test_a_wrong_email_is_refused_by_the_browser_and_nothing_is_sent(visit, email) -> None:
    visit.email.fill(email)
    visit.button.click()
    expect(visit.email).to_be_focused()
    assert visit.email.evaluate("(field) => field.validity.typeMismatch")
    assert visit.sent == []


def test_no_email_is_kept_in_the_browser(visit) -> None:
    visit.listen("created")
    visit.email.fill(EMAIL)
    visit.button.click()
    visit.told()
    assert EMAIL not in visit.page.evaluate("JSON.stringify(sessionStorage)")


def test_a_narrow_screen_needs_no_sideways_scrolling_and_the_button_is_large_enough(visit) -> None:
    visit.page.set_viewport_size({"width": 320, "height": 640})
    # The service cannot be reached any more, so it is tried again: longer than any wait here.
    visit.answer({"status": 503, "json": {}, "headers": {"Retry-After": "60"}})
    for lang, again in {"en": "Try again", "pt": "Tentar", "es": "Intentar", "ru": "Попробовать"}.items():
        visit.set(lang=lang)
        visit.button.click()
        expect(visit.button).to_have_accessible_name(re.compile(again))
        expect(visit.message).to_be_visible()
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 320
        assert visit.button.bounding_box()["height"] >= 44


def test_the_page_allows_no_inline_code_or_style_and_the_element_has_its_looks(visit) -> None:
    policy = visit.page.request.get(visit.stack.endpoints["shop_url"]).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'; style-src 'self'" in policy
    expect(visit.button).to_have_css("background-color", "rgb(31, 92, 70)")
    expect(visit.button).to_have_css("min-height", "44px")
