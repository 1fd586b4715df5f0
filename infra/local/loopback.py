"""An HTTP server on 127.0.0.1 that can go down and come back on its port, as a service does in an outage."""

import contextlib
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_LOOK_AGAIN_S = 0.02


def reserve_port(port: int = 0) -> socket.socket:
    """Returns a socket that keeps a port, until it is closed, for a server of this process or of another one.

    A free port that is only looked up may be gone when the server binds it: any connection out may have got it. A bound
    socket that does not listen prevents that, and servers set SO_REUSEADDR, which lets them listen on its port
    (https://man7.org/linux/man-pages/man7/socket.7.html).

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: The port is in use.
    """
    reservation = socket.socket()
    try:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", port))
    except BaseException:
        reservation.close()
        raise
    return reservation


class NotListening(Exception):
    """A process does not listen on its port."""


def wait_until_listening(port: int, process: "subprocess.Popen[Any]", limit_s: float = 60) -> None:
    """Returns when a process listens on a port of 127.0.0.1.

    Args:
        port: The port.
        process: Who is to listen there.
        limit_s: How long it may take to start, in seconds: a minute for a busy machine.

    Raises:
        NotListening: The process has ended, or the time has.
    """
    deadline_s = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        if (status := process.poll()) is not None:
            raise NotListening(f"ended with {status}")
        if time.monotonic() > deadline_s:
            raise NotListening(f"is not listening after {limit_s:g} s")
        time.sleep(_LOOK_AGAIN_S)


class QuietHandler(BaseHTTPRequestHandler):
    """Keeps connections open, answers without delay and logs nothing: what a server did is for its owner to report."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Silences the access log."""

    def read_body(self) -> bytes:
        """Returns the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        """Sends a whole reply.

        Args:
            status: Its HTTP status.
            content: Its body.
            headers: By names with ``_`` in place of ``-``, such as ``Content_Type``.
        """
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class LoopbackServer:
    """Serves in threads of its own.

    Args:
        port: 0 takes a free one.
        handler: Finds ``owner`` as ``self.server.owner``.
        owner: The object that the handler answers for.
    """

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler], owner: object) -> None:
        self._handler = handler
        self._owner = owner
        self.stopped = threading.Event()
        self._server = self._serve(port)
        self.port = self._server.server_port

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Comes back after ``stop``, on the same port."""
        self.stopped.clear()
        self._server = self._serve(self.port)

    def stop(self) -> None:
        """Refuses connections and cuts those that are open."""
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_connections()

    def _serve(self, port: int) -> "_Server":
        server = _Server(("127.0.0.1", port), self._handler, self._owner)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], owner: object) -> None:
        super().__init__(address, handler)
        self.owner = owner
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # the peer has hung up already
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints nothing: in half of the faults the caller hangs up."""
