"""The rare, hard decisions about the provider: is it an invoice, what went wrong, may it be tried again.

Everything that both versions of its API must decide alike is tried with both.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from invoicing.contract.errors import (
    InvoiceRejected,
    InvoicingError,
    OutcomeUnknown,
    ProviderCredentialsRejected,
    ProviderUnavailable,
)
from invoicing.contract.invoice import Invoice
from invoicing.contract.requests import DirectInvoiceRequest, InvoiceRequest
from invoicing.contract.settings import CreateInvoiceSettings
from invoicing.observability import PROVIDER_MOVED, metrics
from invoicing.provider import outcomes, v1, v2
from invoicing.provider.dialects import chosen_api
from invoicing.provider.outcomes import Reply
from invoicing.provider.transport import retry_delay_s

PAYLOAD = {
    "status": "success",
    "pay_url": "https://pay.cryptocloud.plus/DZLF4212",
    "currency": "BTC",
    "invoice_id": "DZLF4212",
}


@dataclass(frozen=True)
class Dialect:
    """One version of the API: how it says an invoice in the words of our payload, and how it is judged."""

    name: str
    says: Callable[[dict[str, Any]], dict[str, Any]]
    judge: Callable[[Reply], Invoice]

    def reply(self, code: int = 200, /, retry_after: str | None = None, **changes: Any) -> Reply:
        """An invoice of this version with changes; ``...`` leaves a field out."""
        fields = {name: value for name, value in {**PAYLOAD, **changes}.items() if value is not ...}
        return Reply(code, json.dumps(self.says(fields)).encode(), retry_after=retry_after)

    def body(self, **changes: Any) -> str:
        return (self.reply(**changes).body or b"").decode()


def as_v1(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


def as_v2(fields: dict[str, Any]) -> dict[str, Any]:
    """The sample of the provider's page, with its names."""
    names = {"invoice_id": "uuid", "pay_url": "link"}
    told = {names.get(name, name): value for name, value in fields.items() if name not in ("status", "estado")}
    result = {
        "created": "2026-01-01 10:20:04.222439",
        "amount_in_fiat": 100.0,
        "fiat_currency": "USD",
        "status": "created",
        "is_email_required": False,
        "project": {"id": 1, "name": "Shop"},
        **told,
    }
    return {name: fields[name] for name in ("status", "estado") if name in fields} | {"result": result}


DIALECTS = [Dialect("v1", as_v1, v1.judge), Dialect("v2", as_v2, v2.judge)]
V2 = DIALECTS[1]


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return request.param


STRANGE = [
    {"currency": "\ud800"},
    {"currency": "B\nC"},
    {"currency": "x" * 33},
    {"amount": "about 100"},
    {"amount": "\ud800"},
    {"amount": "1" * 25},
    {"amount_usd": 10**30},
]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"currency": "USDT_TRC20"},
        {"pay_url": "https://pay.cryptocloud.plus:443/DZLF4212?lang=pt"},
        {"amount": "100.00", "amount_usd": "100.00"},
    ],
)
def test_a_good_reply_is_returned_untouched(dialect: Dialect, changes: dict[str, Any]) -> None:
    assert dialect.judge(dialect.reply(**changes)).payload() == {**PAYLOAD, **changes}


def test_amounts_in_a_reply_stay_exact(dialect: Dialect) -> None:
    body = dialect.body(amount=1.25, amount_usd=1.5).replace("1.25", "100.10").replace("1.5", "0.1")
    payload = dialect.judge(Reply(200, body.encode())).payload()
    assert (str(payload["amount"]), payload["amount_usd"]) == ("100.10", Decimal("0.1"))


@pytest.mark.parametrize("changes", [{"status": ...}, {"status": "sucesso"}, {"estado": "sucesso", "status": ...}])
def test_a_missing_or_translated_status_does_not_matter(dialect: Dialect, changes: dict[str, Any]) -> None:
    assert dialect.judge(dialect.reply(**changes)).payload() == PAYLOAD


