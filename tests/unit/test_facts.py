"""Numbers that the docs promise are those of the code, on whichever page they are."""

import re
from typing import NamedTuple

import pytest

from create_invoice import MAX_BODY_BYTES
from invoicing.contract.errors import ERROR_TABLE, PayloadTooLarge
from invoicing.contract.price_list import MAX_PRICE_LIST_BYTES
from invoicing.contract.requests import MAX_ITEMS, MAX_QUANTITY, DirectInvoiceRequest
from invoicing.credentials import CACHE_S
from invoicing.invoices import ASK_AGAIN_AFTER_S
from invoicing.keys import KEY_LIFETIME_S
from invoicing.patience import FULL_TIME_EVERY_S, IMPATIENT_AFTER, LEAST_S, SHORT_SHARE
from invoicing.payments import ASK_LIMIT_S
from invoicing.postbacks import READ_AGAIN_AFTER_S as SECRET_AGAIN_AFTER_S
from invoicing.prices import KEPT_S, READ_AGAIN_AFTER_S, READ_LIMIT_S, SERVED_S
from invoicing.provider.outcomes import MAX_REPLY_BYTES
from receive_postback import MAX_BODY_BYTES as MAX_POSTBACK_BYTES
from tests.support import ROOT
from tests.support.templates import of_type, only, read_template

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "openapi.yaml",
    *sorted((ROOT / "examples").glob("*/README.md")),
]
# White space of any kind is one blank: a phrase may go over the end of a line.
TEXTS = {str(page.relative_to(ROOT)): re.sub(r"\s+", " ", page.read_text()) for page in PAGES}
WORDS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "quarter": 1 / 4,
    "third": 1 / 3,
    "half": 1 / 2,
}

TEMPLATE = read_template(ROOT / "template.yaml")
FUNCTION = only(of_type(TEMPLATE, "AWS::Serverless::Function"), "CreateInvoiceFunction")
ASYNC = FUNCTION["EventInvokeConfig"]
QUEUE = only(of_type(TEMPLATE, "AWS::SQS::Queue"), "FailedEvents")
UNDELIVERED = only(of_type(TEMPLATE, "AWS::SQS::Queue"), "UndeliveredEvents")
WATCH = only(of_type(TEMPLATE, "AWS::Serverless::Function"), "WatchFunction")["Events"]["Schedule"]["Properties"]
WATCH_EVERY_MIN = int(re.fullmatch(r"rate\((\d+) minutes\)", WATCH["ScheduleExpression"])[1])
ROLLOUT = re.fullmatch(r"Canary(\d+)Percent(\d+)Minutes", FUNCTION["DeploymentPreference"]["Type"])


class Fact(NamedTuple):
    """What the docs must say somewhere, and may nowhere contradict.

    Args:
        name: What the number is.
        value: The number, in the unit that the docs use.
        phrase: A pattern whose group is the number, as digits or as a word. Wide enough to find what would be wrong.
    """

    name: str
    value: float
    phrase: str


