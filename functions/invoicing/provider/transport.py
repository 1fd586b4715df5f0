"""The provider over urllib3: connection, deadline, and what may be tried again.

Creating an invoice is not idempotent at the provider. So each attempt has one of three outcomes: *created*, *not
created* for sure, or *unknown*; only *not created* is ever tried again here.
"""

import contextlib
import http.client
import random
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from invoicing.contract.errors import InvoicingError, OutcomeUnknown, ProviderUnavailable
from invoicing.contract.settings import ProviderSettings
from invoicing.credentials import Credentials
from invoicing.observability import PROVIDER_LATENCY, metrics
from invoicing.provider.outcomes import MAX_REPLY_BYTES, Call, Reply

_CONNECT_TIMEOUT_S = 3.0
# A connection that idled longer may have been dropped by a peer or a NAT that this sandbox, frozen, never heard from.
_MAX_IDLE_S = 20.0
_MAX_ATTEMPTS = 3
# An attempt that has less time than this is not begun: it would only turn "not created" into "unknown".
MIN_ATTEMPT_S = 1.0
# What must be left of that once we are connected.
_MIN_ANSWER_S = 0.5
_BACKOFF_BASE_S = 0.2
_TRANSPORT_ERRORS = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)


def retry_delay_s(
    error: ProviderUnavailable, *, attempt: int, time_left_s: float, jitter: Callable[[], float] = random.random
) -> float | None:
    """Returns the seconds to wait before the next attempt, or ``None`` when there must be none.

    Args:
        error: Why the attempt before did not create the invoice, and the provider's ``Retry-After`` if it sent one.
        attempt: How many attempts were made, 1 or more.
        time_left_s: Seconds until the deadline of the whole call.
        jitter: A number in [0, 1): full jitter, as in
            https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    if attempt >= _MAX_ATTEMPTS:
        return None
    backoff_s = jitter() * _BACKOFF_BASE_S * 2**attempt
    delay_s = max(backoff_s, error.retry_after_s or 0)
    return delay_s if delay_s + MIN_ATTEMPT_S <= time_left_s else None


class Provider:
    """CryptoCloud, over one connection: a sandbox handles one request at a time.

    Connecting and talking are kept apart: what fails before the first byte is sent has created nothing.

    Args:
        settings: Where the provider is.
        wall_clock: Seconds of wall time, for the age of the connection.
    """

    def __init__(self, settings: ProviderSettings, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._used_at_s = 0.0
        self._api_url = urlsplit(settings.cryptocloud_api_url)
        self._tls: ssl.SSLContext | None = None
        if self._api_url.scheme == "https":
            self._tls = ssl.create_default_context()  # checks certificate and host name
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._connection: HTTPConnection | None = None

    def perform[Result](self, call: Call[Result], credentials: Credentials, *, deadline_s: float) -> Result:
        """Returns the result of a call, trying again only what was not done for sure.

        In the main thread only, where Lambda's runtime client calls handlers: a signal ends what takes too long.

        Args:
            call: What to send, and how to judge the reply.
            credentials: The shop's API key and id.
            deadline_s: ``time.monotonic()`` by which an answer must be there, over all attempts.

        Raises:
            InvoicingError: As ``Call.judge``; also ``OutcomeUnknown`` when the connection fails after sending.
        """
        headers = {
            "Authorization": f"Token {credentials.api_key.get_secret_value()}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "cryptocloud-invoices",
        }
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(call, headers, deadline_s)
            except ProviderUnavailable as error:
                delay_s = retry_delay_s(error, attempt=attempt, time_left_s=deadline_s - time.monotonic())
                if delay_s is None:
                    raise
                time.sleep(delay_s)

    def _attempt[Result](self, call: Call[Result], headers: Mapping[str, str], deadline_s: float) -> Result:
        started_s = time.monotonic()
        if deadline_s - started_s < MIN_ATTEMPT_S:
            raise ProviderUnavailable("no time left for a call to the provider")
        connection = self._usable_connection() or self._connect(min(_CONNECT_TIMEOUT_S, deadline_s - started_s))
        try:
            left_s = deadline_s - time.monotonic()
            if left_s < _MIN_ANSWER_S:
                raise ProviderUnavailable("no time left after connecting to the provider")
            with _hung_up_after(left_s, connection):
                reply = _talk(connection, call, headers, left_s)
            result = call.judge(reply)
        except InvoicingError:
            # Only a connection whose last reply was whole and believed is used again: on any other, what comes next may
            # be the rest of this reply, and would be taken for the answer to the next caller's request.
            connection.close()
            raise
        finally:
            metrics.add_metric(PROVIDER_LATENCY, "Seconds", time.monotonic() - started_s)
        self._connection, self._used_at_s = connection, self._wall_clock()
        return result

    def _usable_connection(self) -> HTTPConnection | None:
        connection, self._connection = self._connection, None
        if connection is None:
            return None
        if connection.is_connected and 0 <= self._wall_clock() - self._used_at_s <= _MAX_IDLE_S:
            return connection
        connection.close()
        return None

    def _connect(self, timeout_s: float) -> HTTPConnection:
        host, port = self._api_url.hostname or "", self._api_url.port
        connection = (
            HTTPSConnection(host, port, timeout=timeout_s, ssl_context=self._tls)
            if self._tls
            else HTTPConnection(host, port, timeout=timeout_s)
        )
        # In a thread, because nothing bounds the resolver's time, nor a handshake that trickles. One that is given up
        # has sent no request, and never will: only this thread writes to a connection.
        connected: Future[None] = Future()
        threading.Thread(target=_settle, args=(connected, connection.connect), daemon=True).start()
        try:
            connected.result(timeout_s)
        except ssl.SSLCertVerificationError as error:
            raise ProviderUnavailable(f"certificate of the provider refused: {error.verify_message}") from None
        except _TRANSPORT_ERRORS as error:
            reason = f"no connection to the provider: {type(error).__name__}"
            raise ProviderUnavailable(reason) from None
        return connection


def _settle(future: "Future[None]", action: Callable[[], None]) -> None:
    try:
        action()
    except BaseException as exception:
        future.set_exception(exception)
    else:
        future.set_result(None)


def _talk(connection: HTTPConnection, call: Call[Any], headers: Mapping[str, str], timeout_s: float) -> Reply:
    connection.timeout = timeout_s
    try:
        connection.request(call.method, call.path, call.body, headers, preload_content=False)
        response = connection.getresponse()
        # Whatever is wrong with a body that nobody judges does not matter.
        content = response.read(MAX_REPLY_BYTES + 1) if response.status in call.reads else b""
    except _TRANSPORT_ERRORS as error:
        raise OutcomeUnknown(f"no answer after the request was sent: {type(error).__name__}") from None
    return Reply(
        response.status,
        content if len(content) <= MAX_REPLY_BYTES else None,
        response.headers.get("Content-Type", ""),
        response.headers.get("Retry-After"),
        response.headers.get("Location"),
    )


@contextlib.contextmanager
def _hung_up_after(left_s: float, connection: HTTPConnection) -> Iterator[None]:
    # A socket's timeout starts anew with every byte: a reply that trickles would outlast any of them. A signal ends it,
    # not a thread, which would have to be started for each request. Signals need the main thread; the runtime client
    # calls handlers there.
    sock = connection.sock
    signal.signal(signal.SIGALRM, lambda *_: _shut_down(sock))
    signal.setitimer(signal.ITIMER_REAL, left_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not the method of an SSLSocket: that takes the TLS layer off first, and what is sent just then is in clear.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
