"""A network between a function and what it calls: TLS, and a round trip that takes its time.

``python -m tests.benchmarks.network FOLDER ROUND_TRIP_MS URL...`` relays to each URL until it is ended. It writes the
certificate to trust into the folder, and prints the https URLs of the relays, one a line.
"""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import trustme

from tests.support import ROOT

_CHUNK_BYTES = 64 * 1024


class Network:
    """Relays in a process of their own, within a ``with`` block: what they relay must not wait for them.

    Args:
        folder: A scratch folder.
        round_trip_s: What a round trip takes, in seconds.
        urls: Whom to relay to, plain HTTP on loopback.

    Attributes:
        urls: Where the relays are, in the order of what they relay to.
        authorities: A file of what to trust: what this machine trusts, and the certificate of the relays.
    """

    def __init__(self, folder: Path, round_trip_s: float, urls: Sequence[str]) -> None:
        arguments = (str(folder), f"{round_trip_s * 1000:g}", *urls)
        self._command = [sys.executable, "-m", "tests.benchmarks.network", *arguments]
        self._count = len(urls)
        self.authorities = folder / "authorities.pem"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.urls = [self._process.stdout.readline().strip() for _ in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with self._process:  # waits, and closes the pipe
            pass


async def _relay(folder: Path, round_trip_s: float, urls: Sequence[str]) -> None:
    authority = trustme.CA()
    system = Path(ssl.get_default_verify_paths().cafile or "")
    trusted = system.read_bytes() if system.is_file() else b""
    (folder / "authorities.pem").write_bytes(trusted + authority.cert_pem.bytes())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(tls)
    relayed: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive

    def relay_to(port: int | None, round_trip_s: float) -> Callable[..., None]:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(_join(reader, writer, port, round_trip_s))
            relayed.add(task)
            task.add_done_callback(relayed.discard)

        return connected

    for url in urls:
        port = urlsplit(url).port
        inner = await asyncio.start_server(relay_to(port, 0), "127.0.0.1", 0, ssl=tls)
        inner_port = inner.sockets[0].getsockname()[1]
        outer = await asyncio.start_server(relay_to(inner_port, round_trip_s), "127.0.0.1", 0)
        print(f"https://127.0.0.1:{outer.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


async def _join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int | None, round_trip_s: float
) -> None:
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    # A connection on loopback is open at once. Over a network that is a round trip, which the first bytes make up for.
    there = _carry(reader, far_writer, round_trip_s / 2, first_s=round_trip_s)
    back = _carry(far_reader, writer, round_trip_s / 2)
    await asyncio.gather(there, back)


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float, first_s: float = 0
) -> None:
    loop = asyncio.get_running_loop()
    opened_s = loop.time()

    def arrive(chunk: bytes) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            writer.write(chunk) if chunk else writer.close()

    with contextlib.suppress(OSError):
        while True:
            chunk = await reader.read(_CHUNK_BYTES)
            arrives_s = max(loop.time(), opened_s + first_s) + delay_s
            if delay_s:
                loop.call_at(arrives_s, arrive, chunk)
            else:
                arrive(chunk)
            if not chunk:
                return


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_relay(Path(sys.argv[1]), float(sys.argv[2]) / 1000, sys.argv[3:]))