@pytest.mark.parametrize(
    "changes", [{"currency": ...}, {"currency": 1}, {"amount": None}, {"amount": [1], "new": {}}, *STRANGE]
)
def test_strange_side_information_does_not_cost_the_invoice(dialect: Dialect, changes: dict[str, Any]) -> None:
    payload = dialect.judge(dialect.reply(**changes)).payload()
    assert payload == {name: PAYLOAD[name] for name in payload}
    assert payload.keys() >= {"status", "pay_url", "invoice_id"}


@pytest.mark.parametrize("number", ["1e9999999999999999", "1e7000000", "1e-7000000", "NaN", "-Infinity", "1e400"])
def test_a_number_that_no_caller_could_bear_is_left_out(dialect: Dialect, number: str) -> None:
    body = dialect.body(amount=1.25).replace("1.25", number)
    assert dialect.judge(Reply(200, body.encode())).payload() == PAYLOAD


@pytest.mark.parametrize(
    "unusable",
    [
        lambda reply: reply(status="error"),
        lambda reply: reply(invoice_id=...),
        lambda reply: reply(invoice_id=""),
        lambda reply: reply(invoice_id=12345678),
        lambda reply: reply(invoice_id="A B"),
        lambda reply: reply(pay_url=...),
        lambda reply: reply(pay_url=1),
        lambda reply: reply(pay_url=""),
        lambda reply: reply(pay_url="https://pay.cryptocloud.plus@evil.example/DZLF4212"),
        lambda reply: reply(pay_url="https://user@pay.cryptocloud.plus/DZLF4212"),
        lambda reply: reply(pay_url="https://pay.cryptocloud.plus/" + "x" * 2048),
        lambda reply: reply(pay_url="javascript:alert(1)//pay.cryptocloud.plus"),
        lambda reply: reply(pay_url="ftp://pay.cryptocloud.plus/DZLF4212"),
        lambda _: Reply(200, None),
        lambda _: Reply(200, b""),
        lambda _: Reply(200, b"[]"),
        lambda _: Reply(200, b"<!doctype html>"),
        lambda reply: Reply(200, reply().body[:40]),
        lambda _: Reply(200, b"\xff\xfe"),
        lambda reply: Reply(200, reply().body, "text/html"),
        lambda reply: Reply(200, reply().body, ""),
    ],
)
def test_a_200_that_cannot_be_believed_is_unknown(dialect: Dialect, unusable: Callable[[Any], Reply]) -> None:
    with pytest.raises(OutcomeUnknown):
        dialect.judge(unusable(dialect.reply))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, InvoiceRejected),
        (401, ProviderCredentialsRejected),
        (406, ProviderUnavailable),
        (429, ProviderUnavailable),
        (503, ProviderUnavailable),
        *[(status, OutcomeUnknown) for status in (201, 204, 301, 302, 307, 403, 404, 409, 422, 500, 502, 504, 520)],
    ],
)
def test_only_documented_codes_say_that_nothing_was_created(
    dialect: Dialect, status: int, outcome: type[InvoicingError]
) -> None:
    with pytest.raises(outcome) as raised:
        dialect.judge(dialect.reply(status))
    assert type(raised.value) is outcome


