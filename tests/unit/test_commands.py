"""The commands of the Makefile say in a sentence what is missing, and end nothing that runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.dev.before_deploy import NotReady, check

ROOT = Path(__file__).parents[2]
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


def test_clean_removes_nothing_while_a_command_runs(tmp_path) -> None:
    kept = tmp_path / ".aws-sam" / "in-use"
    kept.parent.mkdir()
    # A command holds the lock as infra/dev/with does.
    clean = f"exec 8>> {kept}; flock --shared 8; {TOOLS}/clean .aws-sam"
    refused = run("bash", "-c", clean, cwd=tmp_path)
    assert refused.returncode == 1
    assert "is running" in refused.stderr
    assert kept.exists()
    assert run(TOOLS / "clean", ".aws-sam", cwd=tmp_path).returncode == 0
    assert not kept.exists()


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


@pytest.fixture
def signed_out(monkeypatch, tmp_path) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("signed_out")
@pytest.mark.parametrize(
    ("environment", "origins", "sentence"),
    [
        ({}, "https://shop.example/", "ORIGINS is 'https://shop.example/': it must be origins as browsers send them"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "https://shop.example", "There are no AWS credentials: sign in"),
        (
            {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"},
            "https://shop.example",
            "No AWS region is set: export AWS_REGION=",
        ),
        ({"AWS_PROFILE": "nobody"}, "none", "AWS cannot be asked: The config profile (nobody) could not be found"),
    ],
)
def test_what_a_deployment_lacks_is_said_before_anything_is_built(monkeypatch, environment, origins, sentence) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NotReady) as reason:
        check("default", origins, "")
    assert str(reason.value).startswith(sentence)


def test_the_region_may_be_named_as_other_tools_take_it() -> None:
    printed = run("make", "--dry-run", "--print-data-base", "AWS_REGION=eu-west-1", "help").stdout
    assert "AWS_DEFAULT_REGION := eu-west-1" in printed
