"""The sandbox's pay page in a browser: its buttons need no script, and it fits a phone."""

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.engines import PATIENCE_S


def test_a_buyer_without_scripts_pays_and_finds_the_way_back(stack, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    page.goto(stack.post({"amount": "19.99", "order_id": "A-1001"}).payload["pay_url"])
    page.get_by_role("button", name="Pay part").click()
    expect(page.get_by_role("status")).to_have_text("Status: partial (a part was paid)")
    page.get_by_role("button", name="Pay", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Status: paid (all was paid)")
    expect(page.get_by_role("button")).to_have_count(0)
    stack.tell("/provider/postbacks/wait")
    page.reload()
    expect(page.get_by_text("Postback answered with 200")).to_be_visible()
    page.get_by_role("link", name="Back to the shop").click()
    page.wait_for_url(f"{stack.endpoints['shop_url']}thanks.html")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_its_buttons_a_finger(stack, browser: Browser, scheme) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page = context.new_page()
    page.goto(stack.post({"amount": "99999.99", "order_id": "A" * 255}).payload["pay_url"])
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 44
    context.close()
