"""What the pages in docs/ lean on is there: tests that they name, files that they link to."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def tests() -> set[str]:
    return {name for file in ROOT.glob("tests/**/*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_tests_that_exist(page: Path, tests: set[str]) -> None:
    # Also those that are written without code marks, or within a link.
    assert set(re.findall(r"\btest_\w+\b(?!\.py)", page.read_text())) - tests == set()


def test_the_promises_about_attacks_name_the_tests_that_hold_them() -> None:
    assert len(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "threat-model.md").read_text())) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_only_to_files_and_sections_that_exist(page: Path) -> None:
    for path, section in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), path
        if section:
            headings = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE)
            assert section in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
