"""What differs from engine to engine, in all three; each result is a cell of the table in button/README.md."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser

from tests.browser import engines
from tests.browser.engines import ENTER, TAB, Tab, until
from tests.browser.site import Site
from tests.integration.conftest import NO_CIRCUIT, ROOT, Stack

ELEMENT = "document.querySelector('crypto-pay')"
BUTTON = f"{ELEMENT}.shadowRoot.querySelector('button')"
MESSAGE = f"{ELEMENT}.shadowRoot.querySelector('p')"
LINK = f"{ELEMENT}.shadowRoot.querySelector('a')"
EMAIL = f"{ELEMENT}.shadowRoot.querySelector('input')"
FRAME = "document.querySelector('iframe')"
READY = f"return customElements.get('crypto-pay') && Boolean({ELEMENT})"
BUSY = f"return {BUTTON}.getAttribute('aria-busy') === 'true'"


@dataclass
class Shop:
    """A tab, a site of its own, and the stack that the site's button asks."""

    tab: Tab
    site: Site
    stack: Stack
    order: str
    first: object = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.tab.tabs()[0]

    def button(self, attributes: str = "", content: str = "Pay with crypto") -> str:
        return self.site.button(f'order-id="{self.order}" {attributes}', content)

    def open(self, body: str, head: str = "") -> None:
        """Opens a page with this in it, and waits for the button."""
        self.tab.open(self.site.add("/page", body, head))
        until(lambda: self.tab.run(READY))

    def open_frame(
        self, attributes: str = "", sandbox: str | None = None, content: str = "Pay with crypto", width: int = 700
    ) -> None:
        """Opens a page with a frame of another origin in it; the current frame is that one."""
        inner = self.site.add("/frame", self.button(attributes, content)).replace("127.0.0.1", "localhost")
        limits = "" if sandbox is None else f' sandbox="{sandbox}"'
        self.tab.open(self.site.add("/page", f'<iframe src="{inner}" width="{width}" height="400" style="border: 0"{limits}></iframe>'))
        self.tab.enter_frame(FRAME)
        until(lambda: self.tab.run(READY))

    def listen(self) -> None:
        """Records the events."""
        self.tab.run(
            """window.told = [];
            for (const name of ["created", "error"]) {
              document.addEventListener(`crypto-pay:${name}`, ({ detail }) => told.push({ name, code: detail.code }));
            }"""
        )

    def arrived(self) -> str:
        """Waits for the pay page in the current frame; returns the invoice's id."""
        path = until(lambda: (path := self.tab.run("return location.pathname") or "").startswith("/pay/") and path)
        until(lambda: self.tab.run("return document.readyState === 'complete' && Boolean(document.querySelector('h1'))"))
        assert self.invoices() == [path.removeprefix("/pay/")]
        return path.removeprefix("/pay/")

    def other_tab(self) -> None:
        """Goes to the tab that was opened."""
        until(lambda: len(self.tab.tabs()) == 2)
        self.tab.switch(next(tab for tab in self.tab.tabs() if tab != self.first))

    def invoices(self) -> list[str]:
        return list(self.stack.seen()["invoices"])


def click(shop: Shop) -> str:
    shop.open(shop.button())
    shop.tab.click(BUTTON)
    shop.arrived()
    return "pay page"


def two_clicks(shop: Shop) -> str:
    shop.open(shop.button())
    shop.stack.misbehave("slow", value=0.5)
    shop.tab.click(BUTTON)
    shop.tab.click(BUTTON)
    shop.arrived()
    assert len(shop.stack.seen()["calls"]) == 1
    return "one invoice"


def keyboard(shop: Shop) -> str:
    shop.open(shop.button())
    shop.tab.press(TAB)
    assert shop.tab.run(f"return {ELEMENT}.shadowRoot.activeElement === {BUTTON}")
    assert shop.tab.run(f"return getComputedStyle({BUTTON}).outlineStyle") == "solid"
    shop.tab.press(ENTER)
    shop.arrived()
    return "pay page"


def way_back(shop: Shop) -> str:
    shop.open(shop.button())
    shop.tab.click(BUTTON)
    first = shop.arrived()
    shop.tab.back()
    until(lambda: shop.tab.run("return location.pathname") == "/page" and shop.tab.run(READY))
    until(lambda: not shop.tab.run(BUSY))
    shop.tab.click(BUTTON)
    assert shop.arrived() == first
    return "same invoice"


def not_json(shop: Shop) -> str:
    shop.open(shop.button())
    shop.tab.run(f"{ELEMENT}.endpoint = '/html'")
    shop.listen()
    shop.site.replies = [(502, "<h1>Bad gateway</h1>", {"Retry-After": "60"})]
    shop.tab.click(BUTTON)
    [event] = until(lambda: shop.tab.run("return told"))
    assert shop.site.posts == 1
    return f"`{event['code']}`, `Retry-After` read"


