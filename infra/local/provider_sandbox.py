"""CryptoCloud's API, v1 and v2, as a real HTTP server on loopback, which can be told to misbehave.

Faults are for the next requests (``Sandbox.misbehave``, or ``POST /provider/faults`` on the control port) or for one
request to create (its ``description``, in v2 its ``order_id``, is ``sandbox:<fault>`` or ``sandbox:<fault>=<value>``):

============== ===================================================== ===============
fault          what happens                                          is it done?
============== ===================================================== ===============
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
foreign        200 and a link to another site                        yes
no_pay_url     200 without a link                                    yes
bare_link      200 and a link without its scheme                     yes
test_mode      as always; in v2 it says that the project is a test   yes
refused_key    the key is refused; in v2 by the status ``value``,    no
               400, 401 or 403, each with a body of its own
firewall       403 and a page                                        no
============== ===================================================== ===============
"""

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from html import escape
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from infra.local.loopback import LoopbackServer, QuietHandler
from infra.local.provider_dialects import STATUSES, V1, V2, Answer, Dialect, Shop

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
    "trickle", "trickle_head", "gzip_bomb", "plain_text", "close_early", "bare_link", "test_mode", "refused_key",
    "firewall",
}  # fmt: skip
_CALLS = ("create", "info", "list", "cancel")


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour.

    Args:
        name: One of the faults above.
        value: Seconds for ``slow``, the status code for ``status`` and ``refused_key``.
        retry_after: A value for the header ``Retry-After``, for ``status``.
        call: What it is for: ``create``, ``info``, ``list`` or ``cancel``.
    """

    name: str
    value: float = 0
    retry_after: str | None = None
    call: str = "create"

    def __post_init__(self) -> None:
        if self.name not in _FAULTS:
            raise ValueError(f"unknown fault {self.name!r}: use one of {', '.join(sorted(_FAULTS))}")
        if self.call not in _CALLS:
            raise ValueError(f"unknown call {self.call!r}: use one of {', '.join(_CALLS)}")
        if not isinstance(self.value, int | float):
            raise TypeError("value must be a number")
        if self.name == "status" and not 200 <= self.value <= 599:
            raise ValueError("value must be a status code from 200 to 599")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as it arrived: ``body`` is the exact text, ``authorization`` the header."""

    authorization: str | None
    body: str


@dataclass(slots=True)
class Seen:
    """What the sandbox has seen, and what it is told to do."""

    calls: list[Call] = field(default_factory=list)
    asked: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class Sandbox:
    """The provider on ``127.0.0.1``.

    Args:
        api_key: The key that callers must send.
        shop_id: The shop that the key belongs to.
        port: 0 takes a free one.
        dialects: Which versions of the API it speaks; of the others it knows nothing.
    """

    def __init__(
        self, *, api_key: str, shop_id: str, port: int = 0, dialects: tuple[Dialect, ...] = (V1(), V2())
    ) -> None:
        self._lock = threading.Lock()
        self._seen = Seen()
        self._routes = {route: (dialect, call) for dialect in dialects for route, call in dialect.routes.items()}
        self.server = LoopbackServer(port, _Handler, self)
        self._shop = Shop(api_key, shop_id, self.server.url)

    def misbehave(
        self, fault: str, *, times: int = 1, value: float = 0, retry_after: str | None = None, call: str = "create"
    ) -> None:
        """Adds a fault for the next ``times`` requests of a kind.

        Raises:
            ValueError: There is no such fault, or no such call.
        """
        with self._lock:
            self._seen.faults += [Fault(fault, value, retry_after, call)] * times

    def rotate(self, api_key: str) -> None:
        """Accepts only this API key from now on."""
        with self._lock:
            self._shop.api_key = api_key

    def set_status(self, invoice_id: str, status: str) -> None:
        """Says this status of an invoice from now on.

        Raises:
            ValueError: There is no such invoice, or no such status.
        """
        if status not in STATUSES:
            raise ValueError(f"unknown status {status!r}: use one of {', '.join(STATUSES)}")
        with self._lock:
            invoice = self._shop.find(invoice_id)
            if invoice is None:
                raise ValueError(f"no invoice {invoice_id!r}")
            invoice["status_invoice"] = status

    def forget(self) -> None:
        """Forgets calls, invoices and faults."""
        with self._lock:
            self._seen = Seen()
            self._shop.invoices = {}

    def report(self) -> dict[str, Any]:
        """Returns the calls to create and all others (``asked``), oldest first, the invoices by id, and how many faults
        are left.
        """
        with self._lock:
            return {
                "calls": [asdict(call) for call in self._seen.calls],
                "asked": [asdict(call) for call in self._seen.asked],
                "invoices": {invoice_id: dict(invoice) for invoice_id, invoice in self._shop.invoices.items()},
                "faults_left": len(self._seen.faults),
            }

    def _take_fault(self, call: str, arrived: Call) -> Fault | None:
        with self._lock:
            (self._seen.calls if call == "create" else self._seen.asked).append(arrived)
            fault = next((fault for fault in self._seen.faults if fault.call == call), None)
            if fault:
                self._seen.faults.remove(fault)
            return fault

    def _do(self, dialect: Dialect, call: str, authorization: str | None, request: dict[str, Any]) -> Answer:
        with self._lock:
            if authorization != f"Token {self._shop.api_key}":
                return dialect.refused_key()
            return getattr(dialect, call)(self._shop, request)

    def _find(self, invoice_id: str) -> dict[str, Any] | None:
        with self._lock:
            return self._shop.find(invoice_id)


