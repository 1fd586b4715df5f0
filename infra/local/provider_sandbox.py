"""CryptoCloud's v1 API as a real HTTP server on loopback, which can be told to misbehave.

Faults are for the next requests (``Sandbox.misbehave``, or ``POST /provider/faults`` on the control port) or for one
request (its ``description`` is ``sandbox:<fault>`` or ``sandbox:<fault>=<value>``):

============== ===================================================== ================
fault          what happens                                          invoice created?
============== ===================================================== ================
slow           the right answer after ``value`` seconds              yes
reset          half of the answer, then the connection is reset      yes
refuse         the connection is reset without an answer             no
status         the status code ``value``, with ``retry_after``       no
html           200 and a page                                        yes
truncated      200 and half of the JSON                              yes
huge           200 and more than 64 KiB of JSON                      yes
redirect       302                                                   no
trickle        the answer's head at once, then a byte a second       yes
trickle_head   a byte a second from the first on                     yes
gzip_bomb      200 and 64 MiB of zeros in 64 KiB of gzip             yes
plain_text     200 and the JSON as text/plain                        yes
close_early    the connection is closed before any answer            yes
foreign        200 and a ``pay_url`` of another site                 yes
no_pay_url     200 without ``pay_url``                               yes
============== ===================================================== ================
"""

import gzip
import json
import secrets
import socket
import string
import struct
import threading
from dataclasses import asdict, dataclass, field
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from infra.local.loopback import LoopbackServer

