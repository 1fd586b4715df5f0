"""What a site owner can rely on: keys, events, languages, texts, parts, size, and the snippet without the element."""

import gzip
import re

import pytest
from playwright.sync_api import expect

from tests.support import ROOT
from tests.support.stack import EMAIL

SITE = ROOT / "examples" / "static-site"
ELEMENT = ROOT / "button" / "crypto-pay.js"
MINUTE_MS = 60_000


def click_and_stay(visit) -> None:
    """Creates an invoice once more; the page stays."""
    count = len(visit.page.evaluate("window.told"))
    visit.button.click()
    visit.told(count + 1)


def test_one_purchase_has_one_key_for_thirty_minutes(visit) -> None:
    visit.page.clock.install()
    visit.listen("created")
    click_and_stay(visit)
    visit.page.clock.fast_forward(29 * MINUTE_MS)
    click_and_stay(visit)
    visit.page.clock.fast_forward(2 * MINUTE_MS)
    click_and_stay(visit)
    assert visit.keys[0] == visit.keys[1] != visit.keys[2]
    assert [event["detail"]["invoice_id"] for event in visit.told()][0::2] == list(visit.stack.seen()["invoices"])


@pytest.mark.parametrize(
    "change",
    [{"amount": "20.00"}, {"currency": "EUR"}, {"order_id": "A-1002"}, {"description": "Mug"}, {"email": EMAIL}],
)
def test_a_change_makes_another_purchase_and_ends_the_key(visit, change) -> None:
    before = {"amount": "19.99", "currency": "USD", "order_id": "A-1001", "description": None, "email": None}
    visit.listen("created")
    click_and_stay(visit)
    visit.set(**change)
    click_and_stay(visit)
    visit.set(**{name: before[name] for name in change})
    click_and_stay(visit)
    assert len(set(visit.keys)) == len(visit.stack.seen()["invoices"]) == 3


def test_a_buyer_who_corrects_the_email_is_not_stuck(visit) -> None:
    visit.listen("created")
    for email in ("wrong.canary@example.com", EMAIL):
        visit.email.fill(email)
        click_and_stay(visit)
    assert [event["name"] for event in visit.told()] == ["created", "created"]
    assert EMAIL in visit.stack.seen()["calls"][1]["body"]


def test_a_buyer_who_gives_another_email_after_a_reload_is_not_stuck(visit) -> None:
    visit.listen("created")
    visit.email.fill("wrong.canary@example.com")
    click_and_stay(visit)
    visit.page.reload()
    visit.listen("created")
    visit.email.fill(EMAIL)
    click_and_stay(visit)
    assert [event["name"] for event in visit.told()] == ["created"]
    assert [len(set(visit.keys)), len(visit.keys)] == [2, 3]  # the service refuses the first key and gets another
    assert EMAIL in visit.stack.seen()["calls"][1]["body"]


def test_reset_ends_the_key(visit) -> None:
    visit.listen("created")
    click_and_stay(visit)
    visit.page.evaluate("document.querySelector('crypto-pay').reset()")
    click_and_stay(visit)
    assert len(set(visit.keys)) == 2


def test_reset_ends_the_key_of_a_page_that_was_loaded_again(visit) -> None:
    visit.listen("created")
    click_and_stay(visit)
    visit.page.reload()
    visit.page.evaluate("document.querySelector('crypto-pay').reset()")
    visit.listen("created")
    click_and_stay(visit)
    assert len(set(visit.keys)) == 2


def test_two_purchases_on_one_page_keep_their_keys_apart(visit) -> None:
    visit.listen("created")
    visit.page.evaluate("document.body.append(document.querySelector('crypto-pay').cloneNode(true))")
    visit.set(order_id="A-1002")
    for number, button in enumerate([*visit.button.all()] * 2, start=1):
        button.click()
        visit.told(number)
    assert visit.keys[:2] == visit.keys[2:]
    assert len(set(visit.keys)) == 2


@pytest.mark.parametrize(
    "storage",
    [
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('', 'SecurityError'); } })",
        "window.sessionStorage.setItem('full', 'x'.repeat(5 * 2 ** 20 - 30))",
    ],
    ids=["refused", "full"],
)
def test_without_storage_the_key_lives_as_long_as_the_page(visit, storage) -> None:
    visit.page.evaluate(f"{storage}, undefined")
    visit.listen("created")
    click_and_stay(visit)
    click_and_stay(visit)
    visit.page.evaluate("document.querySelector('crypto-pay').reset()")
    click_and_stay(visit)
    assert visit.keys[0] == visit.keys[1] != visit.keys[2]


