"""The way to a server of which a test says what becomes of each connection, until it opens the way."""

import contextlib
import socket
import threading

from infra.local.loopback import reserve_port

#: What becomes of a connection while the door is shut: nobody listens, nobody answers, it is closed at once or in the
#: middle of the handshake, or what comes is no handshake.
FAULTS = ("refused", "hung", "closed", "closed in the handshake", "not TLS")
_CHUNK_BYTES = 64 * 1024


class Door:
    """A port on loopback before that of a server with TLS. It is shut until ``open``.

    Args:
        port: The server's port.
        fault: One of ``FAULTS``.
    """

    def __init__(self, port: int, fault: str) -> None:
        self._far_port = port
        self._fault = fault
        self._is_open = threading.Event()
        self._kept: list[socket.socket] = []
        self._listener = reserve_port()
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        if fault != "refused":
            self._listen()

    def open(self) -> None:
        """Lets the next connections through. Those that are there stay as they are."""
        self._is_open.set()
        if self._fault == "refused":
            self._listen()

    def close(self) -> None:
        """Ends everything."""
        for sock in (self._listener, *self._kept):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _listen(self) -> None:
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._kept.append(sock)
                action = self._pass_on if self._is_open.is_set() else self._spoil
                threading.Thread(target=action, args=(sock,), daemon=True).start()

    def _spoil(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            match self._fault:
                case "closed":
                    sock.close()
                case "closed in the handshake":
                    sock.recv(_CHUNK_BYTES)
                    sock.close()
                case "not TLS":
                    sock.sendall(b"220 ready\r\n")

    def _pass_on(self, sock: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self._far_port))
        self._kept.append(far)
        threading.Thread(target=_carry, args=(far, sock), daemon=True).start()
        _carry(sock, far)


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
