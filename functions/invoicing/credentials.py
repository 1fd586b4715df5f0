"""API key and shop id from Secrets Manager: cached, re-read on demand, served from the cache while it is down."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from invoicing.contract.errors import InvoicingError, ProviderUnavailable, ServiceNotConfigured
from invoicing.observability import SECRET_REFRESH_FAILED, logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CACHE_S = 300
# While Secrets Manager is down, this long passes between two tries to refresh: not every request may wait for it.
REFRESH_RETRY_S = 30
# What waiting does not mend; everything else that Secrets Manager answers may pass:
# https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors
_LASTING_ERRORS = frozenset(
    {
        "ResourceNotFoundException",
        "InvalidRequestException",
        "InvalidParameterException",
        "AccessDeniedException",
        "DecryptionFailure",
    }
)


def _header_safe(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must have visible ASCII characters only")
    return value


class Credentials(BaseModel):
    """What the provider knows the shop by: the secret string ``{"api_key": "…", "shop_id": "…"}``."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    api_key: Annotated[SecretStr, Field(min_length=1), AfterValidator(_header_safe)]
    shop_id: str = Field(min_length=1)


class CredentialStore:
    """Reads the secret and keeps it for ``CACHE_S`` seconds.

    Args:
        client: A Secrets Manager client.
        secret_arn: ARN or name of the secret.
        clock: Wall time in seconds. Not a monotonic clock: that one stands still while a sandbox is frozen.
    """

    def __init__(
        self, client: "SecretsManagerClient", secret_arn: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._secret_arn = secret_arn
        self._clock = clock
        self._cached: Credentials | None = None
        self._refresh_at_s = 0.0

    def get(self) -> Credentials:
        """Returns the credentials, from the cache while they are fresh or cannot be refreshed.

        Raises:
            ServiceNotConfigured: There is no usable secret.
            ProviderUnavailable: The secret was never read and cannot be read now.
        """
        if self._cached and self._clock() < self._refresh_at_s:
            return self._cached
        return self.read_again()

    def read_again(self) -> Credentials:
        """Returns the credentials read past the cache; those in the cache when that fails.

        Raises:
            ServiceNotConfigured: There is no usable secret, and none in the cache.
            ProviderUnavailable: The secret was never read and cannot be read now.
        """
        try:
            self._cached = self._read()
        except InvoicingError as error:
            if not self._cached:
                raise
            logger.warning("secret not refreshed, serving the cached one", reason=error.reason)
            metrics.add_metric(SECRET_REFRESH_FAILED, "Count", 1)
            self._refresh_at_s = self._clock() + REFRESH_RETRY_S
        else:
            self._refresh_at_s = self._clock() + CACHE_S
        return self._cached

    def _read(self) -> Credentials:
        try:
            secret = self._client.get_secret_value(SecretId=self._secret_arn)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            reason = f"Secrets Manager answered {code}"
            if code in _LASTING_ERRORS:
                raise ServiceNotConfigured(f"{reason}: fill the secret, see the README") from None
            raise ProviderUnavailable(reason) from None
        except BotoCoreError as error:
            raise ProviderUnavailable(f"Secrets Manager not reached: {type(error).__name__}") from None
        return _parse(secret.get("SecretString"))


def _parse(secret_string: Any) -> Credentials:
    try:
        return Credentials.model_validate_json(secret_string or "")
    except ValidationError as error:
        # hide_input_in_errors does not reach errors(): only names and rules are taken from it.
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'secret'}: {fault['type']}" for fault in error.errors())
        raise ServiceNotConfigured(
            f'the secret must be JSON like {{"api_key": "…", "shop_id": "…"}}: {"; ".join(faults)}'
        ) from None
