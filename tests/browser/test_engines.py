"""What differs from engine to engine, in all three; each result is a cell of the table in button/README.md."""

import json

import pytest

from tests.browser.engine_shop import (
    BUSY,
    BUTTON,
    ELEMENT,
    EMAIL,
    FRAME,
    LINK,
    MESSAGE,
    READY,
    Scenario,
    Shop,
    assert_as_promised,
)
from tests.browser.engines import ENTER, TAB, until


def click(shop: Shop) -> str:
    shop.open(shop.site.button())
    shop.tab.click(BUTTON)
    shop.arrived()
    return "pay page"


def two_clicks(shop: Shop) -> str:
    shop.open(shop.site.button())
    shop.stack.misbehave("slow", value=0.5)
    shop.tab.click(BUTTON)
    shop.tab.click(BUTTON)
    shop.arrived()
    assert len(shop.stack.seen()["calls"]) == len(shop.invoices()) == 1
    return "one invoice"


def keyboard(shop: Shop) -> str:
    shop.open(shop.site.button())
    shop.tab.press(TAB)
    assert shop.tab.run(f"return {ELEMENT}.shadowRoot.activeElement === {BUTTON}")
    assert shop.tab.run(f"return getComputedStyle({BUTTON}).outlineStyle") == "solid"
    shop.tab.press(ENTER)
    shop.arrived()
    return "pay page"


def way_back(shop: Shop) -> str:
    shop.open(shop.site.button())
    shop.tab.click(BUTTON)
    first = shop.arrived()
    shop.tab.back()
    until(lambda: shop.tab.run("return location.pathname") == "/page" and shop.tab.run(READY))
    until(lambda: not shop.tab.run(BUSY))
    shop.tab.click(BUTTON)
    assert shop.arrived() == first
    assert shop.invoices() == [first]
    return "same invoice"


def not_json(shop: Shop) -> str:
    shop.open(shop.site.button())
    shop.tab.run(f"{ELEMENT}.endpoint = '/html'")
    shop.listen()
    shop.site.replies = [(502, "<h1>Bad gateway</h1>", {"Retry-After": "60"})]
    shop.tab.click(BUTTON)
    [event] = until(lambda: shop.tab.run("return told"))
    assert shop.site.posts == 1
    return f"`{event['code']}`, `Retry-After` read"


def no_connection(shop: Shop) -> str:
    shop.open(shop.site.button())
    shop.tab.run(f"{ELEMENT}.endpoint = 'http://127.0.0.1:9/'")
    shop.listen()
    shop.tab.click(BUTTON)
    [event] = until(lambda: shop.tab.run("return told"))
    assert "check your connection" in shop.tab.run(f"return {MESSAGE}.textContent")
    return f"`{event['code']}`"


def new_tab(shop: Shop) -> str:
    shop.open(shop.site.button("new-tab"))
    shop.stack.misbehave("slow", value=1)
    shop.tab.click(BUTTON)
    shop.other_tab()
    until(lambda: shop.tab.run("return document.body.innerText") == "Preparing your payment…")
    shop.arrived()
    assert shop.tab.run("return window.opener === null")
    shop.tab.switch(shop.first)
    assert not shop.tab.run(BUSY)
    return "new tab, which says what it waits for, without `opener`"


def closed_tab(shop: Shop) -> str:
    shop.open(shop.site.button("new-tab"))
    shop.stack.misbehave("slow", value=1.5)
    shop.tab.click(BUTTON)
    shop.other_tab()
    shop.tab.close()
    shop.tab.switch(shop.first)
    until(lambda: not shop.tab.run(BUSY))
    assert shop.tab.run(f"return {MESSAGE}.textContent") == ""
    return "cancels"


def white_space(shop: Shop) -> str:
    shop.open(shop.site.button(content="\n  "))
    text, width = shop.tab.run(f"return [{BUTTON}.innerText.trim(), {BUTTON}.offsetWidth]")
    assert width > 100
    return f"“{text}”"


def narrow(shop: Shop) -> str:
    shop.open_frame(content="Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz", width=320)
    assert shop.tab.run("return [innerWidth, document.documentElement.scrollWidth]") == [320, 320]
    return "no sideways scrolling"


def no_jump(shop: Shop) -> str:
    shop.open(shop.site.button())
    shop.stack.misbehave("slow", value=0.5)
    shop.stack.misbehave("status", value=400)
    width = f"return {ELEMENT}.offsetWidth"
    widths = {shop.tab.run(width)}
    shop.tab.run(f"{ELEMENT}.addEventListener('crypto-pay:created', (event) => event.preventDefault())")
    shop.tab.click(BUTTON)
    widths.add(until(lambda: shop.tab.run(BUSY) and shop.tab.run(width)))
    until(lambda: not shop.tab.run(BUSY))
    shop.tab.run(f"{ELEMENT}.amount = '0'")
    shop.tab.click(BUTTON)
    until(lambda: shop.tab.run(f"return {MESSAGE}.className === 'error'"))
    widths.add(shop.tab.run(width))
    assert len(widths) == 1
    return "one width"


