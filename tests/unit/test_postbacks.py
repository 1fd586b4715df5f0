"""A postback: only the provider's is believed, in either format, and only in which invoice to ask about."""

import base64
import json
import time
import warnings
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from invoicing.contract.errors import InvalidRequest, PostbackRefused, ProviderUnavailable, ServiceNotConfigured
from invoicing.credentials import Credentials
from invoicing.postbacks import READ_AGAIN_AFTER_S, PostbackReceiver
from invoicing.provider.postback import LEEWAY_S, is_signed, read_postback
from tests.support.samples import Clock

# Long ones: PyJWT warns of what is shorter than its hash, and warnings are errors here.
SECRET_KEY = "secret-key" * 7
NEW_KEY = "rotated-key" * 7
FORGED_KEY = "another-key" * 7
FIVE_MINUTES_S = 300


def token(key: str = SECRET_KEY, algorithm: str = "HS256", *, lifetime_s: float = FIVE_MINUTES_S, **claims: Any) -> str:
    return jwt.encode({"id": 13, "exp": int(time.time() + lifetime_s), **claims}, key, algorithm)


def postback(**changes: Any) -> dict[str, Any]:
    fields = {
        "status": "success",
        "invoice_id": "DZLF4212",
        "amount_crypto": 0.000113,
        "currency": "USDT_TRC20",
        "order_id": "A-1001",
        "token": token(),
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def as_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def as_form(fields: dict[str, Any]) -> bytes:
    return urlencode(fields).encode()


class FakeCredentials:
    def __init__(self, *secret_keys: str | None) -> None:
        self.reads = 0
        self._secrets = [
            Credentials.model_validate({"api_key": "key", "shop_id": "shop", "secret_key": secret_key})
            for secret_key in secret_keys
        ]

    def get(self) -> Credentials:
        return self._secrets[0]

    def read_again(self) -> Credentials:
        self.reads += 1
        self._secrets = self._secrets[1:] or self._secrets
        return self._secrets[0]


class FakePayments:
    def __init__(self) -> None:
        self.followed: list[str] = []
        self.failure: Exception | None = None

    def follow(self, invoice_id: str) -> str | None:
        self.followed.append(invoice_id)
        if self.failure:
            raise self.failure
        return "paid"


@pytest.fixture
def payments() -> FakePayments:
    return FakePayments()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver_with(payments, clock):
    def make(*secret_keys: str | None) -> tuple[PostbackReceiver, FakeCredentials]:
        credentials = FakeCredentials(*secret_keys)
        return PostbackReceiver(credentials, payments, clock=clock), credentials  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize("encode", [as_json, as_form])
@pytest.mark.parametrize("uuid", ["DZLF4212", "INV-DZLF4212"])
def test_a_signed_postback_leads_to_its_invoice_in_either_format(receiver_with, payments, encode, uuid) -> None:
    receiver, _ = receiver_with(SECRET_KEY)
    receiver.receive(encode(postback(invoice_id=uuid)))
    assert payments.followed == ["DZLF4212"]


def test_the_whole_invoice_of_version_2_may_come_with_it_and_is_not_believed(receiver_with, payments) -> None:
    receiver, _ = receiver_with(SECRET_KEY)
    receiver.receive(as_json(postback(invoice_info={"uuid": "INV-FOREIGN1", "status": "paid", "amount": 1e9})))
    assert payments.followed == ["DZLF4212"]


def test_a_token_for_another_invoice_does_no_harm_because_its_id_is_not_looked_at(receiver_with, payments) -> None:
    receiver, _ = receiver_with(SECRET_KEY)
    for claims in ({"id": "INV-OTHER"}, {"id": None}, {"sub": 17}, {"aud": "x"}, {"iat": "soon"}, {"nbf": 9e12}):
        receiver.receive(as_json(postback(token=token(**claims))))
    assert payments.followed == ["DZLF4212"] * 6


@pytest.mark.parametrize("written", ["b'{}'", 'b"{}"', "{}"])
def test_a_token_may_be_written_as_python_prints_bytes(receiver_with, payments, written) -> None:
    receiver, _ = receiver_with(SECRET_KEY)
    receiver.receive(as_form(postback(token=written.format(token()))))
    assert payments.followed == ["DZLF4212"]


def unsigned() -> str:
    head, body = ({"alg": "none", "typ": "JWT"}, {"id": 13, "exp": int(time.time()) + 60})
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, body)]
    return f"{'.'.join(parts)}."


