"""What a page's own code can rely on: properties, methods, the event before the request, keys, the content."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit

ELEMENT = "document.querySelector('crypto-pay')"
TEXTS = [
    "endpoint",
    "amount",
    "items",
    "quantity",
    "prices",
    "currency",
    "orderId",
    "description",
    "email",
    "payOrigin",
]
SWITCHES = ["emailField", "newTab", "showAmount", "disabled"]


def attribute_of(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"-{letter[0].lower()}", name)


def in_element(visit: Visit, code: str):
    return visit.page.evaluate(f"(() => {{ const element = {ELEMENT}; {code} }})()")


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_property_is_its_attribute(visit, name) -> None:
    read = f"return [element.{name}, element.getAttribute('{attribute_of(name)}')]"
    assert in_element(visit, f"element.{name} = 5; {read}") == ["5", "5"]
    assert in_element(visit, f"element.{name} = null; {read}") == ["", None]
    assert in_element(visit, f"element.setAttribute('{attribute_of(name)}', 'x'); {read}") == ["x", "x"]
    assert in_element(visit, f"element.{name} = undefined; {read}") == ["", None]


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_property_is_its_attribute_and_false_is_off(visit, name) -> None:
    attribute = attribute_of(name)
    for value, on in {"true": True, "'false'": False, "1": True, "''": False, "'true'": True, "null": False}.items():
        assert in_element(visit, f"element.{name} = {value}; return element.{name}") is on
        assert in_element(visit, f"return element.hasAttribute('{attribute}')") is on
    for text, on in {"": True, "true": True, "false": False, " FALSE ": False, name: True}.items():
        assert in_element(visit, f"element.setAttribute('{attribute}', '{text}'); return element.{name}") is on


def test_what_was_set_before_the_file_was_loaded_counts(visit) -> None:
    visit.page.evaluate(
        """async () => {
          const element = document.createElement("crypto-pay-later");
          Object.assign(element, { amount: "5.00", orderId: "B-1", showAmount: true });
          document.body.append(element);
          const { CryptoPay } = await import("/crypto-pay.js");
          customElements.define("crypto-pay-later", class extends CryptoPay {});
        }"""
    )
    later = visit.page.locator("crypto-pay-later")
    expect(later).to_have_attribute("order-id", "B-1")
    expect(later.get_by_role("button")).to_have_accessible_name("Pay with crypto · $5.00")


@pytest.mark.parametrize("call", ["element.pay()", "element.click()"])
def test_a_method_pays_as_a_click_does(visit, call) -> None:
    in_element(visit, call)
    visit.arrive()


def test_focus_goes_to_the_button(visit) -> None:
    in_element(visit, "element.focus()")
    expect(visit.button).to_be_focused()


def test_a_disabled_button_does_nothing(visit) -> None:
    visit.set(disabled="")
    expect(visit.button).to_be_disabled()
    expect(visit.email).to_be_disabled()
    in_element(visit, "element.pay(); element.click()")
    visit.expect_still_at_shop()
    assert visit.sent == []
    visit.set(disabled="false")
    visit.button.click()
    visit.arrive()


def test_the_page_can_stop_a_request_before_it_is_sent_or_change_it(visit) -> None:
    in_element(
        visit,
        """window.asked = [];
        element.addEventListener("crypto-pay:request", (event) => {
          asked.push(event.detail);
          if (asked.length === 1) event.preventDefault();
          else element.amount = "25.00";
        });""",
    )
    visit.button.click()
    visit.expect_still_at_shop()
    assert visit.sent == []
    expect(visit.button).to_have_attribute("aria-busy", "false")
    visit.button.click()
    visit.arrive()
    assert visit.page.get_by_text("25.00 USD").or_(visit.page.get_by_text("25.0 USD")).count() == 1
    assert json.loads(visit.sent[0].post_data) == {"amount": "25.00", "currency": "USD", "order_id": "A-1001"}


def test_white_space_round_attributes_does_not_count(visit) -> None:
    endpoint, pay_origin = visit.stack.endpoints["invoice_url"], visit.stack.endpoints["provider_url"]
    visit.set(endpoint=f" {endpoint}\n", pay_origin=f"\n {pay_origin} ", amount=" 19.99 ", order_id="\tA-1001\n")
    visit.button.click()
    visit.arrive()
    assert json.loads(visit.sent[0].post_data) == {"amount": "19.99", "currency": "USD", "order_id": "A-1001"}


def test_a_monitoring_script_may_add_its_headers(visit) -> None:
    visit.page.evaluate(
        """() => {
          const { fetch } = window;
          const added = {};
          for (const name of ["traceparent", "tracestate", "request-id", "request-context", "baggage", "sentry-trace",
            "newrelic"]) added[name] = "1";
          window.fetch = (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...added } });
        }"""
    )
    visit.button.click()
    visit.arrive()


def test_a_header_that_the_stack_does_not_allow_is_named_as_a_cause(visit) -> None:
    visit.page.evaluate(
        """() => {
          const { fetch } = window;
          window.fetch = (url, init) => fetch(url, { ...init, headers: { ...init.headers, "x-strange": "1" } });
        }"""
    )
    with visit.page.expect_console_message(lambda line: "<crypto-pay>" in line.text) as complaint:
        visit.button.click()
    assert "does no script add headers to requests?" in complaint.value.text


def test_ordinary_order_ids_share_no_key(visit) -> None:
    # A 31-hash gives MUG-B1 and MUG-AP one key.
    visit.listen("created")
    for count, order in enumerate(["MUG-B1", "MUG-AP", "MUG-B1"], start=1):
        visit.page.evaluate(f"document.body.append({ELEMENT}.cloneNode(true))")
        visit.page.evaluate("order => [...document.querySelectorAll('crypto-pay')].at(-1).orderId = order", order)
        visit.button.last.click()
        visit.told(count)
    assert visit.keys[0] == visit.keys[2] != visit.keys[1]


def test_one_button_does_not_end_the_key_of_another(visit) -> None:
    visit.listen("created")
    visit.page.evaluate(f"document.body.append({ELEMENT}.cloneNode(true))")
    first, second = visit.button.all()
    first.click()
    visit.told(1)
    visit.set(order_id="A-1002")
    first.click()
    visit.told(2)
    second.click()
    visit.told(3)
    assert visit.keys[0] == visit.keys[2] != visit.keys[1]


def test_what_others_keep_in_the_session_stays(visit) -> None:
    visit.page.evaluate("sessionStorage.setItem('undefined', 'not ours')")
    in_element(visit, "element.reset()")
    visit.listen("created")
    visit.button.click()
    visit.told()
    assert visit.page.evaluate("sessionStorage.getItem('undefined')") == "not ours"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("", "Pay with crypto"),
        (" \n\t", "Pay with crypto"),
        ("<!-- nothing -->\n", "Pay with crypto"),
        ('<img src="mug.svg" width="20" height="20">', "Pay with crypto"),
        ('<img src="mug.svg" width="20" height="20" alt="Buy the mug">', "Buy the mug"),
        ("<b>Buy</b> now", "Buy now"),
    ],
)
def test_the_button_always_has_a_name(visit, content, name) -> None:
    visit.page.evaluate(
        """(html) => {
          const policy = trustedTypes.createPolicy("test", { createHTML: (text) => text });
          document.querySelector("crypto-pay").innerHTML = policy.createHTML(html);
        }""",
        content,
    )
    expect(visit.button).to_have_accessible_name(name)
    assert visit.button.evaluate("(button) => button.offsetWidth > 100 && button.offsetHeight >= 44")


def test_a_text_that_changes_in_place_is_seen(visit) -> None:
    in_element(visit, "element.textContent = ' '; window.text = element.firstChild")
    expect(visit.button).to_have_accessible_name("Pay with crypto")
    visit.page.evaluate("window.text.data = 'Buy'")
    expect(visit.button).to_have_accessible_name("Buy")


@pytest.mark.parametrize(
    ("lang", "currency", "name"),
    [
        ("en", "USD", "Pay with crypto · $19.99"),
        ("es", "EUR", "Pay with crypto · 19,99 €"),
        ("ru", "RUB", "Pay with crypto · 19,99 ₽"),
        ("pt-BR", "GBP", "Pay with crypto · £ 19,99"),
        ("not a language", "USD", "Pay with crypto · 19.99 USD"),
        ("en", "dollars", "Pay with crypto · 19.99 dollars"),
    ],
)
def test_the_amount_on_the_button_is_written_as_the_language_writes_it(visit, lang, currency, name) -> None:
    visit.set(show_amount="", lang=lang, currency=currency)
    expect(visit.button).to_have_accessible_name(re.compile(re.escape(name).replace("\\ ", r"\s")))


def test_the_language_of_a_page_is_found_from_within_a_shadow_tree(visit) -> None:
    visit.page.evaluate(
        f"""() => {{
          const host = document.createElement("div");
          host.lang = "ru";
          document.body.append(host);
          host.attachShadow({{ mode: "open" }}).append({ELEMENT});
          host.shadowRoot.querySelector("crypto-pay").textContent = "";
        }}"""
    )
    expect(visit.button).to_have_accessible_name("Оплатить криптовалютой")
