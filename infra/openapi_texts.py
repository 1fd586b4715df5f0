"""What docs/openapi.yaml says in words and examples; ``openapi`` adds the rules."""

from typing import Any

REQUEST_ID = "7b834569-6293-4c6b-83c6-759bbd3f8120"

ABOUT = """\
Creates CryptoCloud invoices for static sites, and says when they are paid: CryptoCloud's own documented requests
without the key and the shop, and its own documented replies.

**Compatible changes.** Fields and headers may be added to replies, and codes to errors: ignore what you do not know,
and for a code that you do not know go by `status` and `retryable`. What is here now stays as it is.

**Browsers** ask before they post (CORS): API Gateway answers their `OPTIONS` by itself, and the page's origin must be
among the `AllowedOrigins` of the deployment.

**Other Lambdas** invoke the functions themselves, by the same requests and for the same replies: see the README.

**CryptoCloud** itself posts to `/v1/invoice/postback` when an invoice is paid. That route is not in this document: what
it takes is for CryptoCloud to say, and nobody else has the secret key that signs it.
"""
ABOUT_CREATE = """\
Sends the request to CryptoCloud with the deployment's API key and shop. Send the buyer to `pay_url` of the reply.

What a deployment takes depends on its owner: without a price list an `InvoiceRequest`, which says what an invoice is
over; with one (`PriceListUrl`) an `ItemsRequest`, which says what is bought. The list's prices count then.

The body has at most 16 KiB. A field that it has twice, or that is not listed here, is refused by name; an
optional field that is `null` or `""` counts as left out. An `Authorization` header is ignored.

CryptoCloud creates a new invoice each time it is asked. With an `Idempotency-Key`, every success for that key within 24
hours is the same invoice. A failure frees the key.

What API Gateway answers by itself has its own form, `{"message": "…"}`: 429 when there are too many requests, and 500
or 503 should the function not answer it, or not in time.
"""
ABOUT_INFO = """\
Deliver goods for `paid` and `overpaid`, and for no other status. Both are final; every other one may change, `canceled`
too: a buyer may have paid late.

A page may ask as often as it likes: CryptoCloud is asked at most once in 5 s, and while it cannot be asked the reply is
the last status that is known. Parameters that are not listed here are ignored.

What API Gateway answers by itself has its own form, `{"message": "…"}`, as for a new invoice.
"""

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "One for each purchase, and the same one when the purchase is tried again: 1 to 255 visible ASCII characters "
        "without a comma, bare or in double quotes (`\\` before a quote or backslash in them). The same key with "
        "another body is refused with `idempotency_key_reused`."
    ),
    "schema": {"type": "string", "pattern": r'^(?!""$)([!-+\--~]{1,255}|"([!#-+\--\[\]-~]|\\["\\]){1,255}")$'},
    "examples": {
        "bare": {"value": "1f0c6e7a-5b1e-4a56-9f0e-0f6c1c0a7d11"},
        "quoted": {"value": '"1f0c6e7a-5b1e-4a56-9f0e-0f6c1c0a7d11"'},
    },
}

REQUEST_EXAMPLES = {
    "smallest": {"summary": "Only the required field", "value": {"amount": 19.99}},
    "order": {
        "summary": "What a shop sends",
        "value": {"amount": 19.99, "currency": "USD", "order_id": "A-1001", "email": "buyer@example.com"},
    },
    "decimal_string": {"summary": "An amount as text", "value": {"amount": "0.10", "currency": "EUR"}},
    "items": {
        "summary": "With a price list: what is bought",
        "value": {"items": [{"id": "mug"}, {"id": "tee-l", "quantity": 2}], "order_id": "A-1001"},
    },
    "provider_sample": {
        "summary": "The sample of CryptoCloud's own page",
        "value": {"amount": 100.0, "currency": "USD", "description": "Pay"},
    },
}

INVOICE = {
    "status": "success",
    "pay_url": "https://pay.cryptocloud.plus/DZLF4212",
    "currency": "BTC",
    "invoice_id": "DZLF4212",
}
REPLY_EXAMPLES = {
    "invoice": {"summary": "What CryptoCloud documents", "value": INVOICE},
    "with_amounts": {
        "summary": "What CryptoCloud also sends",
        "value": {**INVOICE, "amount": 19.99, "amount_usd": 19.99},
    },
}

CREATE_FAILURES = {
    400: "The request is not valid, or CryptoCloud rejected the invoice. Nothing was created.",
    403: "The page's origin is not allowed. Nothing was created.",
    409: "A request with the same idempotency key is still running.",
    413: "The body is too large. Nothing was created.",
    415: "The `Content-Type` is not JSON. Nothing was created.",
    422: "The idempotency key was used with another body. Nothing was created.",
    429: "Too many requests to the deployment; API Gateway answers by itself. Nothing was created.",
    500: "The service failed or is not set up.",
    502: "CryptoCloud refused the service's API key. Nothing was created.",
    503: "The service, CryptoCloud or the price list is unavailable. As a problem, it says that nothing was created.",
    504: "CryptoCloud gave no usable answer: it may have created an invoice whose link never arrived.",
}
STATUS_EXAMPLES = {
    "paid": {"summary": "The goods may be delivered", "value": {"status": "success", "status_invoice": "paid"}},
    "created": {"summary": "Nobody has paid yet", "value": {"status": "success", "status_invoice": "created"}},
}
INFO_FAILURES = {
    400: "The id is missing, is there twice, or cannot be an invoice's.",
    403: "The page's origin is not allowed.",
    404: (
        "The deployment has no record of an invoice of this id: it did not create it, created it longer ago than it "
        "keeps invoices (`InvoiceRetentionDays`), or could not record it."
    ),
    429: "Too many requests to the deployment; API Gateway answers by itself.",
    500: "The service failed or is not set up.",
    503: "The service is unavailable. The invoice is as it was.",
}
# What API Gateway answers by itself: when throttled, and when the function gives no answer, as a crash would be.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-lambda.html
GATEWAY_MESSAGES = {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}

HEADERS: dict[str, dict[str, Any]] = {
    "Cache-Control": {"description": "No reply may be cached.", "schema": {"const": "no-store"}},
    "X-Request-Id": {
        "description": "The id of the request in the service's log; in a problem also `request_id`.",
        "schema": {"type": "string"},
        "example": REQUEST_ID,
    },
    "Idempotent-Replayed": {
        "description": "Present if an earlier request with the same idempotency key created the invoice.",
        "schema": {"const": "true"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the request is sent again.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 5,
    },
}
