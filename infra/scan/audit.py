"""Looks for known vulnerabilities in what ships: ``python -m infra.scan.audit requirements.txt``.

pip-audit asks PyPI about each package. If a mirror of PyPI answers "not found", pip-audit reports no known
vulnerability. So this first asks about a version that has some.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

# What pip-audit asks for, of a version whose vulnerabilities are known.
_PROBE = "https://pypi.org/pypi/urllib3/1.26.4/json"


def main(lock: str) -> int:
    """Prints what was found, or that PyPI could not be asked; returns the exit status.

    Args:
        lock: The requirements file, every version pinned.
    """
    try:
        with urllib.request.urlopen(_PROBE, timeout=10) as answer:
            reason = "" if json.load(answer).get("vulnerabilities") else "it knows of none"
    except (OSError, ValueError) as error:
        reason = str(error)
    if reason:
        print(f"pip-audit: {lock} was not checked: PyPI's data cannot be reached from here ({reason}).")
        return 0
    command = [Path(sys.executable).with_name("pip-audit"), "--requirement", lock, "--disable-pip", "--format", "json"]
    audit = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(audit.stdout)["dependencies"]
    except ValueError:
        print(f"pip-audit failed:\n{audit.stderr}", file=sys.stderr)
        return 1
    return verdict(lock, packages)


def verdict(lock: str, packages: list[dict[str, Any]]) -> int:
    """Prints pip-audit's answer in sentences; returns the exit status.

    Args:
        lock: The name of the requirements file.
        packages: ``dependencies`` of pip-audit's JSON.
    """
    flaws = [(package, flaw) for package in packages for flaw in package.get("vulns", ())]
    for package, flaw in flaws:
        fixed = " or ".join(flaw["fix_versions"]) or "no version yet"
        print(f"{lock}: {package['name']} {package['version']} has {flaw['id']}, fixed in {fixed}.", file=sys.stderr)
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    for reason in skipped:
        print(f"{lock}: {reason}", file=sys.stderr)
    if flaws or skipped:
        print("Change the version in pyproject.toml, or what needs it, and run `make lock`.", file=sys.stderr)
        return 1
    print(f"pip-audit: no known vulnerability in the {len(packages)} packages of {lock}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
