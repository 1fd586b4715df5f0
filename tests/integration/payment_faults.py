"""Every fault of a payment that is tried, in one table: what the shop hears, how often, when, and what a page is told.

In each row a buyer pays, and CryptoCloud's one postback and a fault meet. Then the fault is gone, the watch runs, and
after that all turns of the invoice's schedule come. The tests run it, and ``make docs`` prints it into
docs/when-something-fails.md.
"""

import contextlib
import functools
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from tests.support import ROOT
from tests.support.account import SHOP_ID
from tests.support.marks import with_part
from tests.support.paying import let_pass, post_postback, status_of
from tests.support.processes import runtimes_of
from tests.support.stack import Stack

PAGE = ROOT / "docs" / "when-something-fails.md"
SECRET_KEY = "local-secret-key"

type Step = Callable[[Stack, str], object]

# When the shop hears of the payment.
AT_ONCE, NEXT_RUN, BY_SCHEDULE, NEVER = "at once", "next run", "its turn", "never"
# How often.
ONCE, TWICE, THRICE, NOT = 1, 2, 3, 0
# What a page that asks meanwhile is told, where it is no status.
UNAVAILABLE, NOT_FOUND = "provider_unavailable", "invoice_not_found"
NO_ANSWER = "none"


def _nothing(_: Stack, __: str) -> None:
    pass


def _provider(fault: str, **arguments: Any) -> Step:
    return lambda stack, _: stack.misbehave(fault, call="info", **arguments)


def _provider_row(name: str, fault: str, calls: int = 1, **arguments: Any) -> "Fault":
    """CryptoCloud fails the postback, in so many calls, and the page."""
    once = _provider(fault, **arguments)
    return Fault(name, "503", ONCE, NEXT_RUN, "created", _provider(fault, times=calls, **arguments), again=once)


def _warm(stack: Stack, _: str) -> None:
    """The sandboxes of postback, page and watch have started."""
    stack.tell("/provider/postbacks/test")
    stack.tell("/provider/postbacks/wait")
    status_of(stack, "UNKNOWN1")
    stack.tell("/schedules/run")


def _tell(path: str, **arguments: Any) -> Step:
    return lambda stack, _: stack.tell(path, **arguments)


def _all(*steps: Step) -> Step:
    def do(stack: Stack, invoice_id: str) -> None:
        for step in steps:
            step(stack, invoice_id)

    return do


def _fates(gate: str, operation: str, *fates: str) -> Step:
    """The fates of the next requests for an operation, one each; an empty one is passed on."""
    return _all(*(_tell(f"/{gate}/fail", operation=operation, error=fate) for fate in fates))


# Botocore sends what failed once more, so two fates are those of one write.
_writes, _events = functools.partial(_fates, "table", "UpdateItem"), functools.partial(_fates, "bus", "PutEvents")
_postback = functools.partial(_tell, "/provider/postbacks/interfere")
LET_GO = _tell("/table/let_go")


def _status(status: str) -> Step:
    return lambda stack, invoice_id: stack.tell("/provider/status", invoice_id=invoice_id, status=status)


def _lagging(status: str) -> Step:
    """The postback comes, and what the provider says when it is asked is still the old status."""
    return _all(_status(status), _tell("/provider/postbacks/let_go"), _tell("/provider/postbacks/wait"))


def _run(stack: Stack, _: str) -> None:
    stack.tell("/schedules/run")


def _a_day_later(stack: Stack, invoice_id: str) -> None:
    """The watch has had its turn; then comes the postback."""
    let_pass(stack, invoice_id, 24 * 60 * 60)
    stack.tell("/schedules/run")
    stack.tell("/provider/postbacks/let_go")
    stack.tell("/provider/postbacks/wait")


