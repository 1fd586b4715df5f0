"""The sandbox's pay page and its postbacks: what the local stack has in place of the provider when somebody pays."""

import html
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import jwt
import pytest
import urllib3

from infra.local.loopback import LoopbackServer, QuietHandler
from infra.local.provider_postbacks import Project
from infra.local.provider_sandbox import Sandbox

KEY = "key"
SECRET_KEY = "the secret key of the project, of 32 bytes and more"
BUTTONS = {
    "created": ["Pay", "Pay part", "Pay too much", "Cancel", "Let it expire"],
    "partial": ["Pay", "Pay too much", "Let it expire"],
    "canceled": ["Pay", "Pay too much"],
    "paid": [],
    "overpaid": [],
}


@dataclass
class Site:
    """The shop's own end: keeps postbacks, and answers them when it may."""

    status: int = 200
    got: list[tuple[str, str]] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)


class _SiteHandler(QuietHandler):
    def do_POST(self) -> None:
        site: Site = self.server.owner
        site.got.append((self.headers["Content-Type"], self.read_body().decode()))
        site.may_answer.wait()
        self.answer(site.status)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    site.may_answer.set()
    site.server = LoopbackServer(0, _SiteHandler, site)
    yield site
    site.may_answer.set()
    site.server.stop()


@pytest.fixture
def sandbox(site) -> Iterator[Sandbox]:
    project = Project(
        secret_key=SECRET_KEY,
        notification_url=f"{site.server.url}/postback",
        success_url="https://shop.example/thanks?a=1&b=2",
        fail_url="https://shop.example/failed",
    )
    sandbox = Sandbox(api_key=KEY, shop_id="shop", project=project)
    yield sandbox
    sandbox.server.stop()


def create(sandbox: Sandbox, api: str = "v1", **fields: object) -> str:
    request = {"shop_id": "shop", "amount": 19.99, "currency": "USD", "order_id": "A-1001", **fields}
    reply = urllib3.request(
        "POST",
        f"{sandbox.server.url}/{api}/invoice/create",
        json=request,
        headers={"Authorization": f"Token {KEY}"},
    ).json()
    return reply["invoice_id"] if api == "v1" else reply["result"]["uuid"].removeprefix("INV-")


def page(sandbox: Sandbox, invoice_id: str) -> str:
    reply = urllib3.request("GET", f"{sandbox.server.url}/pay/{invoice_id}")
    assert reply.status == 200
    return reply.data.decode()


def press(sandbox: Sandbox, invoice_id: str, label: str) -> str:
    """Presses a button as a browser without scripts does; returns the page that follows."""
    [action] = re.findall(rf'<button name="action" value="([a-z-]+)">{label}</button>', page(sandbox, invoice_id))
    url = f"{sandbox.server.url}/pay/{invoice_id}"
    reply = urllib3.request("POST", url, body=f"action={action}", redirect=False)
    assert (reply.status, reply.headers["Location"]) == (303, f"/pay/{invoice_id}")
    return page(sandbox, invoice_id)


def postbacks(sandbox: Sandbox) -> list[dict[str, object]]:
    """Returns all postbacks, none of them on its way."""
    sandbox.postbacks.wait()
    return sandbox.postbacks.report()["postbacks"]


def body_of(got: tuple[str, str]) -> dict[str, object]:
    content_type, body = got
    return json.loads(body) if content_type == "application/json" else dict(parse_qsl(body))


