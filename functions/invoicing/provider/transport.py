"""Calls over HTTP: the deadline, the connection, and what may be tried again.

Creating an invoice is not idempotent at the provider. So each attempt has one of three outcomes: *created*, *not
created* for sure, or *unknown*; only *not created* is ever tried again here.
"""

import contextlib
import http.client
import random
import signal
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection

from invoicing.contract.errors import InvoicingError, OutcomeUnknown, ProviderUnavailable
from invoicing.contract.origins import origin_of
from invoicing.credentials import Credentials
from invoicing.observability import PROVIDER_LATENCY, metrics
from invoicing.provider.connection import connection_over, open_connection
from invoicing.provider.outcomes import Call, Reply
from invoicing.sockets import Opened, is_idle, shut_down, take

_CONNECT_TIMEOUT_S = 3.0
# A peer or a NAT may have dropped a connection that was idle for longer, and a frozen instance does not notice.
_MAX_IDLE_S = 20.0
MAX_ATTEMPTS = 3
# An attempt with less time than this does not begin: it would only turn "not created" into "unknown".
MIN_ATTEMPT_S = 1.0
# This much of it must be left after connecting.
_MIN_ANSWER_S = 0.5
_BACKOFF_BASE_S = 0.2
# The socket's own timeout comes that much after the deadline. The connection is shut down at the deadline, and a body
# that lasts as long as its connection is whole then, which a timeout would not say.
_HANG_UP_FIRST_S = 1.0
_TRANSPORT_ERRORS = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)


