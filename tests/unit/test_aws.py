"""The AWS clients: no call may wait for longer than the deadlines reckon with."""

import pytest

from invoicing import aws


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.mark.parametrize(
    ("client", "limit_s"),
    [(aws.secrets_manager_client, aws.SECRETS_LIMIT_S), (aws.dynamodb_client, aws.TABLE_LIMIT_S)],
)
def test_the_limit_of_a_call_is_all_that_it_can_take(client, limit_s) -> None:
    config = client().meta.config
    attempts = config.retries["total_max_attempts"]
    assert config.retries["mode"] == "standard"
    # Between attempts the standard mode waits for up to 2^n seconds, n counted from 0:
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    back_offs_s = sum(2**attempt for attempt in range(attempts - 1))
    assert attempts * (config.connect_timeout + config.read_timeout) + back_offs_s == limit_s
