"""The invoice that callers get."""

import re
from decimal import Decimal
from typing import Annotated, Literal, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

_ID = "[A-Za-z0-9_-]{1,64}"
_INVOICE_ID = re.compile(_ID)
_PREFIX = "INV-"
# For JSON Schema: an id with or without the prefix, which alone is none.
INVOICE_ID_PATTERN = f"^(?!{_PREFIX}$)({_PREFIX})?{_ID}$"
ReplyAmount = Annotated[Decimal | str, WithJsonSchema({"type": ["number", "string"]})]


class Invoice(BaseModel):
    """A created invoice: the provider's documented reply.

    ``currency`` is a crypto code or absent, never an echo of the request's; ``amount`` and ``amount_usd`` are there
    when the provider sent them, number or string as it sent them. The provider decides what ``amount`` counts: in
    version 2 of its API it is a cryptocurrency once one is chosen, and our requests choose none.
    """

    model_config = ConfigDict(frozen=True)

    status: Literal["success"] = "success"
    pay_url: str = Field(
        description="Where to send the buyer; always of CryptoCloud's pay origin.", json_schema_extra={"format": "uri"}
    )
    currency: str | None = Field(default=None, description="A crypto code, not the currency of the request.")
    invoice_id: str = Field(description="CryptoCloud's id of the invoice.")
    amount: ReplyAmount | None = Field(default=None, description="As CryptoCloud sent it.")
    amount_usd: ReplyAmount | None = Field(default=None, description="As CryptoCloud sent it.")

    # Whether it is of a project in test mode, so no real money comes. Only for our log: it is not in the reply.
    test_mode: bool = Field(default=False, exclude=True)

    def payload(self) -> dict[str, str | Decimal]:
        """Returns the reply's fields, those that are absent left out."""
        return self.model_dump(exclude_none=True)


def bare_id(uuid: str) -> str:
    """Returns an invoice's id as we keep it. The provider writes some with ``INV-`` before it, and accepts both."""
    return uuid.removeprefix(_PREFIX)


def is_invoice_id(value: object) -> TypeGuard[str]:
    """Returns whether this can be an invoice's id, without ``INV-``."""
    return isinstance(value, str) and _INVOICE_ID.fullmatch(value) is not None