def _signed(secret_key: str, expires_in_s: int) -> Callable[[Stack, str], int]:
    def send(stack: Stack, invoice_id: str) -> int:
        claims = {"id": 13, "exp": int(time.time()) + expires_in_s}
        return post_postback(stack, invoice_id, jwt.encode(claims, secret_key, "HS256"))

    return send


def _secret(**changes: str | None) -> Step:
    fields = {"api_key": "local-api-key", "shop_id": SHOP_ID, "secret_key": SECRET_KEY, **changes}
    return _tell("/secrets/fill", secret_string=json.dumps({name: text for name, text in fields.items() if text}))


def _kill(handler: str, service: str, operation: str, count: int, begin: Step = _nothing) -> Step:
    """Kills the sandbox of a function while a request of it hangs.

    Args:
        handler: The function's module.
        service: Where the request hangs: ``table``, ``bus`` or ``provider``.
        operation: Which one.
        count: Which of its requests.
        begin: Makes the function run, if it is not the postback's.
    """

    def kill(stack: Stack, invoice_id: str) -> None:
        [sandbox] = runtimes_of(stack.process.pid, f"{handler}.lambda_handler")
        with ThreadPoolExecutor(1) as other:
            begun = other.submit(_ignoring_its_death, begin, stack, invoice_id)
            deadline_s = time.monotonic() + _BEGINS_WITHIN_S
            while _requests(stack, service, operation) < count:  # until it hangs
                assert time.monotonic() < deadline_s, stack.calls_of(service)
            os.kill(sandbox, signal.SIGKILL)
            begun.result()
        stack.tell("/table/forget")
        stack.tell("/bus/forget")

    return kill


_BEGINS_WITHIN_S = 20


def _ignoring_its_death(begin: Step, stack: Stack, invoice_id: str) -> None:
    with contextlib.suppress(AssertionError):  # the control port says that the function failed
        begin(stack, invoice_id)


def _requests(stack: Stack, service: str, operation: str) -> int:
    return len(stack.seen()["asked"]) if service == "provider" else stack.calls_of(service).get(operation, 0)


_kill_postback = functools.partial(_kill, "receive_postback")


def _due(stack: Stack, invoice_id: str) -> None:
    """The invoice's first turn with the watch has come."""
    let_pass(stack, invoice_id, 10 * 60)
    stack.tell("/table/forget")  # this one is not the function's


def _ask_as_a_page(stack: Stack, invoice_id: str) -> None:
    status_of(stack, invoice_id)


@dataclass(frozen=True)
class Fault:
    """One row.

    Args:
        name: What goes wrong.
        answered: What the provider's postbacks are answered with: a status each, or what became of them instead.
        heard: How often the event of the payment is published.
        when: When the shop hears of it first.
        page: What a page is told that asks while it is wrong: a status, or an error code. ``None`` where the row is
            about a page or ends in itself, so that none asks.
        arrange: Makes it go wrong, before the buyer pays.
        during: Happens after the buyer has paid.
        restore: Makes it right again, before the watch runs.
        also: Statuses besides ``paid`` of which there are events, each once.
        unrecorded: How often there is an event that says that the invoice has no record.
        record_fates: What becomes of the attempts to record the invoice.
        fresh: Whether it needs a stack on which nothing happened.
        again: What of ``arrange`` is for one request, once more before a page asks.
        watched: Whether the watch has a turn in ``during``.
        apis: The versions of the provider's API in which it is so.
    """

    name: str
    answered: str
    heard: int
    when: str
    page: str | None
    arrange: Step = _nothing
    during: Callable[[Stack, str], object] = _nothing
    restore: Step = _nothing
    also: tuple[str, ...] = ()
    unrecorded: int = 0
    record_fates: tuple[str, ...] = ()
    fresh: bool = False
    again: Step = _nothing
    watched: bool = False
    apis: tuple[str, ...] = ("v1", "v2")


