"""Cuts the packages of the artifact to what the functions use: python infra/trim_packages.py ARTIFACTS_DIR

botocore has the models of some four hundred services, 24 MB. When the first client is made, it reads the endpoints of
all of them, 1.2 MB of JSON: some 50 ms of the start-up. This keeps the files that belong to no service and, for each
service in use, its endpoints, its endpoint rules and a model with only the operations in use, uncompressed and without
documentation (another 11 ms). If you call another operation, name it here: otherwise the client has no such method.

What no function imports goes too: a fifth of the zip file. If you import one of these parts, take it off the list.
"""

import gzip
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What the functions' roles allow (template.yaml; a test compares them), and of DynamoDB what botocore itself looks for.
OPERATIONS = {
    "dynamodb": {"BatchGetItem", "DescribeEndpoints", "GetItem", "PutItem", "Query", "UpdateItem"},
    "events": {"PutEvents"},
    "secretsmanager": {"GetSecretValue"},
}

# Relative to the artifact. What is left of these packages imports none of them by itself.
UNUSED = (
    "aws_lambda_powertools/event_handler",
    *(
        f"aws_lambda_powertools/utilities/{name}"
        for name in (
            *("auth_alpha", "batch", "circuit_breaker", "data_classes", "data_masking", "feature_flags", "idempotency"),
            *("kafka", "metadata", "parameters", "parser/envelopes", "parser/models", "streaming", "validation"),
        )
    ),
    *("bin", "boto3/data", "boto3/examples"),  # scripts, and the models and examples of boto3's resources
    "dateutil/zoneinfo",  # Python has time zones itself, and clocks here are UTC
    *("pydantic/v1", "pydantic/mypy.py"),  # Pydantic of before 2023, and a plugin for a type checker
)


def leave_out(artifact: Path) -> None:
    """Removes the parts that are not used.

    Args:
        artifact: The folder with the packages.

    Raises:
        FileNotFoundError: A part is not where these packages should have it.
    """
    for part in UNUSED:
        path = artifact / part
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def trim(data: Path) -> None:
    """Cuts a folder ``botocore/data``.

    Args:
        data: The folder.

    Raises:
        FileNotFoundError: A service in use or the list of endpoints is not where this botocore should have it.
        KeyError: A service has no such operation.
    """
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: of for name, of in partition["services"].items() if name in OPERATIONS}
    _write(data / "endpoints.json", endpoints)
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in OPERATIONS:
            shutil.rmtree(folder)
    for service, operations in OPERATIONS.items():
        packed = sorted((data / service).glob("*/*.json.gz"))
        if not packed:
            raise FileNotFoundError(f"No models in {data / service}: has botocore moved its data?")
        for examples in (data / service).glob("*/examples-*.json"):
            examples.unlink()  # for pages of documentation alone
        for file in packed:
            content = json.loads(gzip.decompress(file.read_bytes()), object_hook=_undocumented)
            if file.name == "service-2.json.gz":
                _keep(operations, content)
            _write(file.with_suffix(""), content)
            file.unlink()


def _undocumented(members: dict[str, Any]) -> dict[str, Any]:
    # Only where it is text: a member of a shape may have this name too.
    return {name: of for name, of in members.items() if not (name == "documentation" and isinstance(of, str))}


def _keep(operations: set[str], model: dict[str, Any]) -> None:
    model["operations"] = {name: model["operations"][name] for name in sorted(operations)}
    left, reached = list(_shapes_in(model["operations"])), set()
    while left:
        if (name := left.pop()) not in reached:
            reached.add(name)
            left += _shapes_in(model["shapes"][name])
    model["shapes"] = {name: of for name, of in model["shapes"].items() if name in reached}


def _shapes_in(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _shapes_in(inner)


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, separators=(",", ":")))


if __name__ == "__main__":
    trim(Path(sys.argv[1]) / "botocore" / "data")
    leave_out(Path(sys.argv[1]))
