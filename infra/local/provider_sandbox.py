"""CryptoCloud's API, v1 and v2, as a real HTTP server on loopback, with a pay page on which buttons replace money.

It misbehaves when it is asked to: see ``provider_faults`` for its answers, ``Postbacks.interfere`` for its postbacks.
"""

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from infra.local.loopback import LoopbackServer, QuietHandler
from infra.local.provider_dialects import STATUSES, V1, V2, Answer, Dialect, Shop, new_id
from infra.local.provider_faults import Fault, asked_for, spoil_link
from infra.local.provider_pay_page import ACTIONS, pay_page, plain_page
from infra.local.provider_postbacks import Postbacks, Project

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CONFIRMED = ("paid", "overpaid")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as it arrived: ``body`` is the exact text, ``authorization`` the header."""

    authorization: str | None
    body: str


@dataclass(slots=True)
class Seen:
    """What the sandbox has seen, and what it is asked to do wrong."""

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
        project: What the owner has set for the shop.
        announce: Hears in a sentence what happens to a payment.
    """

    def __init__(
        self,
        *,
        api_key: str,
        shop_id: str,
        port: int = 0,
        dialects: tuple[Dialect, ...] = (V1(), V2()),
        project: Project = Project(),  # noqa: B008 - it cannot change
        announce: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._lock = threading.Lock()
        self._seen = Seen()
        self._routes = {route: (dialect, call) for dialect in dialects for route, call in dialect.routes.items()}
        self.server = LoopbackServer(port, _Handler, self)
        self._shop = Shop(api_key, shop_id, self.server.url)
        self._announce = announce
        self.postbacks = Postbacks(project, announce)

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
        """Says this status of an invoice from now on, without a postback.

        Raises:
            ValueError: There is no such invoice, or no such status.
        """
        if status not in STATUSES:
            raise ValueError(f"unknown status {status!r}: use one of {', '.join(STATUSES)}")
        with self._lock:
            self._known(invoice_id)["status_invoice"] = status

    def press(self, invoice_id: str, action: str) -> None:
        """Does what a button of the pay page says, if that can still happen, and sends the postback if it pays.

        Raises:
            ValueError: There is no such invoice, or no such action.
        """
        if action not in ACTIONS:
            raise ValueError(f"unknown action {action!r}: use one of {', '.join(ACTIONS)}")
        _, status, possible_in = ACTIONS[action]
        with self._lock:
            invoice = self._known(invoice_id)
            if invoice["status_invoice"] not in possible_in:
                return
            invoice["status_invoice"] = status
        self._announce(f"Invoice {invoice_id} is {status}")
        if status in _CONFIRMED:
            self.send_postback(invoice_id)

    def send_postback(self, invoice_id: str) -> None:
        """Sends the postback of an invoice, whatever its status.

        Raises:
            ValueError: There is no such invoice.
        """
        with self._lock:
            invoice = self._known(invoice_id)
            fields = {
                "status": "success",
                "invoice_id": invoice_id.removeprefix("INV-"),
                "amount_crypto": float(invoice["amount"]),
                "currency": "USDT_TRC20",
                "order_id": invoice.get("order_id"),
            }
            if invoice["api"] == "v2":
                fields["invoice_info"] = V2().described(self._shop, fields["invoice_id"])
        self.postbacks.send(fields)

    def send_test_postback(self) -> None:
        """Sends what the dashboard sends when the owner tries the notification URL: it is of no invoice of the shop."""
        self.postbacks.send(
            {
                "status": "success",
                "invoice_id": new_id(),
                "amount_crypto": 100.0,
                "currency": "USDT_TRC20",
                "order_id": None,
            }
        )

    def forget(self) -> None:
        """Forgets calls, invoices, faults and postbacks; the project has the settings of the start again."""
        self.postbacks.forget()
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

    def _known(self, invoice_id: str) -> dict[str, Any]:
        invoice = self._shop.find(invoice_id)
        if invoice is None:
            raise ValueError(f"no invoice {invoice_id!r}")
        return invoice

    def _pay_page(self, invoice_id: str) -> str | None:
        with self._lock:
            invoice = self._shop.invoices.get(invoice_id)
            if invoice is None:
                return None
            return pay_page(invoice_id, invoice, self.postbacks.project, self.postbacks.of(invoice_id))


class _Handler(QuietHandler):
    @property
    def sandbox(self) -> Sandbox:
        return self.server.owner

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/pay/"):
            self._press(path.removeprefix("/pay/"))
            return
        text = self.read_body().decode(errors="replace")
        dialect, call = self.sandbox._routes.get(("POST", path), (None, ""))
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
        self._serve(dialect, call, request, fault or asked_for(request))

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        dialect, call = self.sandbox._routes.get(("GET", url.path), (None, ""))
        if dialect:
            fault = self.sandbox._take_fault(call, Call(self.headers.get("Authorization"), ""))
            self._serve(dialect, call, dict(parse_qsl(url.query)), fault)
        elif url.path.startswith("/pay/"):
            self._show(url.path.removeprefix("/pay/"))
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
                self._reply(*dialect.error(int(fault.value), "as asked"), headers)
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
            spoil_link(fault, *dialect.place_of_link(reply))
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

    def _show(self, invoice_id: str) -> None:
        page = self.sandbox._pay_page(invoice_id)
        self._send_page(200 if page else 404, page or plain_page("No such invoice"))

    def _press(self, invoice_id: str) -> None:
        action = dict(parse_qsl(self.read_body().decode(errors="replace"))).get("action", "")
        try:
            self.sandbox.press(invoice_id, action)
        except ValueError as error:
            self._send_page(400, plain_page(f"Nothing was done: {error}"))
            return
        # So that neither a reload nor the way back presses again.
        self._send(303, b"", "text/plain", {"Location": f"/pay/{invoice_id}"})

    def _send_page(self, status: int, page: str) -> None:
        self._send(status, page.encode(), "text/html; charset=utf-8", {"Cache-Control": "no-store"})

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
