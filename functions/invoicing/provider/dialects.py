"""Which version of the provider's API is spoken: the owner's choice."""

from invoicing.contract.settings import Settings
from invoicing.provider.outcomes import Api


def chosen_api(settings: Settings) -> Api:
    """Returns the version of the provider's API that the owner has chosen.

    Args:
        settings: Which one, and how it is to be spoken.
    """
    # Imported here: no start-up takes the time of a dialect that it does not speak.
    if settings.cryptocloud_api == "v1":
        from invoicing.provider.v1 import V1

        return V1
    from invoicing.provider.v2 import v2

    return v2(lifetime_minutes=settings.invoice_lifetime, coins=settings.coins)
