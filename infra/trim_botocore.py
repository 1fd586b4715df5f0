"""Cuts botocore's data to what a client of ours reads: python infra/trim_botocore.py ARTIFACTS_DIR

botocore carries the models of some four hundred services, 24 MB, and reads the endpoints of all of them, 1.2 MB of
JSON, whenever the first client is made: some 50 ms of the start-up. What is left is the models, endpoint rules and
endpoints of the services in use, unpacked and without their documentation (another 6 ms), and the files that belong to
no service.
"""

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

SERVICES = {"dynamodb", "secretsmanager"}


def trim(data: Path) -> None:
    """Cuts a folder ``botocore/data``.

    Args:
        data: The folder.

    Raises:
        FileNotFoundError: A service in use or the list of endpoints is not where this botocore should have it.
    """
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: of for name, of in partition["services"].items() if name in SERVICES}
    _write(data / "endpoints.json", endpoints)
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    for service in SERVICES:
        packed = list((data / service).glob("*/*.json.gz"))
        if not packed:
            raise FileNotFoundError(f"No models in {data / service}: has botocore moved its data?")
        for file in packed:
            _write(file.with_suffix(""), json.loads(gzip.decompress(file.read_bytes()), object_hook=_undocumented))
            file.unlink()


def _undocumented(members: dict[str, Any]) -> dict[str, Any]:
    # Only the text: a member of a shape may have this name, too.
    return {name: of for name, of in members.items() if not (name == "documentation" and isinstance(of, str))}


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, separators=(",", ":")))


if __name__ == "__main__":
    trim(Path(sys.argv[1]) / "botocore" / "data")
