"""What programs written against CryptoCloud's v1 page send, one body for each kind.

The bodies are of our own making, after what the public callers of that page do.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.support.account import SHOP_ID


@dataclass(frozen=True)
class Caller:
    """One kind of caller.

    Args:
        name: What is particular about it.
        body: What it sends, to the byte.
        upstream: What the provider gets of it, apart from the shop, as JSON text with the exact number; empty where it
        is
            refused.
        refused: The pointers to the fields that are refused, and a part of what is said of each.
    """

    name: str
    body: str
    upstream: str = ""
    refused: dict[str, str] = field(default_factory=dict)

    def upstream_fields(self, parse: Any) -> dict[str, Any]:
        """Returns what the provider gets, by ``parse``."""
        return {**parse(self.upstream), "shop_id": SHOP_ID}


_ROUND_IT = "round it, or send a string"

CALLERS = [
    Caller(
        "the sample of the provider's page",
        '{"amount": 100.0, "currency": "USD", "description": "Pay"}',
        '{"amount": 100.0, "currency": "USD", "description": "Pay"}',
    ),
    Caller(
        "requests.post(json=…) with a float",
        '{"shop_id": "local-shop", "amount": 19.99, "currency": "USD", "order_id": "1001"}',
        '{"amount": 19.99, "currency": "USD", "order_id": "1001"}',
    ),
    Caller("JSON.stringify of a whole number", '{"amount":15,"currency":"EUR"}', '{"amount": 15, "currency": "EUR"}'),
    Caller(
        "PHP's json_encode: slashes and letters escaped, the amount as text",
        r'{"amount":"249.00","currency":"RUB","order_id":"shop\/17","description":"\u0417\u0430\u043a\u0430\u0437"}',
        '{"amount": 249.00, "currency": "RUB", "order_id": "shop/17", "description": "Заказ"}',
    ),
    Caller(
        "a decimal of a database, as text",
        '{"amount": "19.990000", "currency": "USD"}',
        '{"amount": 19.99, "currency": "USD"}',
    ),
    Caller(
        "a decimal of a database, as a number",
        '{"amount": 19.990, "currency": "USD"}',
        '{"amount": 19.99, "currency": "USD"}',
    ),
    Caller("an exponent", '{"amount": 1.5e3}', '{"amount": 1500, "currency": "USD"}'),
    Caller("a sum of floats", '{"amount": 59.97000000000001, "currency": "USD"}', refused={"/amount": _ROUND_IT}),
    Caller("a tenth and two tenths", '{"amount": 0.30000000000000004}', refused={"/amount": _ROUND_IT}),
    Caller(
        "empty text for what it does not have",
        '{"amount": 10, "currency": "", "order_id": "", "email": "", "description": "", "shop_id": ""}',
        '{"amount": 10, "currency": "USD"}',
    ),
    Caller(
        "null for what it does not have",
        '{"amount": 10, "currency": null, "order_id": null, "email": null, "description": null, "shop_id": null}',
        '{"amount": 10, "currency": "USD"}',
    ),
    Caller(
        "the primary key of a table for the order",
        '{"amount": 10, "order_id": 1001}',
        '{"amount": 10, "currency": "USD", "order_id": "1001"}',
    ),
    Caller("a float for the order", '{"amount": 10, "order_id": 1001.5}', refused={"/order_id": "must be"}),
    Caller(
        "the text of a form: line breaks of Windows",
        r'{"amount": 10, "description": "1 x Mug\r\n2 x Cap"}',
        r'{"amount": 10, "currency": "USD", "description": "1 x Mug\r\n2 x Cap"}',
    ),
    Caller(
        "an international domain",
        '{"amount": 10, "email": "buyer@bücher.example"}',
        '{"amount": 10, "currency": "USD", "email": "buyer@xn--bcher-kva.example"}',
    ),
    Caller(
        "an order with an emoji and a character of the newest Unicode",
        '{"amount": 10, "order_id": "🍓 \U0001cc00"}',
        '{"amount": 10, "currency": "USD", "order_id": "🍓 \U0001cc00"}',
    ),
    Caller(
        "fields that the provider ignores",
        '{"amount": 10, "success_url": "https://shop.example/ok", "callback_url": "https://shop.example/hook"}',
        refused={"/success_url": "is not a field", "/callback_url": "is not a field"},
    ),
    Caller(
        "v2's own extras",
        '{"amount": 10, "add_fields": {"cryptocurrency": "BTC"}, "locale": "en"}',
        refused={"/add_fields": "is not a field", "/locale": "is not a field"},
    ),
    Caller("another shop", '{"amount": 10, "shop_id": "not-ours"}', refused={"/shop_id": "must be left out"}),
    Caller("a locale's decimal comma", '{"amount": "19,99"}', refused={"/amount": "decimal string"}),
]