_CURRENCIES = {"USD", "RUB", "EUR", "GBP", "UAH"}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PAY_PAGE_STYLE = """<style>
:root { color-scheme: light dark; font: 1.125rem/1.6 system-ui, sans-serif; }
body { display: grid; place-items: center; min-height: 90vh; margin: 0; padding: 1rem; text-align: center; }
main { padding: 1rem 2.5rem; border: 1px solid #8888; border-radius: 1rem; }
h1 { font-size: 1.25rem; font-weight: 400; }
strong { font-size: 2.25rem; }
</style>"""
_FAULTS = {
    "slow", "reset", "refuse", "status", "html", "truncated", "huge", "redirect", "foreign", "no_pay_url",
    "trickle", "trickle_head", "gzip_bomb", "plain_text", "close_early",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour.

    Args:
        name: One of the faults above.
        value: Seconds for ``slow``, the status code for ``status``.
        retry_after: A value for the header ``Retry-After``, for ``status``.
    """

    name: str
    value: float = 0
    retry_after: str | None = None

    def __post_init__(self) -> None:
        if self.name not in _FAULTS:
            raise ValueError(f"unknown fault {self.name!r}: use one of {', '.join(sorted(_FAULTS))}")
        if not isinstance(self.value, int | float):
            raise TypeError("value must be a number")
        if self.name == "status" and not 200 <= self.value <= 599:
            raise ValueError("value must be a status code from 200 to 599")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to create, as it arrived: ``body`` is the exact text, ``authorization`` the header."""

    authorization: str | None
    body: str


@dataclass(slots=True)
class State:
    """What the sandbox knows and has seen."""

    api_key: str
    shop_id: str
    calls: list[Call] = field(default_factory=list)
    invoices: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


class Sandbox:
    """The provider on ``127.0.0.1``.

    Args:
        api_key: The key that callers must send.
        shop_id: The shop that the key belongs to.
        port: 0 takes a free one.
    """

    def __init__(self, *, api_key: str, shop_id: str, port: int = 0) -> None:
        self._state = State(api_key, shop_id)
        self._lock = threading.Lock()
        self.server = LoopbackServer(port, _Handler, self)

    def misbehave(self, fault: str, *, times: int = 1, value: float = 0, retry_after: str | None = None) -> None:
        """Adds a fault for the next ``times`` requests to create.

        Raises:
            ValueError: There is no such fault.
        """
        with self._lock:
            self._state.faults += [Fault(fault, value, retry_after)] * times

    def rotate(self, api_key: str) -> None:
        """Accepts only this API key from now on."""
        with self._lock:
            self._state.api_key = api_key

    def forget(self) -> None:
        """Forgets calls, invoices and faults."""
        with self._lock:
            self._state = State(self._state.api_key, self._state.shop_id)

    def report(self) -> dict[str, Any]:
        """Returns the calls, oldest first, the invoices by id, and how many faults are left."""
        with self._lock:
            return {
                "calls": [asdict(call) for call in self._state.calls],
                "invoices": self._state.invoices,
                "faults_left": len(self._state.faults),
            }

    def _take_call(self, call: Call) -> Fault | None:
        with self._lock:
            self._state.calls.append(call)
            return self._state.faults.pop(0) if self._state.faults else None

    def _create(self, authorization: str | None, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Returns status and body as PROVIDER's page has them."""
        with self._lock:
            if authorization != f"Token {self._state.api_key}":
                return 401, {"message": "Unauthenticated."}
            if complaint := _complaint(request, self._state.shop_id):
                return 400, {"status": "error", "error": complaint}
            invoice_id = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(8))
            self._state.invoices[invoice_id] = {**request, "status_invoice": "created"}
        return 200, {
            "status": "success",
            "pay_url": f"{self.server.url}/pay/{invoice_id}",
            "currency": "BTC",
            "invoice_id": invoice_id,
        }

    def _find(self, invoice_id: str) -> dict[str, Any] | None:
        with self._lock:
            return self._state.invoices.get(invoice_id.removeprefix("INV-"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def sandbox(self) -> Sandbox:
        return self.server.owner

    def log_message(self, *_: Any) -> None:
        """Says nothing: ``Sandbox.report`` has it all."""

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
        if urlsplit(self.path).path != "/v1/invoice/create":
            self._reply(404, {"message": "Not Found"})
            return
        authorization = self.headers.get("Authorization")
        if self.headers.get("Content-Type") != "application/json":
            self._reply(400, {"status": "error", "error": "The request is not JSON."})
            return
        fault = self.sandbox._take_call(Call(authorization, text))
        try:
            request = json.loads(text)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            self._reply(400, {"status": "error", "error": "The request is not a JSON object."})
            return
        self._create(authorization, request, fault or _asked_for(request))

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/v1/invoice/info":
            if self.headers.get("Authorization") != f"Token {self.sandbox._state.api_key}":
                self._reply(401, {"message": "Unauthenticated."})
                return
            invoice = self.sandbox._find(parse_qs(url.query).get("uuid", [""])[0])
            if invoice is None:
                self._reply(400, {"status": "error", "error": "Invoice not found."})
            else:
                self._reply(200, {"status": "success", "status_invoice": invoice["status_invoice"]})
        elif url.path.startswith("/pay/"):
            self._pay_page(url.path.removeprefix("/pay/"))
        else:
            self._reply(404, {"message": "Not Found"})

    def _create(self, authorization: str | None, request: dict[str, Any], fault: Fault | None) -> None:
        match fault:
            case Fault("refuse"):
                self._reset()
            case Fault("status"):
                headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
                self._reply(int(fault.value), {"status": "error", "error": "told to"}, headers)
            case Fault("redirect"):
                self._reply(302, {}, {"Location": f"{self.sandbox.server.url}/pay/ELSEWHERE"})
            case Fault("slow"):
                answer = self.sandbox._create(authorization, request)
                self.sandbox.server.stopped.wait(fault.value)
                self._reply(*answer)
            case _:
                self._answer(fault.name if fault else "", *self.sandbox._create(authorization, request))

    def _answer(self, fault: str, status: int, reply: dict[str, Any]) -> None:
        match fault:
            case "foreign":
                reply["pay_url"] = "https://pay.cryptocloud.plus.example/DZLF4212"
            case "no_pay_url":
                del reply["pay_url"]
            case "huge":
                reply["padding"] = "x" * 70_000
        body = json.dumps(reply).encode()
        match fault:
            case "html":
                self._send(200, b"<!doctype html><title>Just a moment</title>", "text/html; charset=utf-8")
            case "plain_text":
                self._send(200, body, "text/plain")
            case "truncated":
                self._send(200, body[: len(body) // 2], "application/json")
            case "gzip_bomb":
                self._send(200, gzip.compress(bytes(2**26)), "application/json", {"Content-Encoding": "gzip"})
            case "reset" | "close_early" | "trickle" | "trickle_head":
                self._break_off(fault, body)
            case _:
                self._send(status, body, "application/json")

    def _break_off(self, fault: str, body: bytes) -> None:
        self.close_connection = True
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        match fault:
            case "reset":
                self.wfile.write(head + body[: len(body) // 2])
                self._reset()
            case "trickle":
                self._trickle(head + body, at_once=len(head))
            case "trickle_head":
                self._trickle(head + body, at_once=0)

    def _pay_page(self, invoice_id: str) -> None:
        invoice = self.sandbox._find(invoice_id)
        if invoice is None:
            self._send(404, b"<!doctype html><title>No such invoice</title><h1>No such invoice</h1>", "text/html")
            return
        amount, currency = escape(str(invoice["amount"])), escape(str(invoice.get("currency", "USD")))
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>Invoice {escape(invoice_id)}</title>{_PAY_PAGE_STYLE}"
            f"<main><h1>Invoice {escape(invoice_id)}</h1><p><strong>{amount} {currency}</strong></p>"
            "<p>This is the sandbox's pay page: nothing can be paid here.</p></main></html>"
        )
        self._send(200, page.encode(), "text/html; charset=utf-8")

    def _reply(self, status: int, payload: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(payload).encode(), "application/json", headers)

    def _send(
        self,
        status: int,
        body: bytes,
        content_type: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(HTTPStatus(status))
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _trickle(self, content: bytes, at_once: int) -> None:
        self.wfile.write(content[:at_once])
        for byte in content[at_once:]:
            if self.sandbox.server.stopped.wait(1):
                return
            self.wfile.write(bytes([byte]))

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def _asked_for(request: dict[str, Any]) -> Fault | None:
    description = request.get("description")
    if not isinstance(description, str) or not description.startswith("sandbox:"):
        return None
    name, _, value = description.removeprefix("sandbox:").partition("=")
    try:
        return Fault(name, float(value or 0))
    except ValueError:
        return None


def _complaint(request: dict[str, Any], shop_id: str) -> str | None:
    if request.get("shop_id") != shop_id:
        return "The shop is not yours."
    try:
        if float(request["amount"]) <= 0:
            return "The amount must be positive."
    except (KeyError, TypeError, ValueError):
        return "The amount is not a number."
    return None if request.get("currency", "USD") in _CURRENCIES else "The currency is not supported."