@pytest.mark.parametrize(
    ("labels", "status", "postback_count"),
    [
        ([], "created", 0),
        (["Pay"], "paid", 1),
        (["Pay part"], "partial", 0),
        (["Pay part", "Pay"], "paid", 1),
        (["Pay too much"], "overpaid", 1),
        (["Cancel"], "canceled", 0),
        (["Let it expire"], "canceled", 0),
        (["Pay part", "Let it expire", "Pay too much"], "overpaid", 1),
    ],
)
def test_a_button_changes_the_status_and_a_confirmed_invoice_has_one_postback(
    sandbox, site, labels, status, postback_count
) -> None:
    invoice_id = create(sandbox)
    for label in labels:
        press(sandbox, invoice_id, label)
    assert sandbox.report()["invoices"][invoice_id]["status_invoice"] == status
    assert [postback["status"] for postback in postbacks(sandbox)] == [200] * postback_count
    assert [body_of(got)["invoice_id"] for got in site.got] == [invoice_id] * postback_count
    shown = page(sandbox, invoice_id)
    assert re.findall(r"<button [^>]*>([^<]*)</button>", shown) == BUTTONS[status]
    assert f'<p role="status">Status: {status} ' in shown


def test_the_page_shows_what_is_asked_for_and_that_it_is_a_sandbox_and_needs_no_script(sandbox) -> None:
    shown = page(sandbox, create(sandbox, order_id="<b>A&1</b>"))
    assert shown.count("19.99 USD") == 1
    assert "Order &lt;b&gt;A&amp;1&lt;/b&gt;" in shown
    assert "This page belongs to a sandbox: no money is moved." in shown
    assert '<html lang="en">' in shown
    assert "<script" not in shown


def test_two_presses_of_one_button_pay_once(sandbox) -> None:
    invoice_id = create(sandbox)
    for _ in range(2):
        urllib3.request("POST", f"{sandbox.server.url}/pay/{invoice_id}", body="action=pay")
    assert len(postbacks(sandbox)) == 1


@pytest.mark.parametrize("wish", ["", "action=", "action=steal", "%ff"])
def test_a_press_that_makes_no_sense_changes_nothing(sandbox, wish) -> None:
    invoice_id = create(sandbox)
    reply = urllib3.request("POST", f"{sandbox.server.url}/pay/{invoice_id}", body=wish)
    assert (reply.status, b"Nothing was done" in reply.data) == (400, True)
    assert sandbox.report()["invoices"][invoice_id]["status_invoice"] == "created"


def test_the_page_of_an_invoice_that_does_not_exist_is_a_404(sandbox) -> None:
    assert urllib3.request("GET", f"{sandbox.server.url}/pay/UNKNOWN1").status == 404
    reply = urllib3.request("POST", f"{sandbox.server.url}/pay/UNKNOWN1", body="action=pay")
    assert (reply.status, b"UNKNOWN1" in reply.data) == (400, True)


@pytest.mark.parametrize(
    ("label", "way_back"),
    [
        ("Pay", "https://shop.example/thanks?a=1&b=2"),
        ("Pay too much", "https://shop.example/thanks?a=1&b=2"),
        ("Cancel", "https://shop.example/failed"),
        ("Pay part", None),
    ],
)
def test_the_way_back_to_the_shop_is_the_projects_setting(sandbox, label, way_back) -> None:
    shown = press(sandbox, create(sandbox), label)
    links = [html.unescape(link) for link in re.findall('<a href="([^"]*)">Back to the shop</a>', shown)]
    assert links == ([way_back] if way_back else [])


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("form", ["json", "form"])
def test_a_postback_is_the_documented_one_in_the_format_of_the_project(sandbox, site, api, form) -> None:
    sandbox.postbacks.configure(postback_format=form)
    invoice_id = create(sandbox, api)
    began_s = int(time.time())
    press(sandbox, invoice_id, "Pay")
    [kept] = postbacks(sandbox)
    assert [(kept["content_type"], kept["body"])] == site.got
    assert kept["content_type"] == {"json": "application/json", "form": "application/x-www-form-urlencoded"}[form]
    body = body_of(site.got[0])
    claims = jwt.decode(body.pop("token"), SECRET_KEY, algorithms=["HS256"])
    assert claims.keys() == {"exp", "id"}
    assert isinstance(claims["id"], int)
    assert began_s + 300 <= claims["exp"] <= time.time() + 300
    if api == "v2":
        info = body.pop("invoice_info")
        info = info if form == "json" else json.loads(info)
        assert (info["uuid"], info["status"], info["order_id"]) == (f"INV-{invoice_id}", "paid", "A-1001")
    assert body == {
        "status": "success",
        "invoice_id": invoice_id,
        "amount_crypto": 19.99 if form == "json" else "19.99",
        "currency": "USDT_TRC20",
        "order_id": "A-1001",
    }


