"""The secret: cached, read again on demand, served from the cache while it cannot be read, and never shown."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from invoicing.aws import SECRETS_LIMIT_S
from invoicing.contract.errors import ProviderUnavailable, ServiceNotConfigured
from invoicing.credentials import CACHE_S, REFRESH_RETRY_S, Credentials, CredentialStore
from tests.support.samples import Clock

SECRET = {"api_key": "key-1", "shop_id": "shop-1"}


class FakeSecretsManager:
    """Answers with ``secret``, or raises ``failure``."""

    def __init__(self, secret: Any = SECRET) -> None:
        self.answer: dict[str, Any] = {"SecretString": json.dumps(secret)}
        self.failure: Exception | None = None
        self.calls = 0

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        assert SecretId == "the-arn"
        self.calls += 1
        if self.failure:
            raise self.failure
        return self.answer


@pytest.fixture
def manager() -> FakeSecretsManager:
    return FakeSecretsManager()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(manager: FakeSecretsManager, clock: Clock) -> CredentialStore:
    return CredentialStore(manager, "the-arn", clock=clock)  # type: ignore[arg-type]


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "key-1"}}, "GetSecretValue")


def key(credentials: Credentials) -> str:
    return credentials.api_key.get_secret_value()


def test_the_secret_is_read_once_a_cache_period(store, manager, clock) -> None:
    for _ in range(3):
        assert key(store.get()) == "key-1"
    assert manager.calls == 1
    clock.now_s += CACHE_S
    store.get()
    assert manager.calls == 2


def test_reading_again_goes_past_the_cache(store, manager) -> None:
    store.get()
    manager.answer = {"SecretString": json.dumps({**SECRET, "api_key": "key-2"})}
    assert key(store.get()) == "key-1"
    assert key(store.read_again()) == "key-2"
    assert key(store.get()) == "key-2"


@pytest.mark.parametrize(
    "failure",
    [
        EndpointConnectionError(endpoint_url="https://x"),
        ConnectTimeoutError(endpoint_url="https://x"),
        client_error("ThrottlingException"),
        client_error("InternalServiceError"),
        client_error("ResourceNotFoundException"),
    ],
)
def test_the_cached_secret_goes_on_serving_whatever_happens(store, manager, clock, failure) -> None:
    store.get()
    manager.failure = failure
    clock.now_s += CACHE_S
    assert key(store.get()) == "key-1"
    assert key(store.read_again()) == "key-1"


def test_an_outage_is_not_waited_for_by_every_request(store, manager, clock) -> None:
    store.get()
    manager.failure = EndpointConnectionError(endpoint_url="https://x")
    clock.now_s += CACHE_S
    for _ in range(5):
        store.get()
    assert manager.calls == 2
    clock.now_s += REFRESH_RETRY_S
    manager.failure = None
    store.get()
    assert manager.calls == 3


def test_a_secret_that_cannot_be_refreshed_is_counted_each_time_and_in_the_log(
    store, manager, clock, log, counted
) -> None:
    store.get()
    manager.failure = client_error("InternalServiceError")
    for _ in range(2):
        clock.now_s += CACHE_S
        store.get()
    assert counted() == {("SecretRefreshFailed", frozenset({"service"})): [1.0, 1.0]}
    assert [(line["level"], line["reason"]) for line in log()] == [
        ("WARNING", "Secrets Manager answered InternalServiceError")
    ] * 2


def test_an_outage_holds_an_instance_for_less_than_a_quarter_of_the_time() -> None:
    assert SECRETS_LIMIT_S < REFRESH_RETRY_S / 4 <= CACHE_S / 4


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (EndpointConnectionError(endpoint_url="https://x"), ProviderUnavailable),
        (client_error("ThrottlingException"), ProviderUnavailable),
        (client_error("InternalServiceError"), ProviderUnavailable),
        (client_error("RequestLimitExceeded"), ProviderUnavailable),
        (client_error("ResourceNotFoundException"), ServiceNotConfigured),
        (client_error("InvalidRequestException"), ServiceNotConfigured),  # it is to be deleted
        (client_error("InvalidParameterException"), ServiceNotConfigured),
        (client_error("AccessDeniedException"), ServiceNotConfigured),
        (client_error("DecryptionFailure"), ServiceNotConfigured),
    ],
)
def test_without_a_cache_waiting_helps_or_the_owner_must(store, manager, failure, outcome) -> None:
    manager.failure = failure
    with pytest.raises(outcome):
        store.get()
    manager.failure = None
    assert key(store.get()) == "key-1"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"SecretBinary": b"x"},
        {"SecretString": ""},
        {"SecretString": "key-1"},
        {"SecretString": "[]"},
        {"SecretString": '{"api_key": "key-1"}'},
        {"SecretString": '{"shop_id": "shop-1"}'},
        {"SecretString": '{"api_key": "", "shop_id": "shop-1"}'},
        {"SecretString": '{"api_key": "key-1\\r\\nX: y", "shop_id": "shop-1"}'},
        {"SecretString": '{"api_key": "key 1", "shop_id": "shop-1"}'},
        {"SecretString": '{"api_key": "key-1", "shop_id": 1}'},
    ],
)
def test_a_malformed_secret_is_not_configured_and_not_shown(store, manager, answer) -> None:
    manager.answer = answer
    with pytest.raises(ServiceNotConfigured) as fault:
        store.get()
    assert "key-1" not in fault.value.reason
    assert fault.value.__cause__ is None


@pytest.mark.parametrize(
    "pasted",
    [
        {"api_key": " key-1\n", "shop_id": "\tshop-1 "},
        {"api_key": "\ufeffkey-1", "shop_id": "shop-1\ufeff"},
        {"api_key": "\u00a0\ufeff key-1\r\n", "shop_id": "\u2003shop-1"},
        {"api_key": "Token key-1", "shop_id": "shop-1"},
        {"api_key": " token \u00a0key-1 ", "shop_id": "shop-1"},
    ],
)
def test_what_comes_along_when_a_key_is_pasted_is_taken_off(store, manager, pasted) -> None:
    manager.answer = {"SecretString": f"\ufeff {json.dumps(pasted, ensure_ascii=False)}\n"}
    credentials = store.get()
    assert (key(credentials), credentials.shop_id) == ("key-1", "shop-1")


@pytest.mark.parametrize("name", ["api_key", "shop_id"])
@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("\u200bvalue-canary", "must have visible ASCII characters only"),
        ("value\u00adcanary", "must have visible ASCII characters only"),
        ("value canary", "must have visible ASCII characters only"),
        ("…", "placeholder"),
        (" \ufeff", "must not be empty"),
        (17, "should be a valid string"),
    ],
)
def test_what_is_refused_is_named_with_its_rule_in_the_log(store, manager, name, value, rule) -> None:
    manager.answer = {"SecretString": json.dumps({**SECRET, name: value})}
    with pytest.raises(ServiceNotConfigured) as fault:
        store.get()
    assert f"{name}: " in fault.value.reason
    assert rule in fault.value.reason
    assert "canary" not in fault.value.reason


def test_credentials_never_show_the_key() -> None:
    credentials = Credentials.model_validate(SECRET)
    assert "key-1" not in f"{credentials!r} {credentials} {credentials.model_dump()} {credentials.model_dump_json()}"
