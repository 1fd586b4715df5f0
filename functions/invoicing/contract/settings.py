"""The environment of the function as one validated object; nothing else of ours reads ``os.environ``."""

import functools
import os
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from invoicing.contract.errors import ServiceNotConfigured
from invoicing.contract.origins import Origin, origin_of, trusted_origin


def _split_origins(text: object) -> object:
    return frozenset(filter(None, map(str.strip, text.split(",")))) if isinstance(text, str) else text


def _pay_origins(text: object) -> object:
    return (
        frozenset(origin_of(trusted_origin(url.strip())) for url in text.split(",")) if isinstance(text, str) else text
    )


_PayOrigins = Annotated[frozenset[Origin], BeforeValidator(_pay_origins)]
_TrustedOrigin = Annotated[str, AfterValidator(trusted_origin)]
# Up to 10^9 with two decimals an amount has at most 12 digits: below the 15 that a binary float keeps exactly, so that
# not even a caller or provider whose JSON parser knows only floats can change it.
_AmountBound = Annotated[Decimal, Field(gt=0, le=10**9, decimal_places=2, allow_inf_nan=False)]


class Settings(BaseModel):
    """The function's environment, validated. The names are those of the environment in lower case.

    ``provider_timeout`` is in seconds: the longest that the calls to the provider for one request may take in all.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    cryptocloud_api_url: _TrustedOrigin = "https://api.cryptocloud.plus"
    # The provider renamed itself and its hosts in 2026; which one its replies name is not documented.
    cryptocloud_pay_origins: _PayOrigins = frozenset(
        {origin_of("https://pay.cryptocloud.plus"), origin_of("https://pay.trybit.com")}
    )
    cryptocloud_secret_arn: str = Field(min_length=1)
    idempotency_table: str = Field(min_length=1)
    allowed_origins: Annotated[frozenset[str], BeforeValidator(_split_origins)] = frozenset()
    min_amount: _AmountBound = Decimal("0.01")
    max_amount: _AmountBound = Decimal(100_000)
    # API Gateway gives up after 30 s: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
    provider_timeout: float = Field(default=20.0, gt=0, le=25)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min_amount > self.max_amount:
            raise ValueError("MIN_AMOUNT must not be over MAX_AMOUNT")
        return self

    def allows_origin(self, origin: str) -> bool:
        """Tells whether a browser page of this origin (an ``Origin`` header's value) may create invoices."""
        return origin in self.allowed_origins or "*" in self.allowed_origins


@functools.cache
def load_settings() -> Settings:
    """Returns the settings from the environment, read once.

    Raises:
        ServiceNotConfigured: A variable is missing or wrong; the reason names it and never has its value.
    """
    environ = {name: os.environ[name.upper()] for name in Settings.model_fields if os.environ.get(name.upper())}
    try:
        return Settings.model_validate(environ)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors())
        raise ServiceNotConfigured(f"environment: {'; '.join(faults)}") from None