FAULTS = [
    Fault("nothing", "200", ONCE, AT_ONCE, "paid"),
    # The provider
    Fault(
        "CryptoCloud is down when its postback comes", "503", ONCE, NEXT_RUN, "created",
        _tell("/provider/stop"), restore=_tell("/provider/start"),
    ),
    _provider_row("CryptoCloud hangs", "slow", value=30),
    _provider_row("CryptoCloud answers 500", "status", value=500),
    _provider_row("CryptoCloud answers 503 for ever", "status", calls=3, value=503),
    _provider_row("CryptoCloud answers with an HTML page", "html"),
    _provider_row("CryptoCloud closes without an answer", "close_early"),
    Fault("CryptoCloud answers 503 once", "200", ONCE, AT_ONCE, "paid", _provider("status", value=503)),
    Fault(
        "CryptoCloud does not know the invoice", "503", ONCE, NEXT_RUN, None, _provider("status", value=400),
        apis=("v1",),
    ),
    Fault(
        "CryptoCloud says `created` still", "200", ONCE, NEXT_RUN, "created",
        _postback(fate="held"), _lagging("created"), _status("paid"),
    ),
    Fault(
        "CryptoCloud says `created` still, and when the watch asks", "200", ONCE, BY_SCHEDULE, "created",
        _postback(fate="held"), _lagging("created"), _all(_run, _status("paid")),
    ),
    Fault(
        "CryptoCloud says `canceled` still, of an invoice paid late", "200", ONCE, NEXT_RUN, "canceled",
        _postback(fate="held"), _lagging("canceled"), _status("paid"), also=("canceled",),
    ),
    Fault(
        "CryptoCloud refuses the key", "502", ONCE, NEXT_RUN, "created", _provider("refused_key", value=401),
        again=_provider("refused_key", value=401),
    ),
    Fault(
        "the key was rotated, and the secret has the new one", "200", ONCE, AT_ONCE, "paid",
        _all(_secret(api_key="rotated"), _tell("/provider/rotate", api_key="rotated")),
        restore=_all(_secret(), _tell("/provider/rotate", api_key="local-api-key")),
    ),
    # The postback
    Fault("the postback is lost", "lost", ONCE, BY_SCHEDULE, "paid", _postback(fate="lost")),
    Fault("the postback comes twice", "200, 200", ONCE, AT_ONCE, "paid", _postback(fate="doubled")),
    Fault(
        "the postback comes a day late", "200", ONCE, BY_SCHEDULE, None, _postback(fate="held"), _a_day_later,
        watched=True,
    ),
    Fault(
        "the postback is repeated when its token has expired", "401", ONCE, BY_SCHEDULE, "paid", _postback(fate="lost"),
        _signed(SECRET_KEY, -61),
    ),
    Fault(
        "the postback is forged", "401", ONCE, BY_SCHEDULE, "paid", _postback(fate="lost"),
        _signed("a secret key that somebody guessed", 300),
    ),
    Fault(
        "the secret key was rotated, and the secret has the new one", "200", ONCE, AT_ONCE, "paid",
        _all(_warm, _secret(secret_key="the new one"), _tell("/provider/project", secret_key="the new one")),
        fresh=True,
    ),
    Fault(
        "the secret key was rotated, and the secret has the old one", "401", ONCE, BY_SCHEDULE, "paid",
        _tell("/provider/project", secret_key="the new one"), fresh=True,
    ),
    Fault(
        "the secret has no secret key", "500", ONCE, BY_SCHEDULE, "paid", _secret(secret_key=None), restore=_secret(),
        fresh=True,
    ),
    Fault(
        "Secrets Manager is down when the sandbox starts", "503", ONCE, BY_SCHEDULE, None,
        _tell("/secrets/stop"), restore=_tell("/secrets/start"), fresh=True,
    ),
    Fault(
        "Secrets Manager is down later", "200", ONCE, AT_ONCE, "paid", _all(_warm, _tell("/secrets/stop")),
        restore=_tell("/secrets/start"),
    ),
    # The record
    Fault(
        "the postback comes before the invoice is recorded", "200", ONCE, BY_SCHEDULE, None,
        restore=LET_GO, unrecorded=1, record_fates=("held", "held"),
    ),
    Fault(
        "the invoice is never recorded", "200", NOT, NEVER, NOT_FOUND, unrecorded=1,
        record_fates=("dropped", "dropped"),
    ),
    Fault(
        "the invoice is never recorded, and the postback comes twice", "200, 200", NOT, NEVER, NOT_FOUND,
        _postback(fate="doubled"), unrecorded=2, record_fates=("dropped", "dropped"),
    ),
    Fault("the answers to the record are lost", "200", ONCE, AT_ONCE, "paid", record_fates=("lost", "lost")),
    Fault("the record comes twice, the second time after the payment", "200", ONCE, AT_ONCE, "paid",
          restore=LET_GO, record_fates=("repeated",)),
    # The table
    Fault(
        "the table is down", "503", ONCE, BY_SCHEDULE, UNAVAILABLE, _tell("/table/stop"), restore=_tell("/table/start"),
    ),
    Fault("the table hangs", "503", ONCE, BY_SCHEDULE, None, _writes(*["hung"] * 4)),
    Fault("the table is throttled once", "200", ONCE, AT_ONCE, "paid", _writes("ThrottlingException")),
    Fault("the table refuses the function", "500", ONCE, BY_SCHEDULE, None, _writes(*["AccessDeniedException"] * 2)),
    Fault("the step is lost", "503", ONCE, NEXT_RUN, "paid", _writes("dropped", "dropped")),
    Fault("the table's answer to the step is lost", "200", ONCE, AT_ONCE, "paid", _writes("lost")),
    Fault("the table's answers to the step are lost", "503", ONCE, NEXT_RUN, "paid", _writes("lost", "lost")),
    Fault("the step comes late", "503", ONCE, NEXT_RUN, None, _writes("held", "held"), restore=LET_GO),
    Fault("the step comes twice", "200", ONCE, AT_ONCE, "paid", _writes("repeated"), restore=LET_GO),
    Fault("that it is published is lost", "503", TWICE, AT_ONCE, "paid", _writes("", "dropped", "dropped")),
    Fault("the table's answer to that is lost", "200", ONCE, AT_ONCE, "paid", _writes("", "lost")),
    Fault("the table's answers to that are lost", "503", ONCE, AT_ONCE, "paid", _writes("", "lost", "lost")),
    Fault("that it is published comes late", "503", ONCE, AT_ONCE, "paid", _writes("", "held", "held"), restore=LET_GO),
    Fault("that it is published comes twice", "200", ONCE, AT_ONCE, "paid", _writes("", "repeated"), restore=LET_GO),
    # The bus
    Fault("EventBridge is down", "503", ONCE, NEXT_RUN, "paid", _tell("/bus/stop"), restore=_tell("/bus/start")),
    Fault("EventBridge hangs", "503", ONCE, NEXT_RUN, "paid", _events("hung", "hung")),
    Fault("EventBridge is throttled once", "200", ONCE, AT_ONCE, "paid", _events("ThrottlingException")),
    Fault("EventBridge refuses the entry", "503", ONCE, NEXT_RUN, "paid", _events("entry_refused")),
    Fault("EventBridge's answer is lost", "200", TWICE, AT_ONCE, "paid", _events("lost")),
    Fault("EventBridge's answers are lost", "503", THRICE, AT_ONCE, "paid", _events("lost", "lost")),
    Fault("there is no such bus", "500", ONCE, NEXT_RUN, "paid", _events("ResourceNotFoundException")),
    # Death
    Fault(
        "the postback's instance is killed before CryptoCloud answers", "500", ONCE, BY_SCHEDULE, "paid",
        _all(_warm, _provider("slow", value=30)), _kill_postback("provider", "info", 2),
    ),
    Fault(
        "the postback's instance is killed between answer and step", "500", ONCE, BY_SCHEDULE, "paid",
        _all(_warm, _writes("hung", "hung")), _kill_postback("table", "UpdateItem", 1),
    ),
    Fault(
        "the postback's instance is killed between step and event", "500", ONCE, NEXT_RUN, "paid",
        _all(_warm, _events("hung", "hung")), _kill_postback("bus", "PutEvents", 1),
    ),
    Fault(
        "the postback's instance is killed between event and its note", "500", TWICE, AT_ONCE, "paid",
        _all(_warm, _writes("", "hung", "hung")), _kill_postback("table", "UpdateItem", 2),
    ),
    Fault(
        "the postback is lost, and the watch is killed between answer and step", "lost", ONCE, NEXT_RUN, "paid",
        _all(_warm, _postback(fate="lost"), _due, _writes("hung", "hung")),
        _kill("watch_invoices", "table", "UpdateItem", 1, _run),
    ),
    Fault(
        "the postback is lost, and the watch is killed between step and event", "lost", ONCE, NEXT_RUN, "paid",
        _all(_warm, _postback(fate="lost"), _due, _events("hung", "hung")),
        _kill("watch_invoices", "bus", "PutEvents", 1, _run),
    ),
    Fault(
        "the postback is lost, and the watch is killed between event and its note", "lost", TWICE, BY_SCHEDULE,
        "paid", _all(_warm, _postback(fate="lost"), _due, _writes("", "hung", "hung")),
        _kill("watch_invoices", "table", "UpdateItem", 2, _run), watched=True,
    ),
    Fault(
        "the postback is lost, and a page's instance is killed between step and event", "lost", ONCE, NEXT_RUN, "paid",
        _all(_warm, _postback(fate="lost"), _events("hung", "hung")),
        _kill("invoice_info", "bus", "PutEvents", 1, _ask_as_a_page),
    ),
    # Two at once
    Fault(
        "EventBridge and CryptoCloud are down", "503", ONCE, NEXT_RUN, "created",
        _all(_tell("/bus/stop"), _tell("/provider/stop")), restore=_all(_tell("/bus/start"), _tell("/provider/start")),
    ),
    Fault(
        "CryptoCloud says `canceled` still, of an invoice paid late, and EventBridge is down", "503", ONCE, NEXT_RUN,
        "canceled", _all(_postback(fate="held"), _tell("/bus/stop")), _lagging("canceled"),
        _all(_tell("/bus/start"), _status("paid")), also=("canceled",),
    ),
]  # fmt: skip


