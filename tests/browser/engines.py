"""A tab in each of three engines, through one small interface: what a scenario does in all of them, it says once.

Playwright drives Chromium as in the other tests, Mozilla's own Marionette client Firefox (Playwright cannot drive
its ESR, and Debian has no geckodriver), and WebDriver drives WebKitGTK, under a display of its own.
"""

import contextlib
import glob
import os
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from playwright.sync_api import Browser, BrowserContext, Frame, Page
from playwright.sync_api import Error as PlaywrightError
from selenium import webdriver

from tests.support import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of distro, which it imports
    from marionette_driver.marionette import Marionette

BROWSERS = ROOT / ".browsers"  # links that infra/dev/install-browsers makes
CHROMIUM, FIREFOX, WEBKIT_DRIVER = BROWSERS / "chromium", BROWSERS / "firefox", BROWSERS / "webkit-driver"
PATIENCE_S = 20
# Keys as WebDriver writes them: https://www.w3.org/TR/webdriver2/#keyboard-actions
TAB, ENTER, SPACE = "\ue004", "\ue007", "\ue00d"


class Tab(Protocol):
    """A browser with one tab at the start. ``target`` is a JavaScript expression for an element."""

    def open(self, url: str) -> None:
        """Loads a page and waits for it."""

    def run(self, body: str, *arguments: object) -> Any:
        """Runs the body of a JavaScript function in the current frame; returns what it returns, of JSON only."""

    def click(self, target: str) -> None:
        """Clicks as a person does."""

    def type(self, target: str, text: str) -> None:
        """Types into an element."""

    def press(self, key: str) -> None:
        """Presses a key where the focus is."""

    def back(self) -> None:
        """Goes back, as the browser's button does."""

    def enter_frame(self, target: str) -> None:
        """Makes a frame of the page the current one."""

    def leave_frame(self) -> None:
        """Makes the page the current frame."""

    def tabs(self) -> list[Any]:
        """Returns the open tabs, the first one first."""

    def switch(self, tab: Any) -> None:
        """Makes a tab the current one."""

    def close(self) -> None:
        """Closes the current tab; ``switch`` must follow."""


def until(condition: Callable[[], Any]) -> Any:
    """Returns the first true answer; waits for it.

    Raises:
        AssertionError: None came within ``PATIENCE_S``.
    """
    give_up_s = time.monotonic() + PATIENCE_S
    while not (answer := condition()):
        assert time.monotonic() < give_up_s, "waited in vain"
        time.sleep(0.03)
    return answer