@pytest.mark.parametrize("change", ["element.setAttribute('amount', '5')", "element.remove()", "element.reset()"])
def test_a_request_ends_with_its_purchase(visit, change) -> None:
    visit.listen()
    visit.stack.misbehave("slow", value=1)
    visit.button.click()
    visit.until_provider_is_asked()
    with visit.page.expect_event("requestfailed"):
        visit.page.evaluate(f"(() => {{ const element = document.querySelector('crypto-pay'); {change}; }})()")
    visit.expect_still_at_shop()
    assert visit.page.evaluate("window.told") == []
    assert visit.page.locator("crypto-pay [aria-busy=true]").count() == 0


def test_a_request_goes_on_while_its_element_is_moved_or_set_to_what_it_is(visit) -> None:
    visit.stack.misbehave("slow", value=1)
    visit.button.click()
    visit.until_provider_is_asked()
    visit.set(amount="19.99")
    visit.page.evaluate("document.body.append(document.querySelector('crypto-pay'))")
    expect(visit.button).to_have_attribute("aria-busy", "true")
    visit.arrive()
    assert len(visit.sent) == 1


def test_the_event_created_has_the_invoice_and_can_be_cancelled(visit) -> None:
    visit.listen("created")
    visit.button.click()
    [event] = visit.told()
    [invoice_id] = visit.stack.seen()["invoices"]
    assert event["detail"] == {
        "status": "success",
        "pay_url": f"{visit.stack.endpoints['provider_url']}/pay/{invoice_id}",
        "currency": "BTC",
        "invoice_id": invoice_id,
    }
    visit.expect_still_at_shop()
    expect(visit.button).to_have_accessible_name("Pay with crypto")


def test_the_event_error_has_the_problem_and_can_be_cancelled(visit) -> None:
    visit.listen("error")
    visit.set(amount="0")
    visit.button.click()
    [event] = visit.told()
    detail = event["detail"]
    assert (detail["code"], detail["status"], detail["retryable"]) == ("invalid_request", 400, False)
    assert detail["problem"]["errors"][0]["pointer"] == "/amount"
    assert "contact the shop" in detail["message"]
    expect(visit.message).to_be_empty()
    expect(visit.button).to_have_accessible_name("Pay with crypto")


LANGUAGES = {
    "en": ("Pay with crypto", "E-mail (optional)", "Preparing your payment…", "Try again", "Nothing was charged"),
    "pt-BR": (
        "Pagar com cripto",
        "E-mail (opcional)",
        "Preparando o pagamento…",
        "Tentar novamente",
        "Nada foi cobrado",
    ),
    "es": (
        "Pagar con cripto",
        "Correo electrónico (opcional)",
        "Preparando el pago…",
        "Intentar de nuevo",
        "No se cobró nada",
    ),
    "RU": (
        "Оплатить криптовалютой",
        "Эл. почта (необязательно)",
        "Готовим оплату…",
        "Попробовать снова",
        "Деньги не списаны",
    ),
    "de": ("Pay with crypto", "E-mail (optional)", "Preparing your payment…", "Try again", "Nothing was charged"),
}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_language_is_that_of_the_page(visit, lang) -> None:
    pay, email, busy, again, charged = LANGUAGES[lang]
    visit.page.evaluate(
        """(lang) => {
          const element = document.querySelector("crypto-pay");
          element.textContent = "";
          document.documentElement.lang = lang;
          element.replaceWith(element.cloneNode());
        }""",
        lang,
    )
    expect(visit.page.get_by_label(email)).to_be_visible()
    expect(visit.button).to_have_accessible_name(pay)
    visit.answer({"status": 503, "json": {"message": "Service Unavailable"}, "headers": {"Retry-After": "60"}})
    visit.page.evaluate(
        "window.shown = []; new MutationObserver(() => shown.push(document.querySelector('crypto-pay').shadowRoot"
        ".querySelector('p').textContent)).observe(document.querySelector('crypto-pay').shadowRoot,"
        " { childList: true, subtree: true, characterData: true })"
    )
    visit.button.click()
    expect(visit.button).to_have_accessible_name(again)
    expect(visit.message).to_contain_text(charged)
    assert visit.page.evaluate("window.shown")[0] == busy


