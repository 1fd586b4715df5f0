"""Which version of the provider's API is spoken: the owner's choice."""

from collections.abc import Sequence
from typing import Literal

from invoicing.provider.outcomes import Api


def chosen_api(
    name: Literal["v1", "v2"], *, lifetime_minutes: int | None = None, coins: Sequence[str] | None = None
) -> Api:
    """Returns the version of the provider's API that the owner has chosen.

    Args:
        name: Which one.
        lifetime_minutes: For v2: how long buyers have to pay; ``None`` leaves that to the project's settings.
        coins: For v2: the only cryptocurrencies to offer, by code; ``None`` leaves that to the project's settings.
    """
    # Imported here, so that a start-up does not load a version that it does not use.
    if name == "v1":
        from invoicing.provider.v1 import V1

        return V1
    from invoicing.provider.v2 import v2

    return v2(lifetime_minutes=lifetime_minutes, coins=coins)
