"""Pictures the demo shop for the README: ``make screenshot``."""

import json
import subprocess

from playwright.sync_api import sync_playwright

from tests.browser.engines import CHROMIUM
from tests.integration.conftest import ROOT

PICTURE = ROOT / "docs" / "demo-shop.png"


def main() -> None:
    """Starts the local stack and writes the picture."""
    command = [ROOT / ".venv-local" / "bin" / "python", "-m", "infra.local", "serve"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stack:
        shop_url = json.loads(stack.stdout.readline())["shop_url"]
        with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM) as browser:
            page = browser.new_page(viewport={"width": 1120, "height": 740}, color_scheme="light")
            page.goto(shop_url)
            page.screenshot(path=PICTURE)
        stack.stdin.close()
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
