"""The invoice that callers get."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

ReplyAmount = Annotated[Decimal | str, WithJsonSchema({"type": ["number", "string"]})]


class Invoice(BaseModel):
    """A created invoice: the provider's documented reply.

    ``currency`` is a crypto code or absent, never an echo of the request's; ``amount`` and ``amount_usd`` are there
    when the provider sent them, number or string as it sent them. What ``amount`` counts is the provider's to say:
    version 2 of its API says a cryptocurrency once one is chosen, which no request of ours does.
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

    # Whether nobody has to pay it in earnest. For our log alone: it is no part of the reply.
    test_mode: bool = Field(default=False, exclude=True)

    def payload(self) -> dict[str, str | Decimal]:
        """Returns the reply's fields, those that are absent left out."""
        return self.model_dump(exclude_none=True)
