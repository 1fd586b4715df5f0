"""The provider's postbacks: made as a project's settings say, sent, and kept with what became of each.

https://docs.cryptocloud.plus/api-reference-v2/postback
"""

import json
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal
from urllib.parse import urlencode

import jwt
import urllib3
from jwt.warnings import InsecureKeyLengthWarning

_TOKEN_LIFETIME_S = 5 * 60
# The printed token has an integer, whatever the invoice; what it is the id of, nobody says.
_PRINTED_ID = 13
# Longer than any answer that the shop may take its time for.
_ANSWER_TIMEOUT_S = 60
_FATES = ("lost", "doubled", "held")


@dataclass(frozen=True, slots=True)
class Project:
    """What the owner of a project sets in the provider's dashboard.

    Args:
        secret_key: What the tokens of postbacks are signed with.
        notification_url: Where postbacks go; without it none are sent.
        success_url: Where the buyer's way back leads after a payment.
        fail_url: Where it leads when the invoice has ended without one.
        postback_format: ``json`` or ``form``.
        quoted_token: Whether a token comes as Python prints bytes, ``b'…'``, which some have seen.
    """

    secret_key: str = "local-secret-key"
    notification_url: str | None = None
    success_url: str | None = None
    fail_url: str | None = None
    postback_format: Literal["json", "form"] = "json"
    quoted_token: bool = False

    def __post_init__(self) -> None:
        if self.postback_format not in ("json", "form"):
            raise ValueError(f"unknown postback_format {self.postback_format!r}: use json or form")


@dataclass(slots=True)
class Postback:
    """One postback.

    Args:
        invoice_id: The bare id.
        state: ``on its way``, ``answered``, ``failed`` (no answer came), ``lost`` (never sent) or ``held``.
        content_type: Of the request.
        body: The exact text that was sent.
        status: The status code of the answer.
        error: Why no answer came.
    """

    invoice_id: str
    state: str
    content_type: str | None = None
    body: str | None = None
    status: int | None = None
    error: str | None = None


class Postbacks:
    """Sends postbacks, each in a thread of its own.

    Args:
        project: The settings at the start.
        announce: Hears of each postback in a sentence.
    """

    def __init__(self, project: Project, announce: Callable[[str], None]) -> None:
        self._at_start = project
        self._announce = announce
        self._changed = threading.Condition()
        self._under_way = 0
        self.forget()

    def forget(self) -> None:
        """Forgets all postbacks and what is to become of the next ones; the settings are those of the start again."""
        with self._changed:
            self.project = self._at_start
            self._kept: list[Postback] = []
            self._held: list[tuple[Postback, Mapping[str, Any]]] = []
            self._fates: list[str] = []

    def configure(self, **settings: Any) -> None:
        """Changes settings of the project, by the names of ``Project``.

        Raises:
            TypeError: There is no such setting.
            ValueError: There is no such format.
        """
        with self._changed:
            self.project = replace(self.project, **settings)

    def interfere(self, fate: str, times: int = 1) -> None:
        """Decides what becomes of the next ``times`` postbacks.

        Args:
            fate: ``lost`` (never sent), ``doubled`` (sent twice at once) or ``held`` (sent at ``let_go``).
            times: How many postbacks.

        Raises:
            ValueError: There is no such fate.
        """
        if fate not in _FATES:
            raise ValueError(f"unknown fate {fate!r}: use one of {', '.join(_FATES)}")
        with self._changed:
            self._fates += [fate] * times

    def send(self, fields: Mapping[str, Any]) -> None:
        """Sends a postback; returns at once.

        Args:
            fields: All of it but the token, ``invoice_id`` among them.
        """
        with self._changed:
            fate = self._fates.pop(0) if self._fates else ""
            state = fate if fate in ("lost", "held") else "on its way"
            postbacks = [Postback(fields["invoice_id"], state) for _ in range(2 if fate == "doubled" else 1)]
            if self.project.notification_url is None:
                return
            self._kept += postbacks
            if fate == "held":
                self._held.append((postbacks[0], fields))
            if fate in ("lost", "held"):
                return
        for postback in postbacks:
            self._start(postback, fields)

    def let_go(self) -> None:
        """Sends those that are held, the oldest first. A token is made when it is sent, so it is fresh."""
        with self._changed:
            held, self._held = self._held, []
        for postback, fields in held:
            self._start(postback, fields)

    def wait(self, timeout_s: float = 30) -> None:
        """Returns when no postback is on its way.

        Args:
            timeout_s: The longest to wait, in seconds.

        Raises:
            ValueError: One still is.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._under_way, timeout_s):
                raise ValueError(f"a postback is still on its way after {timeout_s:g} s")

    def report(self) -> dict[str, Any]:
        """Returns all postbacks, the oldest first."""
        with self._changed:
            return {"postbacks": [asdict(postback) for postback in self._kept]}

    def of(self, invoice_id: str) -> list[Postback]:
        """Returns the postbacks of one invoice, the oldest first."""
        with self._changed:
            return [replace(postback) for postback in self._kept if postback.invoice_id == invoice_id]

    def _start(self, postback: Postback, fields: Mapping[str, Any]) -> None:
        with self._changed:
            self._under_way += 1
            postback.state = "on its way"
        threading.Thread(target=self._deliver, args=(postback, fields), daemon=True).start()

    def _deliver(self, postback: Postback, fields: Mapping[str, Any]) -> None:
        project = self.project
        postback.content_type, postback.body = _written(project, fields)
        status, error = None, None
        try:
            headers = {"Content-Type": postback.content_type}
            with urllib3.PoolManager(retries=False, timeout=_ANSWER_TIMEOUT_S) as http:
                url, body = str(project.notification_url), postback.body.encode()
                status = http.request("POST", url, body=body, headers=headers, redirect=False).status
        except urllib3.exceptions.HTTPError as failure:
            error = str(failure)
        with self._changed:
            postback.state, postback.status, postback.error = "answered" if status else "failed", status, error
            self._under_way -= 1
            self._changed.notify_all()
        outcome = f"answered with {status}" if status else f"no answer: {error}"
        self._announce(f"Postback for invoice {postback.invoice_id}: {outcome}")


def _written(project: Project, fields: Mapping[str, Any]) -> tuple[str, str]:
    """Returns content type and body of a postback, with a token made now."""
    claims = {"id": _PRINTED_ID, "exp": int(time.time()) + _TOKEN_LIFETIME_S}
    with warnings.catch_warnings():
        # The provider's secret keys are as long as they are.
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        token = jwt.encode(claims, project.secret_key, algorithm="HS256")
    whole = {**fields, "token": f"b'{token}'" if project.quoted_token else token}
    if project.postback_format == "json":
        return "application/json", json.dumps(whole)
    flat = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in whole.items()}
    return "application/x-www-form-urlencoded", urlencode({name: "" if it is None else it for name, it in flat.items()})
