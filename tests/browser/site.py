"""A static site of a test's own making: its pages, the button, and folders that a framework has built."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.local.loopback import LoopbackServer
from tests.support import ROOT

ELEMENT = ROOT / "button" / "crypto-pay.js"
_CONTENT_TYPES = {".css": "text/css", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


class Site:
    """The site on loopback; as ``localhost`` and as ``127.0.0.1`` it is two origins.

    Args:
        invoice_url: Where its buttons send their requests.
        pay_origin: The origin that pay links have.
        order: The order of every ``<crypto-pay>`` on it, or the start of its id.
    """

    def __init__(self, *, invoice_url: str, pay_origin: str, order: str) -> None:
        self._attributes = f'endpoint="{invoice_url}" pay-origin="{pay_origin}" amount="19.99" order-id="{order}"'
        # What the framework's pages have in their places.
        self._replacements = {
            b"https://endpoint.invalid": invoice_url.encode(),
            b"https://pay.invalid": pay_origin.encode(),
            b"order-of-the-test": order.encode(),
        }
        self._pages: dict[str, bytes] = {}
        self._folders: dict[str, Path] = {}
        self.replies: list[tuple[int, str, dict[str, str]]] = []
        self.posts = 0
        self.server = LoopbackServer(0, _Handler, self)

    def button(self, attributes: str = "", content: str = "Pay with crypto") -> str:
        """Returns the element's markup."""
        return f"<crypto-pay {self._attributes} {attributes}>{content}</crypto-pay>"

    def add(self, path: str, body: str, head: str = "") -> str:
        """Adds a page that has loaded the button; returns its address."""
        self._pages[path] = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f'<title>{path}</title><script type="module" src="/crypto-pay.js"></script>{head}<body>{body}</body></html>'
        ).encode()
        return f"{self.server.url}{path}"

    def add_folder(self, path: str, folder: Path) -> str:
        """Adds what a framework has built; returns the address of its page."""
        self._folders[path] = folder
        return f"{self.server.url}{path}index.html"

    def read(self, path: str) -> tuple[str, bytes] | None:
        """Returns content type and content."""
        if path == "/crypto-pay.js":
            return _CONTENT_TYPES[".js"], ELEMENT.read_bytes()
        if path in self._pages:
            return _CONTENT_TYPES[".html"], self._pages[path]
        for start, folder in self._folders.items():
            file = folder / path.removeprefix(start)
            if path.startswith(start) and file.is_file():
                content = file.read_bytes()
                for placeholder, value in self._replacements.items():
                    content = content.replace(placeholder, value)
                return _CONTENT_TYPES[file.suffix], content
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Silences the access log."""

    def do_GET(self) -> None:
        content_type, content = self.server.owner.read(urlsplit(self.path).path) or ("text/plain", b"")
        self._send(200 if content else 404, content, {"Content-Type": content_type})

    def do_OPTIONS(self) -> None:
        self._send(204, b"", {"Access-Control-Allow-Headers": "content-type, idempotency-key"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        site: Site = self.server.owner
        site.posts += 1
        status, text, headers = site.replies.pop(0)
        self._send(status, text.encode(), {"Access-Control-Expose-Headers": "retry-after", **headers})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        # A module in a sandboxed frame is of another origin.
        for name, value in {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
