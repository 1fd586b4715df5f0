"""A provider of which a test writes every byte, in clear or over TLS, and who talks to it."""

import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable

from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import InvoiceRequest
from invoicing.credentials import Credentials
from invoicing.provider.transport import Transport
from invoicing.provider.v1 import V1

CREDENTIALS = Credentials.model_validate({"api_key": "the-key", "shop_id": "the-shop"})
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


def payload(invoice_id: str) -> bytes:
    """Returns the body of a good reply of v1."""
    return json.dumps({"pay_url": f"https://pay.cryptocloud.plus/{invoice_id}", "invoice_id": invoice_id}).encode()


def answer(invoice_id: str, status: str = "200 OK") -> bytes:
    """Returns a whole reply of v1."""
    body = payload(invoice_id)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def create(client: Transport, *, within_s: float = 5.0, attempts: int = 3) -> Invoice:
    """Creates an invoice as the function does."""
    request = InvoiceRequest.model_validate({"amount": "19.99", "order_id": "A-1"})
    call = V1.create(request, CREDENTIALS.shop_id)
    return client.perform(call, CREDENTIALS, deadline_s=time.monotonic() + within_s, attempts=attempts)


class Wire:
    """One connection, as its script sees it.

    Args:
        sock: The socket, ``SSLSocket`` over TLS.
        number: 1 for the first connection of its provider.
    """

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.write = sock.sendall

    def read(self) -> bytes:
        """Returns the next request; raises ``ConnectionResetError`` when there is none."""
        request = b""
        while True:
            head, end, body = request.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if end and len(body) >= int(length[1] if length else 0):
                return request
            received = self.sock.recv(65_536)
            if not received:
                raise ConnectionResetError
            request += received


class RawProvider:
    """Hands each connection to the script, in a thread of its own.

    Args:
        script: Called with each connection, which ends when it returns.
        tls: The server's certificate, or ``None`` for plain HTTP.
    """

    def __init__(self, script: Callable[[Wire], None], tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.connections = 0
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with sock, contextlib.suppress(OSError):
            secure = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
            with secure:
                wire = Wire(secure, number)
                read = wire.read

                def noted() -> bytes:
                    self.requests.append(read())
                    return self.requests[-1]

                wire.read = noted  # type: ignore[method-assign]
                self._script(wire)

    def close(self) -> None:
        """Takes no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
