"""The stack that most tests share, and both ways in."""

from collections.abc import Callable

import pytest

from tests.support import ROOT  # noqa: F401
from tests.support.account import API_KEY, SHOP_ID  # noqa: F401
from tests.support.stack import EMAIL, NO_CIRCUIT, PROVIDER_TIMEOUT_S, SITE, Answer, Stack  # noqa: F401


@pytest.fixture(scope="session")
def shared_stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """The stack that most tests share; the provider has ``PROVIDER_TIMEOUT_S`` for an invoice."""
    return start_lasting_stack(parameters={"ProviderTimeout": str(PROVIDER_TIMEOUT_S)}, environment=NO_CIRCUIT)


@pytest.fixture
def stack(shared_stack: Stack) -> Stack:
    """The shared stack, with a provider sandbox and a table gate that have seen nothing."""
    shared_stack.tell("/provider/forget")
    shared_stack.tell("/table/forget")
    return shared_stack


@pytest.fixture(params=["http", "direct"])
def way_in(request: pytest.FixtureRequest) -> Callable[[Stack, object], Answer]:
    """Both ways in, one after the other."""
    return {"http": Stack.post, "direct": Stack.invoke}[request.param]
