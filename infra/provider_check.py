"""Finds out which address and which version of CryptoCloud's API a key works with: ``make provider``.

It asks each known host for the status of an invoice that does not exist: nothing is created. It follows no redirect.
Without the owner's consent, the key goes to the configured host only.
"""

import argparse
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import urllib3
from botocore.exceptions import BotoCoreError, ClientError

CONFIGURED = "https://api.cryptocloud.plus"
# The others are known mostly from programs of third parties.
KNOWN = (CONFIGURED, "https://api.trybit.com")
PAY_ORIGINS = "https://pay.cryptocloud.plus,https://pay.trybit.com"
_NOBODYS_INVOICE = "INV-NOSUCHID"
_TIMEOUT_S = 10.0
_MAX_BYTES = 64 * 1024


class CannotAsk(Exception):
    """There is no usable key, or an argument makes no sense; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one host says in one version of the API.

    Args:
        kind: ``works``, ``refused`` (the API is there, but does not accept the key), ``other`` (something else answers)
            or ``gone`` (nothing answers).
        said: The same for people.
    """

    kind: str
    said: str


def ask(url: str, api: str, key: str | None) -> Finding:
    """Asks one host, in one version of the API, for an invoice that does not exist.

    Args:
        url: The host's origin.
        api: ``v1`` or ``v2``.
        key: The API key; ``None`` asks without one.
    """
    headers = {"Accept": "application/json", "User-Agent": "cryptocloud-invoices"}
    if key is not None:
        headers["Authorization"] = f"Token {key}"
    http = urllib3.PoolManager(ssl_context=ssl.create_default_context(), timeout=_TIMEOUT_S, retries=False)
    try:
        if api == "v1":
            path = f"/v1/invoice/info?uuid={_NOBODYS_INVOICE}"
            reply = http.request("GET", url + path, headers=headers, redirect=False, preload_content=False)
        else:
            path, question = "/v2/invoice/merchant/info", {"uuids": [_NOBODYS_INVOICE]}
            reply = http.request(
                "POST", url + path, json=question, headers=headers, redirect=False, preload_content=False
            )
        body = _read(reply)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        return Finding("gone", f"no answer: {_plain(error)}")
    finally:
        http.clear()
    return judge(api, reply.status, reply.headers.get("Location", ""), _object_in(body))


def _read(reply: urllib3.BaseHTTPResponse) -> bytes:
    body, deadline_s = b"", time.monotonic() + _TIMEOUT_S
    # A timeout of the socket starts anew with every byte.
    while len(body) < _MAX_BYTES and time.monotonic() < deadline_s and (part := reply.read1(_MAX_BYTES)):
        body += part
    return body


def judge(api: str, status: int, location: str, payload: dict[str, Any]) -> Finding:
    """Returns what an answer says about the key and the host.

    Args:
        api: ``v1`` or ``v2``.
        status: The HTTP status.
        location: The header ``Location``; empty without one.
        payload: The JSON object in the body; empty without one.
    """
    if 300 <= status < 400:
        return Finding("other", f"a redirect{_to(location)}, which was not followed")
    result = payload.get("result")
    names_the_key = isinstance(result, dict) and "authorization" in result
    if payload and (status == 401 or names_the_key or (api == "v2" and status == 403 and "detail" in payload)):
        return Finding("refused", f"the API is there, and refuses the key ({status})")
    if status == 200 and payload.get("status") == "success":
        return Finding("works", "works, and accepts the key")
    if api == "v1" and status == 400 and payload.get("status") == "error":
        # That is how v1 says that it does not know the invoice.
        return Finding("works", "works, and accepts the key")
    if status in (404, 410):
        return Finding("other", f"does not speak {api} ({status})")
    return Finding("other", f"something else answers: {status} {'in JSON' if payload else 'without JSON'}")


def _plain(error: BaseException) -> str:
    # urllib3's own messages have addresses of Python objects in them; what happened is in the causes.
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    for cause in reversed(causes):
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is refused: {cause.verify_message}"
            case socket.gaierror():
                return "its name is not found"
            case TimeoutError():
                return "it took too long"
            case OSError(strerror=str(text)):
                return text.lower()
    return type(error).__name__


def _to(location: str) -> str:
    # The host alone: the rest of an address can hold anything.
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    return f" to {host}" if host and host.isascii() and host.isprintable() else ""


