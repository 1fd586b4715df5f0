"""The demo shop: ``examples/static-site`` with the button, as a static host serves it, from an origin of its own."""

from pathlib import Path
from urllib.parse import urlsplit

from infra.local.loopback import LoopbackServer, QuietHandler

_ROOT = Path(__file__).resolve().parents[2]
_SITE = _ROOT / "examples" / "static-site"
_BUTTON = _ROOT / "button" / "crypto-pay.js"
_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
# What the page as committed names: the default ports of `make run`.
_COMMITTED_API, _COMMITTED_PAY = "http://127.0.0.1:3000", "http://127.0.0.1:3002"


class Shop:
    """The folder and the button over HTTP, pointed at this stack, with a strict Content-Security-Policy as a header.

    Args:
        port: 0 takes a free one.
        api_origin: Where the page sends its requests.
        pay_origin: The origin that pay links have.
    """

    def __init__(self, port: int, *, api_origin: str, pay_origin: str) -> None:
        self._api_origin = api_origin
        self._pay_origin = pay_origin
        self.headers = {
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                f"connect-src 'self' {api_origin}; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
            ),
            "X-Content-Type-Options": "nosniff",
            # Not no-store: the back button would have to load the page anew, and real shops are seldom served so.
            "Cache-Control": "no-cache",
        }
        self.server = LoopbackServer(port, _Handler, self)

    def read(self, path: str) -> tuple[str, bytes] | None:
        """Returns content type and content of a file, read anew each time, or nothing.

        Args:
            path: The path of a URL; ``/`` is the page.
        """
        name = path.removeprefix("/") or "index.html"
        files = (_BUTTON, *_SITE.iterdir())
        file = next((file for file in files if file.name == name and file.suffix in _CONTENT_TYPES), None)
        if file is None:
            return None
        content = file.read_bytes()
        if file.suffix == ".html":
            content = content.replace(_COMMITTED_API.encode(), self._api_origin.encode())
            content = content.replace(_COMMITTED_PAY.encode(), self._pay_origin.encode())
        return _CONTENT_TYPES[file.suffix], content


class _Handler(QuietHandler):
    def do_GET(self) -> None:
        shop: Shop = self.server.owner
        found = shop.read(urlsplit(self.path).path)
        content_type, content = found or ("text/plain; charset=utf-8", b"No such file in the demo shop.")
        self.send_response(200 if found else 404)
        headers = {"Content-Type": content_type, "Content-Length": str(len(content)), **shop.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
