"""A site of a test's own in a tab of any engine, in front of the real stack, and the table that says what happens."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.browser.engines import Tab, until
from tests.browser.site import Site
from tests.support import ROOT
from tests.support.stack import Stack

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
    first: object = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.tab.tabs()[0]

    def open(self, body: str, head: str = "") -> None:
        """Opens a page with this in it, and waits for the button."""
        self.tab.open(self.site.add("/page", body, head))
        until(lambda: self.tab.run(READY))

    def open_frame(
        self, attributes: str = "", sandbox: str | None = None, content: str = "Pay with crypto", width: int = 700
    ) -> None:
        """Opens a page with a frame of another origin in it; the current frame is that one."""
        inner = self.site.add("/frame", self.site.button(attributes, content)).replace("127.0.0.1", "localhost")
        limits = "" if sandbox is None else f' sandbox="{sandbox}"'
        self.tab.open(
            self.site.add(
                "/page", f'<iframe src="{inner}" width="{width}" height="400" style="border: 0"{limits}></iframe>'
            )
        )
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
        until(
            lambda: self.tab.run("return document.readyState === 'complete' && Boolean(document.querySelector('h1'))")
        )
        assert self.invoices()[-1] == path.removeprefix("/pay/")
        return path.removeprefix("/pay/")

    def other_tab(self) -> None:
        """Goes to the tab that was opened."""
        until(lambda: len(self.tab.tabs()) == 2)
        self.tab.switch(next(tab for tab in self.tab.tabs() if tab != self.first))

    def invoices(self) -> list[str]:
        return list(self.stack.seen()["invoices"])


Scenario = Callable[[Shop], str]
ENGINES = ("Chromium", "Firefox", "WebKit")


def assert_as_promised(scenarios: dict[str, Scenario], scenario: str, engine: str, shop: Shop) -> None:
    """Runs a scenario and compares its result with the engine's cell of the table in button/README.md."""
    _, _, tables = (ROOT / "button" / "README.md").read_text().partition("## Tested in three engines")
    [row] = re.findall(rf"^\| {re.escape(scenario)} \|(.*)\|$", tables, re.MULTILINE) or [""]
    cells = [cell.strip() for cell in row.split("|")]
    promised = dict(zip(ENGINES, cells, strict=False)).get(engine)
    result = scenarios[scenario](shop)
    assert result == promised, f"write what {engine} did into the row {scenario!r} of button/README.md"
