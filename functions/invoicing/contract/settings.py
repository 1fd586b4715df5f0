"""The environment of each function as one validated object, composed of what several functions need."""

import functools
import os
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from invoicing.contract.errors import ServiceNotConfigured
from invoicing.contract.origins import Origin, browser_origin, origin_of, trusted_origin, trusted_url


def _allowed_origins(text: object) -> object:
    if not isinstance(text, str):
        return text
    origins = frozenset(filter(None, map(str.strip, text.split(","))))
    return frozenset(origin if origin in _EVERY_OR_NO_SITE else browser_origin(origin) for origin in origins)


def _pay_origins(text: object) -> object:
    if not isinstance(text, str):
        return text
    return frozenset(origin_of(trusted_origin(url.strip())) for url in text.split(","))


def _split_coins(text: object) -> object:
    return tuple(filter(None, map(str.strip, text.split(",")))) if isinstance(text, str) else text


def _or_the_projects(value: object) -> object:
    return None if value == _AS_IN_THE_PROJECT else value


# The template's word for: use the settings of the project at the provider.
_AS_IN_THE_PROJECT = "project"
# Such as USDT_TRC20.
_Coin = Annotated[str, Field(pattern=r"^[A-Z0-9_]{2,20}$")]
_EVERY_OR_NO_SITE = ("*", "none")
_PayOrigins = Annotated[frozenset[Origin], BeforeValidator(_pay_origins)]
_TrustedOrigin = Annotated[str, AfterValidator(trusted_origin)]
# Up to 10^9 with two decimals an amount has at most 12 digits: below the 15 that a binary float keeps exactly, so that
# not even a caller or provider whose JSON parser knows only floats can change it.
_AmountBound = Annotated[Decimal, Field(gt=0, le=10**9, decimal_places=2)]


# ``defer_build``: a function builds the validator of the one of these that it loads.
class BorderSettings(BaseModel):
    """Who may call over HTTP."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    allowed_origins: Annotated[frozenset[str], BeforeValidator(_allowed_origins)] = frozenset()

    def allows_origin(self, origin: str) -> bool:
        """Returns whether a browser page of this origin (an ``Origin`` header's value) may call."""
        return origin in self.allowed_origins or "*" in self.allowed_origins


class ProviderSettings(BaseModel):
    """Where the provider is, which version of its API to speak, and what identifies the shop there."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    cryptocloud_api: Literal["v1", "v2"] = "v1"
    cryptocloud_api_url: _TrustedOrigin = "https://api.cryptocloud.plus"
    cryptocloud_secret_arn: str


class PaymentSettings(ProviderSettings):
    """What those functions need that follow a payment: ``receive_postback`` and ``watch_invoices``."""

    invoice_table: str
    event_bus: str = "default"
    powertools_service_name: str = "cryptocloud-invoices"


class InvoiceInfoSettings(BorderSettings, PaymentSettings):
    """What ``invoice_info`` needs."""


class CreateInvoiceSettings(BorderSettings, ProviderSettings):
    """What ``create_invoice`` needs.

    ``provider_timeout`` is in seconds: the longest that the calls to the provider for one request may take in all.
    ``invoice_lifetime`` is in minutes: how long a buyer has to pay. ``price_list_url`` is where the shop publishes its
    prices; without one, callers say what an invoice is over.
    """

    # The provider renamed itself and its hosts in 2026; which one its replies name is not documented.
    cryptocloud_pay_origins: _PayOrigins = frozenset(
        {origin_of("https://pay.cryptocloud.plus"), origin_of("https://pay.trybit.com")}
    )
    idempotency_table: str
    invoice_table: str
    # Days after which the table of invoices forgets an invoice.
    invoice_retention: Annotated[int, Field(ge=2, le=3653)] = 90
    min_amount: _AmountBound = Decimal("0.01")
    max_amount: _AmountBound = Decimal(100_000)
    price_list_url: Annotated[str, AfterValidator(trusted_url)] | None = None
    # API Gateway gives up after 30 s: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
    provider_timeout: float = Field(default=20.0, gt=0, le=25)

    # Of version 2 of the provider's API. The provider documents invoices of up to 24 hours.
    invoice_lifetime: Annotated[Annotated[int, Field(ge=1, le=1440)] | None, BeforeValidator(_or_the_projects)] = None
    coins: Annotated[tuple[_Coin, ...] | None, BeforeValidator(_split_coins), BeforeValidator(_or_the_projects)] = None

    @model_validator(mode="after")
    def _has_a_place_for_them(self) -> Self:
        if self.cryptocloud_api == "v1" and (self.coins or self.invoice_lifetime):
            raise ValueError("COINS and INVOICE_LIFETIME need CRYPTOCLOUD_API=v2")
        return self

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min_amount > self.max_amount:
            raise ValueError("MIN_AMOUNT must not be over MAX_AMOUNT")
        return self


@functools.cache
def load[Settings: BaseModel](model: type[Settings]) -> Settings:
    """Returns the settings of a function from the environment, read once.

    Args:
        model: What the function needs. The environment's names are those of its fields in upper case.

    Raises:
        ServiceNotConfigured: A variable is missing or wrong; the reason names it and never has its value.
    """
    environ = {name: os.environ[name.upper()] for name in model.model_fields if os.environ.get(name.upper())}
    try:
        return model.model_validate(environ)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors())
        raise ServiceNotConfigured(f"environment: {'; '.join(faults)}") from None
