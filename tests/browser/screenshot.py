"""Pictures the demo shop: ``make screenshot`` for the README; with a folder as argument, every width and scheme."""

import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.engines import CHROMIUM
from tests.support import ROOT

PICTURE = ROOT / "docs" / "demo-shop.png"
SIZES = {390: 844, 768: 1024, 1440: 900}


def picture_all(browser: Browser, shop_url: str, folder: Path) -> None:
    """Writes all pages of the shop at each width, light and dark, and the shop after a failure and a payment."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in SIZES.items():
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)

            def picture(name: str, page: Page = page, size: str = f"{width}-{scheme}") -> None:
                page.screenshot(path=folder / f"{name}-{size}.png", full_page=True)

            page.goto(f"{shop_url}configure.html")
            picture("configure")
            page.goto(f"{shop_url}tee.html")
            picture("tee")
            page.goto(shop_url)
            page.get_by_text("$19.99").wait_for()
            picture("shop")
            page.evaluate("document.querySelector('crypto-pay').quantity = '0'")
            button = page.locator("crypto-pay").get_by_role("button")
            button.click()
            page.locator("crypto-pay .error").wait_for()
            button.focus()
            picture("failed")
            page.evaluate("document.querySelector('crypto-pay').quantity = '1'")
            button.click()
            page.get_by_role("button", name="Pay", exact=True).click()
            page.get_by_role("link", name="Back to the shop").click()
            page.get_by_text("Paid. Thank you!").wait_for()
            picture("thanks")
            page.close()


def main() -> None:
    """Starts the local stack and writes the picture, or all of them."""
    serve = ["-m", "infra.local", "serve", "--options", json.dumps({"price_list": True})]
    command = [ROOT / ".venv-local" / "bin" / "python", *serve]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stack:
        shop_url = json.loads(stack.stdout.readline())["shop_url"]
        with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM) as browser:
            if len(sys.argv) > 1:
                picture_all(browser, shop_url, Path(sys.argv[1]))
            else:
                page = browser.new_page(viewport={"width": 1120, "height": 860}, color_scheme="light")
                page.goto(shop_url)
                page.get_by_text("$19.99").wait_for()
                page.screenshot(path=PICTURE)
                print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1024} KiB")
        stack.stdin.close()


if __name__ == "__main__":
    main()