FORGED = {
    "absent": lambda: ...,
    "empty": lambda: "",
    "null": lambda: None,
    "a number": lambda: 17,
    "a list": lambda: ["x"],
    "quotes around nothing": lambda: "b''",
    "no token": lambda: "x",
    "three empty parts": lambda: "a.b.c",
    "not signed": unsigned,
    "of another key": lambda: token(FORGED_KEY),
    "HS384": lambda: token(algorithm="HS384"),
    "HS512": lambda: token(algorithm="HS512"),
    "expired": lambda: token(lifetime_s=-LEEWAY_S - 5),
    "expires some time": lambda: token(exp="soon"),
    "expires at null": lambda: token(exp=None),
    "never expires": lambda: jwt.encode({"id": 13}, SECRET_KEY, "HS256"),
    "cut short": lambda: token()[:-2],
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_what_the_provider_did_not_sign_lately_is_refused_and_nobody_is_asked(receiver_with, payments, forge) -> None:
    receiver, _ = receiver_with(SECRET_KEY)
    with pytest.raises(PostbackRefused):
        receiver.receive(as_json(postback(token=forge())))
    assert payments.followed == []


def test_clocks_may_differ_by_a_minute() -> None:
    assert is_signed(token(lifetime_s=-LEEWAY_S + 5), SECRET_KEY)
    assert not is_signed(token(lifetime_s=-LEEWAY_S - 5), SECRET_KEY)
    assert LEEWAY_S == 60


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_short_secret_key_is_the_providers_choice_and_no_matter_for_the_log() -> None:
    short = token("short")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_signed(short, "short")


def test_a_flood_of_forged_postbacks_reads_the_secret_once_a_minute(receiver_with, payments, clock) -> None:
    receiver, credentials = receiver_with(SECRET_KEY)
    for _ in range(100):
        with pytest.raises(PostbackRefused):
            receiver.receive(as_json(postback(token=token(FORGED_KEY))))
    assert credentials.reads == 1
    clock.now_s += READ_AGAIN_AFTER_S
    with pytest.raises(PostbackRefused):
        receiver.receive(as_json(postback(token=token(FORGED_KEY))))
    assert credentials.reads == 2
    assert payments.followed == []


def test_a_rotated_secret_key_costs_no_postback(receiver_with, payments) -> None:
    receiver, credentials = receiver_with(SECRET_KEY, NEW_KEY)
    receiver.receive(as_json(postback(token=token(NEW_KEY))))
    assert payments.followed == ["DZLF4212"]
    assert credentials.reads == 1


@pytest.mark.parametrize("secret_key", [None, ""])
def test_without_a_secret_key_the_owner_hears_what_to_put_where(receiver_with, payments, secret_key) -> None:
    receiver, _ = receiver_with(secret_key)
    with pytest.raises(ServiceNotConfigured) as raised:
        receiver.receive(as_json(postback()))
    assert 'add "secret_key"' in raised.value.reason
    assert payments.followed == []


@pytest.mark.parametrize("uuid", [..., "", None, 17, "a b", "x" * 65, "../other"])
def test_a_signed_postback_that_names_no_invoice_is_refused_by_name(receiver_with, payments, uuid) -> None:
    receiver, _ = receiver_with(SECRET_KEY)
    with pytest.raises(InvalidRequest) as raised:
        receiver.receive(as_json(postback(invoice_id=uuid)))
    assert [field.pointer for field in raised.value.fields] == ["/invoice_id"]
    assert payments.followed == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"{}x", b"no form", b'{"token": 1, "token": 2}'])
def test_what_is_neither_json_nor_a_form_is_refused(receiver_with, payments, body) -> None:
    receiver, _ = receiver_with(SECRET_KEY)
    with pytest.raises(InvalidRequest):
        receiver.receive(body)
    assert payments.followed == []


def test_a_byte_order_mark_and_white_space_around_the_body_do_not_matter() -> None:
    assert read_postback("\ufeff\n ".encode() + as_json(postback()) + b"\n").invoice_id == "DZLF4212"


def test_a_failure_on_the_way_is_the_providers_to_try_again(receiver_with, payments) -> None:
    receiver, _ = receiver_with(SECRET_KEY)
    payments.failure = ProviderUnavailable("down")
    with pytest.raises(ProviderUnavailable):
        receiver.receive(as_json(postback()))


@pytest.mark.parametrize("nothing", [..., "", None, "b''"])
def test_a_postback_without_a_token_never_makes_us_read_the_secret(receiver_with, nothing) -> None:
    receiver, credentials = receiver_with(SECRET_KEY)
    with pytest.raises(PostbackRefused):
        receiver.receive(as_json(postback(token=nothing)))
    assert credentials.reads == 0


def test_the_log_says_which_invoice_a_postback_was_about_and_what_is_known_of_it(receiver_with, log) -> None:
    receiver, _ = receiver_with(SECRET_KEY)
    receiver.receive(as_json(postback(invoice_id="LOGGED01")))
    [line] = log()
    assert (line["level"], line["message"]) == ("INFO", "postback received")
    assert (line["invoice_id"], line["status"]) == ("LOGGED01", "paid")


def test_a_postback_without_a_token_is_refused_before_anybody_looks_for_a_key() -> None:
    for fields in ({}, postback(token=...), postback(token="")):
        with pytest.raises(PostbackRefused):
            PostbackReceiver(FakeCredentials(None), FakePayments()).receive(as_json(fields))  # type: ignore[arg-type]


def test_a_shop_without_a_secret_key_is_no_fault_of_a_new_version() -> None:
    credentials = FakeCredentials(None)
    with pytest.raises(ServiceNotConfigured) as raised:
        PostbackReceiver(credentials, FakePayments()).receive(as_json(postback()))  # type: ignore[arg-type]
    assert not raised.value.blames_version
    assert ServiceNotConfigured().blames_version, "a secret that cannot be read may be"


def test_a_secret_key_that_was_added_since_verifies_the_next_postback() -> None:
    payments = FakePayments()
    receiver = PostbackReceiver(FakeCredentials(None, SECRET_KEY), payments)  # type: ignore[arg-type]
    receiver.receive(as_json(postback()))
    assert payments.followed == ["DZLF4212"]
