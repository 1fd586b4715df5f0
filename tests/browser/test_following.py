"""How the status of an invoice is asked for: how often, when not, until when, and what is kept about it."""

import json

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit
from tests.support import ROOT

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
# The clock of the page is the tests': what is asked for, and when, is noted in the page.
NOTE = """
    window.askedAt = [];
    window.answered = 0;
    const { fetch } = window;
    window.fetch = async (...request) => {
      askedAt.push(Date.now());
      const response = await fetch(...request);
      const text = await response.text();
      answered++;
      return new Response(text, response);
    };
"""


def answer(visit: Visit, *replies: dict[str, object]) -> list[Route]:
    """Answers what is asked about an invoice; the last reply goes on for ever. Returns what was asked."""
    left, asked = list(replies), []

    def fulfill(route: Route) -> None:
        asked.append(route)
        reply = left.pop(0) if len(left) > 1 else left[0]
        route.fulfill(**{"headers": {"Access-Control-Allow-Origin": "*"}, **reply})

    visit.page.route("**/v1/invoice/info?*", fulfill)
    return asked


def says(status: str) -> dict[str, object]:
    return {"json": {"status": "success", "status_invoice": status}}


def come_back(visit: Visit, **invoice: object) -> None:
    """Makes the page the one that the buyer comes back to, with what the button remembers of an invoice."""
    kept = {"endpoint": visit.stack.endpoints["invoice_url"], "invoice_id": "ABCD1234", "name": "crypto-pay:x"}
    visit.page.evaluate(
        f"""(kept) => {{
          {NOTE}
          window.told = [];
          addEventListener("crypto-pay:paid", ({{ detail }}) => told.push(detail));
          localStorage.setItem("crypto-pay:invoice", JSON.stringify({{ end: Date.now() + 60_000, ...kept }}));
          document.querySelector("crypto-pay").replaceWith(document.createElement("crypto-pay-status"));
        }}""",
        {**kept, **invoice},
    )


def asked_at(page: Page) -> list[int]:
    return page.evaluate("window.askedAt")


def text(visit: Visit):
    return visit.page.locator("crypto-pay-status").get_by_role("status")