FACTS = [
    Fact("KiB of a request", MAX_BODY_BYTES / 1024, r"\bbody\b[^.|]{0,50}?([\d.]+) KiB"),
    Fact("KiB of a reply", MAX_REPLY_BYTES / 1024, r"(?:JSON of at most|with more than) ([\d.]+) KiB"),
    Fact("hours of a key", KEY_LIFETIME_S / 3600, r"\b[Kk]eys?\b[^.|]{0,60}?\b(\d+) hours"),
    Fact("minutes of a cached secret", CACHE_S / 60, r"\bsecret\b[^.|]{0,80}?\b(\d+) minutes"),
    Fact("seconds until Lambda's timeout", FUNCTION["Timeout"], r"Lambda timeout \((\d+) s\)"),
    Fact("seconds of a claim", FUNCTION["Timeout"], r"(?:free after|`invoice_in_progress` for up to) (\d+) s\b"),
    Fact("calls until impatient", IMPATIENT_AFTER, r"\b(\w+) calls in a row"),
    Fact("share for the impatient", SHORT_SHARE, r"\ba (\w+) of the time\b"),
    Fact("seconds until patient", FULL_TIME_EVERY_S, r"\bAfter (\d+) s without one, a call has all the time"),
    Fact("seconds at least", LEAST_S, r"short time is at least (\d+) s"),
    Fact("attempts of an event", 1 + ASYNC["MaximumRetryAttempts"], r"event failed (\w+) times"),
    Fact("hours of an event", ASYNC["MaximumEventAgeInSeconds"] / 3600, r"waited for (\w+) hours"),
    Fact("days of a failed event", QUEUE["MessageRetentionPeriod"] / 86_400, r"queue[^.|]{0,60}? for (\d+) days"),
    Fact("seconds of a price list", KEPT_S, r"\blist[^.|]{0,60}? kept for (\d+) seconds"),
    Fact("hours of the last good list", SERVED_S / 3600, r"\b(?:good list|prices of before)[^.|]{0,40}? (\d+) hours"),
    Fact("seconds after a failed read", READ_AGAIN_AFTER_S, r"\b[Aa]fter a failed read, (\d+) seconds"),
    Fact("seconds of a read", READ_LIMIT_S, r"holds one request for (\d+) seconds"),
    Fact("MiB of a price list", MAX_PRICE_LIST_BYTES / 1024**2, r"\bfile may have at most ([\d.]+) MiB"),
    Fact("items of a request", MAX_ITEMS, r"\b1 to (\d+) (?:items|of them)\b"),
    Fact("most of one item", MAX_QUANTITY, r"from 1 \((?:the )?default\) to (\d+)"),
    Fact("days of a mail not sent", UNDELIVERED["MessageRetentionPeriod"] / 86_400, r"waits in a queue for (\d+) days"),
    Fact(
        "days of an invoice",
        float(TEMPLATE["Parameters"]["InvoiceRetentionDays"]["Default"]),
        r"`InvoiceRetentionDays` \((\d+)\)",
    ),
    Fact("minutes between two runs of the watch", WATCH_EVERY_MIN, r"\bwatch\b[^.|]{0,30}? every (\d+) minutes"),
    Fact("KiB of a postback", MAX_POSTBACK_BYTES / 1024, r"\bpostback\b[^.|]{0,40}? ([\d.]+) KiB"),
    Fact("seconds between two questions", ASK_AGAIN_AFTER_S, r"once in (\d+) seconds for each invoice"),
    Fact("seconds of a question", ASK_LIMIT_S, r"waits up to (\d+) seconds for the answer"),
    Fact(
        "seconds between readings of the secret", SECRET_AGAIN_AFTER_S, r"secret again, at most once in (\d+) seconds"
    ),
    Fact("minutes of a canary", int(ROLLOUT[2]), r"a tenth of the requests for (\d+) minutes"),
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
def test_the_docs_say_it_and_say_nothing_else(fact: Fact) -> None:
    found = [(page, number) for page, text in TEXTS.items() for number in re.findall(fact.phrase, text)]
    assert found, f"no page says {fact.name} ({fact.value:g}) as /{fact.phrase}/: say it, or change the phrase here"
    wrong = [(page, number) for page, number in found if number_of(number) != fact.value]
    assert wrong == [], f"{fact.name} is {fact.value:g}"


def number_of(text: str) -> float | None:
    return WORDS[text] if text in WORDS else float(text) if re.fullmatch(r"[0-9.]+", text) else None


def test_a_canary_gets_the_tenth_that_the_docs_say() -> None:
    assert ROLLOUT[1] == "10"


def test_the_size_that_is_documented_is_the_one_that_is_enforced() -> None:
    for text in (PayloadTooLarge.detail, PayloadTooLarge.when):
        assert f" {MAX_BODY_BYTES // 1024} KiB" in text


@pytest.mark.parametrize("name", DirectInvoiceRequest.model_fields)
def test_a_table_has_every_field_of_a_request_and_its_longest_length(name: str) -> None:
    rows = [row for page in PAGES for row in page.read_text().splitlines() if row.startswith(f"| `{name}`")]
    assert rows, f"no table has a row for the field {name}"
    schema = DirectInvoiceRequest.model_json_schema()["properties"][name]
    # That of the shop does not matter: it must be the one of the deployment.
    rules = (schema, *schema.get("anyOf", ())) if name != "shop_id" else ()
    longest = [rule["maxLength"] for rule in rules if "maxLength" in rule]
    for length in longest:
        assert any(str(length) in row for row in rows), f"say that {name} has at most {length} characters"


def test_every_error_that_may_pass_by_itself_says_when_and_no_other_does() -> None:
    waits = {error.code: error.default_retry_after_s for error in ERROR_TABLE if error.default_retry_after_s}
    assert waits == {"invoice_in_progress": 1, "provider_unavailable": 5, "prices_unavailable": 10}
    for error in ERROR_TABLE:
        assert ("Retry-After" in error.detail) is (error.code in waits), error.code
