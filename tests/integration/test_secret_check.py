"""``make secret CHECK=1`` asks the provider of the stack whether the stored key is right."""

import json

import pytest

from infra import secret
from infra.local.provider_dialects import V1, V2
from infra.local.provider_sandbox import Sandbox
from infra.preflight import NotReady
from tests.support.owners_account import ARN, Account

KEY = "owners-key-canary"
STORED = json.dumps({"api_key": KEY, "shop_id": "the-shop"})


@pytest.fixture(params=["v1", "v2"])
def api(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_key_that_the_provider_accepts_is_right_and_nothing_was_created(api, capsys) -> None:
    sandbox = Sandbox(api_key=KEY, shop_id="the-shop", dialects=(V1(), V2()))
    try:
        secret.check("default", Account(STORED, ProviderUrl=sandbox.server.url, ProviderApi=api).client)
        assert sandbox.report()["invoices"] == {}
    finally:
        sandbox.server.stop()
    printed = capsys.readouterr().out
    assert "accepts the key" in printed
    assert "The shop id was not checked" in printed
    assert KEY not in printed


@pytest.mark.parametrize(
    ("more", "said"),
    [({}, "Without secret_key the stack refuses"), ({"secret_key": "canary"}, "The secret key was not checked")],
)
def test_what_is_known_of_the_secret_key_is_said_and_not_the_key(api, capsys, more, said) -> None:
    sandbox = Sandbox(api_key=KEY, shop_id="the-shop", dialects=(V1(), V2()))
    stored = json.dumps({**json.loads(STORED), **more})
    try:
        secret.check("default", Account(stored, ProviderUrl=sandbox.server.url, ProviderApi=api).client)
    finally:
        sandbox.server.stop()
    printed = capsys.readouterr().out
    assert said in printed
    assert "canary" not in printed


def test_a_key_that_the_provider_refuses_is_to_be_replaced(api) -> None:
    sandbox = Sandbox(api_key="another-key", shop_id="the-shop", dialects=(V1(), V2()))
    try:
        with pytest.raises(NotReady) as raised:
            secret.check("prod", Account(STORED, ProviderUrl=sandbox.server.url, ProviderApi=api).client)
    finally:
        sandbox.server.stop()
    assert "refuses the key" in raised.value.seen
    assert "make secret ENV=prod" in raised.value.to_do
    assert KEY not in str(raised.value)


def test_a_provider_that_does_not_answer_there_is_to_be_found(api) -> None:
    sandbox = Sandbox(api_key=KEY, shop_id="the-shop", dialects=(V1(), V2()))
    sandbox.server.stop()
    with pytest.raises(NotReady) as raised:
        secret.check("default", Account(STORED, ProviderUrl=sandbox.server.url, ProviderApi=api).client)
    assert f"make provider SECRET_ARN={ARN}" in raised.value.to_do
