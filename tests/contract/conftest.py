"""One stack for the contract's tests."""

from collections.abc import Callable

import pytest

from tests.support.stack import NO_CIRCUIT, PROVIDER_TIMEOUT_S, Stack


@pytest.fixture(scope="session")
def stack(start_lasting_stack: Callable[..., Stack]) -> Stack:
    """A stack with the widest bounds that the template accepts: those that the file states."""
    widest = {"MinAmount": "0.01", "MaxAmount": "999999999.99"}
    return start_lasting_stack(
        parameters={**widest, "ProviderTimeout": str(PROVIDER_TIMEOUT_S)}, environment=NO_CIRCUIT
    )