def international_email(shop: Shop) -> str:
    shop.open(shop.site.button("email-field"))
    shop.tab.type(EMAIL, "kunde@müller.example")
    shop.tab.click(BUTTON)
    shop.arrived()
    [call] = shop.stack.seen()["calls"]
    return f"`{json.loads(call['body'])['email']}`"


def total(shop: Shop) -> str:
    prices = json.dumps({"currency": "EUR", "items": {"mug": {"price": "19.99"}}})
    shop.open(shop.site.button())
    shop.tab.run(
        f"const element = {ELEMENT}; element.amount = null; element.items = 'mug'; element.lang = 'es';"
        "element.prices = `data:application/json,${arguments[0]}`;",
        prices,
    )
    until(lambda: "19,99" in shop.tab.run(f"return {BUTTON}.innerText"))
    shop.tab.run(f"{ELEMENT}.quantity = 3")
    said, shown = shop.tab.run(f"return [{MESSAGE}.textContent, {BUTTON}.querySelector('bdi').textContent]")
    assert said == shown
    return f"“{shown.replace(chr(0xA0), ' ')}” on the button, and said"


def composition(shop: Shop) -> str:
    shop.open(shop.site.button("email-field"))
    shop.tab.run(
        f"""for (const init of [{{ isComposing: true }}, {{ keyCode: 229 }}]) {{
          {EMAIL}.dispatchEvent(new KeyboardEvent("keydown", {{ key: "Enter", bubbles: true, ...init }}));
        }}"""
    )
    assert not shop.tab.run(BUSY)
    shop.tab.run(f"{EMAIL}.focus()")
    shop.tab.press(ENTER)
    shop.arrived()
    return "does not pay"


def other_document(shop: Shop) -> str:
    shop.open(shop.site.button() + '<iframe srcdoc="<p>Other document</p>" width="400" height="300"></iframe>')
    until(lambda: shop.tab.run(f"return Boolean({FRAME}.contentDocument.querySelector('p'))"))
    color = shop.tab.run(
        f"""const element = {ELEMENT};
        {FRAME}.contentDocument.body.append(element);
        const button = element.shadowRoot.querySelector("button");
        return {FRAME}.contentWindow.getComputedStyle(button).backgroundColor;"""
    )
    assert color == "rgb(29, 78, 216)"
    return "keeps its styles"


def loaded_twice(shop: Shop) -> str:
    shop.open(
        shop.site.button(),
        '<script>window.failures = []; addEventListener("error", ({ message }) => failures.push(message))</script>'
        '<script type="module" src="/crypto-pay.js?again"></script>',
    )
    until(lambda: shop.tab.run("return document.readyState === 'complete'"))
    assert shop.tab.run("return failures") == []
    shop.tab.click(BUTTON)
    shop.arrived()
    return "pay page"


def frame(shop: Shop) -> str:
    shop.open_frame()
    shop.tab.click(BUTTON)
    shop.tab.leave_frame()
    shop.arrived()
    return "pay page in the whole tab"


def sandbox_with_origin(shop: Shop) -> str:
    shop.open_frame("new-tab", "allow-scripts allow-same-origin allow-popups")
    shop.tab.click(BUTTON)
    shop.other_tab()
    shop.arrived()
    assert shop.tab.run("return window.opener === null")
    return "pay page in a new tab"


def sandbox_without_origin(shop: Shop) -> str:
    shop.open_frame("new-tab", "allow-scripts allow-popups")
    shop.tab.click(BUTTON)
    until(lambda: shop.tab.run(f"return !{LINK}.hidden"))
    assert shop.tab.run(f"return {ELEMENT}.shadowRoot.activeElement === {LINK}")
    until(lambda: len(shop.tab.tabs()) == 1)
    shop.tab.click(LINK)
    shop.other_tab()
    shop.arrived()
    return "a link, which opens a new tab"


def sandbox_without_popups(shop: Shop) -> str:
    shop.open_frame("", "allow-scripts")
    shop.tab.click(BUTTON)
    until(lambda: shop.tab.run(f"return !{LINK}.hidden"))
    shop.tab.click(LINK)
    shop.arrived()
    return "a link, which opens in the frame"


SCENARIOS: dict[str, Scenario] = {
    "A click": click,
    "Two clicks": two_clicks,
    "The keyboard alone": keyboard,
    "The way back and another click": way_back,
    "An answer that is not JSON": not_json,
    "No connection": no_connection,
    "A click with `new-tab`": new_tab,
    "Closing the waiting tab": closed_tab,
    "Only white space in the element": white_space,
    "An endless word at 320 px": narrow,
    "All its messages, on a page without CSS": no_jump,
    "`kunde@müller.example`": international_email,
    "The total of three mugs by a price list, in Spanish": total,
    "The Enter that ends a composition": composition,
    "Moved to another document": other_document,
    "Its file loaded twice": loaded_twice,
    "In a frame": frame,
    "`new-tab` in a sandboxed frame with `allow-popups allow-same-origin`": sandbox_with_origin,
    "`new-tab` in a sandboxed frame with `allow-popups` alone": sandbox_without_origin,
    "In a sandboxed frame with neither": sandbox_without_popups,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_table_says_what_happens(engine, shop, scenario) -> None:
    assert_as_promised(SCENARIOS, scenario, engine[0], shop)
