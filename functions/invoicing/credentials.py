"""API key and shop id from Secrets Manager: cached, re-read on demand, served from the cache while it is down."""

import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from invoicing.contract.errors import InvoicingError, ProviderUnavailable, ServiceNotConfigured
from invoicing.observability import SECRET_REFRESH_FAILED, logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CACHE_S = 300
# While Secrets Manager is down, try again only this often: a request must not wait for each try.
REFRESH_RETRY_S = 30
# Errors that only the owner can fix. All others are treated as temporary:
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


# Characters that come along when people copy and paste.
_AROUND = re.compile(r"^[\s\ufeff]+|[\s\ufeff]+$")
_TOKEN = re.compile(r"token\s+", re.IGNORECASE)


def _without_margin(value: object) -> object:
    return _AROUND.sub("", value) if isinstance(value, str) else value


def _without_token(value: object) -> object:
    # The provider prints the key as it goes into the header: "Token <API KEY>".
    return _TOKEN.sub("", value, count=1) if isinstance(value, str) and _TOKEN.match(value) else value


def _visible(value: str) -> str:
    if not value:
        raise PydanticCustomError("rule", "must not be empty")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise PydanticCustomError(
            "rule", 'must have visible ASCII characters only: look for an invisible character, or a placeholder "…"'
        )
    return value


def _visible_secret(value: SecretStr) -> SecretStr:
    _visible(value.get_secret_value())
    return value


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


# Pydantic runs these from right to left, the last one first.
_PASTED = BeforeValidator(_without_margin)


class Credentials(BaseModel):
    """What the provider knows the shop by: the secret string ``{"api_key": "…", "shop_id": "…", "secret_key": "…"}``.

    ``secret_key`` signs postbacks, and may be left out. White space and a byte order mark around a value are taken off,
    and so is the word ``Token`` before the key.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    api_key: Annotated[SecretStr, AfterValidator(_visible_secret), BeforeValidator(_without_token), _PASTED]
    shop_id: Annotated[str, AfterValidator(_visible), _PASTED]
    # Of no use to the functions that receive no postback: whatever is wrong with it must not keep them from working.
    secret_key: Annotated[SecretStr | None, BeforeValidator(_text_or_none), _PASTED] = None


class CredentialStore:
    """Reads the secret and keeps it for ``CACHE_S`` seconds.

    Args:
        client: A Secrets Manager client.
        secret_arn: ARN or name of the secret.
        first: The client's answer for this secret, begun ahead; in place of the first call.
        clock: Wall time in seconds. Not a monotonic clock: that one stops while an instance is frozen.
    """

    def __init__(
        self,
        client: "SecretsManagerClient",
        secret_arn: str,
        *,
        first: "Future[Any] | None" = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._first = first
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

    def _ask(self) -> Mapping[str, Any]:
        first, self._first = self._first, None
        return first.result() if first else self._client.get_secret_value(SecretId=self._secret_arn)

    def _read(self) -> Credentials:
        try:
            secret = self._ask()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            reason = f"Secrets Manager answered {code}"
            if code in _LASTING_ERRORS:
                raise ServiceNotConfigured(f"{reason}: fill the secret: make secret") from None
            raise ProviderUnavailable(reason) from None
        except BotoCoreError as error:
            raise ProviderUnavailable(f"Secrets Manager not reached: {type(error).__name__}") from None
        return _parse(secret.get("SecretString"))


def _parse(secret_string: Any) -> Credentials:
    try:
        return Credentials.model_validate_json(_AROUND.sub("", secret_string or ""))
    except ValidationError as error:
        # hide_input_in_errors does not change errors(): take only names and rules from it.
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'secret'}: {fault['msg']}" for fault in error.errors())
        raise ServiceNotConfigured(
            f'the secret must be JSON like {{"api_key": "…", "shop_id": "…"}}: {"; ".join(faults)}'
        ) from None
