"""A resolver that hangs is given up in time: nothing was sent, and nothing is sent later."""

import socket
import threading
import time

import pytest

from invoicing import provider as provider_module
from invoicing.credentials import Credentials
from invoicing.errors import ProviderUnavailable
from invoicing.models import InvoiceRequest
from invoicing.provider import Provider
from invoicing.settings import Settings


def test_a_hanging_resolver_does_not_outlast_the_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(provider_module, "_CONNECT_TIMEOUT_S", 0.1)
    settings = Settings(cryptocloud_secret_arn="arn", idempotency_table="table")
    credentials = Credentials.model_validate({"api_key": "key", "shop_id": "shop"})
    started_s = time.monotonic()
    try:
        with pytest.raises(ProviderUnavailable):
            Provider(settings).create_invoice(
                InvoiceRequest.model_validate({"amount": 1}), credentials, deadline_s=started_s + 2.0
            )
        assert time.monotonic() - started_s < 2.0
    finally:
        released.set()
