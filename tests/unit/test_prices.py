"""The price list in one sandbox: how long it counts, when it is read again, and what items cost by it."""

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from invoicing.contract.errors import InvalidRequest, OutcomeUnknown, PricesUnavailable, ProviderUnavailable
from invoicing.contract.price_list import MAX_PRICE_LIST_BYTES, PriceList, parse_price_list
from invoicing.contract.requests import MAX_ITEMS, MAX_QUANTITY, InvoiceRequest, ItemsRequest
from invoicing.prices import KEPT_S, READ_AGAIN_AFTER_S, READ_LIMIT_S, SERVED_S, Prices, priced
from invoicing.provider.outcomes import Call, Reply
from tests.support.price_lists import BAD, MUG_AND_TEE, as_file
from tests.support.samples import Clock

URL = "http://127.0.0.1:1/shop/prices.json?v=2"
REFUSED, NOT_READ = ("PriceListRefused", frozenset({"service"})), ("PriceListNotRead", frozenset({"service"}))


def costing(price: str) -> Reply:
    return Reply(200, as_file({"currency": "USD", "items": {"mug": {"price": price}}}), etag=f'"{price}"')


class Site:
    """Answers with what it publishes, or raises it; remembers what it was asked."""

    def __init__(self, clock: Clock, publishes: Reply | Exception) -> None:
        self.clock = clock
        self.publishes = publishes
        self.takes_s = 0.0
        self.calls: list[Call[Any]] = []
        self.allowed_s: list[float] = []
        self.on_call: Callable[[], None] = lambda: None

    def perform(self, call: Call[Any], credentials: object, *, deadline_s: float, attempts: int) -> Any:
        assert credentials is None
        assert attempts == 1
        self.calls.append(call)
        self.allowed_s.append(deadline_s - time.monotonic())
        self.clock.now_s += self.takes_s
        self.on_call()
        if isinstance(self.publishes, Exception):
            raise self.publishes
        return call.judge(self.publishes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock: Clock) -> Site:
    return Site(clock, costing("1"))


@pytest.fixture
def prices(site: Site, clock: Clock) -> Prices:
    return Prices(URL, site, ("USD", "EUR"), clock=clock)  # type: ignore[arg-type]


def now(prices: Prices, within_s: float = 20.0) -> str:
    """The price that counts now, or ``none``."""
    try:
        return str(prices.current(deadline_s=time.monotonic() + within_s).price_of("mug"))
    except PricesUnavailable:
        return "none"


def test_the_list_is_asked_for_where_the_shop_publishes_it_and_has_3_seconds_and_1_mib(prices, site) -> None:
    assert now(prices) == "1"
    [call] = site.calls
    assert (call.method, call.path, call.body, call.headers) == ("GET", "/shop/prices.json?v=2", b"", {})
    assert call.max_reply_bytes == MAX_PRICE_LIST_BYTES == 1024 * 1024
    assert site.allowed_s == [pytest.approx(READ_LIMIT_S, abs=0.1)]
    assert READ_LIMIT_S == 3


def test_an_invocation_that_is_nearly_over_leaves_less_time(prices, site) -> None:
    now(prices, within_s=1.5)
    assert site.allowed_s == [pytest.approx(1.5, abs=0.1)]


def test_a_list_counts_for_a_minute_and_is_then_asked_for_by_its_tag(prices, site, clock) -> None:
    assert now(prices) == "1"
    site.publishes = costing("2")
    clock.now_s += KEPT_S - 0.1
    assert (now(prices), len(site.calls)) == ("1", 1)
    clock.now_s += 0.1
    assert (now(prices), len(site.calls)) == ("2", 2)
    assert site.calls[1].headers == {"If-None-Match": '"1"'}
    site.publishes = Reply(304, b"")
    clock.now_s += KEPT_S
    assert (now(prices), now(prices), len(site.calls)) == ("2", "2", 3)
    assert site.calls[2].headers == {"If-None-Match": '"2"'}


def test_a_price_is_never_older_than_a_minute_however_long_the_answer_took(prices, site, clock) -> None:
    site.takes_s = 2
    assert now(prices) == "1"
    site.publishes = costing("2")
    clock.now_s += KEPT_S - 2  # the list may have been changed just after it was asked for
    assert now(prices) == "2"


@pytest.mark.parametrize("etag", [None, "", "no quotes", '"a\nb"', '"caf\xe9"', '"' + "x" * 300 + '"'])
def test_a_tag_that_is_none_is_not_sent_back(prices, site, clock, etag) -> None:
    site.publishes = Reply(200, as_file(), etag=etag)
    now(prices)
    clock.now_s += KEPT_S
    now(prices)
    assert site.calls[1].headers == {}


def test_a_weak_tag_is_sent_back_as_it_came(prices, site, clock) -> None:
    site.publishes = Reply(200, as_file(), etag='W/"a1"')
    now(prices)
    clock.now_s += KEPT_S
    now(prices)
    assert site.calls[1].headers == {"If-None-Match": 'W/"a1"'}