def as_markdown() -> str:
    """Returns the table as the docs have it."""
    rows = [
        "| what goes wrong | the postback's answer | the shop hears | when first | a page that asks meanwhile |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {fault.name} | {fault.answered} | {_heard(fault)} | {_WHEN[fault.when]} | {_page(fault)} |"
        for fault in FAULTS
    ]
    return "\n".join(rows)


_WHEN = {
    AT_ONCE: "at once",
    NEXT_RUN: "when the watch runs next",
    BY_SCHEDULE: "at the next turn of its schedule",
    NEVER: "at once, and only that",
}
_TIMES = {ONCE: "once", TWICE: "twice, twins", THRICE: "three times, twins"}


def _heard(fault: Fault) -> str:
    heard = [f"`{status}` once" for status in fault.also]
    if fault.unrecorded:
        heard.append(f"`paid` without a record {_TIMES[fault.unrecorded]}")
    if fault.heard:
        heard.append(f"`paid` {_TIMES[fault.heard]}")
    return ", then ".join(heard)


def _page(fault: Fault) -> str:
    return f"`{fault.page}`" if fault.page else ""


def put_into(page: Path) -> str:
    """Returns the page's text with the table of today in it."""
    return with_part(page, "payment faults", "make docs", as_markdown())


if __name__ == "__main__":
    PAGE.write_text(put_into(PAGE))
