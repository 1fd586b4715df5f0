"""The shop sets the price, over the real gateway and runtime, and with a site that publishes a list."""

import itertools
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support import ROOT
from tests.support.account import API_KEY, NOBODY
from tests.support.price_lists import MUG_AND_TEE, as_file
from tests.support.price_site import PriceSite
from tests.support.stack import SITE, Stack

ARTIFACT = ROOT / ".aws-sam" / "local"
MUG = {"items": [{"id": "mug"}]}


def costing(price: str) -> dict[str, Any]:
    return {"currency": "USD", "items": {"mug": {"price": price, "name": "Enamel mug"}}}


def artifact_with(folder: Path, **constants: float) -> str:
    """Makes an artifact whose lists count for another time than a minute, and returns its template."""
    for path in ARTIFACT.iterdir():
        if path.is_dir() and path.name != "CreateInvoiceFunction":
            (folder / path.name).symlink_to(path)
    shutil.copytree(ARTIFACT / "CreateInvoiceFunction", folder / "CreateInvoiceFunction", copy_function=os.symlink)
    module = folder / "CreateInvoiceFunction" / "invoicing" / "prices.py"
    text = module.read_text()
    for name, value in constants.items():
        text, found = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1
    for linked in (module, *(module.parent / "__pycache__").glob("prices.*")):
        linked.unlink()
    module.write_text(text)
    # No link: SAM CLI would follow it to the artifact that this one was made from.
    return str(shutil.copy(ARTIFACT / "template.yaml", folder))


@pytest.fixture(scope="module")
def shops_site() -> Iterator[PriceSite]:
    site = PriceSite(MUG_AND_TEE)
    yield site
    site.server.stop()


