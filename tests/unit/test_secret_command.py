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


SECRET_KEY = "a-real-looking-secret-key"


def test_what_was_typed_is_stored_as_the_function_reads_it_and_never_shown(terminal, capsys) -> None:
    terminal += [f" Token {KEY} ", "the-shop", f" {SECRET_KEY}\n"]
    account = Account()
    stored: list[str] = []
    account.stubbers["secretsmanager"].add_response("put_secret_value", {}, {"SecretId": ARN, "SecretString": ANY})
    account.client("secretsmanager").meta.events.register(
        "provide-client-params.secretsmanager.PutSecretValue", lambda params, **_: stored.append(params["SecretString"])
    )
    secret.store("default", account.client)
    credentials = Credentials.model_validate_json(stored[0])
    assert (credentials.api_key.get_secret_value(), credentials.shop_id) == (KEY, "the-shop")
    assert json.loads(stored[0]) == {"api_key": KEY, "shop_id": "the-shop", "secret_key": SECRET_KEY}
    printed = capsys.readouterr()
    assert KEY not in printed.out + printed.err
    assert SECRET_KEY not in printed.out + printed.err
    assert "Stored api_key, shop_id, secret_key." in printed.out
    assert "Without secret_key" not in printed.out


@pytest.mark.parametrize("typed", ["", "  "])
def test_the_secret_key_may_be_left_out_and_what_happens_without_is_said(terminal, capsys, typed) -> None:
    terminal += [KEY, "the-shop", typed]
    account = Account()
    expected = {"SecretId": ARN, "SecretString": json.dumps({"api_key": KEY, "shop_id": "the-shop"})}
    account.stubbers["secretsmanager"].add_response("put_secret_value", {}, expected)
    secret.store("default", account.client)
    account.stubbers["secretsmanager"].assert_no_pending_responses()
    printed = capsys.readouterr().out
    assert "Stored api_key, shop_id." in printed
    assert "Without secret_key the stack refuses CryptoCloud's postbacks" in printed


def test_each_field_is_asked_for_by_where_cryptocloud_shows_it_and_what_is_optional_is_said(terminal) -> None:
    terminal += [KEY, "the-shop", SECRET_KEY]
    questions: list[str] = []

    def ask_for(question: str) -> str:
        questions.append(question)
        return terminal.pop(0)

    secret.ask(ask_for)
    assert [question.partition(" (")[0] for question in questions] == ["API key", "Shop id", "Secret key"]
    assert ["Enter for none" in question for question in questions] == [False, False, True]


def test_a_secret_key_of_wrong_form_is_asked_for_again(terminal, capsys) -> None:
    terminal += [KEY, "the-shop", "…", "two words", SECRET_KEY]
    assert secret.ask(lambda _: terminal.pop(0))["secret_key"] == SECRET_KEY
    assert capsys.readouterr().out.count("must have visible ASCII characters only") == 2


def test_a_field_of_wrong_form_is_asked_for_again_and_then_nothing_is_stored(terminal, capsys) -> None:
    terminal += ["…", "kéy", KEY, "the-shop", ""]
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
