"""One invoice, from a validated request to the payload: the whole flow, readable top to bottom."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from invoicing import ahead
from invoicing.aws import SECRETS_LIMIT_S, TABLE_LIMIT_S, dynamodb_client, secrets_manager_client
from invoicing.contract.errors import (
    FieldError,
    InternalError,
    InvalidRequest,
    PayLinkRefused,
    ProviderCredentialsRejected,
    ProviderUnavailable,
)
from invoicing.contract.invoice import Invoice
from invoicing.contract.origins import origin_of
from invoicing.contract.requests import InvoiceRequest, Item, ItemsRequest
from invoicing.contract.settings import CreateInvoiceSettings
from invoicing.credentials import Credentials, CredentialStore
from invoicing.invoice_record import InvoiceRecord, new_item
from invoicing.invoices import InvoiceTable
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
from invoicing.sockets import in_thread

if TYPE_CHECKING:
    from invoicing.prices import Prices

# Kept back from the time that Lambda leaves: recording the invoice while the record of its key is completed, answering,
# and flushing logs and metrics.
RESERVE_S = TABLE_LIMIT_S + 1.0


class InvoiceService:
    """Creates invoices for one shop.

    Args:
        settings: The validated environment.
        credentials: Where the API key and the shop id come from.
        records: The table of idempotency keys.
        invoices: The table of invoices.
        provider: CryptoCloud.
        api: The version of its API to speak.
        prices: The shop's price list, if it has one.
    """

    def __init__(
        self,
        settings: CreateInvoiceSettings,
        credentials: CredentialStore,
        records: InvoiceRecords,
        invoices: InvoiceTable,
        provider: Transport,
        api: Api,
        prices: "Prices | None" = None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._records = records
        self._invoices = invoices
        self._provider = provider
        self._api = api
        self._prices = prices
        self._patience = Patience(settings.provider_timeout)

    @classmethod
    def from_settings(cls, settings: CreateInvoiceSettings) -> "InvoiceService":
        """Returns a service with real clients; calls nobody yet."""
        table_client = dynamodb_client()
        api = chosen_api(settings.cryptocloud_api, lifetime_minutes=settings.invoice_lifetime, coins=settings.coins)
        return cls(
            settings,
            CredentialStore(secrets_manager_client(), settings.cryptocloud_secret_arn, first=ahead.secret),
            InvoiceRecords(settings.idempotency_table, table_client),
            # The same client: its connection is open already, from the claim of the key.
            InvoiceTable(settings.invoice_table, table_client),
            Transport(settings.cryptocloud_api_url, opened=ahead.provider),
            api,
            _prices_at(settings.price_list_url, api) if settings.price_list_url else None,
        )

    def prepare(self) -> None:
        """Reads the secret, and the price list if there is one, ahead of the first request.

        Raises:
            InvoicingError: As ``CredentialStore.get`` and ``Prices.current``.
        """
        if self._prices is None:
            self._credentials.get()
            return
        # Side by side: if both hang, one after the other would outlast the 10 s that Lambda gives a start. Transports
        # work in this thread only. https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
        secret = in_thread(self._credentials.get)
        try:
            self._prices.current(deadline_s=time.monotonic() + SECRETS_LIMIT_S)
        finally:
            secret.result()

    def create(
        self, request: InvoiceRequest | ItemsRequest, key: IdempotencyKey | None, *, lambda_deadline_s: float
    ) -> Delivery:
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
        if isinstance(request, InvoiceRequest):
            self._check_amount(request.amount, "/amount")
            self._check_currency(request)
        recording = _Recording(self._invoices)
        if key is None:
            delivery = Delivery(self._create(request, lambda_deadline_s, recording), replayed=False)
        else:
            delivery = self._records.deliver_once(
                key,
                request,
                lambda: self._create(request, lambda_deadline_s, recording),
                remaining_s=lambda: lambda_deadline_s - time.monotonic(),
            )
        recording.end()
        self._check_link(delivery.invoice)
        return delivery

    def _create(
        self, asked: InvoiceRequest | ItemsRequest, lambda_deadline_s: float, recording: "_Recording"
    ) -> Invoice:
        credentials = self._credentials.get()
        if asked.shop_id not in (None, credentials.shop_id):
            raise InvalidRequest(fields=[FieldError("/shop_id", "must be left out or be the shop of this service")])

        latest_s = lambda_deadline_s - RESERVE_S
        request = asked if isinstance(asked, InvoiceRequest) else self._priced(asked, latest_s)
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
        recording.begin(self._item(invoice, request, asked.items if isinstance(asked, ItemsRequest) else ()))
        return invoice

    def _priced(self, asked: ItemsRequest, latest_s: float) -> InvoiceRequest:
        # After the key was claimed: a replay needs no price, and a retry gets the price that its first try got.
        if self._prices is None:
            raise InternalError("a request with items, and no price list")
        from invoicing.prices import priced

        request = priced(asked, self._prices.current(deadline_s=latest_s))
        self._check_amount(request.amount, "/items")
        return request

    def _item(self, invoice: Invoice, request: InvoiceRequest, items: Sequence[Item]) -> dict[str, Any]:
        record = InvoiceRecord(
            invoice_id=invoice.invoice_id,
            amount=f"{request.amount:f}",
            currency=request.currency,
            api=self._api.name,
            created_s=int(time.time()),
            order_id=request.order_id or None,
            items=tuple((item.id, item.quantity) for item in items),
        )
        return new_item(record, retention_s=self._settings.invoice_retention * 24 * 60 * 60)

    def _call_provider(
        self, request: InvoiceRequest, credentials: Credentials, budget: "_Budget", latest_s: float
    ) -> Invoice:
        if min(budget.left_s, latest_s - time.monotonic()) < MIN_ATTEMPT_S:
            # Not the provider's failure: it was not called.
            raise ProviderUnavailable("no time left for a call to the provider")

        call = self._api.create(request, credentials.shop_id)
        with budget:  # the provider's time runs only while it is called, not while the secret is read
            deadline_s = min(time.monotonic() + budget.left_s, latest_s)
            try:
                return self._provider.perform(call, credentials, deadline_s=deadline_s)
            finally:
                self._patience.learn(
                    allowed_s=budget.allowed_s, held_s=self._provider.held_s, answered=self._provider.answered
                )

    def _check_link(self, invoice: Invoice) -> None:
        # Checked after the key was completed, and at every replay. The invoice exists whatever its link is: the key
        # keeps it, and delivers it once the owner has allowed the origin. Another try would only make one more invoice.
        origin = origin_of(invoice.pay_url)
        if origin not in self._settings.cryptocloud_pay_origins:
            raise PayLinkRefused(f"the pay link is of {origin}: allow that origin in PayOrigins, or ask CryptoCloud")

    def _check_amount(self, amount: Decimal, pointer: str) -> None:
        low, high = self._settings.min_amount, self._settings.max_amount
        if not low <= amount <= high:
            subject = "" if pointer == "/amount" else "together "
            raise InvalidRequest(fields=[FieldError(pointer, f"must {subject}be from {low:f} to {high:f}")])

    def _check_currency(self, request: InvoiceRequest) -> None:
        if request.currency not in self._api.currencies:
            raise InvalidRequest(fields=[FieldError("/currency", f"must be one of {', '.join(self._api.currencies)}")])


def _prices_at(url: str, api: Api) -> "Prices":
    # Imported here: no start-up takes the time of a list that there is not.
    from invoicing.prices import Prices, site_of

    return Prices(url, site_of(url, opened=ahead.prices), api.currencies)


class _Budget:
    """The seconds that the provider has for one invoice, spent within ``with`` blocks."""

    def __init__(self, allowed_s: float) -> None:
        self.allowed_s = self.left_s = allowed_s
        self._started_s = 0.0

    def __enter__(self) -> None:
        self._started_s = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.left_s -= time.monotonic() - self._started_s


class _Recording:
    """The record of one invoice, written while the record of its key is completed: the buyer waits for one of them."""

    def __init__(self, invoices: InvoiceTable) -> None:
        self._invoices = invoices
        self._written: Future[None] | None = None
        self._item: dict[str, Any] = {}

    def begin(self, item: dict[str, Any]) -> None:
        """Begins to write.

        Args:
            item: What ``new_item`` returns.
        """
        self._item, self._written = item, in_thread(self._invoices.record, item)

    def end(self) -> None:
        """Waits until it is written, if it was begun. Whatever went wrong, the buyer gets the link."""
        error = self._written and self._written.exception()
        if not error:
            return
        order_id = self._item.get("order_id", {}).get("S")
        if order_id and order_in_log(order_id) != order_id:
            del self._item["order_id"]
        # With the whole record, so that the owner can put it into the table: docs/payments.md.
        logger.error(
            "invoice not recorded", reason=getattr(error, "reason", type(error).__name__), record=json.dumps(self._item)
        )
        metrics.add_metric(INVOICE_NOT_RECORDED, "Count", 1)