def test_a_token_can_be_written_as_python_prints_bytes(sandbox, site) -> None:
    sandbox.postbacks.configure(quoted_token=True)
    press(sandbox, create(sandbox), "Pay")
    postbacks(sandbox)
    token = body_of(site.got[0])["token"]
    assert token[:2] + token[-1] == "b''"
    assert jwt.decode(token[2:-1], SECRET_KEY, algorithms=["HS256"])["id"] == 13


def test_the_page_does_not_wait_for_the_shop_and_shows_what_it_answered(sandbox, site) -> None:
    site.status = 503
    site.may_answer.clear()
    invoice_id = create(sandbox)
    shown = press(sandbox, invoice_id, "Pay")
    assert "Postback on its way" in shown
    assert f'<a href="/pay/{invoice_id}">Look again</a>' in shown
    site.may_answer.set()
    assert [(it["state"], it["status"]) for it in postbacks(sandbox)] == [("answered", 503)]
    shown = page(sandbox, invoice_id)
    assert "Postback answered with 503" in shown
    assert "Look again" not in shown


def test_a_shop_that_is_down_fails_the_postback_and_not_the_page(sandbox, site) -> None:
    site.server.stop()
    invoice_id = create(sandbox)
    press(sandbox, invoice_id, "Pay")
    [kept] = postbacks(sandbox)
    assert (kept["state"], kept["status"]) == ("failed", None)
    assert "Postback not answered: " in page(sandbox, invoice_id)


def test_a_postback_can_be_lost_doubled_or_held(sandbox, site) -> None:
    for fate in ("lost", "doubled", "held"):
        sandbox.postbacks.interfere(fate)
    lost, doubled, held, usual = (create(sandbox) for _ in range(4))
    for invoice_id in (lost, doubled, held, usual):
        press(sandbox, invoice_id, "Pay")
    states = [(it["invoice_id"], it["state"]) for it in postbacks(sandbox)]
    answered = [(invoice_id, "answered") for invoice_id in (doubled, doubled)]
    assert states == [(lost, "lost"), *answered, (held, "held"), (usual, "answered")]
    sandbox.postbacks.let_go()
    postbacks(sandbox)
    assert sorted(body_of(got)["invoice_id"] for got in site.got) == sorted([doubled, doubled, held, usual])
    with pytest.raises(ValueError, match="unknown fate"):
        sandbox.postbacks.interfere("stolen")


def test_the_dashboards_test_postback_is_signed_and_of_no_invoice(sandbox, site) -> None:
    sandbox.send_test_postback()
    assert [it["status"] for it in postbacks(sandbox)] == [200]
    body = body_of(site.got[0])
    jwt.decode(body["token"], SECRET_KEY, algorithms=["HS256"])
    assert body["invoice_id"] not in sandbox.report()["invoices"]
    assert body["order_id"] is None


def test_without_a_notification_url_nothing_is_sent_and_the_page_says_so(sandbox, site) -> None:
    sandbox.postbacks.configure(notification_url=None)
    assert "No postback: the project has no notification URL." in press(sandbox, create(sandbox), "Pay")
    assert (postbacks(sandbox), site.got) == ([], [])


def test_settings_last_until_the_sandbox_forgets(sandbox) -> None:
    at_start = sandbox.postbacks.project
    sandbox.postbacks.configure(secret_key="rotated", postback_format="form")
    sandbox.forget()
    assert sandbox.postbacks.project == at_start
    with pytest.raises(TypeError):
        sandbox.postbacks.configure(callback_url="https://shop.example")
    with pytest.raises(ValueError, match="unknown postback_format"):
        sandbox.postbacks.configure(postback_format="xml")
