"""Every fault that is tried, in one table: what the caller gets, what the provider saw, what becomes of the key.

The tests run it, and ``make docs`` prints it into docs/when-something-fails.md.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.account import SHOP_ID
from tests.support.marks import with_part
from tests.support.stack import Stack

PAGE = ROOT / "docs" / "when-something-fails.md"


def _nothing(_: Stack) -> None:
    pass


def _provider(fault: str, **arguments: Any) -> Callable[[Stack], None]:
    return lambda stack: stack.misbehave(fault, **arguments)


def _tell(path: str, **arguments: Any) -> Callable[[Stack], None]:
    return lambda stack: stack.tell(path, **arguments)


def _table(operation: str, *fates: str, provider: int | None = None) -> Callable[[Stack], None]:
    """The table's fates of the next requests for an operation, one each; and a status that the provider answers."""

    def arrange(stack: Stack) -> None:
        if provider:
            stack.misbehave("status", value=provider)
        for fate in fates:
            stack.tell("/table/fail", operation=operation, error=fate)

    return arrange


_claim, _update = functools.partial(_table, "PutItem"), functools.partial(_table, "UpdateItem")


def _stale_connection(stack: Stack) -> None:
    assert stack.post({"amount": 1}).status == 200
    stack.tell("/provider/stop")
    stack.tell("/provider/start")
    stack.tell("/provider/forget")


def _secret_read_before(stack: Stack) -> None:
    assert stack.post({"amount": 1}).status == 200
    stack.tell("/provider/forget")
    stack.tell("/secrets/stop")


def _rotate(stack: Stack) -> None:
    assert stack.post({"amount": 1}).status == 200
    stack.tell("/secrets/fill", secret_string=json.dumps({"api_key": "rotated-key", "shop_id": SHOP_ID}))
    stack.tell("/provider/rotate", api_key="rotated-key")
    stack.tell("/provider/forget")


@dataclass(frozen=True)
class Fault:
    """One row.

    Args:
        name: What goes wrong.
        code: The error code that the caller gets; empty for an invoice.
        calls: Requests to create that the provider saw.
        key: What becomes of the key: ``FREE``, ``KEPT`` or ``HELD``.
        invoices: Invoices that exist at the provider afterwards.
        arrange: Makes it go wrong.
        restore: Makes it right again.
        options: For faults that lie in how the stack is set up.
        apis: The versions of the provider's API in which it is so.
    """

    name: str
    code: str
    calls: int
    key: str
    invoices: int
    arrange: Callable[[Stack], None] = _nothing
    restore: Callable[[Stack], None] = _nothing
    options: dict[str, Any] = field(default_factory=dict)
    apis: tuple[str, ...] = ("v1", "v2")


FREE, KEPT, HELD = "free", "keeps this invoice", "taken until the Lambda timeout, then free"
LET_GO = _tell("/table/let_go")
UNAVAILABLE, UNKNOWN, REFUSED = "provider_unavailable", "outcome_unknown", "provider_credentials_rejected"

