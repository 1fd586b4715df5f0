"""One invoice, from a validated request to the payload: the whole flow, readable top to bottom."""

import json
import time
from urllib.parse import urlsplit

from invoicing.aws import SECRETS_LIMIT_S, TABLE_LIMIT_S, dynamodb_client, secrets_manager_client
from invoicing.contract.errors import (
    FieldError,
    InvalidRequest,
    PayLinkRefused,
    ProviderCredentialsRejected,
    ProviderUnavailable,
)
from invoicing.contract.invoice import Invoice
from invoicing.contract.origins import origin_of
from invoicing.contract.requests import InvoiceRequest
from invoicing.contract.settings import CreateInvoiceSettings
from invoicing.credentials import Credentials, CredentialStore
from invoicing.invoices import InvoiceRecord, InvoiceTable, new_item
from invoicing.keys import Delivery, IdempotencyKey, InvoiceRecords
from invoicing.observability import (
    IMPATIENT,
    INVOICE_NOT_RECORDED,
    TEST_INVOICE_CREATED,
    log_created,
    logger,
    metrics,
    order_in_log,
)
from invoicing.patience import Patience
from invoicing.provider.dialects import chosen_api
from invoicing.provider.outcomes import Api
from invoicing.provider.transport import MIN_ATTEMPT_S, Transport

# Kept back from the time that Lambda leaves: recording the invoice, completing the record of its key, answering, and
# flushing logs and metrics.
RESERVE_S = 2 * TABLE_LIMIT_S + 1.0


