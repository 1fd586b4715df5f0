"""What CryptoCloud's API answers in each of its versions, as far as its documents and its callers say.

https://docs.cryptocloud.plus/en/api-reference-v2/create-invoice, and the pages beside it. Of what is said in two ways,
the sandbox says the one that its fault asks for, or else the documented one.
"""

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

Answer = tuple[int, dict[str, Any]]
STATUSES = ("created", "paid", "overpaid", "partial", "canceled")
_LIFETIME = timedelta(hours=24)
_TIME = "%Y-%m-%d %H:%M:%S.%f"
_MAX_UUIDS = 100


def new_id() -> str:
    """Returns an id that no invoice has."""
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(8))


@dataclass(slots=True)
class Shop:
    """A shop and its invoices.

    Args:
        api_key: The key that callers must send.
        shop_id: The shop that the key belongs to.
        origin: Where its pay pages are.
        invoices: By bare id: the request, ``status_invoice``, the UTC times ``created`` and ``expiry_date``, and by
            which version of the ``api`` it was created.
    """

    api_key: str
    shop_id: str
    origin: str
    invoices: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, request: Mapping[str, Any], api: str) -> str:
        """Returns the id of a new invoice."""
        invoice_id = new_id()
        time_to_pay = request.get("add_fields", {}).get("time_to_pay")
        created = datetime.now(UTC)
        self.invoices[invoice_id] = {
            **request,
            "status_invoice": "created",
            "created": created.strftime(_TIME),
            "expiry_date": (created + (timedelta(**time_to_pay) if time_to_pay else _LIFETIME)).strftime(_TIME),
            "api": api,
        }
        return invoice_id

    def find(self, uuid: object) -> dict[str, Any] | None:
        """Returns an invoice by its id, with the prefix ``INV-`` or without."""
        return self.invoices.get(str(uuid).removeprefix("INV-"))

    def pay_url(self, invoice_id: str) -> str:
        """Returns the address of an invoice's pay page."""
        return f"{self.origin}/pay/{invoice_id}"

    def complaint(self, request: Mapping[str, Any], currencies: frozenset[str]) -> tuple[str, str] | None:
        """Returns the field of a request to create that is wrong, and what is wrong with it."""
        if request.get("shop_id") != self.shop_id:
            return "shop_id", "The shop is not yours."
        try:
            if float(request["amount"]) <= 0:
                return "amount", "The amount must be positive."
        except (KeyError, TypeError, ValueError):
            return "amount", "The amount is not a number."
        if request.get("currency", "USD") not in currencies:
            return "currency", "The currency is not supported."
        return None