@pytest.mark.parametrize(
    ("header", "retry_after_s"),
    [(None, None), ("7", 7), ("0", 0), ("soon", None), ("-5", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after_is_read_in_seconds_or_as_a_date(
    dialect: Dialect, header: str | None, retry_after_s: int | None
) -> None:
    with pytest.raises(ProviderUnavailable) as raised:
        dialect.judge(dialect.reply(503, retry_after=header))
    assert raised.value.retry_after_s == retry_after_s


@pytest.fixture
def moves_counted() -> Callable[[], int]:
    metrics.clear_metrics()
    return lambda: sum(metrics.metric_set.get(PROVIDER_MOVED, {"Value": []})["Value"])


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://api.trybit.com/v2/invoice/create?token=canary", " to https://api.trybit.com:443:"),
        ("/elsewhere", "302:"),
        ("https://user:canary@api.trybit.com/", "302:"),
        (None, "302:"),
    ],
)
def test_a_redirect_is_counted_as_a_move_and_the_log_says_to_which_host(
    dialect: Dialect, moves_counted: Callable[[], int], location: str | None, said: str
) -> None:
    with pytest.raises(OutcomeUnknown) as raised:
        dialect.judge(Reply(302, b"", location=location))
    assert said in raised.value.reason
    assert "canary" not in raised.value.reason
    assert moves_counted() == 1


@pytest.mark.parametrize(
    ("status", "moved"),
    [(300, True), (399, True), (404, True), (410, True), (299, False), (403, False), (422, False), (500, False)],
)
def test_an_api_that_is_not_there_is_a_move_and_other_failures_are_not(
    dialect: Dialect, moves_counted: Callable[[], int], status: int, moved: bool
) -> None:
    with pytest.raises(OutcomeUnknown) as raised:
        dialect.judge(dialect.reply(status))
    assert bool(moves_counted()) is moved
    assert ("make provider" in raised.value.reason) is moved


def test_an_id_of_v1_is_passed_on_as_it_is() -> None:
    assert v1.judge(DIALECTS[0].reply(invoice_id="INV-DZLF4212")).invoice_id == "INV-DZLF4212"


@pytest.mark.parametrize("uuid", ["INV-DZLF4212", "DZLF4212"])
def test_v2s_prefix_is_no_part_of_the_id(uuid: str) -> None:
    assert v2.judge(V2.reply(invoice_id=uuid)).invoice_id == "DZLF4212"


def test_v2s_prefix_alone_is_no_id() -> None:
    with pytest.raises(OutcomeUnknown):
        v2.judge(V2.reply(invoice_id="INV-"))


@pytest.mark.parametrize(
    ("link", "pay_url"),
    [
        ("pay.trybit.com/DZLF4212", "https://pay.trybit.com/DZLF4212"),
        ("pay.trybit.com:8443/DZLF4212?back=https://shop.example", None),
        ("HTTPS://pay.trybit.com/DZLF4212", None),
        ("http://pay.trybit.com/DZLF4212", None),
    ],
)
def test_v2s_link_may_lack_its_scheme_and_one_that_it_has_is_kept(link: str, pay_url: str | None) -> None:
    expected = pay_url or (link if "://pay" in link else f"https://{link}")
    assert v2.judge(V2.reply(pay_url=link)).pay_url == expected


@pytest.mark.parametrize("link", ["//pay.trybit.com/X", "/X", "pay.trybit.com@evil.example/X", "pay.trybit.com:x/X"])
def test_a_v2_link_that_names_no_host_for_sure_is_unknown(link: str) -> None:
    with pytest.raises(OutcomeUnknown):
        v2.judge(V2.reply(pay_url=link))


def test_an_amount_in_a_cryptocurrency_that_nobody_names_is_left_out() -> None:
    reply = V2.reply(currency={"code": "USDT", "fullcode": "USDT_TRC20"}, amount=0.0017, amount_usd=100)
    payload = v2.judge(reply).payload()
    assert payload.keys() == {"status", "pay_url", "invoice_id", "amount_usd"}


@pytest.mark.parametrize("result", [..., None, [], "ok", {}])
def test_a_v2_success_without_a_result_is_unknown(result: Any) -> None:
    body = {"status": "success"} if result is ... else {"status": "success", "result": result}
    with pytest.raises(OutcomeUnknown):
        v2.judge(Reply(200, json.dumps(body).encode()))


@pytest.mark.parametrize(("said", "taken"), [(True, True), (False, False), (None, False), ("true", False), (1, False)])
def test_an_invoice_of_a_test_project_is_known_as_one_and_its_payload_is_as_any(said: Any, taken: bool) -> None:
    invoice = v2.judge(V2.reply(test_mode=said))
    assert invoice.test_mode is taken
    assert invoice.payload() == PAYLOAD


REFUSED = {"status": "error", "result": {"authorization": "Unauthorized request."}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, REFUSED),
        (400, {"status": "error", "result": {"authorization": "", "amount": "A valid number is required."}}),
        (403, {"detail": "Authentication credentials were not provided."}),
        (403, {"detail": None}),
        (401, {"message": "Unauthenticated."}),
        (401, REFUSED),
    ],
)
def test_v2_refuses_a_key_in_three_forms(status: int, body: dict[str, Any]) -> None:
    with pytest.raises(ProviderCredentialsRejected):
        v2.judge(Reply(status, json.dumps(body).encode()))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(400, b'{"status": "error", "result": {"amount": "A valid number is required."}}'),
        Reply(400, b'{"status": "error", "result": {"validate_error": "authorization"}}'),
        Reply(400, b'{"status": "error", "result": "authorization"}'),
        Reply(400, b'{"status": "error", "result": ["authorization"]}'),
        Reply(400, b'{"authorization": "outside of the result"}'),
        Reply(400, b"<title>400 Bad Request</title>", "text/html"),
        Reply(400, json.dumps(REFUSED).encode(), "text/html"),
        Reply(400, b""),
        Reply(400, None),
    ],
)
def test_any_other_400_of_v2_is_a_rejected_invoice(reply: Reply) -> None:
    with pytest.raises(InvoiceRejected):
        v2.judge(reply)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(403, b"<!doctype html><title>Attention Required!</title>", "text/html"),
        Reply(403, b'{"detail": "not said to be JSON"}', "text/html"),
        Reply(403, b"{}"),
        Reply(403, b'["detail"]'),
        Reply(403, None),
    ],
)
def test_a_firewalls_403_is_not_taken_for_a_refused_key(reply: Reply) -> None:
    with pytest.raises(OutcomeUnknown):
        v2.judge(reply)


