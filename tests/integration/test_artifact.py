"""What `sam build` makes: it runs as Lambda would run it, stays within its budgets, and is the same every time."""

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from infra.trim_packages import OPERATIONS, UNUSED
from tests.benchmarks.contest import BARE, OURS, ROOT, RUNTIME_PYTHON, Contestant, Surroundings, ask, surroundings
from tests.support.templates import of_type, read_template

ARCH = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
MAX_ZIPPED_BYTES = 6_500_000
# Measured 0.55 and less (docs/benchmarks.md): beyond this, something that a start does not need has come in.
MAX_START_UP_RATIO = 0.75
START_UP_ROUNDS = 5
# What the entry point imports of the artifact. A new name here costs every cold start, so it wants a reason.
PACKAGES = {
    "annotated_types", "aws_lambda_powertools", "boto3", "botocore", "create_invoice", "dateutil", "invoicing",
    "jmespath", "pydantic", "pydantic_core", "s3transfer", "six", "typing_extensions", "typing_inspection", "urllib3",
}  # fmt: skip
FUNCTIONS_DIR = ROOT / "functions"
FUNCTIONS = of_type(read_template(ROOT / "template.yaml"), "AWS::Serverless::Function")
# Powertools' HTTP resolvers, which import asyncio and a hundred modules more.
NEVER = {"asyncio", "aws_lambda_powertools.event_handler", "aws_xray_sdk", "requests"}


@pytest.fixture(scope="module")
def around() -> Iterator[Surroundings]:
    with surroundings() as around:
        yield around


@pytest.fixture
def read_only(tmp_path) -> Iterator[Contestant]:
    artifact = tmp_path / "task"
    shutil.copytree(OURS.artifact, artifact)
    subprocess.run(["chmod", "-R", "a-w", artifact], check=True)
    yield Contestant("a", "ours, read-only", artifact, OURS.handler)
    subprocess.run(["chmod", "-R", "u+w", artifact], check=True)


def test_it_runs_from_a_read_only_folder_and_tries_to_write_nothing(around, read_only) -> None:
    before = digest(read_only.artifact)
    # Bytecode may be written: root may write everywhere, so what was missing would show.
    with around.start(read_only, PYTHONDONTWRITEBYTECODE="") as sandbox:
        ask(sandbox)
        ask(sandbox, with_key=True)
    assert digest(read_only.artifact) == before


