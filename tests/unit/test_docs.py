"""What the pages in docs/ lean on is there: tests that they name, files that they link to."""

import re
from pathlib import Path

import pytest

from tests.support import ROOT

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("[a-z]*/README.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]


@pytest.fixture(scope="module")
def tests() -> set[str]:
    return {name for file in ROOT.glob("tests/**/*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_tests_that_exist(page: Path, tests: set[str]) -> None:
    # Also those that are written without code marks, or within a link.
    assert set(re.findall(r"\btest_\w+\b(?!\.py)", page.read_text())) - tests == set()


def test_the_promises_about_attacks_name_the_tests_that_hold_them() -> None:
    assert len(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "threat-model.md").read_text())) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_only_to_files_and_sections_that_exist(page: Path) -> None:
    for path, section in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", without_code(page)):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not section or section in sections(target), f"{path}#{section}"


def test_the_readme_has_the_two_commands_and_links_every_page_of_docs() -> None:
    readme = (ROOT / "README.md").read_text()
    assert re.search(r"^make demo\b", readme, re.MULTILINE)
    assert re.search(r"^make test\b", readme, re.MULTILINE)
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", readme))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} - linked == set()


def test_the_readme_names_the_newest_version_of_the_changelog() -> None:
    newest = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert f"Version {newest} " in (ROOT / "README.md").read_text()


def without_code(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def sections(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