@pytest.fixture(scope="module")
def shared_shop(
    start_lasting_stack: Callable[..., Stack], shops_site: PriceSite, tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    """A stack that asks for the list at every request: no test has to wait for a minute to pass."""
    template = artifact_with(tmp_path_factory.mktemp("artifact"), KEPT_S=0, READ_AGAIN_AFTER_S=0)
    return start_lasting_stack(
        template=template, sandboxes=1, parameters={"PriceListUrl": shops_site.url, "ProviderTimeout": "4"}
    )


@pytest.fixture
def site(shops_site: PriceSite) -> PriceSite:
    """The site that publishes a mug and a T-shirt."""
    shops_site.publish(MUG_AND_TEE)
    shops_site.status = 200
    shops_site.requests.clear()
    return shops_site


@pytest.fixture
def shop(shared_shop: Stack, site: PriceSite) -> Stack:  # noqa: ARG001 - as it is at first
    """The stack, whose provider has seen nothing."""
    shared_shop.tell("/provider/forget")
    return shared_shop


@pytest.fixture
def own_site() -> Iterator[PriceSite]:
    """A site for one test."""
    site = PriceSite(MUG_AND_TEE)
    yield site
    if not site.server.stopped.is_set():
        site.server.stop()


def invoices(stack: Stack) -> list[tuple[str, str]]:
    """Amount and currency of each invoice at the provider."""
    return [(str(it["amount"]), it["currency"]) for it in stack.seen()["invoices"].values()]


def faults(answer: Any) -> dict[str, str]:
    return {error["pointer"]: error["detail"] for error in answer.problem["errors"]}


def test_a_page_says_what_is_bought_and_the_list_what_it_costs(shop, fresh) -> None:
    body = {"items": [{"id": "mug", "quantity": 3}, {"id": "tee-l"}], "order_id": fresh}
    answer = shop.post(body, {"Origin": SITE})
    assert answer.status == 200
    [call] = shop.seen()["calls"]
    assert '"amount": 84.97, "currency": "USD"' in call["body"]
    assert r'"description": "3 \u00d7 Enamel mug, tee-l"' in call["body"]
    table = boto3.resource("dynamodb", endpoint_url=shop.endpoints["table_url"], **NOBODY).Table(
        shop.endpoints["invoice_table_name"]
    )
    record = table.get_item(Key={"invoice_id": answer.payload["invoice_id"]})["Item"]
    assert (record["amount"], record["currency"]) == ("84.97", "USD")
    assert record["items"] == [{"id": "mug", "quantity": 3}, {"id": "tee-l", "quantity": 1}]


def test_a_buyer_who_edits_what_the_page_sends_gets_the_price_of_the_list_or_an_error(shop) -> None:
    assert faults(shop.post({"amount": "0.01"}, {"Origin": SITE})).keys() == {"/items", "/amount"}
    assert faults(shop.post({"amount": "0.01"})).keys() == {"/items", "/amount"}  # no browser, and no way round it
    assert faults(shop.post({**MUG, "amount": "0.01"})).keys() == {"/amount"}
    assert faults(shop.post({"items": [{"id": "mug", "price": "0.01"}]})).keys() == {"/items/0/price"}
    for quantity in (0, -1, "0.001", 0.001, 1000):
        assert faults(shop.post({"items": [{"id": "mug", "quantity": quantity}]})).keys() == {"/items/0/quantity"}
    assert faults(shop.post({**MUG, "currency": "RUB"})) == {
        "/currency": "must be left out or be USD, that of the price list"
    }
    assert faults(shop.post({"items": [{"id": "mug"}, {"id": "hat"}]})) == {"/items/1/id": "is not in the price list"}
    assert faults(shop.post({"items": [{"id": "tee-l", "quantity": 999}, {"id": "mug"}] * 2})).keys() == {"/items/2/id"}
    assert invoices(shop) == []
    assert shop.post({**MUG, "currency": "USD"}).status == 200
    assert invoices(shop) == [("19.99", "USD")]


def test_a_lambda_says_either_and_never_both(shop, fresh) -> None:
    assert shop.invoke({**MUG, "order_id": fresh}).error_type is None
    assert shop.invoke({"amount": "0.75"}).error_type is None
    assert invoices(shop) == [("19.99", "USD"), ("0.75", "USD")]
    both = shop.invoke({**MUG, "amount": "0.75"})
    assert (both.error_type, faults(both).keys()) == ("InvalidRequest", {"/amount"})


def test_without_a_list_items_are_refused_by_name(stack, way_in) -> None:
    answer = way_in(stack, {**MUG, "amount": 1})
    assert faults(answer) == {"/items": "is not a field of this request: this service has no price list"}


def test_the_bounds_of_an_amount_hold_for_the_sum(shop, site) -> None:
    site.publish(costing("50000"))
    assert shop.post({"items": [{"id": "mug", "quantity": 2}]}).status == 200
    assert faults(shop.post({"items": [{"id": "mug", "quantity": 3}]})) == {
        "/items": "must together be from 0.01 to 100000"
    }


def test_a_retry_gets_the_invoice_of_its_first_try_whatever_became_of_the_price(shop, site, fresh) -> None:
    site.publish(costing("20"))
    first = shop.post(MUG, key=fresh)
    site.publish(costing("30"))
    again = shop.post({"items": [{"quantity": 1, "id": "mug"}]}, key=fresh)
    assert again.payload == first.payload
    assert again.headers["Idempotent-Replayed"] == "true"
    assert shop.post({"items": [{"id": "mug", "quantity": 2}]}, key=fresh).status == 422
    shop.post(MUG)
    assert invoices(shop) == [("20", "USD"), ("30", "USD")]


def test_a_replay_needs_no_list(shop, site, fresh) -> None:
    first = shop.post(MUG, key=fresh)
    asked = len(site.requests)
    assert shop.post(MUG, key=fresh).payload == first.payload
    assert len(site.requests) == asked


def test_a_price_that_changed_between_a_try_that_failed_and_its_retry_is_the_new_one(shop, site, fresh) -> None:
    site.publish(costing("20"))
    shop.misbehave("status", value=500)
    assert shop.post(MUG, key=fresh).problem["code"] == "outcome_unknown"
    site.publish(costing("30"))
    assert shop.post(MUG, key=fresh).status == 200
    assert invoices(shop) == [("30", "USD")]


def test_a_refused_item_frees_the_key(shop, site, fresh) -> None:
    site.publish({"currency": "USD", "items": {"tee-l": {"price": "25"}}})
    assert shop.post(MUG, key=fresh).status == 400
    site.publish(costing("20"))
    assert shop.post(MUG, key=fresh).status == 200


def test_without_a_list_that_can_be_believed_nothing_is_created_and_the_caller_may_try_again(
    start_stack, own_site, tmp_path, fresh
) -> None:
    own_site.publish(b"<!doctype html>")
    template = artifact_with(tmp_path, KEPT_S=0, READ_AGAIN_AFTER_S=0)
    shop = start_stack(template=template, sandboxes=1, parameters={"PriceListUrl": own_site.url})
    for content in (
        b"",
        b'{"currency": "USD", "items": {}}',
        as_file({"currency": "KZT", "items": MUG_AND_TEE["items"]}),
    ):
        own_site.publish(content)
        answer = shop.post(MUG, key=fresh)
        assert (answer.status, answer.problem["code"], answer.problem["retryable"]) == (503, "prices_unavailable", True)
        assert answer.headers["Retry-After"] == "10"
        assert shop.invoke({**MUG, "order_id": fresh}).error_type == "PricesUnavailable"
    assert shop.seen()["calls"] == []
    assert shop.invoke({"amount": 1}).error_type is None  # what needs no list does not wait for one
    own_site.publish(costing("20"))
    assert shop.post(MUG, key=fresh).status == 200
    assert shop.invoke({**MUG, "order_id": fresh}).error_type is None


def test_while_the_site_is_down_the_last_good_list_goes_on(start_stack, own_site, tmp_path) -> None:
    template = artifact_with(tmp_path, KEPT_S=0, READ_AGAIN_AFTER_S=0)
    shop = start_stack(template=template, sandboxes=1, parameters={"PriceListUrl": own_site.url})
    assert shop.post(MUG).status == 200
    faults = [lambda: own_site.publish(b"half a li"), lambda: setattr(own_site, "status", 404), own_site.server.stop]
    for happens in faults:
        happens()
        assert shop.post(MUG).status == 200
    assert invoices(shop) == [("19.99", "USD")] * 4
    for said in ("price list refused", "must be valid JSON", "The site answered 404", "price list not read"):
        assert said in shop.log_text()


def test_a_function_starts_without_its_list_and_says_when_to_try_again(start_stack, own_site) -> None:
    own_site.server.stop()
    shop = start_stack(sandboxes=1, parameters={"PriceListUrl": own_site.url})
    answer = shop.post(MUG)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")


def test_the_shops_site_never_gets_the_key(shop, site) -> None:
    for _ in range(2):
        assert shop.post(MUG, {"Authorization": "Token of-a-page"}).status == 200
    assert site.requests
    for path, headers in site.requests:
        assert path == "/prices.json"
        assert headers.keys() <= {"host", "accept", "accept-encoding", "user-agent", "if-none-match"}
        assert API_KEY not in str(headers)
    assert any("if-none-match" in headers for _, headers in site.requests)


KEPT_S = 2.0


def test_while_buyers_buy_a_new_price_counts_for_everybody_after_the_time_that_a_list_is_kept(
    start_stack, own_site, tmp_path
) -> None:
    # With a list that counts for 2 s in place of 60, in four sandboxes that read it at times of their own.
    template = artifact_with(tmp_path, KEPT_S=KEPT_S)
    own_site.publish(costing("1"))
    shop = start_stack(template=template, parameters={"PriceListUrl": own_site.url})
    bought: list[tuple[float, float, str]] = []  # sent, answered, id of the invoice
    ends_s = time.monotonic() + 5 * KEPT_S

    def buy() -> None:
        while (sent_s := time.monotonic()) < ends_s:
            answer = shop.post(MUG)
            bought.append((sent_s, time.monotonic(), answer.payload["invoice_id"]))

    buyers = [threading.Thread(target=buy) for _ in range(4)]
    for buyer in buyers:
        buyer.start()
    for price in range(2, 8):
        buyers[0].join(0.7 * KEPT_S)
        own_site.publish(costing(str(price)))
    for buyer in buyers:
        buyer.join()

    amounts = {invoice_id: Decimal(str(it["amount"])) for invoice_id, it in shop.seen()["invoices"].items()}
    published = [(at_s, Decimal(it["items"]["mug"]["price"])) for at_s, it in own_site.published[1:]]
    replaced_s = {price: at_s for (_, price), (at_s, _) in itertools.pairwise(published)}
    published_s = {price: at_s for at_s, price in published}
    for sent_s, answered_s, invoice_id in bought:
        price = amounts[invoice_id]
        assert published_s[price] < answered_s
        assert sent_s - replaced_s.get(price, answered_s) < KEPT_S, f"{price} was too old"
    assert len(bought) > 40
    assert len({amounts[invoice_id] for _, _, invoice_id in bought}) >= 4, "the price never changed"
    assert len(own_site.requests) < len(bought)
