"""``make provider`` against hosts in each state that is thought of: the key goes only where it may."""

import json
import os
import pty
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import boto3
import pytest

from infra.local.loopback import LoopbackServer, reserve_port
from infra.local.provider_dialects import V1, V2
from infra.local.provider_sandbox import Sandbox
from tests.support import ROOT
from tests.support.account import NOBODY

KEY = "owners-key-canary"
PYTHON = ROOT / ".venv-local" / "bin" / "python"


class Host(BaseHTTPRequestHandler):
    """Whatever is not the API: a page, or a redirect. Its owner keeps what it was asked."""

    def log_message(self, *_: object) -> None:
        """Silences the access log."""

    def do_GET(self) -> None:
        self.server.owner.append(self.headers.get("Authorization"))
        if self.path.startswith("/v1"):
            self.send_response(302)
            self.send_header("Location", "https://elsewhere.example/v1?secret=canary")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            page = b"<!doctype html><title>Attention Required!</title>"
            self.send_response(403)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

    do_POST = do_GET


@pytest.fixture
def host() -> Iterator[Callable[..., Sandbox]]:
    """Starts hosts that speak the API."""
    sandboxes: list[Sandbox] = []

    def start(*dialects: V1 | V2, key: str = KEY) -> Sandbox:
        sandboxes.append(Sandbox(api_key=key, shop_id="shop", dialects=dialects or (V1(), V2())))
        return sandboxes[-1]

    yield start
    for sandbox in sandboxes:
        sandbox.server.stop()


@pytest.fixture
def foreign() -> Iterator[tuple[str, list[str | None]]]:
    """A host that is not the API, and the keys that it got."""
    got: list[str | None] = []
    server = LoopbackServer(0, Host, got)
    yield server.url, got
    server.stop()


