"""What is locked is what ships, and anybody can download it."""

import re
import tomllib
from typing import Any

import pytest

from tests.support import ROOT

PACKAGES: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]


def files(package: dict[str, Any]) -> list[dict[str, Any]]:
    return package.get("wheels", []) + ([package["sdist"]] if "sdist" in package else [])


def test_the_lock_names_the_public_index_and_no_mirror() -> None:
    sources = {package["source"].get("registry") for package in PACKAGES if "virtual" not in package["source"]}
    assert sources == {"https://pypi.org/simple"}
    elsewhere = [
        file["url"]
        for package in PACKAGES
        for file in files(package)
        if not file["url"].startswith("https://files.pythonhosted.org/packages/")
    ]
    assert not elsewhere


@pytest.mark.parametrize(("exported", "group"), [("requirements.txt", "function"), ("infra/dev/uv.txt", "uv")])
def test_what_pip_installs_is_the_group_of_the_lock_with_its_hashes(exported: str, group: str) -> None:
    locked: dict[str, list[dict[str, Any]]] = {}
    for package in PACKAGES:
        locked.setdefault(package["name"], []).append(package)
    [project] = [package for package in PACKAGES if "virtual" in package["source"]]
    left, expected = list(project["dev-dependencies"][group]), {}
    while left:
        dependency = left.pop()
        versions = locked[dependency["name"]]
        [package] = [of for of in versions if of["version"] == dependency.get("version", versions[0]["version"])]
        if dependency["name"] not in expected:
            hashes = {file["hash"] for file in files(package)}
            expected[dependency["name"]] = (package["version"], hashes)
            left += package.get("dependencies", [])
    text = (ROOT / exported).read_text().replace("\\\n", " ")
    found = {
        match[1]: (match[2], set(re.findall(r"--hash=(\S+)", match[3])))
        for match in re.finditer(r"^([\w.-]+)==(\S+) (.*)$", text, re.MULTILINE)
    }
    assert found == expected
