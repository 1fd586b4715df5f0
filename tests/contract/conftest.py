"""One stack for the contract's tests."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.price_lists import MUG_AND_TEE
from tests.support.price_site import PriceSite
from tests.support.stack import PROVIDER_TIMEOUT_S, Stack

# The widest bounds that the template accepts: those that the file states.
_PARAMETERS = {"MinAmount": "0.01", "MaxAmount": "999999999.99", "ProviderTimeout": str(PROVIDER_TIMEOUT_S)}


@pytest.fixture(scope="session")
def stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """A stack with the widest bounds."""
    return start_lasting_stack(parameters=_PARAMETERS)


@pytest.fixture(scope="session")
def v2_stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """The same, which speaks version 2 of the provider's API."""
    return start_lasting_stack(parameters={**_PARAMETERS, "ProviderApi": "v2"})


@pytest.fixture(scope="session")
def stack_with_prices(start_lasting_stack: Callable[..., Stack]) -> Iterator[Stack]:
    """The same as the first, of a shop that publishes a price list."""
    site = PriceSite(MUG_AND_TEE)
    yield start_lasting_stack(parameters={**_PARAMETERS, "PriceListUrl": site.url})
    site.server.stop()
