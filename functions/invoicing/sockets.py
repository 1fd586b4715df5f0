"""Sockets: how one is opened, with TLS or without, and whether it is idle.

This needs no package, so it is what a start begins with.
"""

import contextlib
import functools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from invoicing.contract.origins import Origin

# After this long without an answer from one address, the next is tried as well. RFC 8305 (Happy Eyeballs) advises 250
# ms for TCP alone; here the TLS handshake, two more round trips, is within it.
_HEAD_START_S = 0.5
# A check for waiting records looks at this much.
_MAX_PEEK_BYTES = 64 * 1024
#: An open connection that was begun ahead, and the wall time at which it was begun.
type Opened = Future[tuple[socket.socket, float]]
_LOADING = threading.Lock()


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """Returns what checks certificates and host names. All connections share it: to load the authorities takes 20 ms.

    Args:
        authorities: A file of the certificates to trust; ``None`` means the system's, as OpenSSL finds them.
    """
    with _LOADING:  # whoever comes second waits for the first, and does not load them as well
        return loaded_context(None if authorities == os.environ.get("SSL_CERT_FILE") else authorities)


@functools.cache
def loaded_context(authorities: str | None) -> ssl.SSLContext:
    """Returns what ``tls_context`` does, from one thread at a time."""
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def open_socket(origin: Origin, timeout_s: float, authorities: str | None = None) -> socket.socket:
    """Returns an open connection to the address of the host that answers first, with TLS if the scheme is https.

    Args:
        origin: The host to connect to.
        timeout_s: Seconds for everything: resolver, TCP and TLS.
        authorities: As for ``tls_context``.

    Raises:
        OSError: No address answered in time, or each refused; ``ssl.SSLCertVerificationError`` if one of them has a
            certificate that is not trusted.
        UnicodeError: The host's name is not one.
    """
    # Each attempt has all the time that is left, and after a head start the next address is tried too. A share of the
    # time for each would be too short for a distant host with many addresses.
    ends_s = time.monotonic() + timeout_s
    # In threads, because no timeout bounds the resolver or a handshake that trickles. A thread that is given up has
    # sent no request and never will: only the caller of this function writes requests.
    addresses = in_thread(socket.getaddrinfo, origin.host, origin.port, type=socket.SOCK_STREAM).result(timeout_s)
    running: set[Future[socket.socket]] = set()
    errors: list[BaseException] = []
    try:
        for number, address in enumerate(addresses, 1):
            running.add(in_thread(_open, address, origin, authorities, ends_s))
            is_last = number == len(addresses)
            while running:
                left_s = ends_s - time.monotonic()
                ended, running = wait(running, left_s if is_last else min(left_s, _HEAD_START_S), FIRST_COMPLETED)
                for attempt in ended:
                    if error := attempt.exception():
                        errors.append(error)
                    else:
                        ended.remove(attempt)
                        running |= ended
                        return attempt.result()
                if not ended:
                    break
    finally:
        for attempt in running:
            attempt.add_done_callback(_close_late)
    # A refused certificate goes first: only the owner can fix it. Otherwise the first error is reported.
    errors.sort(key=lambda error: not isinstance(error, ssl.SSLCertVerificationError))
    raise errors[0] if errors else TimeoutError


def take(opened: Opened, max_idle_s: float, now_s: float) -> socket.socket | None:
    """Returns a connection that was begun ahead, if it can take a request; otherwise it is closed.

    One that is not open yet may never be: to wait for it could take longer than to connect anew. It is closed when it
    opens.

    Args:
        opened: The connection.
        max_idle_s: How old it may be, in seconds.
        now_s: The wall time.
    """
    if not opened.done():
        opened.add_done_callback(lambda late: None if late.exception() else late.result()[0].close())
        return None
    if opened.exception():
        return None
    sock, begun_at_s = opened.result()
    if 0 <= now_s - begun_at_s <= max_idle_s and is_idle(sock):
        return sock
    sock.close()
    return None


def is_idle(sock: socket.socket) -> bool:
    """Returns whether an open connection has nothing to read, in any layer, and so can take a request.

    Bytes that came before the request are not its reply. Over TLS they may be decrypted already, where a check of the
    socket does not see them. Tickets of TLS 1.3 also come unasked, but they are no data; reading removes them.
    """
    sock.settimeout(0)
    try:
        if isinstance(sock, ssl.SSLSocket) and (sock.pending() or not _has_whole_records_only(sock)):
            return False
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        pass
    return False


def shut_down(sock: socket.socket) -> None:
    """Ends both directions of a connection, even while another thread reads from it."""
    with contextlib.suppress(OSError):
        # Not the method of an SSLSocket: that removes the TLS layer first, and would send what comes just then in
        # clear.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def in_thread[**P, R](action: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
    """Returns what an action will return or raise, which runs in a thread of its own and keeps no process alive.

    It raises nothing itself: what cannot even begin has failed.
    """
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(action(*args, **kwargs))
        except BaseException as exception:
            future.set_exception(exception)

    try:
        threading.Thread(target=run, daemon=True).start()
    except RuntimeError as exception:
        future.set_exception(exception)
    return future


def _has_whole_records_only(sock: ssl.SSLSocket) -> bool:
    # OpenSSL answers "more is needed" for a ticket and for the first half of a reply alike. RFC 8446, 5.1: a record is
    # a header of five bytes, the last two of them its length, and what follows.
    waiting = socket.socket.recv(sock, _MAX_PEEK_BYTES, socket.MSG_PEEK)
    at = 0
    while at < len(waiting):
        at += 5 + int.from_bytes(waiting[at + 3 : at + 5])
    return at == len(waiting)


def _open(address: Any, origin: Origin, authorities: str | None, ends_s: float) -> socket.socket:
    family, kind, protocol, _, socket_address = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(max(ends_s - time.monotonic(), 0.001))  # 0 would mean not to wait at all
        sock.connect(socket_address)
        if origin.scheme == "http":
            return sock
        # Only now: at a start the authorities are read while TCP has its round trip.
        return tls_context(authorities).wrap_socket(sock, server_hostname=origin.host.rstrip("."))
    except BaseException:
        sock.close()
        raise


def _close_late(attempt: "Future[socket.socket]") -> None:
    if attempt.exception() is None:
        attempt.result().close()
