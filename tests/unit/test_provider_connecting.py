"""The provider's client before it connects: the TLS that it asks for, and a resolver that hangs."""

import socket
import ssl
import threading
import time

import pytest

from invoicing.contract.errors import ProviderUnavailable
from invoicing.contract.requests import InvoiceRequest
from invoicing.credentials import Credentials
from invoicing.provider import transport as provider_module
from invoicing.provider.transport import Transport
from invoicing.provider.v1 import V1
from invoicing.sockets import tls_context


def test_tls_is_1_2_or_later_and_checks_who_answers() -> None:
    tls = tls_context()
    assert tls.minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls.check_hostname
    assert tls.verify_mode == ssl.CERT_REQUIRED


def test_a_hanging_resolver_does_not_outlast_the_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(provider_module, "_CONNECT_TIMEOUT_S", 0.1)
    credentials = Credentials.model_validate({"api_key": "key", "shop_id": "shop"})
    call = V1.create(InvoiceRequest.model_validate({"amount": 1}), "shop")
    started_s = time.monotonic()
    try:
        with pytest.raises(ProviderUnavailable):
            Transport("https://api.cryptocloud.plus").perform(call, credentials, deadline_s=started_s + 2.0)
        assert time.monotonic() - started_s < 2.0
    finally:
        released.set()