def retry_delay_s(
    error: ProviderUnavailable,
    *,
    attempt: int,
    time_left_s: float,
    attempts: int = MAX_ATTEMPTS,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """Returns the seconds to wait before the next attempt, or ``None`` when there must be none.

    Args:
        error: Why the attempt before did not create the invoice, and the provider's ``Retry-After`` if it sent one.
        attempt: How many attempts were made, 1 or more.
        time_left_s: Seconds until the deadline of the whole call.
        attempts: How many there may be.
        jitter: A number in [0, 1): full jitter, as in
            https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    if attempt >= attempts:
        return None
    backoff_s = jitter() * _BACKOFF_BASE_S * 2**attempt
    delay_s = max(backoff_s, error.retry_after_s or 0)
    return delay_s if delay_s + MIN_ATTEMPT_S <= time_left_s else None


class Transport:
    """Calls to one origin, over one connection: an instance handles one request at a time.

    Connecting and talking are separate steps: what fails before the first byte is sent has created nothing.

    Args:
        url: An https or http URL, of which only the origin counts.
        peer: Who is called, in the words of the log.
        latency: The metric that the time of each attempt goes into; ``None`` measures none.
        opened: A connection to the URL's origin that was begun ahead.
        wall_clock: Seconds of wall time, for the age of the connection.

    Attributes:
        held_s: Seconds that the attempts of the last call took, without the waits between them.
        answered: Whether a whole reply came to the last of these attempts, with whatever status.
    """

    def __init__(
        self,
        url: str,
        *,
        peer: str = "the provider",
        latency: str | None = PROVIDER_LATENCY,
        opened: Opened | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._peer = peer
        self._latency = latency
        self._wall_clock = wall_clock
        self._used_at_s = 0.0
        self._origin = origin_of(url)
        self._opened = opened
        self._connection: HTTPConnection | None = None
        self.held_s = 0.0
        self.answered = False

    def perform[Result](
        self, call: Call[Result], credentials: Credentials | None, *, deadline_s: float, attempts: int = MAX_ATTEMPTS
    ) -> Result:
        """Returns the result of a call, trying again only what was not done for sure.

        In the main thread only, where Lambda's runtime client calls handlers: a signal ends what takes too long.

        Args:
            call: What to send, and how to judge the reply.
            credentials: The shop's API key and id; ``None`` for every other host than the provider's: it must never get
                the key.
            deadline_s: ``time.monotonic()`` by which an answer must be there, over all attempts.
            attempts: How many there may be, 1 or more.

        Raises:
            InvoicingError: As ``Call.judge``; also ``ProviderUnavailable`` when nothing could be sent, and
                ``OutcomeUnknown`` whatever goes wrong after that.
        """
        headers = {"Accept": "application/json", "User-Agent": "cryptocloud-invoices", **call.headers}
        if call.body:
            headers["Content-Type"] = "application/json"
        if credentials:
            headers["Authorization"] = f"Token {credentials.api_key.get_secret_value()}"
        attempt, self.held_s = 0, 0.0
        while True:
            attempt += 1
            self.answered = False
            started_s = time.monotonic()
            try:
                return self._attempt(call, headers, deadline_s)
            except ProviderUnavailable as error:
                left_s = deadline_s - time.monotonic()
                delay_s = retry_delay_s(error, attempt=attempt, attempts=attempts, time_left_s=left_s)
                if delay_s is None:
                    raise
            finally:
                self.held_s += time.monotonic() - started_s
            time.sleep(delay_s)

    def _attempt[Result](self, call: Call[Result], headers: Mapping[str, str], deadline_s: float) -> Result:
        started_s = time.monotonic()
        if deadline_s - started_s < MIN_ATTEMPT_S:
            raise ProviderUnavailable(f"no time left for a call to {self._peer}")
        connection = self._usable_connection() or self._connect(deadline_s)
        left_s = deadline_s - time.monotonic()
        try:
            with _hung_up_after(left_s, connection):
                reply = _talk(connection, call, headers, left_s)
            self.answered = True
            result = _judge(call, reply)
        except BaseException:
            # Only a connection whose last reply was whole and believed is used again: on any other, what comes next may
            # be the rest of this reply, and would be taken for the answer to the next caller's request.
            connection.close()
            raise
        finally:
            if self._latency:
                metrics.add_metric(self._latency, "Seconds", time.monotonic() - started_s)
        self._connection, self._used_at_s = connection, self._wall_clock()
        return result

    def _usable_connection(self) -> HTTPConnection | None:
        opened, self._opened = self._opened, None
        if opened:
            sock = take(opened, _MAX_IDLE_S, self._wall_clock())
            return connection_over(sock, self._origin) if sock else None
        connection, self._connection = self._connection, None
        # There is no socket if the last reply ended the connection, or was not read to its end.
        if connection is None or connection.sock is None:
            return None
        if 0 <= self._wall_clock() - self._used_at_s <= _MAX_IDLE_S and is_idle(connection.sock):
            return connection
        connection.close()
        return None

    def _connect(self, deadline_s: float) -> HTTPConnection:
        timeout_s = min(_CONNECT_TIMEOUT_S, deadline_s - time.monotonic())
        try:
            connection = open_connection(self._origin, timeout_s)
        except ssl.SSLCertVerificationError as error:
            raise ProviderUnavailable(f"certificate of {self._peer} refused: {error.verify_message}") from None
        except (OSError, UnicodeError) as error:
            reason = f"no connection to {self._peer}: {type(error).__name__}"
            raise ProviderUnavailable(reason) from None
        if deadline_s - time.monotonic() < _MIN_ANSWER_S:
            connection.close()
            raise ProviderUnavailable(f"no time left after connecting to {self._peer}")
        return connection


def _talk(connection: HTTPConnection, call: Call[Any], headers: Mapping[str, str], timeout_s: float) -> Reply:
    connection.timeout = timeout_s + _HANG_UP_FIRST_S
    try:
        connection.request(call.method, call.path, call.body or None, headers, preload_content=False)
    except _TRANSPORT_ERRORS as error:
        raise OutcomeUnknown(f"request not sent to its end: {type(error).__name__}") from None
    try:
        response = connection.getresponse()
    except Exception as error:
        # Any exception: libraries that parse foreign data raise more than they document, and the request is out.
        raise OutcomeUnknown(f"no answer after the request was sent: {type(error).__name__}") from None
    # Errors in a body that nobody reads do not matter.
    body = _body_of(response, call.max_reply_bytes) if response.status in call.reads else b""
    if not response.isclosed():
        connection.close()  # more data may come, and the next caller must not get it
    return Reply(
        response.status,
        body,
        response.headers.get("Content-Type", ""),
        response.headers.get("Retry-After"),
        response.headers.get("Location"),
        response.headers.get("ETag"),
    )


def _body_of(response: urllib3.BaseHTTPResponse, max_bytes: int) -> bytes | None:
    try:
        body = response.read(max_bytes + 1)
    except Exception:
        return None  # the judge decides what the status alone means
    return body if len(body) <= max_bytes else None


def _judge[Result](call: Call[Result], reply: Reply) -> Result:
    try:
        return call.judge(reply)
    except InvoicingError:
        raise
    except Exception as error:
        # A fault of ours, but the request is out: nobody knows its outcome.
        raise OutcomeUnknown(f"reply {reply.status} could not be judged: {type(error).__name__}") from error


@contextlib.contextmanager
def _hung_up_after(left_s: float, connection: HTTPConnection) -> Iterator[None]:
    # A socket's timeout starts anew with every byte: a reply that trickles would outlast any of them. A signal ends it,
    # not a thread, which would have to be started for each request. Python runs signal handlers in the main thread
    # only; the runtime client calls Lambda's handlers there, so nothing else can be in the way.
    sock = connection.sock
    signal.signal(signal.SIGALRM, lambda *_: shut_down(sock))
    signal.setitimer(signal.ITIMER_REAL, left_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
