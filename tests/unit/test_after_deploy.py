"""What the workflow does after a deployment: it checks the right stack, and fails with the check."""

import os
import re
import subprocess

import pytest
import yaml

from tests.support import ROOT


@pytest.mark.parametrize(
    ("environment", "stack"), [("prod", "cryptocloud-invoices-prod"), ("staging", "cryptocloud-invoices-staging")]
)
def test_the_summary_has_the_address_of_the_environments_stack_and_what_failed(tmp_path, environment, stack) -> None:
    # In place of the AWS CLI, which has no account here: it records what it is asked, and answers an address.
    aws = tmp_path / "aws"
    aws.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho https://not-a-stack.example/\n')
    aws.chmod(0o755)
    summary = tmp_path / "summary"
    run = subprocess.run(
        [ROOT / ".ci" / "after-deploy"],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "ENVIRONMENT": environment,
            "ORIGINS": "https://shop.example,https://www.shop.example",
            "CREATE": "",
            "AMOUNT": "",
            "ITEM": "",
            "GITHUB_STEP_SUMMARY": str(summary),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert f"--stack-name {stack} " in (tmp_path / "asked").read_text()
    written = summary.read_text()
    assert f"### {stack}\nInvoiceUrl: `https://not-a-stack.example/`" in written
    assert "must be the InvoiceUrl of the stack" in written


def test_the_workflow_gives_it_whatever_it_needs() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text())
    [given] = [step["env"] for step in workflow["jobs"]["deploy"]["steps"] if step.get("run") == ".ci/after-deploy"]
    used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", (ROOT / ".ci" / "after-deploy").read_text()))
    assert given.keys() == used - {"GITHUB_STEP_SUMMARY"}


def test_what_the_person_chose_reaches_the_check(tmp_path) -> None:
    # In place of make and of the AWS CLI: they print what they are asked, and an address.
    for name, line in (("make", 'echo "$@"'), ("aws", "echo https://stack.example/")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    chosen = {"ENVIRONMENT": "prod", "ORIGINS": "none", "CREATE": "1", "AMOUNT": "", "ITEM": "mug"}
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **chosen}
    run = subprocess.run([ROOT / ".ci" / "after-deploy"], env=environment, capture_output=True, text=True, check=True)
    assert "smoke URL=https://stack.example/ ORIGIN= CREATE=1 AMOUNT= ITEM=mug" in run.stdout
