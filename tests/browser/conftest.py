"""A buyer in real Chromium at the demo shop, which the local stack serves under a strict Content-Security-Policy."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect, sync_playwright

from tests.browser import engines
from tests.browser.engine_shop import ENGINES, Shop
from tests.browser.engines import CHROMIUM, Tab
from tests.browser.site import Site
from tests.support.stack import Stack

PROVIDER_TIMEOUT_S = 6
# Generous: a loaded machine is slow, and nothing waits so long unless it is broken.
PATIENCE_S = 20
expect.set_options(timeout=PATIENCE_S * 1000)
# Before the button's file is run, which a browser does when it has read all of the page.
WITHOUT_PRICE_LIST = """
    new MutationObserver((_, observer) => {
      const element = document.querySelector("crypto-pay[items]");
      if (!element) return;
      observer.disconnect();
      for (const name of ["items", "prices"]) element.removeAttribute(name);
      element.setAttribute("amount", "19.99");
      element.setAttribute("currency", "USD");
    }).observe(document, { childList: true, subtree: true });
"""


@dataclass
class Visit:
    """A buyer's tab, and what went on in it.

    Args:
        page: The tab, with the shop in it.
        stack: The stack behind the shop.
        sent: The invoice requests that left the tab, oldest first.
    """

    page: Page
    stack: Stack
    sent: list[Request] = field(default_factory=list)

    @property
    def button(self) -> Locator:
        """The button, as assistive technology finds it."""
        return self.page.locator("crypto-pay").get_by_role("button")

    @property
    def message(self) -> Locator:
        """The live region."""
        return self.page.locator("crypto-pay").get_by_role("status")

    @property
    def email(self) -> Locator:
        """The e-mail field."""
        return self.page.locator("crypto-pay").get_by_role("textbox")

    @property
    def keys(self) -> list[str]:
        """The idempotency keys that were sent, oldest first."""
        return [request.headers["idempotency-key"] for request in self.sent]

    def set(self, **attributes: str | None) -> None:
        """Sets attributes of the element, or removes those that are ``None``; ``_`` is written for ``-``."""
        self.page.evaluate(
            """(attributes) => {
              const element = document.querySelector("crypto-pay");
              for (const [name, value] of Object.entries(attributes)) {
                if (value === null) element.removeAttribute(name);
                else element.setAttribute(name, value);
              }
            }""",
            {name.replace("_", "-"): value for name, value in attributes.items()},
        )

    def listen(self, *prevented: str) -> None:
        """Records the element's events at the document, and stops the default of ``prevented``: created, error."""
        self.page.evaluate(
            """(prevented) => {
              window.told = [];
              for (const name of ["created", "error"]) {
                document.addEventListener(`crypto-pay:${name}`, (event) => {
                  window.told.push({ name, detail: event.detail });
                  if (prevented.includes(name)) event.preventDefault();
                });
              }
            }""",
            prevented,
        )

    def told(self, count: int = 1) -> list[dict[str, Any]]:
        """Returns the recorded events when there are ``count`` of them."""
        self.until(lambda: len(self.page.evaluate("window.told")) >= count)
        return self.page.evaluate("window.told")

    def until(self, condition: Callable[[], object]) -> None:
        """Waits for a condition while the browser goes on."""
        give_up_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up_s, "waited in vain"
            self.page.wait_for_timeout(20)

    def until_provider_is_asked(self) -> None:
        """Waits until a request is at the provider."""
        self.until(lambda: self.stack.seen()["calls"])

    def arrive(self) -> str:
        """Waits for the pay page; returns the invoice id in its address."""
        self.page.wait_for_url("**/pay/*")
        assert self.page.url.startswith(self.stack.endpoints["provider_url"])
        return self.page.url.rpartition("/")[2]

    def expect_still_at_shop(self) -> None:
        """Sees that the tab has not left the shop."""
        self.page.evaluate("new Promise((resolve) => setTimeout(resolve))")
        assert self.page.url == self.stack.endpoints["shop_url"]

    def answer(self, *replies: dict[str, Any]) -> None:
        """Answers requests in the browser, each as the arguments of ``Route.fulfill``; the last goes on for ever.

        For what the local stack cannot produce.
        """
        left = list(replies)

        def fulfill(route: Any) -> None:
            reply = left.pop(0) if len(left) > 1 else left[0]
            cors = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "retry-after"}
            route.fulfill(**{**reply, "headers": {**cors, **reply.get("headers", {})}})

        self.page.route("**/v1/invoice/create", fulfill)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here; it ends with them, for its event loop is in the way of others."""
    if not CHROMIUM.exists():
        pytest.fail("The browser tests need browsers: `make test` installs them, `make .browsers/ready` alone too.")
    with sync_playwright() as playwright:
        arguments = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]
        # Playwright turns off what makes the back button bring back a page as it was.
        usual = ["--disable-back-forward-cache"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, ignore_default_args=usual)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def shop_stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """The stack behind the shop."""
    return start_lasting_stack(parameters={"ProviderTimeout": str(PROVIDER_TIMEOUT_S)})


@pytest.fixture
def stack(shop_stack: Stack) -> Stack:
    """The stack, with a provider sandbox that has seen nothing."""
    shop_stack.tell("/provider/forget")
    return shop_stack


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile that nobody has used."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_S * 1000)
    yield context
    context.close()


@pytest.fixture
def visit(stack: Stack, context: BrowserContext) -> Iterator[Visit]:
    """A buyer at the shop, which has no price list: its pages say what things cost.

    At the end, no script has failed, and the page has kept to its security policy.
    """
    context.add_init_script(WITHOUT_PRICE_LIST)
    with visiting(stack, context) as visit:
        yield visit


@contextlib.contextmanager
def visiting(stack: Stack, context: BrowserContext) -> Iterator[Visit]:
    """Opens the shop in a new tab."""
    visit = Visit(context.new_page(), stack)
    failures: list[str] = []
    visit.page.on("pageerror", lambda error: failures.append(str(error)))
    visit.page.on("console", lambda line: failures.append(line.text) if "Security Policy" in line.text else None)
    visit.page.on("request", lambda request: visit.sent.append(request) if request.method == "POST" else None)
    visit.page.goto(stack.endpoints["shop_url"])
    yield visit
    assert failures == []


@pytest.fixture(scope="module")
def open_stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """A stack that lets every site in, as a sandboxed frame needs: its origin is ``null``."""
    return start_lasting_stack(parameters={"AllowedOrigins": "*"})


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Tab]]:
    """One engine after the other, each started once."""
    start = {
        "Chromium": lambda: engines.chromium(browser),
        "Firefox": lambda: engines.firefox(tmp_path_factory.mktemp("firefox")),
        "WebKit": engines.webkit,
    }
    with start[request.param]() as tab:
        yield request.param, tab


@pytest.fixture
def shop(engine: tuple[str, Tab], open_stack: Stack) -> Iterator[Shop]:
    """A site of its own in a tab; other tabs are closed at the end."""
    open_stack.tell("/provider/forget")
    urls = open_stack.endpoints
    site = Site(invoice_url=urls["invoice_url"], pay_origin=urls["provider_url"], order=uuid.uuid4().hex)
    shop = Shop(engine[1], site, open_stack)
    yield shop
    for tab in shop.tab.tabs():
        if tab != shop.first:
            shop.tab.switch(tab)
            shop.tab.close()
    shop.tab.switch(shop.first)
    shop.tab.leave_frame()
    shop.tab.open("about:blank")
    site.server.stop()
