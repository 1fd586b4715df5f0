"""The commands of the Makefile say in a sentence what is missing or wrong."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support import ROOT

TOOLS = ROOT / "infra" / "dev"


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def deploy(tmp_path):
    """Runs infra/dev/deploy in a folder whose SAM CLI prints its arguments, one a line, and does nothing."""
    sam = tmp_path / ".venv-local" / "bin" / "sam"
    sam.parent.mkdir(parents=True)
    sam.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    sam.chmod(0o755)
    shutil.copy(ROOT / "samconfig.toml", tmp_path)
    names = dict.fromkeys(("ORIGINS", "PARAMETERS", "CONFIRM", "ROLE", "BUCKET"), "")

    def deploy(**variables: str) -> list[str]:
        done = run(TOOLS / "deploy", cwd=tmp_path, **{**names, **variables})
        assert done.returncode == 0, done.stderr
        building, *arguments = done.stdout.splitlines()
        assert building == "Building the functions for Lambda ..."
        return arguments

    return deploy


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


def test_the_region_may_be_named_as_other_tools_take_it(tmp_path) -> None:
    (tmp_path / "Makefile").write_text("ready:\n")
    command = [TOOLS / "with", "ready", "--", "printenv", "AWS_DEFAULT_REGION"]
    assert run(*command, cwd=tmp_path, MAKE="make", AWS_REGION="eu-west-1").stdout == "eu-west-1\n"


def test_an_environment_whose_python_was_removed_is_installed_again(tmp_path) -> None:
    (tmp_path / "Makefile").write_text(".venv/ready .venv-local/ready:\n\t@echo installed $@\n")
    for folder in (".venv", ".venv-local"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "ready").touch()
    (tmp_path / ".venv" / "bin" / "python").symlink_to(shutil.which("true"))
    command = [TOOLS / "with", ".venv/ready", ".venv-local/ready", "--", "echo", "done"]
    assert run(*command, cwd=tmp_path, MAKE="make").stdout == "installed .venv-local/ready\ndone\n"


def test_a_dry_run_of_any_command_changes_nothing(tmp_path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "ready").touch()
    commands = [line.split()[1] for line in run("make", "--no-print-directory", "help").stdout.splitlines()]
    assert {"demo", "test", "deploy", "clean"} < set(commands)
    assert run("make", "--dry-run", *commands, cwd=folder).returncode == 0
    assert sorted(path.name for path in folder.rglob("*")) == [".venv", "Makefile", "ready"]


def test_make_hands_each_setting_of_a_deployment_on() -> None:
    settings = {
        "ENV": "prod",
        "ORIGINS": "none",
        "PARAMETERS": "MaxAmount=5",
        "CONFIRM": "no",
        "ROLE": "r",
        "BUCKET": "b",
    }
    printed = run("make", "--dry-run", "deploy", *(f"{name}={value}" for name, value in settings.items())).stdout
    for name, value in settings.items():
        assert f'{name}="{value}"' in printed


def test_a_deployment_from_github_names_its_role_and_its_bucket_and_one_from_a_machine_neither(deploy) -> None:
    assert deploy(ENV="staging") == ["deploy", "--config-env", "staging"]
    role = "arn:aws:iam::123456789012:role/x"
    assert deploy(ENV="staging", CONFIRM="no", ROLE=role, BUCKET="artifacts") == [
        *("deploy", "--config-env", "staging", "--no-confirm-changeset"),
        # SAM takes no bucket while samconfig.toml lets it find one.
        *("--role-arn", role, "--no-resolve-s3", "--s3-bucket", "artifacts"),
    ]


def test_parameters_given_to_make_are_added_to_those_of_the_environment(deploy) -> None:
    prod = tomllib.loads((ROOT / "samconfig.toml").read_text())["prod"]["deploy"]["parameters"]["parameter_overrides"]
    asked = deploy(ENV="prod", ORIGINS="https://shop.example", PARAMETERS="CanaryRollout=false")
    # SAM takes the last of two values.
    assert asked[-2:] == ["--parameter-overrides", f"{prod} AllowedOrigins=https://shop.example CanaryRollout=false"]
    assert deploy(ENV="prod", PARAMETERS="MaxAmount=5")[-1].split() == [*prod.split(), "MaxAmount=5"]
    assert deploy(ENV="prod") == ["deploy", "--config-env", "prod"]


def test_a_build_in_a_container_stops_with_what_to_do(tmp_path) -> None:
    # As `sam build --use-container` sees it: the folder of the functions alone.
    shutil.copytree(ROOT / "functions", tmp_path / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    stopped = run("make", "--silent", "build-CreateInvoiceFunction", cwd=tmp_path / "functions")
    assert stopped.returncode == 2
    assert "run make build, or sam build" in stopped.stderr
