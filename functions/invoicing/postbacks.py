"""A postback, from its bytes to the payment that it hints at."""

import time
from collections.abc import Callable

from invoicing.contract.errors import FieldError, InvalidRequest, PostbackRefused, ServiceNotConfigured
from invoicing.contract.settings import PaymentSettings
from invoicing.credentials import Credentials, CredentialStore
from invoicing.observability import logger
from invoicing.payments import Payments
from invoicing.provider.postback import is_signed, read_postback

# A token that does not fit may be signed with a new secret key. Forged ones must not make us read the secret each time.
READ_AGAIN_AFTER_S = 60


class PostbackReceiver:
    """Receives postbacks.

    Args:
        credentials: Where the secret key comes from.
        payments: The story of a payment.
        clock: Wall time in seconds. Not a monotonic clock: that one stops while an instance is frozen.
    """

    def __init__(
        self, credentials: CredentialStore, payments: Payments, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._credentials = credentials
        self._payments = payments
        self._clock = clock
        self._read_again_at_s = 0.0

    @classmethod
    def from_settings(cls, settings: PaymentSettings) -> "PostbackReceiver":
        """Returns a receiver with real clients; calls nobody yet."""
        payments = Payments.from_settings(settings)
        return cls(payments.credentials, payments)

    def read_secret(self) -> None:
        """Reads the secret ahead of the first postback.

        Raises:
            InvoicingError: As ``CredentialStore.get``.
        """
        self._credentials.get()

    def receive(self, body: bytes) -> None:
        """Verifies a postback, and follows the invoice that it names.

        Args:
            body: JSON or a form.

        Raises:
            InvalidRequest: It is neither, or names no invoice.
            PostbackRefused: Its token is not the provider's.
            ServiceNotConfigured: There is no secret key to verify it with.
            InvoicingError: As ``Payments.follow``.
        """
        postback = read_postback(body)
        if not self._is_signed(postback.token):
            raise PostbackRefused("the token was not signed with the secret_key of the secret, or has expired")
        if postback.invoice_id is None:
            raise InvalidRequest(fields=[FieldError("/invoice_id", "must be the id of an invoice")])
        logger.append_keys(invoice_id=postback.invoice_id)
        status = self._payments.follow(postback.invoice_id)
        logger.info("postback received", status=status)

    def _is_signed(self, token: str) -> bool:
        if not token:
            return False
        if _fits(token, credentials := self._credentials.get()):
            return True
        if self._clock() >= self._read_again_at_s:
            self._read_again_at_s = self._clock() + READ_AGAIN_AFTER_S
            credentials = self._credentials.read_again()
        if credentials.secret_key is None:
            error = ServiceNotConfigured(
                'the secret has no secret_key, so no postback can be verified: add "secret_key", the secret key of the '
                "project at CryptoCloud"
            )
            # A shop may do without one, and anybody can post: that must not roll back a good version.
            error.blames_version = False
            raise error
        return _fits(token, credentials)


def _fits(token: str, credentials: Credentials) -> bool:
    key = credentials.secret_key
    return key is not None and is_signed(token, key.get_secret_value())