def test_the_nearest_language_counts(visit) -> None:
    visit.page.evaluate("document.querySelector('section').lang = 'es'")
    visit.set(amount=None)
    visit.button.click()
    expect(visit.message).to_contain_text("No se cobró nada")
    visit.set(lang="ru")
    visit.button.click()
    expect(visit.message).to_contain_text("Деньги не списаны")


def test_every_language_has_every_text() -> None:
    texts = re.search(r"const TEXTS = \{\n(.*?)\n\};", ELEMENT.read_text(), re.DOTALL).group(1)
    names = [re.findall(r"(\w+): \"", language) for language in texts.split("\n  },")]
    assert len(names[0]) == 12
    assert names[0] == names[1] == names[2] == names[3]


def test_each_text_can_be_replaced_and_an_error_can_have_one_of_its_own(visit) -> None:
    visit.set(text_again="Once more", text_invoice_rejected=None)
    visit.page.evaluate("document.querySelector('crypto-pay').setAttribute('text-invoice_rejected', 'Ask us.')")
    visit.stack.misbehave("status", value=400)
    visit.button.click()
    expect(visit.message).to_have_text("Ask us.")
    visit.stack.misbehave("status", value=429, retry_after="60", times=2)
    visit.button.click()
    expect(visit.button).to_have_accessible_name("Once more")


def test_the_looks_are_the_sites_through_custom_properties_and_parts(visit) -> None:
    visit.page.evaluate(
        """() => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(`
            crypto-pay { --crypto-pay-background: rgb(1, 2, 3); --crypto-pay-color: rgb(4, 5, 6);
              --crypto-pay-radius: 7px; --crypto-pay-focus: rgb(8, 9, 10); --crypto-pay-error: rgb(11, 12, 13);
              --crypto-pay-error-background: rgb(14, 15, 16); }
            crypto-pay::part(button) { text-transform: uppercase; }
            crypto-pay::part(email) { letter-spacing: 1px; }
            crypto-pay::part(label) { letter-spacing: 2px; }
            crypto-pay::part(message) { letter-spacing: 3px; }`);
          document.adoptedStyleSheets = [sheet];
        }"""
    )
    visit.email.focus()
    visit.page.keyboard.press("Tab")
    for name, value in {
        "background-color": "rgb(1, 2, 3)",
        "color": "rgb(4, 5, 6)",
        "border-top-left-radius": "7px",
        "outline-color": "rgb(8, 9, 10)",
        "text-transform": "uppercase",
    }.items():
        expect(visit.button).to_have_css(name, value)
    expect(visit.email).to_have_css("letter-spacing", "1px")
    expect(visit.page.locator("crypto-pay label")).to_have_css("letter-spacing", "2px")
    expect(visit.message).to_have_css("letter-spacing", "3px")
    visit.set(amount="0")
    visit.button.click()
    expect(visit.message).to_have_css("color", "rgb(11, 12, 13)")
    expect(visit.message).to_have_css("background-color", "rgb(14, 15, 16)")


def test_the_element_is_at_most_8_kib_gzipped() -> None:
    assert len(gzip.compress(ELEMENT.read_bytes())) <= 8 * 1024


def test_the_snippet_for_pages_without_the_element_leads_to_the_pay_page(visit) -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    section = page.partition("## From a page without the button")[2].partition("\n## ")[0]
    [snippet] = re.findall(r"```js\n(.*?)```", section, re.DOTALL)
    endpoint = "https://….execute-api.eu-west-1.amazonaws.com/v1/invoice/create"
    assert snippet.count(endpoint) == 1
    code = snippet.replace(endpoint, visit.stack.endpoints["invoice_url"])
    visit.page.evaluate(f"(async () => {{ {code} }})()")
    visit.arrive()
    assert re.fullmatch(r"[0-9a-f-]{36}", visit.keys[0])


def test_the_page_as_committed_is_for_the_default_ports_of_make_run() -> None:
    for name in ("index.html", "tee.html"):
        page = (SITE / name).read_text()
        assert 'endpoint="http://127.0.0.1:3000/v1/invoice/create" pay-origin="http://127.0.0.1:3002"' in page
        assert "connect-src 'self' http://127.0.0.1:3000 https:;" in page


@pytest.mark.parametrize("path", ["README.md", "..%2fREADME.md", "../README.md", "crypto-pay.js/", "nothing.html"])
def test_the_shop_serves_its_own_files_and_nothing_else(stack, path) -> None:
    reply = stack._http.request("GET", f"{stack.endpoints['shop_url']}{path}")
    assert reply.status == 404
