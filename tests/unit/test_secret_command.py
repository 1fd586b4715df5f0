"""``make secret`` asks without echo, stores only what the function can read, and never shows a value."""

import json
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from infra import secret
from infra.preflight import NotReady
from invoicing.credentials import Credentials

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ProviderSecret-a-b"
KEY = "a-real-looking-key"


class Account:
    """Clients of botocore with a deployed stack; what would be stored is kept."""

    def __init__(self, stored: str | None = None, outputs: bool = True) -> None:
        keys = {"region_name": "eu-west-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
        self._clients = {name: boto3.client(name, **keys) for name in ("cloudformation", "secretsmanager")}
        self.stubbers = {name: Stubber(client) for name, client in self._clients.items()}
        for stubber in self.stubbers.values():
            stubber.activate()
        stack = {"StackName": "cryptocloud-invoices", "StackStatus": "CREATE_COMPLETE", "CreationTime": "2026-01-01"}
        stack["Outputs"] = [{"OutputKey": "SecretArn", "OutputValue": ARN}] if outputs else []
        self.stubbers["cloudformation"].add_response("describe_stacks", {"Stacks": [stack]})
        if stored is not None:
            self.stubbers["secretsmanager"].add_response("get_secret_value", {"SecretString": stored})

    def client(self, service: str) -> Any:
        return self._clients[service]


@pytest.fixture
def terminal(monkeypatch) -> list[str]:
    """A terminal at which somebody types these lines."""
    typed: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _: typed.pop(0))
    return typed


def rest() -> list[str]:
    return [f"value-{name}" for name in Credentials.model_fields if name not in ("api_key", "shop_id")]


def test_what_was_typed_is_stored_as_the_function_reads_it_and_never_shown(terminal, capsys) -> None:
    terminal += [f" Token {KEY} ", "the-shop", *rest()]
    account = Account()
    stored: list[str] = []
    account.stubbers["secretsmanager"].add_response("put_secret_value", {}, {"SecretId": ARN, "SecretString": ANY})
    account.client("secretsmanager").meta.events.register(
        "provide-client-params.secretsmanager.PutSecretValue", lambda params, **_: stored.append(params["SecretString"])
    )
    secret.store("default", account.client)
    credentials = Credentials.model_validate_json(stored[0])
    assert (credentials.api_key.get_secret_value(), credentials.shop_id) == (KEY, "the-shop")
    assert json.loads(stored[0])["api_key"] == KEY
    printed = capsys.readouterr()
    assert KEY not in printed.out + printed.err
    assert "Stored api_key, shop_id" in printed.out


def test_a_field_of_wrong_form_is_asked_for_again_and_then_nothing_is_stored(terminal, capsys) -> None:
    terminal += ["…", "kéy", KEY, "the-shop", *rest()]
    answers = iter(terminal)
    assert secret.ask(lambda _: next(answers))["api_key"] == KEY
    assert "must have visible ASCII characters only" in capsys.readouterr().out
    with pytest.raises(NotReady, match="api_key was wrong 3 times"):
        secret.ask(lambda _: "…")
    printed = capsys.readouterr()
    assert "kéy" not in printed.out


def test_without_a_terminal_nothing_is_asked(monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(NotReady, match="no terminal"):
        secret.store("default", Account().client)


def test_without_a_stack_the_deployment_comes_first() -> None:
    with pytest.raises(NotReady, match="make deploy ENV=prod first"):
        secret.store("prod", Account(outputs=False).client)


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ("{", "must be JSON"),
        (json.dumps({"api_key": KEY}), "shop_id"),
        (json.dumps({"api_key": "k é", "shop_id": "the-shop"}), "api_key: must have visible ASCII"),
    ],
)
def test_a_stored_secret_that_the_function_cannot_read_is_found_and_not_shown(stored: str, complaint: str) -> None:
    with pytest.raises(NotReady) as reason:
        secret.deployed_credentials("default", Account(stored).client)
    assert complaint in str(reason.value)
    assert "k é" not in str(reason.value)


def test_a_secret_that_was_never_filled_is_found() -> None:
    account = Account()
    account.stubbers["secretsmanager"].add_client_error("get_secret_value", "ResourceNotFoundException")
    with pytest.raises(NotReady, match="ResourceNotFoundException"):
        secret.deployed_credentials("default", account.client)


def test_a_stored_secret_that_the_function_can_read_is_returned() -> None:
    stored = json.dumps({"api_key": KEY, "shop_id": "the-shop"})
    assert secret.deployed_credentials("default", Account(stored).client).shop_id == "the-shop"