def set_hidden(page: Page, hidden: bool) -> None:
    """Hides or shows the page, of which a headless browser never makes anything."""
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
        }""",
        hidden,
    )


def test_the_status_is_asked_for_at_once_then_less_and_less_often_and_not_for_ever(visit) -> None:
    visit.page.clock.install()
    visit.page.clock.pause_at(visit.page.evaluate("Date.now()") + 1000)
    answer(visit, says("created"))
    come_back(visit)
    count, all_ms, wait_ms = 1, 0, 5000.0
    while True:
        visit.until(lambda: visit.page.evaluate("window.answered") == count)  # noqa: B023
        visit.page.clock.run_for(int(wait_ms) - 100)
        assert len(asked_at(visit.page)) == count
        visit.page.clock.run_for(200)
        all_ms += wait_ms
        wait_ms *= 1.1
        if len(asked_at(visit.page)) == count:
            break
        count += 1
    visit.page.clock.run_for(DAY_MS)
    assert len(asked_at(visit.page)) == count
    readme = " ".join((ROOT / "button" / "README.md").read_text().split())
    assert f"after {count} answers, which is about {round(all_ms / MINUTE_MS)} minutes" in readme


def test_a_page_that_nobody_sees_asks_nothing_and_asks_at_once_when_it_is_seen(visit) -> None:
    visit.page.clock.install()
    answer(visit, says("created"), says("paid"))
    come_back(visit)
    expect(text(visit)).to_have_text("Waiting for the payment…")
    set_hidden(visit.page, True)
    visit.page.clock.run_for(60 * MINUTE_MS)
    assert len(asked_at(visit.page)) == 1
    set_hidden(visit.page, False)
    expect(text(visit)).to_have_text("Paid. Thank you!")
    assert len(asked_at(visit.page)) == 2


@pytest.mark.parametrize("status", ["paid", "overpaid", "canceled"])
def test_a_final_status_ends_the_asking_and_the_key(visit, status) -> None:
    visit.page.clock.install()
    visit.page.evaluate("sessionStorage.setItem('crypto-pay:x', 'key 9999999999999')")
    answer(visit, says(status))
    come_back(visit)
    expect(text(visit)).to_have_text("The invoice has expired." if status == "canceled" else "Paid. Thank you!")
    visit.page.clock.run_for(60 * MINUTE_MS)
    assert len(asked_at(visit.page)) == 1
    assert visit.page.evaluate("window.told") == (
        [] if status == "canceled" else [{"invoice_id": "ABCD1234", "status": status}]
    )
    assert visit.page.evaluate("sessionStorage.getItem('crypto-pay:x')") == ""


def test_a_part_is_said_and_waited_on(visit) -> None:
    visit.page.clock.install()
    answer(visit, says("partial"), says("paid"))
    come_back(visit)
    expect(text(visit)).to_have_text("Partly paid.")
    visit.page.clock.run_for(6000)
    expect(text(visit)).to_have_text("Paid. Thank you!")


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_ends_the_asking_and_claims_nothing(visit, status) -> None:
    visit.page.clock.install()
    asked = answer(visit, {"status": status, "json": {"code": "invoice_not_found", "retryable": False}})
    come_back(visit)
    visit.until(lambda: asked)
    visit.page.clock.run_for(60 * MINUTE_MS)
    assert len(asked_at(visit.page)) == 1
    expect(text(visit)).to_be_empty()


@pytest.mark.parametrize(
    "reply",
    [
        {"status": 503, "json": {"code": "provider_unavailable", "retryable": True}},
        {"status": 429, "json": {"message": "Too Many Requests"}},
        {"status": 502, "body": "<h1>Bad gateway</h1>"},
        {"status": 200, "body": "<h1>Hello</h1>"},
        {"status": 200, "json": {}},
    ],
    ids=["503", "429", "HTML with 502", "HTML with 200", "no status"],
)
def test_what_may_pass_is_asked_again(visit, reply) -> None:
    visit.page.clock.install()
    answer(visit, reply, says("paid"))
    come_back(visit)
    visit.until(lambda: asked_at(visit.page))
    expect(text(visit)).to_be_empty()
    visit.until(lambda: visit.page.clock.run_for(1000) or len(asked_at(visit.page)) == 2)
    expect(text(visit)).to_have_text("Paid. Thank you!")


def test_a_connection_that_is_lost_comes_back(visit) -> None:
    visit.page.clock.install()
    visit.page.context.set_offline(True)
    come_back(visit)
    visit.until(lambda: asked_at(visit.page))
    visit.page.context.set_offline(False)
    answer(visit, says("paid"))
    visit.until(lambda: visit.page.clock.run_for(1000) or len(asked_at(visit.page)) == 2)
    expect(text(visit)).to_have_text("Paid. Thank you!")


def test_an_invoice_of_yesterday_is_no_news(visit) -> None:
    asked = answer(visit, says("paid"))
    come_back(visit, end=0)
    visit.page.evaluate("new Promise((resolve) => setTimeout(resolve))")
    assert asked == []
    expect(text(visit)).to_be_empty()


@pytest.mark.parametrize("kept", ["", "no JSON", "null", "{}"])
def test_what_others_keep_in_its_place_does_no_harm(visit, kept) -> None:
    visit.page.evaluate(
        "(kept) => { localStorage.setItem('crypto-pay:invoice', kept);"
        " document.body.append(document.createElement('crypto-pay-status')); }",
        kept,
    )
    expect(text(visit)).to_be_empty()


def test_the_button_remembers_the_invoice_for_a_day_and_nothing_about_the_buyer(visit) -> None:
    visit.listen()
    visit.email.fill("buyer.canary@example.com")
    visit.set(description="For buyer.canary")
    visit.button.click()
    invoice_id = visit.arrive()
    visit.page.goto(visit.stack.endpoints["shop_url"])
    kept = json.loads(visit.page.evaluate("localStorage.getItem('crypto-pay:invoice')"))
    age_ms = kept["end"] - visit.page.evaluate("Date.now()") - DAY_MS
    assert -MINUTE_MS < age_ms <= 0
    assert (kept["endpoint"], kept["invoice_id"]) == (visit.stack.endpoints["invoice_url"], invoice_id)
    assert "@" not in json.dumps(kept)


def test_a_request_in_between_is_not_disturbed_by_the_status(visit, context) -> None:
    answer(visit, says("created"))
    visit.set(new_tab="")
    for _ in range(2):
        with context.expect_page() as opened:
            visit.button.click()
        opened.value.wait_for_url("**/pay/*")
        opened.value.close()
        expect(visit.message).to_have_text("Waiting for the payment…")
    assert len(visit.stack.seen()["invoices"]) == 1


@pytest.mark.parametrize(
    ("lang", "texts"),
    {
        "en": ["Waiting for the payment…", "Partly paid.", "The invoice has expired.", "Paid. Thank you!"],
        "pt": ["Aguardando o pagamento…", "Pago em parte.", "A fatura expirou.", "Pago. Obrigado!"],
        "es": ["Esperando el pago…", "Pagado en parte.", "La factura ha caducado.", "Pagado. ¡Gracias!"],
        "ru": ["Ожидаем оплату…", "Оплачено частично.", "Срок счёта истёк.", "Оплачено. Спасибо!"],
    }.items(),
)
def test_the_status_is_said_in_the_language_of_the_page_or_in_the_pages_own_words(visit, lang, texts) -> None:
    visit.page.evaluate("(lang) => { document.documentElement.lang = lang; }", lang)
    for status, expected in zip(["created", "partial", "canceled", "paid"], texts, strict=True):
        visit.page.unroute_all()
        answer(visit, says(status))
        visit.page.evaluate(
            "document.querySelector('crypto-pay, crypto-pay-status').replaceWith(document.createElement('crypto-pay'))"
        )
        come_back(visit)
        expect(text(visit)).to_have_text(expected)
    visit.page.evaluate(
        """() => {
          const own = document.createElement("crypto-pay-status");
          own.setAttribute("text-paid", "All yours.");
          document.querySelector("crypto-pay-status").replaceWith(own);
        }"""
    )
    expect(text(visit)).to_have_text("All yours.")
