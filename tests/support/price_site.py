"""A shop's site that publishes a price list, with a tag, over a real socket."""

import hashlib
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

from infra.local.loopback import LoopbackServer, QuietHandler
from tests.support.price_lists import as_file


class PriceSite:
    """Publishes at ``url`` what it was given last; remembers the requests and what was published when.

    Args:
        price_list: What it publishes first.
    """

    def __init__(self, price_list: object) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.published: list[tuple[float, Any]] = []
        self.status = 200
        self.publish(price_list)
        self.server = LoopbackServer(0, _Handler, self)
        self.url = f"{self.server.url}/prices.json"

    def publish(self, price_list: object) -> None:
        """Publishes a list, or bytes as they are."""
        self.content = price_list if isinstance(price_list, bytes) else as_file(price_list)
        self.published.append((time.monotonic(), price_list))


class _Handler(QuietHandler, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site: PriceSite = self.server.owner
        content, status = site.content, site.status
        site.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if status == 200 and self.headers.get("If-None-Match") == etag:
            status, content = 304, b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", etag)
        if status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
