"""The commands of the Makefile say in a sentence what is missing or wrong."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT

TOOLS = ROOT / "infra" / "dev"


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_command_that_succeeds_is_quiet_and_one_that_fails_shows_what_it_printed() -> None:
    assert run(TOOLS / "quietly", "sh", "-c", "echo noise; echo noise >&2").stdout == ""
    failed = run(TOOLS / "quietly", "sh", "-c", "echo the reason; exit 7")
    assert (failed.returncode, failed.stderr) == (7, "the reason\n")


@pytest.mark.parametrize(
    "line",
    [
        "[Errno -3] Temporary failure in name resolution: /simple/uv/",  # pip
        "  cause: failed to lookup address information: Name or service not known",  # uv
        "npm error errno EAI_AGAIN getaddrinfo EAI_AGAIN registry.npmjs.org",
    ],
)
def test_a_machine_offline_is_reported_as_that_and_not_as_a_missing_package(line: str) -> None:
    failed = run(TOOLS / "quietly", "sh", "-c", f"echo '{line}'; echo No matching distribution found; exit 1")
    assert failed.returncode == 1
    assert "is this machine online?" in failed.stderr
    assert "No matching distribution" not in failed.stderr


@pytest.mark.parametrize("name", ["a b", "c#", "it's", 'say"', "p$q", "p%q", "k:l", "a&b", "(a)"])
def test_a_folder_whose_name_shells_misread_is_refused_before_anything_is_made(tmp_path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    refused = run("make", "--dry-run", "build", cwd=folder)
    assert refused.returncode == 2
    assert "The path of this folder has" in refused.stderr
    assert [path.name for path in folder.iterdir()] == ["Makefile"]


def test_a_folder_with_an_umlaut_is_not_refused(tmp_path) -> None:
    folder = tmp_path / "für-müller_2.0"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    assert run("make", "help", cwd=folder).returncode == 0


def test_the_region_may_be_named_as_other_tools_take_it() -> None:
    printed = run("make", "--dry-run", "--print-data-base", "AWS_REGION=eu-west-1", "help").stdout
    assert "AWS_DEFAULT_REGION := eu-west-1" in printed


def test_a_deployment_from_github_names_its_role_and_its_bucket_and_one_from_a_machine_neither() -> None:
    command = ["make", "--dry-run", "deploy", "ENV=prod", "ORIGINS=none"]
    assert "--role-arn" not in run(*command).stdout
    assert "--s3-bucket" not in run(*command).stdout
    printed = run(*command, "ROLE=arn:aws:iam::123456789012:role/x", "BUCKET=artifacts").stdout
    # SAM takes no bucket while samconfig.toml has it find one.
    assert '--role-arn "arn:aws:iam::123456789012:role/x" --no-resolve-s3 --s3-bucket "artifacts"' in printed


def test_a_build_in_a_container_stops_with_what_to_do(tmp_path) -> None:
    # As `sam build --use-container` sees it: the folder of the functions alone.
    shutil.copytree(ROOT / "functions", tmp_path / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    stopped = run("make", "--silent", "build-CreateInvoiceFunction", cwd=tmp_path / "functions")
    assert stopped.returncode == 2
    assert "run make build, or sam build" in stopped.stderr
