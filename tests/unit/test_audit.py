"""The audit of what ships: a known vulnerability fails the linters, and a mirror that knows none is found out."""

import io
from typing import Any

import pytest

from infra.scan import audit


@pytest.mark.parametrize(
    ("package", "status", "said"),
    [
        ({"name": "a", "version": "1", "vulns": []}, 0, "no known vulnerability in the 1 packages"),
        (
            {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]},
            1,
            "a 1 has CVE-1, fixed in 2",
        ),
        ({"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": []}]}, 1, "fixed in no version yet"),
        ({"name": "a", "skip_reason": "a was not found"}, 1, "a was not found"),
    ],
)
def test_a_vulnerable_package_fails_the_linters_and_so_does_one_not_looked_at(capsys, package, status, said) -> None:
    assert audit.verdict("requirements.txt", [package]) == status
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_where_pypis_data_cannot_be_reached_the_audit_says_so_and_fails_nothing(capsys, monkeypatch) -> None:
    def unreachable(*_: Any, **__: Any) -> Any:
        raise OSError("no route")

    def mirror(*_: Any, **__: Any) -> Any:
        return io.BytesIO(b'{"info": {}, "vulnerabilities": []}')

    for answer, reason in ((unreachable, "no route"), (mirror, "it knows of none")):
        monkeypatch.setattr("urllib.request.urlopen", answer)
        assert audit.main("requirements.txt") == 0
        assert "requirements.txt was not checked" in (printed := capsys.readouterr().out)
        assert reason in printed
