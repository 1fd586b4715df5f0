"""Commands in one folder at the same time: they install one after the other, and `make clean` ends none of them."""

import fcntl
import os
import subprocess
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "infra" / "dev"


def test_clean_removes_nothing_while_a_command_runs(tmp_path) -> None:
    kept = tmp_path / ".aws-sam" / "in-use"
    kept.parent.mkdir()
    # A command holds the lock as infra/dev/with does.
    clean = f"exec 8>> {kept}; flock --shared 8; {TOOLS}/clean .aws-sam"
    refused = subprocess.run(["bash", "-c", clean], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "is running" in refused.stderr
    assert kept.exists()
    assert subprocess.run([TOOLS / "clean", ".aws-sam"], cwd=tmp_path, check=False).returncode == 0
    assert not kept.exists()


def test_of_two_commands_the_second_waits_until_the_first_has_installed(tmp_path) -> None:
    (tmp_path / "Makefile").write_text("ready:\n\t@echo installed\n")
    lock = tmp_path / ".aws-sam" / "installing"
    lock.parent.mkdir()
    command = [TOOLS / "with", "ready", "--", "echo", "done"]
    with lock.open("a") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        environment = {**os.environ, "MAKE": "make"}
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout.readline().startswith("Waiting for another command")
            fcntl.flock(first, fcntl.LOCK_UN)
            assert second.stdout.read() == "installed\ndone\n"
    assert second.returncode == 0
