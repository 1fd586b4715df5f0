"""Checks a deployed stack from outside: ``make smoke URL=…``. Standard library only: nothing to install."""

import argparse
import http.client
import ipaddress
import json
import re
import ssl
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_TIMEOUT_S = 35.0  # API Gateway gives up after 30 s
_FOREIGN = "https://foreign.invalid"  # a name that nobody can register (RFC 2606)
_WHAT_TO_DO = {
    "service_not_configured": "Fill the secret: make secret, with the ENV of the deployment. If it is filled, "
    "make secret CHECK=1 says what is wrong with it.",
    "provider_credentials_rejected": "CryptoCloud refused the API key: put your CryptoCloud project's into the secret.",
    "provider_unavailable": "Nothing was created. CryptoCloud is down or cannot be reached: wait a minute and run this "
    "again. If it lasts, the function's log has the reason.",
    "outcome_unknown": "CryptoCloud gave no usable answer: run this again. If it lasts, the function's log has the "
    "reason. CryptoCloud's list may have an unpaid invoice; it expires there.",
    "invoice_rejected": "CryptoCloud refused this amount: run this with an AMOUNT that your project accepts.",
}


class CheckFailed(Exception):
    """A promise was not kept: what was seen, and what to do about it."""

    def __init__(self, seen: str, to_do: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.to_do = to_do


class NotReached(CheckFailed):
    """There was no answer at all, so no other check makes sense."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``payload`` is empty when it was no JSON object."""

    status: int
    headers: Message
    payload: dict[str, Any]

    def __str__(self) -> str:
        # Of the body, print only our own code or API Gateway's message: anything else could be from anybody.
        said = self.payload.get("code") or self.payload.get("message") or self.headers.get("Content-Type", "no body")
        return f"{self.status} ({said})"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follows no redirect: the address that was given must be the one that answers."""


@dataclass(frozen=True, slots=True)
class Smoke:
    """The checks of one stack.

    Args:
        url: ``InvoiceUrl`` of the stack.
        origin: A site that must be let in; ``*`` when every site must be; empty when there is none to check.
        create: Whether to create one invoice.
        amount: Of that invoice; empty for the smallest that the stack accepts.
        item: What that invoice is for, in place of an amount, where the stack has a price list.
    """

    url: str
    origin: str
    create: bool
    amount: str
    item: str = ""

    def run(self) -> bool:
        """Prints a line for each check; returns whether all promises were kept."""
        kept = True
        try:
            for name, check in self._checks():
                kept &= _report(name, check)
        except NotReached as failure:
            print(f"FAIL  {failure.seen}\n      {failure.to_do}")
            return False
        if not self.origin:
            print("-     not checked: that your own site may call (add ORIGIN=https://your.site)")
        if not self.create:
            print(
                "-     not checked: that an invoice is created (add CREATE=1; costs nothing in CryptoCloud's test mode)"
            )
        print(
            "-     not checked: that CryptoCloud's postbacks are believed (send a test postback from your project at "
            "CryptoCloud: the answer must be 200)"
        )
        print("All is well." if kept else "Not all is well: see above.")
        return kept

    def _checks(self) -> Iterator[tuple[str, Callable[[], str | None]]]:
        if self.origin:
            yield f"the preflight of a page on {self.origin} passes", self._preflight_passes
            yield f"a request of a page on {self.origin} is let in", self._request_is_let_in
        if self.origin != "*":
            yield "the preflight of a page elsewhere does not", self._foreign_preflight_fails
            yield "a request of a page elsewhere is refused", self._foreign_request_is_refused
        yield "a bad request is refused, with the field named", self._bad_request_is_refused
        yield "the status of an invoice that does not exist is not found", self._unknown_invoice_is_not_found
        yield "what is no postback is refused where CryptoCloud posts to", self._no_postback_is_refused
        if self.create:
            yield "one invoice is created, and delivered again under the same key", self._one_invoice

    def _preflight_passes(self) -> None:
        answer = self._preflight(_FOREIGN if self.origin == "*" else self.origin)
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        if allowed not in {self.origin, "*"}:
            raise CheckFailed(
                f"{answer}, Access-Control-Allow-Origin: {allowed or 'none'}",
                f"Let the site in: make deploy ORIGINS={self.origin}. If it is, check the address (URL) and "
                "the spelling of ORIGIN: scheme and host in lower case, the port if it has one, no slash at the end.",
            )
        for header, needed in (("Methods", {"post"}), ("Headers", {"content-type", "idempotency-key"})):
            value = answer.headers.get(f"Access-Control-Allow-{header}", "")
            if not needed <= {part.strip().lower() for part in value.split(",")}:
                raise CheckFailed(
                    f"Access-Control-Allow-{header}: {value or 'none'}", "Deploy template.yaml unchanged."
                )

    def _request_is_let_in(self) -> None:
        origin = _FOREIGN if self.origin == "*" else self.origin
        answer = self._post({"amount": 0}, {"Origin": origin})
        # It must be refused for its amount, not for its page, and the browser must let the page read why.
        self._expect(answer, 400, "invalid_request")
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        if allowed not in {origin, "*"}:
            raise CheckFailed(
                f"Access-Control-Allow-Origin: {allowed or 'none'} on the reply, so a browser keeps it from the page",
                "A proxy or CDN in front of the stack removes it: check its settings.",
            )

    def _foreign_preflight_fails(self) -> None:
        allowed = self._preflight(_FOREIGN).headers.get("Access-Control-Allow-Origin")
        if allowed in {_FOREIGN, "*"}:
            raise CheckFailed(
                f"Access-Control-Allow-Origin: {allowed}",
                "Every site is let in. Name yours: make deploy ORIGINS=https://your.site. "
                "If it is meant so, run this with ORIGIN='*'.",
            )

    def _foreign_request_is_refused(self) -> None:
        self._expect(self._post({"amount": 0}, {"Origin": _FOREIGN}), 403, "origin_not_allowed")

    def _bad_request_is_refused(self) -> None:
        answer = self._post({"amount": 0})
        self._expect(answer, 400, "invalid_request")
        pointers = [error["pointer"] for error in answer.payload.get("errors", [])]
        request_id = answer.headers.get("X-Request-Id")
        for promise, kept in (
            # With a price list, /items is missing as well.
            (f"errors that name /amount, not {pointers}", "/amount" in pointers),
            ("Content-Type: application/problem+json", _media_type(answer) == "application/problem+json"),
            ("Cache-Control: no-store", answer.headers.get("Cache-Control") == "no-store"),
            (
                "X-Request-Id, the request_id of the body",
                bool(request_id) and request_id == answer.payload.get("request_id"),
            ),
        ):
            if not kept:
                raise CheckFailed(
                    f"the reply lacks {promise}",
                    "A proxy or CDN in front of the stack changes replies: check its settings.",
                )

    def _unknown_invoice_is_not_found(self) -> None:
        answer = self._send("GET", None, {}, f"info?uuid=smoke-{uuid.uuid4()}")
        self._expect(answer, 404, "invoice_not_found")

    def _no_postback_is_refused(self) -> None:
        # Not one with a wrong token: the alarm for those would go off.
        answer = self._send("POST", b"not a postback", {"Content-Type": "text/plain"}, "postback")
        self._expect(answer, 400, "invalid_request")

    def _one_invoice(self) -> str:
        asked: dict[str, Any] = {"items": [{"id": self.item}]} if self.item else {"amount": self._amount_to_ask()}
        key = {"Idempotency-Key": f"smoke-{uuid.uuid4()}"}
        first, second = (self._post({**asked, "description": "Smoke test"}, key) for _ in range(2))
        if any(error["pointer"].startswith("/items") for error in first.payload.get("errors", [])):
            details = [f"{error['pointer']} {error['detail']}" for error in first.payload["errors"]]
            raise CheckFailed(
                "; ".join(details),
                "A stack with a price list (PriceListUrl) wants ITEM=…, the id of an item; one without wants none.",
            )
        for answer in (first, second):
            self._expect(answer, 200, None)
        if second.payload.get("invoice_id") != first.payload.get("invoice_id"):
            raise CheckFailed("two invoices under one key", "Look for RecordLost in the function's log.")
        if second.headers.get("Idempotent-Replayed") != "true":
            raise CheckFailed(
                "the second reply lacks Idempotent-Replayed: true",
                "Check the settings of the proxy or CDN in front of the stack.",
            )
        what = f"for {self.item}" if self.item else f"over {asked['amount']} USD"
        return f"{first.payload['invoice_id']} {what}; nobody has to pay it: {first.payload.get('pay_url')}"

    def _amount_to_ask(self) -> str:
        if self.amount:
            return self.amount
        # A stack names its bounds when a request breaks them: "must be from 5 to 500". No stack has bounds this wide.
        for error in self._post({"amount": "1000000000.01"}).payload.get("errors", []):
            if error["detail"].startswith("must be from "):
                return str(error["detail"].split()[3])
        return "0.01"

    def _expect(self, answer: Answer, status: int, code: str | None) -> None:
        if (answer.status, answer.payload.get("code")) == (status, code):
            return
        to_do = _WHAT_TO_DO.get(str(answer.payload.get("code")))
        if not to_do and (request_id := answer.payload.get("request_id")):
            to_do = f"The function's log has the reason under {request_id}."
        raise CheckFailed(
            f"{answer} in place of {status}{f' ({code})' if code else ''}",
            to_do or "Something else than the stack answers: check URL, the InvoiceUrl that make deploy printed.",
        )

    def _preflight(self, origin: str) -> Answer:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,idempotency-key",
        }
        return self._send("OPTIONS", None, {"Origin": origin, **asked})

    def _post(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
        return self._send("POST", json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, method: str, body: bytes | None, headers: dict[str, str], route: str = "create") -> Answer:
        request = urllib.request.Request(f"{self.url.removesuffix('create')}{route}", body, headers, method=method)
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=_TIMEOUT_S) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as response:
            with response:
                return _answer(response.code, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                reason = reason.verify_message
            raise NotReached(
                f"no answer from {urlsplit(self.url).netloc}: {reason or type(error).__name__}",
                "Check URL, the InvoiceUrl that make deploy printed, and that this machine is online.",
            ) from None


def _answer(status: int, headers: Message, body: bytes) -> Answer:
    try:
        payload = json.loads(body)
    except ValueError:
        payload = None
    return Answer(status, headers, payload if isinstance(payload, dict) else {})


def _media_type(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()


def _report(name: str, check: Callable[[], str | None]) -> bool:
    try:
        note = check()
    except NotReached:
        raise
    except CheckFailed as failure:
        print(f"FAIL  {name}: {failure.seen}\n      {failure.to_do}")
        return False
    print(f"ok    {name}" + (f": {note}" if note else ""))
    return True


def _safe_url(text: str) -> str:
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query or not parts.hostname or not parts.path.endswith("/v1/invoice/create"):
        raise argparse.ArgumentTypeError("must be the InvoiceUrl of the stack, https://…/v1/invoice/create")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise argparse.ArgumentTypeError("must be https (http only on loopback)")
    return text


def _browser_origin(text: str) -> str:
    """Returns what a browser sends as ``Origin`` from a page of this site (RFC 6454, https://url.spec.whatwg.org/#origin).

    Args:
        text: A site, as somebody writes it; ``*`` and nothing stay as they are.

    Raises:
        argparse.ArgumentTypeError: No browser can be on such a page.
    """
    if text in ("", "*"):
        return text
    try:
        parts = urlsplit(text)
        default_port = {"http": 80, "https": 443}[parts.scheme]
        host = (parts.hostname or "").encode("idna").decode()
        port = "" if parts.port in (None, default_port) else f":{parts.port}"
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(
            f"ORIGIN is '{text}': it must be a site such as https://shop.example"
        ) from None
    if not host or "@" in parts.netloc or host.endswith(".") or re.search(r"[\s%]", host):
        raise argparse.ArgumentTypeError(f"ORIGIN is '{text}': it must be a site such as https://shop.example")
    return urlunsplit((parts.scheme, f"[{host}]{port}" if ":" in host else f"{host}{port}", "", "", ""))


def _amount(text: str) -> str:
    if text and not re.fullmatch(r"[0-9]+(\.[0-9]{1,2})?", text):
        raise argparse.ArgumentTypeError(
            f"AMOUNT is '{text}': it must be a number with at most 2 decimals, such as 1 or 0.50"
        )
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> int:
    """Runs the checks; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="make smoke", usage="make smoke URL=… [ORIGIN=…] [CREATE=1 [AMOUNT=…|ITEM=…]]"
    )
    parser.add_argument("URL", type=_safe_url)
    parser.add_argument("--origin", default="", type=_browser_origin)
    parser.add_argument("--create", default="")
    parser.add_argument("--amount", default="", type=_amount)
    parser.add_argument("--item", default="")
    arguments = parser.parse_args()
    if arguments.create not in ("", "0", "1"):
        parser.error("CREATE must be 1, or left out")
    if arguments.origin != "*" and not re.fullmatch(r"(https?://[^/\s]+)?", arguments.origin):
        parser.error(
            "ORIGIN must be an origin such as https://shop.example, with no path and no slash at the end, or *"
        )
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?)?", arguments.amount):
        parser.error("AMOUNT must be a decimal number such as 5 or 19.99")
    smoke = Smoke(
        arguments.URL,
        arguments.origin,
        create=arguments.create == "1",
        amount=arguments.amount,
        item=arguments.item,
    )
    return 0 if smoke.run() else 1


if __name__ == "__main__":
    sys.exit(main())