@pytest.mark.parametrize(("api", "reads"), [(v1.V1, {200}), (v2.v2(), {200, 400, 403})])
def test_only_those_bodies_are_waited_for_that_decide_something(api: Any, reads: set[int]) -> None:
    call = api.create(InvoiceRequest.model_validate({"amount": 1}), "ours")
    assert (call.method, call.path, call.reads) == ("POST", f"/{api.name}/invoice/create", reads)


@pytest.mark.parametrize(
    ("attempt", "retry_after_s", "time_left_s", "delay_s"),
    [
        (1, None, 20.0, 0.2),
        (2, None, 20.0, 0.4),
        (3, None, 20.0, None),  # three attempts at most
        (1, 7, 20.0, 7),  # the provider's word wins over ours
        (1, 0, 20.0, 0.2),
        (1, 19, 20.0, 19),
        (1, 20, 20.0, None),  # could not finish before the deadline
        (1, None, 1.2, 0.2),
        (1, None, 1.1, None),
        (1, None, -1.0, None),
    ],
)
def test_what_was_not_created_is_tried_again_while_there_is_time(
    attempt: int, retry_after_s: int | None, time_left_s: float, delay_s: float | None
) -> None:
    error = ProviderUnavailable(retry_after_s=retry_after_s)
    assert retry_delay_s(error, attempt=attempt, time_left_s=time_left_s, jitter=lambda: 0.5) == delay_s


EVERY_FIELD = {
    "amount": "0.10",
    "order_id": "Pedido nº 1",
    "email": "a@b.example",
    "description": "Pay",
    "shop_id": "ours",
}


def test_the_request_carries_the_callers_fields_and_the_shop() -> None:
    request = InvoiceRequest.model_validate(EVERY_FIELD)
    assert outcomes.request_body(request, "ours") == (
        b'{"amount": 0.10, "currency": "USD", "order_id": "Pedido n\\u00ba 1", "email": "a@b.example", '
        b'"description": "Pay", "shop_id": "ours"}'
    )