class V1:
    """``/v1``: the documented page of old."""

    currencies = frozenset({"USD", "RUB", "EUR", "GBP", "UAH"})
    routes: ClassVar = {("POST", "/v1/invoice/create"): "create", ("GET", "/v1/invoice/info"): "info"}

    def refused_key(self) -> Answer:
        """Says that the key is wrong."""
        return 401, {"message": "Unauthenticated."}

    def error(self, status: int, text: str, field_at_fault: str = "") -> Answer:  # noqa: ARG002
        """Says that something is wrong, without naming the field."""
        return status, {"status": "error", "error": text}

    def create(self, shop: Shop, request: Mapping[str, Any]) -> Answer:
        """Creates an invoice."""
        if complaint := shop.complaint(request, self.currencies):
            return self.error(400, complaint[1])
        invoice_id = shop.add(request, "v1")
        return 200, {
            "status": "success",
            "pay_url": shop.pay_url(invoice_id),
            "currency": "BTC",
            "invoice_id": invoice_id,
        }

    def info(self, shop: Shop, request: Mapping[str, Any]) -> Answer:
        """Says the status of one invoice; of one that it does not know, by 400."""
        invoice = shop.find(request.get("uuid"))
        if invoice is None:
            return self.error(400, "Invoice not found.")
        return 200, {"status": "success", "status_invoice": invoice["status_invoice"]}

    def place_of_link(self, reply: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Returns where in a reply the link is: the object and the name."""
        return reply, "pay_url"


class V2:
    """``/v2``: the current one, which Trybit's host speaks too."""

    currencies = V1.currencies | {
        "UZS", "KGS", "KZT", "AMD", "AZN", "BYN", "AUD", "TRY", "AED", "CAD",
        "CNY", "HKD", "IDR", "INR", "JPY", "PHP", "SGD", "THB", "VND", "MYR",
    }  # fmt: skip
    routes: ClassVar = {
        ("POST", "/v2/invoice/create"): "create",
        ("POST", "/v2/invoice/merchant/info"): "info",
        ("POST", "/v2/invoice/merchant/list"): "list",
        ("POST", "/v2/invoice/merchant/canceled"): "cancel",
    }

    def refused_key(self) -> Answer:
        """Says that the key is wrong."""
        return 400, {"status": "error", "result": {"authorization": "Unauthorized request."}}

    def error(self, status: int, text: str, field_at_fault: str = "validate_error") -> Answer:
        """Says what is wrong with which field."""
        return status, {"status": "error", "result": {field_at_fault: text}}

    def create(self, shop: Shop, request: Mapping[str, Any]) -> Answer:
        """Creates an invoice."""
        if complaint := shop.complaint(request, self.currencies):
            return self.error(400, complaint[1], complaint[0])
        if complaint_of_extras := _complaint_of_extras(request.get("add_fields", {})):
            return self.error(400, complaint_of_extras)
        invoice_id = shop.add(request, "v2")
        return 200, {
            "status": "success",
            "result": self.described(shop, invoice_id) | {"link": shop.pay_url(invoice_id)},
        }

    def info(self, shop: Shop, request: Mapping[str, Any]) -> Answer:
        """Says all of up to 100 invoices; those that it does not know are left out."""
        uuids = request.get("uuids")
        if not isinstance(uuids, list) or len(uuids) > _MAX_UUIDS:
            return self.error(400, f"Send a list of at most {_MAX_UUIDS}.", "uuids")
        known = [str(uuid).removeprefix("INV-") for uuid in uuids if shop.find(uuid)]
        return 200, {"status": "success", "result": [self.described(shop, invoice_id) for invoice_id in known]}

    def list(self, shop: Shop, request: Mapping[str, Any]) -> Answer:
        """Says all invoices of some days, oldest first."""
        try:
            start, end = (datetime.strptime(request[name], "%d.%m.%Y").date() for name in ("start", "end"))  # noqa: DTZ007
            offset, limit = int(request.get("offset", 0)), int(request.get("limit", 10))
        except (KeyError, TypeError, ValueError):
            return self.error(400, "Send start and end as dd.mm.yyyy, offset and limit as numbers.")
        wanted = [
            self.described(shop, invoice_id) | {"pay_url": shop.pay_url(invoice_id)}
            for invoice_id, invoice in shop.invoices.items()
            if start.isoformat() <= invoice["created"][:10] <= end.isoformat()
        ]
        return 200, {"status": "success", "result": wanted[offset : offset + limit]}

    def cancel(self, shop: Shop, request: Mapping[str, Any]) -> Answer:
        """Cancels an invoice that nobody has begun to pay."""
        invoice = shop.find(request.get("uuid"))
        if invoice is None or invoice["status_invoice"] != "created":
            # The status of this answer is not documented.
            return 400, {"status": "error", "result": "Invoice is not created"}
        invoice["status_invoice"] = "canceled"
        return 200, {"status": "success", "result": ["ok"]}

    def place_of_link(self, reply: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Returns where in a reply the link is: the object and the name."""
        return reply["result"], "link"

    def described(self, shop: Shop, invoice_id: str) -> dict[str, Any]:
        """Returns all that it says of an invoice, also in a postback."""
        invoice = shop.invoices[invoice_id]
        status, amount = invoice["status_invoice"], float(invoice["amount"])
        return {
            "uuid": f"INV-{invoice_id}",
            "created": invoice["created"],
            "expiry_date": invoice["expiry_date"],
            "amount": amount,
            "amount_usd": amount,
            "amount_in_fiat": amount,
            "currency": None,
            "fiat_currency": invoice.get("currency", "USD"),
            "status": status,
            "invoice_status": "success" if status in ("paid", "overpaid") else status,
            "is_email_required": False,
            "order_id": invoice.get("order_id"),
            "project": {"id": 1, "name": shop.shop_id},
            "test_mode": False,
        }


Dialect = V1 | V2


def _complaint_of_extras(extras: Any) -> str | None:
    if not isinstance(extras, dict):
        return "add_fields is not an object."
    time_to_pay, coins = extras.get("time_to_pay", {}), extras.get("available_currencies", [])
    if not isinstance(time_to_pay, dict) or not all(
        name in ("hours", "minutes") and isinstance(value, int) for name, value in time_to_pay.items()
    ):
        return "time_to_pay is not in hours and minutes."
    if not isinstance(coins, list) or not all(isinstance(coin, str) for coin in coins):
        return "available_currencies is not a list of codes."
    return None