class _Handler(QuietHandler):
    @property
    def sandbox(self) -> Sandbox:
        return self.server.owner

    def do_POST(self) -> None:
        text = self.read_body().decode(errors="replace")
        dialect, call = self.sandbox._routes.get(("POST", urlsplit(self.path).path), (None, ""))
        if dialect is None:
            self._reply(404, {"message": "Not Found"})
            return
        if self.headers.get("Content-Type") != "application/json":
            self._reply(*dialect.error(400, "The request is not JSON."))
            return
        fault = self.sandbox._take_fault(call, Call(self.headers.get("Authorization"), text))
        try:
            request = json.loads(text)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            self._reply(*dialect.error(400, "The request is not a JSON object."))
            return
        self._serve(dialect, call, request, fault or _asked_for(request))

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        dialect, call = self.sandbox._routes.get(("GET", url.path), (None, ""))
        if dialect:
            fault = self.sandbox._take_fault(call, Call(self.headers.get("Authorization"), ""))
            self._serve(dialect, call, dict(parse_qsl(url.query)), fault)
        elif url.path.startswith("/pay/"):
            self._pay_page(url.path.removeprefix("/pay/"))
        else:
            self._reply(404, {"message": "Not Found"})

    def _serve(self, dialect: Dialect, call: str, request: dict[str, Any], fault: Fault | None) -> None:
        def do() -> Answer:
            return self.sandbox._do(dialect, call, self.headers.get("Authorization"), request)

        match fault:
            case Fault("refuse"):
                self._reset()
            case Fault("status"):
                headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
                self._reply(*dialect.error(int(fault.value), "told to"), headers)
            case Fault("redirect"):
                self._reply(302, {}, {"Location": f"{self.sandbox.server.url}/pay/ELSEWHERE"})
            case Fault("refused_key", value=403):
                self._reply(403, {"detail": "Authentication credentials were not provided."})
            case Fault("refused_key", value=401):
                self._reply(*V1().refused_key())
            case Fault("refused_key"):
                self._reply(*dialect.refused_key())
            case Fault("firewall"):
                self._send(403, b"<!doctype html><title>Attention Required!</title>", "text/html; charset=utf-8")
            case Fault("slow"):
                answer = do()
                self.sandbox.server.stopped.wait(fault.value)
                self._reply(*answer)
            case _:
                self._answer(fault.name if fault else "", dialect, do)

    def _answer(self, fault: str, dialect: Dialect, do: Callable[[], Answer]) -> None:
        status, reply = do()
        if fault in ("foreign", "no_pay_url", "bare_link") and status == 200:
            _spoil_link(fault, *dialect.place_of_link(reply))
        elif fault == "huge":
            reply["padding"] = "x" * 70_000
        elif fault == "test_mode" and isinstance(reply.get("result"), dict):
            reply["result"]["test_mode"] = True
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


def _spoil_link(fault: str, place: dict[str, Any], name: str) -> None:
    link = place.pop(name)
    if fault == "foreign":
        place[name] = "https://pay.cryptocloud.plus.example/DZLF4212"
    elif fault == "bare_link":
        place[name] = link.partition("://")[2]


def _asked_for(request: dict[str, Any]) -> Fault | None:
    for text in (request.get("description"), request.get("order_id")):
        if isinstance(text, str) and text.startswith("sandbox:"):
            name, _, value = text.removeprefix("sandbox:").partition("=")
            try:
                return Fault(name, float(value or 0))
            except ValueError:
                return None
    return None