def no_connection(shop: Shop) -> str:
    shop.open(shop.button())
    shop.tab.run(f"{ELEMENT}.endpoint = 'http://127.0.0.1:9/'")
    shop.listen()
    shop.tab.click(BUTTON)
    [event] = until(lambda: shop.tab.run("return told"))
    assert "check your connection" in shop.tab.run(f"return {MESSAGE}.textContent")
    return f"`{event['code']}`"


def new_tab(shop: Shop) -> str:
    shop.open(shop.button("new-tab"))
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
    shop.open(shop.button("new-tab"))
    shop.stack.misbehave("slow", value=1.5)
    shop.tab.click(BUTTON)
    shop.other_tab()
    shop.tab.close()
    shop.tab.switch(shop.first)
    until(lambda: not shop.tab.run(BUSY))
    assert shop.tab.run(f"return {MESSAGE}.textContent") == ""
    return "cancels"


def white_space(shop: Shop) -> str:
    shop.open(shop.button(content="\n  "))
    text, width = shop.tab.run(f"return [{BUTTON}.innerText.trim(), {BUTTON}.offsetWidth]")
    assert width > 100
    return f"“{text}”"


def narrow(shop: Shop) -> str:
    shop.open_frame(content="Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz", width=320)
    assert shop.tab.run("return [innerWidth, document.documentElement.scrollWidth]") == [320, 320]
    return "no sideways scrolling"


def no_jump(shop: Shop) -> str:
    shop.open(shop.button())
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
    [only] = widths
    return "one width"


def international_email(shop: Shop) -> str:
    shop.open(shop.button("email-field"))
    shop.tab.type(EMAIL, "kunde@müller.example")
    shop.tab.click(BUTTON)
    shop.arrived()
    [call] = shop.stack.seen()["calls"]
    return f"`{json.loads(call['body'])['email']}`"


def composition(shop: Shop) -> str:
    shop.open(shop.button("email-field"))
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
    shop.open(shop.button() + '<iframe srcdoc="<p>Other document</p>" width="400" height="300"></iframe>')
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
        shop.button(),
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


SCENARIOS: dict[str, Callable[[Shop], str]] = {
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
    "The Enter that ends a composition": composition,
    "Moved to another document": other_document,
    "Its file loaded twice": loaded_twice,
    "In a frame": frame,
    "`new-tab` in a sandboxed frame with `allow-popups allow-same-origin`": sandbox_with_origin,
    "`new-tab` in a sandboxed frame with `allow-popups` alone": sandbox_without_origin,
    "In a sandboxed frame with neither": sandbox_without_popups,
}
ENGINES = ("Chromium", "Firefox", "WebKit")


@pytest.fixture(scope="module")
def open_stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """A stack that lets every site in, as a sandboxed frame needs: its origin is ``null``."""
    return start_lasting_stack(parameters={"AllowedOrigins": "*"}, environment=NO_CIRCUIT)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, browser: Browser) -> Iterator[tuple[str, Tab]]:
    """One engine after the other, each started once."""
    start = {"Chromium": lambda: engines.chromium(browser), "Firefox": engines.firefox, "WebKit": engines.webkit}
    with start[request.param]() as tab:
        yield request.param, tab


@pytest.fixture
def shop(engine: tuple[str, Tab], open_stack: Stack) -> Iterator[Shop]:
    """A site of its own in a tab; other tabs are closed at the end."""
    open_stack.tell("/provider/forget")
    urls = open_stack.endpoints
    site = Site(f'endpoint="{urls["invoice_url"]}" pay-origin="{urls["provider_url"]}" amount="19.99"')
    shop = Shop(engine[1], site, open_stack, uuid.uuid4().hex)
    yield shop
    for tab in shop.tab.tabs():
        if tab != shop.first:
            shop.tab.switch(tab)
            shop.tab.close()
    shop.tab.switch(shop.first)
    shop.tab.leave_frame()
    shop.tab.open("about:blank")
    site.server.stop()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_table_says_what_happens(engine, shop, scenario) -> None:
    name, _ = engine
    [row] = re.findall(rf"^\| {re.escape(scenario)} \|(.*)\|$", (ROOT / "button" / "README.md").read_text(), re.M) or [""]
    promised = dict(zip(ENGINES, [cell.strip() for cell in row.split("|")], strict=False))
    assert SCENARIOS[scenario](shop) == promised.get(name), f"button/README.md: write it into the row of {scenario}"