FAULTS = [
    Fault("connection refused", UNAVAILABLE, 0, FREE, 0, _tell("/provider/stop"), _tell("/provider/start")),
    Fault(
        "name of the provider not found", UNAVAILABLE, 0, FREE, 0,
        options={"parameters": {"ProviderUrl": "https://provider.invalid", "ProviderTimeout": "4"}},
    ),
    Fault("idle connection cut by the provider", "", 1, KEPT, 1, _stale_connection),
    Fault("reset before the request is answered", UNKNOWN, 1, FREE, 0, _provider("refuse")),
    Fault("closed without an answer", UNKNOWN, 1, FREE, 1, _provider("close_early")),
    Fault("reset in the middle of the answer", UNKNOWN, 1, FREE, 1, _provider("reset")),
    Fault("no answer", UNKNOWN, 1, FREE, 1, _provider("slow", value=30)),
    Fault("a slow answer, in time", "", 1, KEPT, 1, _provider("slow", value=0.5)),
    Fault("an answer of a byte a second", UNKNOWN, 1, FREE, 1, _provider("trickle_head")),
    Fault("a body of a byte a second", UNKNOWN, 1, FREE, 1, _provider("trickle")),
    Fault("200 with half of the JSON", UNKNOWN, 1, FREE, 1, _provider("truncated")),
    Fault("200 with an HTML page", UNKNOWN, 1, FREE, 1, _provider("html")),
    Fault("200 with JSON as text/plain", UNKNOWN, 1, FREE, 1, _provider("plain_text")),
    Fault("200 with more than 64 KiB", UNKNOWN, 1, FREE, 1, _provider("huge")),
    Fault("200 with a gzip bomb", UNKNOWN, 1, FREE, 1, _provider("gzip_bomb")),
    Fault("200 without `pay_url`", UNKNOWN, 1, FREE, 1, _provider("no_pay_url")),
    Fault("200 with a `pay_url` of another site", "pay_link_refused", 1, KEPT, 1, _provider("foreign")),
    Fault("200 with a link without `https://`, in v1", UNKNOWN, 1, FREE, 1, _provider("bare_link"), apis=("v1",)),
    Fault("200 with a link without `https://`, in v2", "", 1, KEPT, 1, _provider("bare_link"), apis=("v2",)),
    Fault("302", UNKNOWN, 1, FREE, 0, _provider("redirect")),
    Fault("400", "invoice_rejected", 1, FREE, 0, _provider("status", value=400)),
    Fault("401, the secret unchanged", REFUSED, 1, FREE, 0, _provider("status", value=401)),
    Fault("401, the secret rotated meanwhile", "", 2, KEPT, 1, _rotate, options={"sandboxes": 1}),
    Fault("400 that names the key, in v2", REFUSED, 1, FREE, 0, _provider("refused_key", value=400), apis=("v2",)),
    Fault("403 in JSON with `detail`, in v2", REFUSED, 1, FREE, 0, _provider("refused_key", value=403), apis=("v2",)),
    Fault(
        "400 that names the key, the secret rotated meanwhile, in v2", "", 2, KEPT, 1, _rotate,
        options={"sandboxes": 1, "parameters": {"ProviderApi": "v2"}}, apis=("v2",),
    ),
    Fault("403", UNKNOWN, 1, FREE, 0, _provider("status", value=403)),
    Fault("403 with an HTML page, as firewalls have", UNKNOWN, 1, FREE, 0, _provider("firewall")),
    Fault("406 once", "", 2, KEPT, 1, _provider("status", value=406)),
    Fault("406 for ever", UNAVAILABLE, 3, FREE, 0, _provider("status", value=406, times=3)),
    Fault("429 once", "", 2, KEPT, 1, _provider("status", value=429)),
    Fault("429 once, `Retry-After: 1`", "", 2, KEPT, 1, _provider("status", value=429, retry_after="1")),
    Fault("429, `Retry-After: 60`", UNAVAILABLE, 1, FREE, 0, _provider("status", value=429, retry_after="60")),
    Fault("500", UNKNOWN, 1, FREE, 0, _provider("status", value=500)),
    Fault("502", UNKNOWN, 1, FREE, 0, _provider("status", value=502)),
    Fault("503 once", "", 2, KEPT, 1, _provider("status", value=503)),
    Fault("503 for ever", UNAVAILABLE, 3, FREE, 0, _provider("status", value=503, times=3)),
    Fault("504", UNKNOWN, 1, FREE, 0, _provider("status", value=504)),
    Fault(
        "Secrets Manager down when the instance starts", UNAVAILABLE, 0, FREE, 0,
        _tell("/secrets/stop"), _tell("/secrets/start"), {"sandboxes": 1},
    ),
    Fault("Secrets Manager down later", "", 1, KEPT, 1, _secret_read_before, options={"sandboxes": 1}),
    Fault("table down before the call", UNAVAILABLE, 0, FREE, 0, _tell("/table/stop"), _tell("/table/start")),
    Fault("table throttled once", "", 1, KEPT, 1, _tell("/table/fail", operation="PutItem")),
    Fault("table throttled for ever", UNAVAILABLE, 0, FREE, 0, _tell("/table/fail", operation="PutItem", times=2)),
    Fault("table's answer to the claim lost", "", 1, KEPT, 1, _tell("/table/fail", operation="PutItem", error="lost")),
    Fault("table's answers to the claim lost, twice", UNAVAILABLE, 0, FREE, 0, _claim("lost", "lost")),
    Fault("claim comes when it was given up", UNAVAILABLE, 0, FREE, 0, _claim("held", "held"), LET_GO),
    Fault("table refuses the function", "service_not_configured", 0, FREE, 0, _claim("AccessDeniedException")),
    Fault("table is not there", "service_not_configured", 0, FREE, 0, _claim("ResourceNotFoundException")),
    Fault("500, and the claim comes once more", UNKNOWN, 1, FREE, 0, _claim("repeated", provider=500), LET_GO),
    Fault("500, and the release comes late", UNKNOWN, 1, FREE, 0, _update("held", provider=500), LET_GO),
    Fault("500, and the release comes twice", UNKNOWN, 1, FREE, 0, _update("repeated", provider=500), LET_GO),
    Fault("500, and the answers to the release lost", UNKNOWN, 1, FREE, 0, _update("lost", "lost", provider=500)),
    Fault("500, and the release is lost", UNKNOWN, 1, HELD, 0, _update("dropped", "dropped", provider=500)),
    Fault("table's answer to the completion lost", "", 1, KEPT, 1, _update("lost")),
    Fault("completion comes twice", "", 1, KEPT, 1, _update("repeated"), LET_GO),
    Fault("completion comes late", "", 1, KEPT, 1, _update("held", "held"), LET_GO),
    Fault("table fails after the call", "", 1, HELD, 1, _tell("/table/fail", operation="UpdateItem", times=2)),
]  # fmt: skip


def as_markdown() -> str:
    """Returns the table as the docs have it."""
    rows = [
        "| what goes wrong | the caller gets | calls the provider saw | invoices that exist | the key afterwards |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {fault.name} | {f'`{fault.code}`' if fault.code else 'the invoice'} | {fault.calls} | {fault.invoices} "
        f"| {fault.key} |"
        for fault in FAULTS
    ]
    return "\n".join(rows)


def put_into(page: Path) -> str:
    """Returns the page's text with the table of today in it."""
    return with_part(page, "fault matrix", "make docs", as_markdown())


if __name__ == "__main__":
    PAGE.write_text(put_into(PAGE))
