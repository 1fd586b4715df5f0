"""Origins (RFC 6454): which site a URL belongs to, and which ones are safe to send buyers and keys to."""

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit


class Origin(NamedTuple):
    """Scheme, host and port of a URL (RFC 6454), the port always a number."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def origin_of(url: str) -> Origin:
    """Returns the origin of an absolute http or https URL.

    Args:
        url: For example ``https://pay.cryptocloud.plus/DZLF4212``.

    Raises:
        ValueError: It is not such a URL, has user info, or has characters that a URL may not have (RFC 3986): two
            parsers may read two hosts in those.
    """
    if not url.isascii() or not url.isprintable() or any(char in url for char in ' "<>\\^`{|}'):
        raise ValueError("has characters that a URL may not have")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("has user info")
    default_port = 443 if parts.scheme == "https" else 80
    return Origin(parts.scheme, parts.hostname, default_port if parts.port is None else parts.port)


def trusted_origin(url: str) -> str:
    """Returns the URL of an origin without a slash at its end.

    Args:
        url: https, or http on loopback; without path, query and fragment.

    Raises:
        ValueError: It is not such a URL; the message is the rule.
    """
    trusted_url(url)
    if urlsplit(url).path not in ("", "/") or "?" in url:
        raise ValueError("must have no path, query or fragment")
    return url.rstrip("/")


def trusted_url(url: str) -> str:
    """Returns a URL that may be read.

    Args:
        url: https, or http on loopback; without fragment.

    Raises:
        ValueError: It is not such a URL; the message is the rule.
    """
    origin = origin_of(url)
    if "#" in url:
        raise ValueError("must have no fragment")
    if origin.scheme == "http" and not _is_loopback(origin.host):
        raise ValueError("must be https (http only on loopback)")
    return url


def browser_origin(text: str) -> str:
    """Returns an origin, if it is written as browsers write it in the header ``Origin``.

    Args:
        text: For example ``https://shop.example``.

    Raises:
        ValueError: A browser never sends it: a default port, a dot at the end of the host, capital letters, a path.
            https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin
    """
    origin = origin_of(text)
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    default_port = 443 if origin.scheme == "https" else 80
    port = "" if origin.port == default_port else f":{origin.port}"
    if host.endswith(".") or text != f"{origin.scheme}://{host}{port}":
        raise ValueError(
            "each must be written as browsers send it: in lower case, without path, slash, default port, or dot at "
            "the end"
        )
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
