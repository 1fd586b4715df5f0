"""``make prices``: what it says of a list, and the exit status that the build of a site goes by."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra import prices
from tests.support import ROOT
from tests.support.price_lists import BAD, as_file


@pytest.fixture
def check(monkeypatch, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["prices", *arguments])
        status = prices.main()
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def file(tmp_path) -> Path:
    file = tmp_path / "prices.json"
    file.write_bytes(as_file())
    return file


def test_a_good_list_is_good(check, file) -> None:
    assert check(str(file)) == (0, f"ok    {file}: 2 items in USD.\n", "")


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_list_fails_the_build_and_every_sentence_says_which_item_it_is(check, file, fault) -> None:
    text, said = BAD[fault]
    file.write_bytes(text)
    status, out, err = check(str(file))
    assert (status, out) == (1, "")
    assert said in err
    assert err.splitlines()[-1].startswith("FAIL  ")


def test_a_list_may_come_through_a_pipe(check, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(as_file())))
    assert check("-")[0] == 0


@pytest.mark.parametrize("arguments", [[], [""], ["a.json", "b.json"]])
def test_without_a_file_it_says_how_to_name_one(check, arguments) -> None:
    status, out, err = check(*arguments)
    assert (status, out) == (2, "")
    assert "make prices FILE=prices.json" in err


def test_what_cannot_be_read_is_named(check, tmp_path) -> None:
    assert check(str(tmp_path / "none.json"))[0] == 2
    status, _, err = check(str(tmp_path))
    assert status == 2
    assert "Name a file" in err


def test_an_address_that_a_function_would_not_read_is_refused(check) -> None:
    status, _, err = check("http://shop.example/prices.json")
    assert (status, err) == (2, "The address must be https (http only on loopback).\n")


def test_the_build_of_a_site_needs_python_and_no_package(file) -> None:
    # -S: without whatever is installed.
    command = [sys.executable, "-S", "-m", "infra.prices", str(file)]
    run = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": "functions"}, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, f"ok    {file}: 2 items in USD.\n"), run.stderr