class ChromiumTab:
    """Playwright's Chromium."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._page: Page = context.new_page()
        self._frame: Frame = self._page.main_frame

    def open(self, url: str) -> None:
        self._page.goto(url)
        self._frame = self._page.main_frame

    def run(self, body: str, *arguments: object) -> Any:
        try:
            return self._frame.evaluate(f"(list) => (function () {{ {body} }}).apply(null, list)", list(arguments))
        except PlaywrightError as error:
            if "context was destroyed" in str(error):  # the page was just left: the other engines wait for the next one
                return None
            raise

    def _find(self, target: str) -> Any:
        return self._frame.evaluate_handle(target).as_element()

    def click(self, target: str) -> None:
        self._find(target).click(no_wait_after=True, force=True)

    def type(self, target: str, text: str) -> None:
        self._find(target).type(text)

    def press(self, key: str) -> None:
        self._page.keyboard.press({TAB: "Tab", ENTER: "Enter", SPACE: "Space"}[key])

    def back(self) -> None:
        self._page.go_back(wait_until="commit")

    def enter_frame(self, target: str) -> None:
        self._frame = self._find(target).content_frame()

    def leave_frame(self) -> None:
        self._frame = self._page.main_frame

    def tabs(self) -> list[Any]:
        self._context.pages[0].wait_for_timeout(0)
        return list(self._context.pages)

    def switch(self, tab: Any) -> None:
        self._page = tab
        self._frame = tab.main_frame

    def close(self) -> None:
        self._page.close()


class FirefoxTab:
    """Firefox ESR through Marionette."""

    def __init__(self, marionette: Marionette) -> None:
        self._marionette = marionette

    def open(self, url: str) -> None:
        self._marionette.navigate(url)

    def run(self, body: str, *arguments: object) -> Any:
        return self._marionette.execute_script(body, script_args=arguments, sandbox=None)

    def _find(self, target: str) -> Any:
        return self.run(f"return {target}")

    def click(self, target: str) -> None:
        self._find(target).click()

    def type(self, target: str, text: str) -> None:
        self._find(target).send_keys(text)

    def press(self, key: str) -> None:
        self._marionette.actions.sequence("key", "keyboard").key_down(key).key_up(key).perform()

    def back(self) -> None:
        self._marionette.go_back()

    def enter_frame(self, target: str) -> None:
        self._marionette.switch_to_frame(self._find(target))

    def leave_frame(self) -> None:
        self._marionette.switch_to_frame()

    def tabs(self) -> list[Any]:
        return self._marionette.window_handles

    def switch(self, tab: Any) -> None:
        self._marionette.switch_to_window(tab)

    def close(self) -> None:
        self._marionette.close()


class WebKitTab:
    """WebKitGTK's MiniBrowser through WebDriver."""

    def __init__(self, driver: webdriver.WebKitGTK) -> None:
        self._driver = driver

    def open(self, url: str) -> None:
        self._driver.get(url)

    def run(self, body: str, *arguments: object) -> Any:
        return self._driver.execute_script(body, *arguments)

    def click(self, target: str) -> None:
        # The driver's own click takes what is slotted into the button for something that lies on top of it.
        webdriver.ActionChains(self._driver).move_to_element(self._find(target)).click().perform()

    def _find(self, target: str) -> Any:
        return self.run(f"return {target}")

    def type(self, target: str, text: str) -> None:
        self._find(target).send_keys(text)

    def press(self, key: str) -> None:
        webdriver.ActionChains(self._driver).send_keys(key).perform()

    def back(self) -> None:
        self._driver.back()

    def enter_frame(self, target: str) -> None:
        self._driver.switch_to.frame(self._find(target))

    def leave_frame(self) -> None:
        self._driver.switch_to.default_content()

    def tabs(self) -> list[Any]:
        return self._driver.window_handles

    def switch(self, tab: Any) -> None:
        self._driver.switch_to.window(tab)

    def close(self) -> None:
        self._driver.close()


@contextlib.contextmanager
def chromium(browser: Browser) -> Iterator[Tab]:
    """Opens a profile of the Chromium of the other tests: one process can run only one Playwright."""
    context = browser.new_context()
    yield ChromiumTab(context)
    context.close()


@contextlib.contextmanager
def firefox(logs: Path) -> Iterator[Tab]:
    """Starts Firefox.

    Args:
        logs: A folder for its log. Never ``os.devnull``: Marionette deletes the file first.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of the sockets with which it looks whether Firefox is there
        marionette = Marionette(bin=str(FIREFOX.resolve()), headless=True, port=0, gecko_log=str(logs))
        marionette.start_session()
    try:
        yield FirefoxTab(marionette)
    finally:
        marionette.quit(in_app=False)


@contextlib.contextmanager
def webkit() -> Iterator[Tab]:
    """Starts WebKitGTK under Xvfb: its browser cannot do without a display."""
    reader, writer = os.pipe()
    display = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1600x1200x24", "-nolisten", "tcp"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        with open(reader) as numbers:
            number = numbers.readline().strip()
        options = webdriver.WebKitGTKOptions()
        [options.binary_location] = glob.glob("/usr/lib/*/webkit2gtk-4.1/MiniBrowser")
        options.add_argument("--automation")
        service = webdriver.WebKitGTKService(str(WEBKIT_DRIVER), env={**os.environ, "DISPLAY": f":{number}"})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what it calls itself
            driver = webdriver.WebKitGTK(options=options, service=service)
        try:
            yield WebKitTab(driver)
        finally:
            driver.quit()
    finally:
        display.terminate()
        display.wait()