class InvoiceService:
    """Creates invoices for one shop.

    Args:
        settings: The validated environment.
        credentials: Where the API key and the shop id come from.
        records: The table of idempotency keys.
        invoices: The table of invoices.
        provider: CryptoCloud.
        api: The version of its API to speak.
    """

    def __init__(
        self,
        settings: CreateInvoiceSettings,
        credentials: CredentialStore,
        records: InvoiceRecords,
        invoices: InvoiceTable,
        provider: Transport,
        api: Api,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._records = records
        self._invoices = invoices
        self._provider = provider
        self._api = api
        self._patience = Patience(settings.provider_timeout)

    @classmethod
    def from_settings(cls, settings: CreateInvoiceSettings) -> "InvoiceService":
        """Returns a service with real clients; calls nobody yet."""
        table_client = dynamodb_client()
        return cls(
            settings,
            CredentialStore(secrets_manager_client(), settings.cryptocloud_secret_arn),
            InvoiceRecords(settings.idempotency_table, table_client),
            # The same client: its connection is open already, from the claim of the key.
            InvoiceTable(settings.invoice_table, table_client),
            Transport(settings.cryptocloud_api_url),
            chosen_api(settings.cryptocloud_api, lifetime_minutes=settings.invoice_lifetime, coins=settings.coins),
        )

    def read_secret(self) -> None:
        """Reads the secret ahead of the first request.

        Raises:
            InvoicingError: As ``CredentialStore.get``.
        """
        self._credentials.get()

    def create(self, request: InvoiceRequest, key: IdempotencyKey | None, *, lambda_deadline_s: float) -> Delivery:
        """Delivers one invoice: with a key, every time the same one.

        Args:
            request: What the caller asked for, validated against the model.
            key: The caller's idempotency key, if there is one.
            lambda_deadline_s: ``time.monotonic()`` at which Lambda ends this invocation.

        Raises:
            InvoicingError: One of ``errors.ERROR_TABLE``.
        """
        # On every line of this request from here on: enough to find an order and its key's record by hand.
        logger.append_keys(
            order_id=order_in_log(request.order_id),
            idempotency_record=key.record_id if key else None,
            provider_api=self._api.name,
            provider_host=urlsplit(self._settings.cryptocloud_api_url).hostname,
        )
        self._check_amount(request)
        self._check_currency(request)
        if key is None:
            delivery = Delivery(self._create(request, lambda_deadline_s), replayed=False)
        else:
            delivery = self._records.deliver_once(
                key,
                request,
                lambda: self._create(request, lambda_deadline_s),
                remaining_s=lambda: lambda_deadline_s - time.monotonic(),
            )
        self._check_link(delivery.invoice)
        return delivery

    def _create(self, request: InvoiceRequest, lambda_deadline_s: float) -> Invoice:
        credentials = self._credentials.get()
        if request.shop_id not in (None, credentials.shop_id):
            raise InvalidRequest(fields=[FieldError("/shop_id", "must be left out or be the shop of this service")])

        latest_s = lambda_deadline_s - RESERVE_S
        allowed_s = self._patience.allowed_s()
        if allowed_s < self._settings.provider_timeout:
            metrics.add_metric(IMPATIENT, "Count", 1)
        budget = _Budget(allowed_s)
        try:
            invoice = self._call_provider(request, credentials, budget, latest_s)
        except ProviderCredentialsRejected:
            if latest_s - time.monotonic() < SECRETS_LIMIT_S:
                raise
            rotated = self._credentials.read_again()
            if rotated == credentials:
                raise
            invoice = self._call_provider(request, rotated, budget, latest_s)

        if invoice.test_mode:
            logger.append_keys(test_mode=True)
            metrics.add_metric(TEST_INVOICE_CREATED, "Count", 1)
        log_created(invoice.invoice_id, request.amount, request.currency)
        self._record(request, invoice)
        return invoice

    def _record(self, request: InvoiceRequest, invoice: Invoice) -> None:
        order_id = request.order_id or None
        record = InvoiceRecord(
            invoice.invoice_id, f"{request.amount:f}", request.currency, self._api.name, int(time.time()), order_id
        )
        item = new_item(record, retention_s=self._settings.invoice_retention * 24 * 60 * 60)
        try:
            self._invoices.record(item)
        except Exception as error:  # whatever it is, the buyer gets the link
            if order_id and order_in_log(order_id) != order_id:
                del item["order_id"]
            # With the whole record, so that the owner can put it into the table: docs/payments.md.
            logger.error(
                "invoice not recorded", reason=getattr(error, "reason", type(error).__name__), record=json.dumps(item)
            )
            metrics.add_metric(INVOICE_NOT_RECORDED, "Count", 1)

    def _call_provider(
        self, request: InvoiceRequest, credentials: Credentials, budget: "_Budget", latest_s: float
    ) -> Invoice:
        if min(budget.left_s, latest_s - time.monotonic()) < MIN_ATTEMPT_S:
            # Not the provider's failure: it was not called, so there is nothing to learn about it.
            raise ProviderUnavailable("no time left for a call to the provider")

        call = self._api.create(request, credentials.shop_id)
        with budget:  # the provider's time runs only while it is called: not while the secret is read
            deadline_s = min(time.monotonic() + budget.left_s, latest_s)
            try:
                return self._provider.perform(call, credentials, deadline_s=deadline_s)
            finally:
                self._patience.learn(
                    allowed_s=budget.allowed_s, held_s=self._provider.held_s, answered=self._provider.answered
                )

    def _check_link(self, invoice: Invoice) -> None:
        # After the key was completed, and at every replay: the invoice exists whatever its link is, so the key keeps it
        # and delivers it once the owner has allowed the origin. Trying again would only make one more invoice.
        origin = origin_of(invoice.pay_url)
        if origin not in self._settings.cryptocloud_pay_origins:
            raise PayLinkRefused(f"the pay link is of {origin}: allow that origin in PayOrigins, or ask CryptoCloud")

    def _check_amount(self, request: InvoiceRequest) -> None:
        low, high = self._settings.min_amount, self._settings.max_amount
        if not low <= request.amount <= high:
            raise InvalidRequest(fields=[FieldError("/amount", f"must be from {low:f} to {high:f}")])

    def _check_currency(self, request: InvoiceRequest) -> None:
        if request.currency not in self._api.currencies:
            raise InvalidRequest(fields=[FieldError("/currency", f"must be one of {', '.join(self._api.currencies)}")])


class _Budget:
    """The seconds that the provider has for one invoice, spent within ``with`` blocks."""

    def __init__(self, allowed_s: float) -> None:
        self.allowed_s = self.left_s = allowed_s
        self._started_s = 0.0

    def __enter__(self) -> None:
        self._started_s = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.left_s -= time.monotonic() - self._started_s
