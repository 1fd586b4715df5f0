"""The stack that most tests share, and both ways in."""

from collections.abc import Callable

import pytest

from tests.support import ROOT  # noqa: F401
from tests.support.account import API_KEY, SHOP_ID  # noqa: F401
from tests.support.stack import EMAIL, PROVIDER_TIMEOUT_S, SITE, Answer, Stack  # noqa: F401


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
    """A stack that speaks v2; the provider has what three attempts need, and no more: hanging is tried here too."""
    return start_lasting_stack(parameters={"ProviderApi": "v2", "ProviderTimeout": "3"}, environment=NO_CIRCUIT)


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
