"""The stack that most tests share, both ways in, and the provider's client on raw sockets."""

import ssl
import time
from collections.abc import Callable, Iterator

import pytest
import trustme

from invoicing.provider.transport import Transport
from invoicing.sockets import loaded_context
from tests.support.raw_provider import RawProvider, Wire
from tests.support.stack import PROVIDER_TIMEOUT_S, Answer, Stack


@pytest.fixture(scope="session")
def shared_stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """The stack that most tests share; the provider has ``PROVIDER_TIMEOUT_S`` for an invoice."""
    return start_lasting_stack(parameters={"ProviderTimeout": str(PROVIDER_TIMEOUT_S)})


@pytest.fixture
def stack(shared_stack: Stack) -> Stack:
    """The shared stack, with a provider sandbox and a table gate that have seen nothing."""
    shared_stack.tell("/provider/forget")
    shared_stack.tell("/table/forget")
    return shared_stack


@pytest.fixture(scope="session")
def shared_v2_stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """A stack that speaks v2. Its provider has time for three attempts and no more, because tests here let it hang."""
    return start_lasting_stack(parameters={"ProviderApi": "v2", "ProviderTimeout": "3"})


@pytest.fixture
def v2_stack(shared_v2_stack: Stack) -> Stack:
    """The stack that speaks v2, with a provider sandbox and a table gate that have seen nothing."""
    shared_v2_stack.tell("/provider/forget")
    shared_v2_stack.tell("/table/forget")
    return shared_v2_stack


@pytest.fixture(params=["v1", "v2"])
def either_stack(request: pytest.FixtureRequest) -> Stack:
    """A stack of each version of the provider's API, one after the other."""
    return request.getfixturevalue({"v1": "stack", "v2": "v2_stack"}[request.param])


@pytest.fixture(params=["http", "direct"])
def way_in(request: pytest.FixtureRequest) -> Callable[[Stack, object], Answer]:
    """Both ways in, one after the other."""
    return {"http": Stack.post, "direct": Stack.invoke}[request.param]


@pytest.fixture
def serve() -> Iterator[Callable[..., RawProvider]]:
    """Starts providers of which the test writes every byte."""
    servers: list[RawProvider] = []

    def start(script: Callable[[Wire], None], tls: ssl.SSLContext | None = None) -> RawProvider:
        servers.append(RawProvider(script, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def client_of() -> Iterator[Callable[..., Transport]]:
    """Makes the function's client of such a provider, or of a URL."""
    clients: list[Transport] = []

    def connect(server: RawProvider | str, clock: Callable[[], float] = time.time) -> Transport:
        url = server if isinstance(server, str) else server.url
        clients.append(Transport(url, wall_clock=clock))
        return clients[-1]

    yield connect
    for client in clients:
        if client._connection:
            client._connection.close()


@pytest.fixture
def certificate_for(tmp_path, monkeypatch) -> Iterator[Callable[[str], ssl.SSLContext]]:
    """Issues certificates that clients made after the first of them trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    def issue(host: str = "127.0.0.1") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(context)
        return context

    loaded_context.cache_clear()
    yield issue
    loaded_context.cache_clear()