FAILURES: dict[str, Reply | Exception] = {
    "no connection": ProviderUnavailable("no connection"),
    "hangs": OutcomeUnknown("no answer"),
    "500": Reply(500, b""),
    "503": Reply(503, b""),
    "429": Reply(429, b""),
    "404": Reply(404, b""),
    "redirect": Reply(301, b"", location="https://elsewhere.example/prices.json"),
    "204": Reply(204, b""),
    "304 to no question": Reply(304, b""),
    "too large, or cut off": Reply(200, None),
    **{fault: Reply(200, text) for fault, (text, _) in BAD.items()},
    "another currency than the dialect's": Reply(200, as_file({**MUG_AND_TEE, "currency": "KZT"})),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_whatever_the_site_answers_the_last_good_list_serves_for_a_day_and_then_no_more(
    prices, site, clock, failure
) -> None:
    assert now(prices) == "1"
    prices._etag = None  # or a 304 would be an answer
    site.publishes = FAILURES[failure]
    clock.now_s += KEPT_S
    assert now(prices) == "1"
    clock.now_s += SERVED_S - KEPT_S - 1
    assert now(prices) == "1"
    clock.now_s += 1
    assert now(prices) == "none"
    site.publishes = costing("3")
    clock.now_s += READ_AGAIN_AFTER_S
    assert now(prices) == "3"


@pytest.mark.parametrize("failure", FAILURES)
def test_without_a_good_list_there_are_no_prices(prices, site, failure) -> None:
    site.publishes = FAILURES[failure]
    assert now(prices) == "none"


def test_a_list_that_hangs_holds_one_request_in_ten_seconds_and_not_all(prices, site, clock) -> None:
    site.publishes, site.takes_s = OutcomeUnknown("no answer"), READ_LIMIT_S
    assert [now(prices) for _ in range(5)] == ["none"] * 5
    assert len(site.calls) == 1
    clock.now_s += READ_AGAIN_AFTER_S - 0.1
    now(prices)
    assert len(site.calls) == 1
    clock.now_s += 0.1  # ten seconds after the failure, not after the question
    now(prices)
    assert len(site.calls) == 2


def test_a_list_that_hangs_after_a_good_one_holds_one_request_too(prices, site, clock) -> None:
    now(prices)
    site.publishes = OutcomeUnknown("no answer")
    clock.now_s += KEPT_S
    assert [now(prices) for _ in range(5)] == ["1"] * 5
    assert len(site.calls) == 2


def test_a_clock_that_was_set_back_keeps_nothing_for_longer(prices, site, clock) -> None:
    now(prices)
    clock.now_s -= 3600
    site.publishes = costing("2")
    assert now(prices) == "2"
    site.publishes = Reply(500, b"")
    clock.now_s -= 3600
    assert now(prices) == "none"
    site.publishes = costing("3")
    clock.now_s -= 3600
    assert now(prices) == "3"


def test_the_log_says_what_is_wrong_with_which_item_and_how_old_the_prices_are_that_count(
    prices, site, clock, log, counted
) -> None:
    now(prices)
    clock.now_s += 100
    faulty = {str(number): {"price": "0"} for number in range(9)}
    site.publishes = Reply(200, as_file({"currency": "USD", "items": faulty}))
    now(prices)
    [line] = log()
    assert (line["level"], line["message"], line["age_of_the_one_kept_s"]) == ("WARNING", "price list refused", 100)
    assert line["reason"].startswith("Item '0': its price must be a text")
    assert line["reason"].endswith(" And 4 more.")
    assert counted() == {REFUSED: [1.0]}


def test_a_site_that_gives_no_answer_is_counted_apart_from_one_that_gives_a_wrong_one(
    prices, site, clock, log, counted
) -> None:
    site.publishes = ProviderUnavailable("no connection to the site of the price list: TimeoutError")
    now(prices)
    assert counted() == {NOT_READ: [1.0]}
    [line] = log()
    assert line["message"] == "price list not read"
    assert "age_of_the_one_kept_s" not in line
    with pytest.raises(PricesUnavailable) as refusal:
        prices.current(deadline_s=time.monotonic() + 20)
    assert refusal.value.reason == f"price list not read: {line['reason']}"
    clock.now_s += READ_AGAIN_AFTER_S
    site.publishes = Reply(404, b"")
    now(prices)
    assert counted() == {REFUSED: [1.0]}


def test_a_body_that_ran_out_of_time_is_no_answer_and_one_that_is_too_large_is_a_wrong_one(
    prices, site, counted, monkeypatch
) -> None:
    site.publishes = Reply(200, None)
    later_s = time.monotonic() + 60
    site.on_call = lambda: monkeypatch.setattr("time.monotonic", lambda: later_s)
    now(prices)
    assert counted() == {NOT_READ: [1.0]}


def listed(**items: str) -> PriceList:
    named = {item_id.replace("_", "-"): {"price": price} for item_id, price in items.items()}
    return parse_price_list(as_file({"currency": "EUR", "items": named}))


def bought(*items: dict[str, Any], **fields: Any) -> ItemsRequest:
    return ItemsRequest.model_validate({"items": items, **fields})


def test_the_amount_is_the_exact_sum_in_the_currency_of_the_list() -> None:
    request = bought({"id": "mug", "quantity": 3}, {"id": "tee-l"}, order_id="A-1", email="buyer@shop.example")
    assert priced(request, listed(mug="0.10", tee_l="19.99")) == InvoiceRequest(
        amount=Decimal("20.29"),
        currency="EUR",
        order_id="A-1",
        email="buyer@shop.example",
        description="3 \u00d7 mug, tee-l",
    )


def test_the_largest_sum_is_exact() -> None:
    items = [{"id": f"x{number}", "quantity": MAX_QUANTITY} for number in range(MAX_ITEMS)]
    prices = listed(**{f"x{number}": "999999999.99" for number in range(MAX_ITEMS)})
    assert priced(bought(*items), prices).amount == Decimal("49949999999500.50")


def test_an_item_that_is_not_in_the_list_is_named_by_its_place_and_the_list_is_not_told() -> None:
    request = bought({"id": "mug"}, {"id": "hat"}, {"id": "tee-l"}, {"id": "__class__"}, currency="USD")
    with pytest.raises(InvalidRequest) as refusal:
        priced(request, listed(mug="1", tee_l="2"))
    assert [(field.pointer, field.detail) for field in refusal.value.fields] == [
        ("/items/1/id", "is not in the price list"),
        ("/items/3/id", "is not in the price list"),
        ("/currency", "must be left out or be EUR, that of the price list"),
    ]


def test_the_currency_of_the_list_may_be_sent() -> None:
    assert priced(bought({"id": "mug"}, currency="EUR"), listed(mug="1")).currency == "EUR"


@pytest.mark.parametrize(
    ("items", "description"),
    [
        ([("Enamel mug", 1)], "Enamel mug"),
        ([("Enamel mug", 2), ("T-shirt", 1)], "2 \u00d7 Enamel mug, T-shirt"),
        ([("x" * 100, 1)] * 2, "x" * 100 + ", " + "x" * 100),
        ([("x" * 100, 1)] * 3, "x" * 100 + ", " + "x" * 100 + " and 1 more"),
        ([("x" * 100, 999)] * 50, "999 \u00d7 " + "x" * 100 + ", 999 \u00d7 " + "x" * 100 + " and 48 more"),
    ],
)
def test_the_description_names_the_items_and_is_cut_behind_a_whole_one(items, description) -> None:
    names = {f"i{place}": {"price": "1", "name": name} for place, (name, _) in enumerate(items)}
    prices = parse_price_list(as_file({"currency": "EUR", "items": names}))
    request = bought(*({"id": f"i{place}", "quantity": quantity} for place, (_, quantity) in enumerate(items)))
    assert priced(request, prices).description == description
    assert len(description) <= 255


def test_a_description_of_the_callers_own_is_kept() -> None:
    assert priced(bought({"id": "mug"}, description="A gift"), listed(mug="1")).description == "A gift"


@pytest.mark.parametrize(
    ("status", "metric"),
    [(500, NOT_READ), (503, NOT_READ), (429, NOT_READ), (499, REFUSED), (404, REFUSED), (301, REFUSED), (204, REFUSED)],
)
def test_a_status_that_may_pass_by_itself_is_no_answer_and_any_other_is_a_wrong_one(
    prices, site, counted, log, status, metric
) -> None:
    site.publishes = Reply(status, b"")
    now(prices)
    assert counted() == {metric: [1.0]}
    [line] = log()
    assert str(status) in line["reason"]
    assert ("PriceListUrl" in line["reason"]) is (metric == REFUSED)


def test_the_log_says_which_currencies_a_list_may_have(prices, site, log) -> None:
    site.publishes = Reply(200, as_file({**MUG_AND_TEE, "currency": "KZT"}))
    now(prices)
    assert "must be one of USD, EUR, in this version" in log()[0]["reason"]


@pytest.mark.parametrize(("faults", "left"), [(5, ""), (6, " And 1 more.")])
def test_the_log_has_five_faults_of_a_list_and_how_many_it_leaves_out(prices, site, log, faults, left) -> None:
    items = {f"x{number}": {"price": "0"} for number in range(faults)}
    site.publishes = Reply(200, as_file({"currency": "USD", "items": items}))
    now(prices)
    assert log()[0]["reason"].count("Item 'x") == 5
    assert log()[0]["reason"].endswith(f"It is '0'.{left}")


@pytest.mark.parametrize(
    ("url", "path"),
    [("https://shop.example/prices.json", "/prices.json"), ("https://shop.example?v=1", "/?v=1")],
)
def test_a_list_is_asked_for_by_the_path_and_query_of_its_address(site, clock, url, path) -> None:
    now(Prices(url, site, ("USD",), clock=clock))
    assert [(call.path, call.reads) for call in site.calls] == [(path, {200, 304})]