def test_v2_has_no_place_for_a_description() -> None:
    request = InvoiceRequest.model_validate(EVERY_FIELD)
    assert v2.v2().create(request, "ours").body == (
        b'{"amount": 0.10, "currency": "USD", "order_id": "Pedido n\\u00ba 1", "email": "a@b.example", '
        b'"shop_id": "ours"}'
    )


@pytest.mark.parametrize(
    ("wishes", "sent"),
    [
        ({"lifetime_minutes": 90}, b'{"time_to_pay": {"hours": 1, "minutes": 30}}'),
        ({"lifetime_minutes": 1440}, b'{"time_to_pay": {"hours": 24, "minutes": 0}}'),
        ({"coins": ["USDT_TRC20", "BTC"]}, b'{"available_currencies": ["USDT_TRC20", "BTC"]}'),
        (
            {"lifetime_minutes": 5, "coins": ["BTC"]},
            b'{"time_to_pay": {"hours": 0, "minutes": 5}, "available_currencies": ["BTC"]}',
        ),
    ],
)
def test_v2_passes_on_what_the_owner_wants_of_every_invoice(wishes: dict[str, Any], sent: bytes) -> None:
    body = v2.v2(**wishes).create(InvoiceRequest.model_validate({"amount": "1.10"}), "ours").body
    assert body == b'{"amount": 1.10, "currency": "USD", "shop_id": "ours", "add_fields": ' + sent + b"}"


@pytest.mark.parametrize("encode", [v1.V1.create, v2.v2().create])
def test_a_direct_callers_key_does_not_go_upstream(encode: Any) -> None:
    request = DirectInvoiceRequest.model_validate({"amount": 1, "idempotency_key": "k"})
    assert encode(request, "ours").body == b'{"amount": 1, "currency": "USD", "shop_id": "ours"}'


def test_the_dialect_is_the_owners_choice_and_v1_unless_they_choose() -> None:
    assert chosen_api(CreateInvoiceSettings.model_fields["cryptocloud_api"].default) is v1.V1
    api = chosen_api("v2", lifetime_minutes=30, coins=("BTC", "ETH"))
    assert (api.name, len(api.currencies)) == ("v2", 25)
    assert b'"time_to_pay": {"hours": 0, "minutes": 30}, "available_currencies": ["BTC", "ETH"]' in (
        api.create(InvoiceRequest.model_validate({"amount": 1}), "ours").body
    )


def test_a_link_has_at_most_2048_characters_and_an_id_at_most_64(dialect: Dialect) -> None:
    link = "https://pay.cryptocloud.plus/" + "x" * (2048 - len("https://pay.cryptocloud.plus/"))
    invoice = dialect.judge(dialect.reply(pay_url=link, invoice_id="A" * 64))
    assert (invoice.pay_url, invoice.invoice_id) == (link, "A" * 64)
    for changes in ({"pay_url": link + "x"}, {"invoice_id": "A" * 65}):
        with pytest.raises(OutcomeUnknown):
            dialect.judge(dialect.reply(**changes))


@pytest.mark.parametrize(
    ("amount", "is_passed_on"), [(10**23, True), (10**24, False), ("1" * 24, True), ("1" * 25, False)]
)
def test_an_amount_of_24_digits_is_passed_on_and_a_longer_one_is_left_out(amount: object, is_passed_on: bool) -> None:
    body = json.dumps({**PAYLOAD, "amount": amount}).encode()
    assert v1.judge(Reply(200, body)).payload() == {**PAYLOAD, **({"amount": amount} if is_passed_on else {})}


def test_a_whole_amount_in_a_reply_is_a_number_of_the_payload() -> None:
    assert v1.judge(Reply(200, json.dumps({**PAYLOAD, "amount": 100}).encode())).payload()["amount"] == Decimal(100)