def test_it_imports_its_own_packages_only_and_no_more_of_them_than_it_should(around, read_only) -> None:
    program = (
        "import json, sys; sys.path.insert(0, '.'); import create_invoice; "
        "print(json.dumps({name: getattr(module, '__file__', None) for name, module in sys.modules.items()}))"
    )
    printed = subprocess.run(
        [RUNTIME_PYTHON, "-B", "-c", program],
        cwd=read_only.artifact,
        env=around.environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    files = json.loads(printed.splitlines()[-1])
    ours = {name for name, file in files.items() if file and Path(file).is_relative_to(read_only.artifact)}
    others = {name for name, file in files.items() if file and "site-packages" in file}
    assert {name.partition(".")[0] for name in ours} == PACKAGES
    assert others == set()
    assert NEVER & files.keys() == set()


def test_it_is_small() -> None:
    assert OURS.zipped_bytes() <= MAX_ZIPPED_BYTES
    names = {path.name for path in OURS.artifact.rglob("*") if path.is_dir()}
    assert not {name for name in names if name == "tests" or name.endswith(".dist-info")}
    assert not [part for part in UNUSED if (OURS.artifact / part).exists()]
    services = {path.name for path in (OURS.artifact / "botocore" / "data").iterdir() if path.is_dir()}
    assert services == OPERATIONS.keys()


def test_every_module_of_ours_finds_what_it_imports() -> None:
    files = [*FUNCTIONS_DIR.glob("*.py"), *FUNCTIONS_DIR.glob("invoicing/**/*.py")]
    modules = [".".join(file.relative_to(FUNCTIONS_DIR).with_suffix("").parts) for file in files]
    assert {"create_invoice", "watch_invoices", "invoicing.prices"} <= set(modules)
    program = f"import sys; sys.path.insert(0, '.'); import {', '.join(modules)}"
    environment = {"AWS_DEFAULT_REGION": "us-east-1"}
    subprocess.run([RUNTIME_PYTHON, "-B", "-c", program], cwd=OURS.artifact, env=environment, check=True)


def test_its_clients_know_the_operations_that_the_functions_roles_allow() -> None:
    template = (ROOT / "template.yaml").read_text()
    for service in OPERATIONS:
        # Of the versions of a service's API, botocore takes the last.
        *_, model = sorted((OURS.artifact / "botocore" / "data" / service).glob("*/service-2.json"))
        known = set(json.loads(model.read_text())["operations"])
        # events:source is a condition key: operations begin with a capital letter.
        assert known - {"DescribeEndpoints"} == set(re.findall(rf"\b{service}:([A-Z]\w+)", template))


def test_it_has_bytecode_of_every_module() -> None:
    sources = list(OURS.artifact.rglob("*.py"))
    without = [path for path in sources if not (path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc").exists()]
    assert sources
    assert without == []


def test_it_starts_in_a_fraction_of_the_time_of_a_bare_function_built_plainly(around) -> None:
    # Processor time, which other programs on the machine do not change much; the two take turns all the same.
    cpu_s: dict[Contestant, list[float]] = {OURS: [], BARE: []}
    for _ in range(START_UP_ROUNDS):
        for contestant, times_s in cpu_s.items():
            with around.start(contestant) as sandbox:
                ask(sandbox)
                times_s.append(sandbox.cpu_s())
    assert statistics.median(cpu_s[OURS]) <= MAX_START_UP_RATIO * statistics.median(cpu_s[BARE])


def test_two_builds_give_the_same_bytes(tmp_path) -> None:
    # In folders of their own: what is beside an artifact is of the same build.
    builds = [tmp_path / "first" / "Function", tmp_path / "second" / "Function"]
    for folder in builds:
        folder.mkdir(parents=True)
        build(folder, LAMBDA_ARCH=ARCH, TEMPLATE_ARCH=ARCH).check_returncode()
    assert digest(builds[0]) == digest(builds[1])


def test_all_functions_get_the_same_files_and_only_the_first_of_a_build_installs_packages(tmp_path) -> None:
    first, second, broken = (tmp_path / name for name in ("First", "Second", "Broken"))
    for folder in (first, second, broken):
        folder.mkdir()
    settings = {"LAMBDA_ARCH": ARCH, "TEMPLATE_ARCH": ARCH, "PIP_FIND_LINKS": str(tmp_path / "nothing")}
    # A build that failed leaves nothing to copy.
    assert build(broken, **settings).returncode != 0
    build(first, LAMBDA_ARCH=ARCH, TEMPLATE_ARCH=ARCH).check_returncode()
    build(second, **settings).check_returncode()
    assert digest(first) == digest(second)
    built = [ROOT / ".aws-sam" / "local" / name for name in FUNCTIONS]
    assert [digest(folder) for folder in built] == [digest(OURS.artifact)] * len(FUNCTIONS)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"LAMBDA_ARCH": "x86_64"},
            "This would build for x86_64, but template.yaml deploys CreateInvoiceFunction to arm64",
        ),
        ({"LAMBDA_ARCH": "riscv"}, "LAMBDA_ARCH is 'riscv': set it to arm64 or x86_64."),
        ({"PYTHON": "/no/such/python"}, "Python 3.13 is needed to build: install it, or set PYTHON to its path."),
        ({"PYTHON": "/bin/false"}, "Python 3.13 is needed to build: install it, or set PYTHON to its path."),
    ],
)
def test_what_cannot_be_built_is_said_in_a_sentence(tmp_path, settings, sentence) -> None:
    done = build(tmp_path, **settings)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_another_function_is_built_by_the_same_recipe_for_its_own_architecture(tmp_path) -> None:
    project, artifact = tmp_path / "project", tmp_path / "artifact"
    artifact.mkdir()
    shutil.copytree(ROOT / "functions", project / "functions")
    shutil.copytree(ROOT / "infra", project / "infra", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(ROOT / "requirements.txt", project)
    (project / "functions" / "second.py").write_text("def lambda_handler(event, context):\n    return event\n")
    other = {"arm64": "x86_64", "x86_64": "arm64"}[ARCH]
    (project / "template.yaml").write_text(
        "Globals:\n  Function:\n    Architectures:\n      - " + ARCH + "\n"
        "Resources:\n"
        "  CreateInvoiceFunction:\n    Properties:\n      Architectures: [" + other + "]\n"
        "  SecondFunction:\n    Properties:\n      Handler: second.lambda_handler\n"
    )
    build(artifact, "SecondFunction", project).check_returncode()
    assert {"second.py", "create_invoice.py", "invoicing", "pydantic"} <= {path.name for path in artifact.iterdir()}
    assert f"deploys CreateInvoiceFunction to {other}" in build(artifact, project=project, LAMBDA_ARCH=ARCH).stderr
    assert "template.yaml has no function ThirdFunction." in build(artifact, "ThirdFunction", project).stderr


def build(
    folder: Path, function: str = "CreateInvoiceFunction", project: Path = ROOT, **settings: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        "PYTHON": str(ROOT / ".venv-local" / "bin" / "python"),
        # From what `make test` has downloaded: no network here.
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(ROOT / ".aws-sam" / "wheels"),
        **settings,
        "ARTIFACTS_DIR": str(folder),
    }
    # As SAM does it: in a copy of the folder, where the recipe has its original name.
    return subprocess.run(
        ["make", "--makefile", project / "functions" / "Makefile", f"build-{function}"],
        cwd=project / "functions",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def digest(folder: Path) -> dict[str, tuple[float, int, str]]:
    """Returns each file's time of change, mode and hash."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime,
            path.stat().st_mode,
            sha256(path.read_bytes()).hexdigest(),
        )
        for path in files
    }
