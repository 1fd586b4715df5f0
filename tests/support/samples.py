"""An invoice and a clock, for tests that need any."""

from dataclasses import dataclass

from invoicing.contract.invoice import Invoice

#: CryptoCloud's reply to a request for an invoice, as its page has it.
PAYLOAD = {
    "status": "success",
    "pay_url": "https://pay.cryptocloud.plus/DZLF4212",
    "currency": "BTC",
    "invoice_id": "DZLF4212",
}
INVOICE = Invoice(pay_url="https://pay.cryptocloud.plus/DZLF4212", invoice_id="DZLF4212")


@dataclass
class Clock:
    """Seconds that pass only when a test says so; use it as ``time.time`` or ``time.monotonic``."""

    now_s: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s