def _object_in(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def find_key(secret_arn: str) -> str:
    """Returns the API key: of the deployed secret if one is named, else of the environment.

    Args:
        secret_arn: ARN or name of the secret; empty for the environment.

    Raises:
        CannotAsk: There is no usable key.
    """
    key = _key_in_secret(secret_arn) if secret_arn else os.environ.get("CRYPTOCLOUD_API_KEY", "")
    key = key.strip().removeprefix("\ufeff").removeprefix("Token ").strip()
    if not key:
        raise CannotAsk(
            "There is no key to ask with: set CRYPTOCLOUD_API_KEY, or name the deployed secret with "
            "SECRET_ARN=… (the output SecretArn of make deploy)."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CannotAsk("The key has characters that no key has: copy it from your CryptoCloud project again.")
    return key


def _key_in_secret(secret_arn: str) -> str:
    parts = secret_arn.split(":")
    try:
        # The ARN says where the secret is, whatever region this machine is set to.
        client = boto3.client("secretsmanager", region_name=parts[3] if len(parts) > 3 else None)
        secret = client.get_secret_value(SecretId=secret_arn)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise CannotAsk(f"Secrets Manager answered {code}: check SECRET_ARN and your AWS credentials.") from None
    except BotoCoreError as error:
        raise CannotAsk(f"Secrets Manager was not reached ({type(error).__name__}): check your AWS settings.") from None
    key = _object_in((secret.get("SecretString") or "").encode()).get("api_key")
    if not isinstance(key, str):
        raise CannotAsk('The secret has no api_key: it must be JSON like {"api_key": "…", "shop_id": "…"}.')
    return key


def may_get_the_key(host: str, agreed: Iterable[str]) -> bool:
    """Returns whether the owner agreed to a host by its name. Asks them, if there is a terminal to ask at.

    Args:
        host: The host's name, with the port if it has one.
        agreed: The hosts that ``YES`` names.
    """
    if host in agreed:
        return True
    if not sys.stdin.isatty():
        return False
    print(f"\nMay the key go to {host}? What is known of that host is mostly from programs of third parties.")
    return input(f"Type {host} for yes, anything else for no: ").strip() == host


def check(urls: Sequence[str], configured: str, key: str, agreed: Sequence[str]) -> dict[tuple[str, str], Finding]:
    """Asks all hosts in all versions of the API, and prints what they say.

    Args:
        urls: The origins of the hosts.
        configured: The one that gets the key unasked.
        key: The API key.
        agreed: The hosts to which the owner said yes in advance.
    """
    findings: dict[tuple[str, str], Finding] = {}
    for url in urls:
        host = urlsplit(url).netloc
        if url == configured:
            found = {api: ask(url, api, key) for api in ("v1", "v2")}
        else:
            found = {api: ask(url, api, None) for api in ("v1", "v2")}
            # Ask only about a host that answers like the API.
            talks = [api for api, finding in found.items() if finding.kind in ("refused", "works")]
            if talks and may_get_the_key(host, agreed):
                found |= {api: ask(url, api, key) for api in talks}
            else:
                found |= dict.fromkeys(talks, Finding("unasked", f"the API is there; to try the key: YES={host}"))
        print(f"\n{url}")
        for api, finding in found.items():
            print(f"  {api}  {finding.said}")
            findings[url, api] = finding
    return findings


def advise(findings: dict[tuple[str, str], Finding], configured: str) -> bool:
    """Prints which parameters to deploy with; returns whether there are any.

    Args:
        findings: What the hosts said.
        configured: The host that is configured, which is preferred.
    """
    working = sorted(
        (place for place, finding in findings.items() if finding.kind == "works"),
        key=lambda place: place[0] != configured,
    )
    if working:
        print("\nThe key works with these parameters:\n")
        for url, api in working:
            parameters = f"ProviderUrl={url} ProviderApi={api} PayOrigins={PAY_ORIGINS}"
            print(f'  make deploy PARAMETERS="{parameters}"')
        print("\nv1 is what CryptoCloud calls old, v2 is its current API. Nothing checked the id of your shop.")
        return True
    kinds = {finding.kind for finding in findings.values()}
    if "refused" in kinds:
        print("\nThe key works nowhere that it was tried: put the API key of your CryptoCloud project into the secret.")
    elif "unasked" in kinds:
        print("\nThe configured host does not answer as the API, another one does: run this again with the YES above.")
    else:
        print("\nNo known host answers as the API: check that this machine is online, and CryptoCloud's own news.")
    return False


def _origin(text: str) -> str:
    parts = urlsplit(text)
    is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if (
        not parts.hostname
        or "@" in parts.netloc
        or parts.path
        or parts.query
        or not (parts.scheme == "https" or is_local)
    ):
        raise argparse.ArgumentTypeError("must be https://host, without a path (http only on loopback)")
    return text


def main() -> int:
    """Asks, and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="make provider", usage="make provider [SECRET_ARN=…] [PROVIDER_URL=…] [YES=host,…]"
    )
    parser.add_argument("--secret-arn", default="")
    parser.add_argument("--configured", type=_origin, default=CONFIGURED)
    parser.add_argument("--host", type=_origin, action="append", help="a host to ask in place of the known ones")
    parser.add_argument("--yes", default="")
    arguments = parser.parse_args()
    urls = list(dict.fromkeys([arguments.configured, *(arguments.host or KNOWN)]))
    try:
        key = find_key(arguments.secret_arn)
        findings = check(urls, arguments.configured, key, [host for host in arguments.yes.split(",") if host])
    except CannotAsk as failure:
        print(failure, file=sys.stderr)
        return 1
    except (EOFError, KeyboardInterrupt):
        return 1
    return 0 if advise(findings, arguments.configured) else 1


if __name__ == "__main__":
    sys.exit(main())
