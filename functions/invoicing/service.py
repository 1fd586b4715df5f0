"""One invoice, from a validated request to the payload: the whole flow, readable top to bottom."""

import time

from invoicing.credentials import CredentialStore, secrets_manager_client
from invoicing.errors import FieldError, InvalidRequest, ProviderCredentialsRejected
from invoicing.models import Invoice, InvoiceRequest
from invoicing.observability import INVOICE_CREATED, logger, metrics
from invoicing.provider import Provider
from invoicing.settings import Settings

# Kept back from the time that Lambda leaves, for answering and for flushing logs and metrics.
_RESERVE_S = 1.0


class InvoiceService:
    """Creates invoices for one shop.

    Args:
        settings: The validated environment.
        credentials: Where the API key and the shop id come from.
        provider: CryptoCloud.
    """

    def __init__(self, settings: Settings, credentials: CredentialStore, provider: Provider) -> None:
        self._settings = settings
        self._credentials = credentials
        self._provider = provider

    @classmethod
    def from_settings(cls, settings: Settings) -> "InvoiceService":
        """Returns a service with real clients; calls nobody yet."""
        store = CredentialStore(secrets_manager_client(), settings.cryptocloud_secret_arn)
        return cls(settings, store, Provider(settings))

    def read_secret(self) -> None:
        """Reads the secret ahead of the first request.

        Raises:
            InvoicingError: As ``CredentialStore.get``.
        """
        self._credentials.get()

    def create(self, request: InvoiceRequest, *, lambda_deadline_s: float) -> Invoice:
        """Creates one invoice at the provider.

        Args:
            request: What the caller asked for, validated against the model.
            lambda_deadline_s: ``time.monotonic()`` at which Lambda ends this invocation.

        Raises:
            InvoicingError: One of ``errors.ERROR_TABLE``.
        """
        self._check_amount(request)
        credentials = self._credentials.get()
        if request.shop_id not in (None, credentials.shop_id):
            raise InvalidRequest(fields=[FieldError("/shop_id", "must be left out or be the shop of this service")])

        deadline_s = min(time.monotonic() + self._settings.provider_timeout, lambda_deadline_s - _RESERVE_S)
        try:
            invoice = self._provider.create_invoice(request, credentials, deadline_s=deadline_s)
        except ProviderCredentialsRejected:
            rotated = self._credentials.read_again()
            if rotated == credentials:
                raise
            invoice = self._provider.create_invoice(request, rotated, deadline_s=deadline_s)

        logger.info("invoice created", invoice_id=invoice.invoice_id)
        metrics.add_metric(INVOICE_CREATED, "Count", 1)
        return invoice

    def _check_amount(self, request: InvoiceRequest) -> None:
        low, high = self._settings.min_amount, self._settings.max_amount
        if not low <= request.amount <= high:
            raise InvalidRequest(fields=[FieldError("/amount", f"must be from {low:f} to {high:f}")])
