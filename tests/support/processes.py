"""Processes of this machine, as /proc shows them: https://man7.org/linux/man-pages/man5/proc.5.html."""

import os
from pathlib import Path


def descendants(pid: int) -> dict[int, str]:
    """Returns the commands of a process's children, and of theirs, by process id; NUL ends each word of a command."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _parent_of(int(entry)) == pid:
            found |= {int(entry): command_of(int(entry)), **descendants(int(entry))}
    return found


def runtimes_of(pid: int, handler: str) -> list[int]:
    """Returns the process ids of the runtime clients that a local stack runs for a handler.

    Args:
        pid: The stack's process id.
        handler: The function's handler, such as ``create_invoice.lambda_handler``.
    """
    client = ["-m", "awslambdaric", handler]
    all_of_them = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    # Their emulators have the same words at the end of longer commands.
    return [other for other in all_of_them if command_of(other).split("\0")[1:4] == client and pid in ancestors(other)]


def ancestors(pid: int) -> list[int]:
    """Returns the process ids of a process's parent, of that one's, and so on."""
    parent = _parent_of(pid)
    return [parent, *ancestors(parent)] if parent else []


def command_of(pid: int) -> str:
    """Returns the command of a process, or nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def memory_bytes(pid: int, field: str = "VmRSS") -> int:
    """Returns a process's resident memory: now (``VmRSS``) or at its largest (``VmHWM``)."""
    return _status_of(pid, field) * 1024


def threads(pid: int) -> int:
    """Returns how many threads a process has."""
    return _status_of(pid, "Threads")


def _status_of(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1])


def _parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
