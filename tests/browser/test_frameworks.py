"""The button in what five frameworks have really built of tests/browser/frameworks, in all three engines."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.engine_shop import BUTTON, ELEMENT, READY, Scenario, Shop, assert_as_promised
from tests.browser.engines import until
from tests.support import ROOT

FRAMEWORKS = ROOT / "tests" / "browser" / "frameworks"
NODE = ROOT / ".venv" / "bin"
BUILD_TIMEOUT_S = 120
ESBUILD = ("esbuild", "app.jsx", "--bundle", "--minify", "--jsx=automatic", "--log-level=warning")
PRODUCTION = '--define:process.env.NODE_ENV="production"'


def run(*command: str, folder: Path) -> str:
    """Runs a program of the npm packages in ``folder``; returns what it printed."""
    path = f"{FRAMEWORKS / 'node_modules' / '.bin'}:{NODE}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "ASTRO_TELEMETRY_DISABLED": "1"},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_react(version: int, target: Path) -> None:
    source = FRAMEWORKS / f"react-{version}"
    run(*ESBUILD, PRODUCTION, f"--outfile={target / 'app.js'}", folder=source)
    (target / "index.html").write_text((source / "index.html").read_text())


BUILDS: dict[str, Callable[[Path], object]] = {
    "React 19": lambda target: build_react(19, target),
    "React 18": lambda target: build_react(18, target),
    "Vue 3, built by Vite": lambda target: run(
        "vite", "build", "--outDir", str(target), "--logLevel", "warn", folder=FRAMEWORKS / "vue"
    ),
    "Astro": lambda target: run("astro", "build", "--outDir", str(target), "--silent", folder=FRAMEWORKS / "astro"),
    "Eleventy, from Markdown": lambda target: run(
        "eleventy", "--input=eleventy", f"--output={target}", "--quiet", folder=FRAMEWORKS
    ),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder that each framework built, by name."""
    folders = {}
    for name, build in BUILDS.items():
        folders[name] = tmp_path_factory.mktemp("built") / "site"
        build(folders[name])
    return folders


def buy_two(shop: Shop, folder: Path) -> str:
    """Buys the first order, which the page's own code stops, then the second, which leads to the pay page."""
    shop.tab.open(shop.site.add_folder("/built/", folder))
    until(lambda: shop.tab.run(READY))
    text = f"return {ELEMENT}.textContent.trim()"
    until(lambda: shop.tab.run(text) == "Pay order 1")
    shop.tab.click(BUTTON)
    until(lambda: [shop.tab.run("return document.querySelector('output').textContent")] == shop.invoices())
    shop.tab.click("document.querySelector('#next')")
    until(lambda: shop.tab.run(text) == "Pay order 2")
    assert shop.tab.run(f"return [{ELEMENT}.newTab, {ELEMENT}.orderId.endsWith('-2')]") == [False, True]
    shop.tab.click(BUTTON)
    shop.arrived()
    assert len(shop.invoices()) == 2
    return "pay page; changes and events arrive"


@pytest.mark.parametrize("framework", BUILDS)
def test_the_table_says_what_happens_in_a_framework(engine, shop, built, framework) -> None:
    scenarios: dict[str, Scenario] = {framework: lambda shop: buy_two(shop, built[framework])}
    assert_as_promised(scenarios, framework, engine[0], shop)


def test_importing_it_on_a_server_and_rendering_it_there_does_no_harm() -> None:
    script = """
        import "crypto-pay";
        import { CryptoPay } from "crypto-pay";
        import { createElement } from "react";
        import { renderToString } from "react-dom/server";
        const element = createElement("crypto-pay", { "order-id": "A-1", "new-tab": true });
        console.log(CryptoPay.name, renderToString(element));
    """
    printed = run("node", "--input-type=module", "--eval", script, folder=FRAMEWORKS)
    assert printed == 'CryptoPay <crypto-pay order-id="A-1" new-tab=""></crypto-pay>\n'


def test_the_types_fit_what_pages_do_and_refuse_what_is_wrong() -> None:
    # shop.tsx has lines that must be refused: @ts-expect-error.
    run("tsc", "--project", "types", folder=FRAMEWORKS)