def provider(configured: str, *hosts: str, yes: str = "", key: str | None = KEY, **options: str) -> tuple[int, str]:
    arguments = [f"--host={url}" for url in hosts or [configured]] + [f"--{name}={it}" for name, it in options.items()]
    environment = {"PATH": os.environ["PATH"], **({} if key is None else {"CRYPTOCLOUD_API_KEY": key})}
    run = subprocess.run(
        [PYTHON, "-m", "infra.provider_check", f"--configured={configured}", f"--yes={yes}", *arguments],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in run.stderr, run.stderr
    assert "canary" not in run.stdout + run.stderr
    return run.returncode, run.stdout + run.stderr


def deploys(output: str) -> list[tuple[str, str]]:
    """The addresses and versions that it says to deploy with."""
    lines = [line for line in output.splitlines() if line.startswith('  make deploy PARAMETERS="ProviderUrl=')]
    assert all("PayOrigins=https://pay.cryptocloud.plus,https://pay.trybit.com" in line for line in lines)
    words = [dict(word.split("=", 1) for word in line.split('"')[1].split()) for line in lines]
    return [(parameters["ProviderUrl"], parameters["ProviderApi"]) for parameters in words]


def name_of(sandbox: Sandbox) -> str:
    return sandbox.server.url.removeprefix("http://")


def keys_at(sandbox: Sandbox) -> set[str | None]:
    return {call["authorization"] for call in sandbox.report()["asked"]}


def test_a_host_that_speaks_both_is_found_and_nothing_is_created(host) -> None:
    sandbox = host()
    status, output = provider(sandbox.server.url)
    assert (status, deploys(output)) == (0, [(sandbox.server.url, "v1"), (sandbox.server.url, "v2")]), output
    assert sandbox.report()["calls"] == []
    assert sandbox.report()["invoices"] == {}


@pytest.mark.parametrize(("dialect", "missing"), [(V1(), "v2"), (V2(), "v1")])
def test_a_host_that_speaks_one_version_is_used_for_that_one(host, dialect, missing) -> None:
    sandbox = host(dialect)
    status, output = provider(sandbox.server.url)
    assert (status, len(deploys(output))) == (0, 1), output
    assert f"{missing}  does not speak {missing} (404)" in output


@pytest.mark.parametrize("form", [None, 400, 401, 403])
def test_a_refused_key_is_found_in_each_of_its_forms(host, form) -> None:
    sandbox = host(V2(), key="another")
    if form:
        sandbox.misbehave("refused_key", value=form, call="info")
    status, output = provider(sandbox.server.url)
    assert (status, deploys(output)) == (1, [])
    assert f"v2  the API is there, and refuses the key ({form or 400})" in output
    assert "put the API key of your CryptoCloud project into the secret" in output


def test_a_host_that_is_gone_is_reported_and_so_is_another_one_that_answers(host) -> None:
    other = host()
    with reserve_port() as reservation:
        gone = f"http://127.0.0.1:{reservation.getsockname()[1]}"
        status, output = provider(gone, gone, other.server.url)
        assert (status, deploys(output)) == (1, [])
        assert "no answer: connection refused" in output
        assert f"YES={name_of(other)}" in output
        status, output = provider(gone, gone, other.server.url, yes=name_of(other))
    assert (status, deploys(output)) == (0, [(other.server.url, "v1"), (other.server.url, "v2")]), output


def test_no_host_but_the_configured_one_gets_the_key_without_a_yes(host) -> None:
    ours, theirs = host(), host()
    status, output = provider(ours.server.url, ours.server.url, theirs.server.url, yes="127.0.0.1")
    assert status == 0
    assert {url for url, _ in deploys(output)} == {ours.server.url}
    assert (keys_at(ours), keys_at(theirs)) == ({f"Token {KEY}"}, {None})
    provider(ours.server.url, ours.server.url, theirs.server.url, yes=f"api.example,{name_of(theirs)}")
    assert keys_at(theirs) == {None, f"Token {KEY}"}


def test_a_host_that_does_not_talk_as_the_api_does_never_gets_the_key(host, foreign) -> None:
    ours, (url, got) = host(), foreign
    status, output = provider(ours.server.url, url, yes=url.removeprefix("http://"))
    assert status == 0
    assert "v1  a redirect to elsewhere.example, which was not followed" in output
    assert "v2  something else answers: 403 without JSON" in output
    assert got == [None, None]


def test_where_nothing_is_the_api_it_says_what_to_do(foreign) -> None:
    status, output = provider(foreign[0])
    assert (status, deploys(output)) == (1, [])
    assert "No known host answers as the API" in output


@pytest.mark.parametrize(("typed", "is_yes"), [(None, True), ("yes", False), ("", False)])
def test_at_a_terminal_yes_is_the_name_of_the_host(host, typed, is_yes) -> None:
    ours, theirs = host(), host()
    command = [PYTHON, "-m", "infra.provider_check", f"--configured={ours.server.url}", f"--host={theirs.server.url}"]
    screen, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env={"CRYPTOCLOUD_API_KEY": KEY}, stdin=terminal, stdout=subprocess.PIPE, text=True
        )
        os.write(screen, f"{name_of(theirs) if typed is None else typed}\n".encode())
        output, _ = process.communicate(timeout=60)
    finally:
        os.close(screen)
        os.close(terminal)
    assert f"May the key go to {name_of(theirs)}?" in output
    assert keys_at(theirs) == ({None, f"Token {KEY}"} if is_yes else {None})
    assert "canary" not in output


@pytest.mark.parametrize(
    ("key", "complaint"),
    [(None, "set CRYPTOCLOUD_API_KEY"), ("", "set CRYPTOCLOUD_API_KEY"), ("a\nb", "copy it"), ("kéy", "copy it")],
)
def test_without_a_usable_key_nobody_is_asked(host, key, complaint) -> None:
    sandbox = host()
    status, output = provider(sandbox.server.url, key=key)
    assert (status, keys_at(sandbox)) == (1, set())
    assert complaint in output


@pytest.mark.parametrize(
    "url", ["http://api.example", "https://api.example/v2", "https://user@api.example", "api.example"]
)
def test_an_address_that_is_no_origin_is_not_asked(url) -> None:
    status, output = provider(url)
    assert status == 2
    assert "must be https://host" in output


def test_the_key_of_the_deployed_secret_is_found_by_the_secrets_arn(stack, host) -> None:
    sandbox = host()
    client = boto3.client("secretsmanager", endpoint_url=stack.endpoints["secrets_url"], **NOBODY)
    secret = json.dumps({"api_key": f"Token {KEY}", "shop_id": "shop"})
    arn = client.create_secret(Name=f"provider-check-{name_of(sandbox)}", SecretString=secret)["ARN"]
    command = ["make", "--silent", "provider", f"SECRET_ARN={arn}", f"PROVIDER_URL={sandbox.server.url}"]
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": stack.endpoints["secrets_url"],
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    run = subprocess.run(
        [*command, f"PROVIDER_HOSTS={sandbox.server.url}"],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(deploys(run.stdout)) == 2
    assert "canary" not in run.stdout + run.stderr
