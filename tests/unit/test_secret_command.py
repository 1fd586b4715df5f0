"""``make secret`` asks without echo, stores only what the function can read, and never shows a value."""

import json

import pytest
from botocore.stub import ANY

from infra import secret
from infra.preflight import NotReady
from invoicing.credentials import Credentials
from tests.support.owners_account import ARN, Account

KEY = "a-real-looking-key"


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
        secret.check("default", Account(stored).client)
    assert complaint in str(reason.value)
    assert "k é" not in str(reason.value)


def test_a_secret_that_was_never_filled_is_found() -> None:
    account = Account()
    account.stubbers["secretsmanager"].add_client_error("get_secret_value", "ResourceNotFoundException")
    with pytest.raises(NotReady, match="ResourceNotFoundException"):
        secret.check("default", account.client)
