"""What postbacks the real gateway and runtime believe: odd tokens, keys and bodies, and a flood of forged ones."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from invoicing.postbacks import READ_AGAIN_AFTER_S
from invoicing.provider.postback import LEEWAY_S
from tests.support.account import API_KEY, SECRET_KEY, SHOP_ID
from tests.support.stack import Answer, Stack

# The sandbox does not know it: a believed postback asks about it, and is received.
ID = "DZLF0000"
LIMIT = 64 * 1024
FORGED_KEY = "somebody-elses-secret-key"
FLOOD = 200

# The provider's keys need not be as long as those that PyJWT recommends.
pytestmark = pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")


def token(*, expires_in_s: float | None = 300, key: str = SECRET_KEY, algorithm: str = "HS256", **claims: Any) -> str:
    """Returns a token as the provider makes it, or not quite."""
    if expires_in_s is not None:
        claims["exp"] = time.time() + expires_in_s
    return jwt.encode(claims, key, algorithm=algorithm)


def body_with(text: str, **more: str) -> str:
    return json.dumps({"status": "success", "invoice_id": f"INV-{ID}", "token": text, **more})


def secret(**changes: str | None) -> str:
    fields = {"api_key": API_KEY, "shop_id": SHOP_ID, "secret_key": SECRET_KEY, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def outcome(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.payload.get("code")


RECEIVED = (200, None)
REFUSED = (401, "postback_refused")

# What does not count: https://datatracker.ietf.org/doc/html/rfc7519#section-4.1
BELIEVED: dict[str, Callable[[], str]] = {
    "fresh": token,
    "with python's quotes": lambda: f"b'{token()}'",
    "with python's double quotes": lambda: f'b"{token()}"',
    "expired within the leeway": lambda: token(expires_in_s=-LEEWAY_S + 10),
    "for another audience": lambda: token(aud="somebody"),
    "issued tomorrow": lambda: token(iat=time.time() + 86_400, nbf=time.time() + 86_400),
    "about something that is no text": lambda: token(sub=5, jti=7, iss="x"),
    "of another invoice": lambda: token(id="ZZZZ0000"),
}
NOT_BELIEVED: dict[str, Callable[[], str]] = {
    "none": lambda: "",
    "no token": lambda: "a.b.c",
    "not signed": lambda: jwt.encode({"exp": time.time() + 300}, None, algorithm="none"),
    "signed with another algorithm": lambda: token(algorithm="HS512"),
    "signed with another key": lambda: token(key=FORGED_KEY),
    "signed with the API key": lambda: token(key=API_KEY),
    "without an end": lambda: token(expires_in_s=None),
    "expired beyond the leeway": lambda: token(expires_in_s=-LEEWAY_S - 1),
    "with an end that is no time": lambda: jwt.encode({"exp": "soon"}, SECRET_KEY, algorithm="HS256"),
    "with another body": lambda: ".".join(
        [token().split(".")[0], token(id="other").split(".")[1], token().split(".")[2]]
    ),
    "with half of python's quotes": lambda: f"b'{token()}",
    "not in ASCII": lambda: token() + "é",
}


@pytest.mark.parametrize("name", BELIEVED)
def test_a_token_of_the_project_is_believed_whatever_else_it_says(stack, name) -> None:
    assert outcome(stack.postback(body_with(BELIEVED[name]()))) == RECEIVED
    assert len(stack.seen()["asked"]) == 1


@pytest.mark.parametrize("name", NOT_BELIEVED)
def test_a_token_that_the_project_did_not_make_or_not_just_now_is_refused_and_nobody_is_asked(stack, name) -> None:
    assert outcome(stack.postback(body_with(NOT_BELIEVED[name]()))) == REFUSED
    assert stack.seen()["asked"] == []
    assert stack.calls_of("table") == {}


@pytest.mark.parametrize("field", ["status", "currency", "amount_crypto", "invoice_info"])
def test_what_else_a_postback_says_is_not_read(stack, field) -> None:
    assert outcome(stack.postback(body_with(token(), **{field: "x" * 1000}))) == RECEIVED


@pytest.mark.parametrize("sent_as", ["json", "form", "base64"])
def test_a_body_of_64_kib_is_read_and_one_byte_more_is_not(stack, sent_as) -> None:
    fields = {"status": "success", "invoice_id": ID, "token": token(), "invoice_info": ""}
    write = urlencode if sent_as == "form" else json.dumps
    fields["invoice_info"] = "x" * (LIMIT - len(write(fields)))
    for more, expected in ("", RECEIVED), ("x", (413, "payload_too_large")):
        body = write({**fields, "invoice_info": fields["invoice_info"] + more})
        assert len(body) == LIMIT + len(more)
        answer = pass_on(stack, body) if sent_as == "base64" else stack.postback(body)
        assert outcome(answer) == expected


def pass_on(stack: Stack, body: str) -> Answer:
    # What API Gateway makes of a body that it does not take for text.
    return stack.pass_on(body.encode(), path="/v1/invoice/postback", function="PostbackFunction:live")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[]", (400, "invalid_request")),
        ("{", (400, "invalid_request")),
        ("{}", REFUSED),
        ("", REFUSED),
        ('{"invoice_id": 5, "token": ["x"]}', REFUSED),
        ("\ufeff" + json.dumps({"invoice_id": ID, "token": ""}), REFUSED),
        ("invoice_id=DZLF4212", REFUSED),
        ("token=a&token=b", REFUSED),
        ("{" * 20_000, (400, "invalid_request")),
    ],
)
def test_a_body_that_is_no_postback_is_the_senders_mistake(stack, body, expected) -> None:
    assert outcome(stack.postback(body)) == expected
    assert stack.seen()["asked"] == []


@pytest.mark.parametrize("invoice_id", [None, 5, "", "INV-", "a b", "../x", "x" * 65, "DZLF4212,DZLF4213"])
def test_a_signed_postback_that_names_no_invoice_is_refused_by_that_field(stack, invoice_id) -> None:
    answer = stack.postback(json.dumps({"invoice_id": invoice_id, "token": token()}))
    assert outcome(answer) == (400, "invalid_request")
    assert [error["pointer"] for error in answer.problem["errors"]] == ["/invoice_id"]
    assert stack.seen()["asked"] == []


@pytest.mark.parametrize("postback_format", ["json", "form"])
def test_the_test_postback_of_the_dashboard_is_received(either_stack, postback_format) -> None:
    either_stack.tell("/provider/project", postback_format=postback_format)
    either_stack.tell("/provider/postbacks/test")
    either_stack.tell("/provider/postbacks/wait")
    [sent] = either_stack.report("/provider/postbacks")["postbacks"]
    assert sent["status"] == 200


@pytest.fixture
def one_sandbox(start_stack) -> Stack:
    """A stack whose functions have one sandbox each."""
    return start_stack(sandboxes=1)


def test_a_flood_of_forged_postbacks_asks_no_provider_and_reads_the_secret_at_most_once_a_minute(one_sandbox) -> None:
    stack = one_sandbox
    assert outcome(stack.postback(body_with(""))) == REFUSED  # its function has started, and read the secret
    stack.tell("/secrets/forget")
    stack.tell("/table/forget")
    started_s = time.monotonic()
    bodies = [body_with(token(key=f"{FORGED_KEY}-{number}")) for number in range(FLOOD)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(stack.postback, bodies))
    minutes = 1 + (time.monotonic() - started_s) // READ_AGAIN_AFTER_S
    assert {outcome(answer) for answer in answers} == {REFUSED}
    assert stack.seen()["asked"] == []
    assert stack.calls_of("table") == {}
    assert 1 <= stack.calls_of("secrets")["GetSecretValue"] <= minutes
    # Nor does it keep out the next true one.
    assert outcome(stack.postback(body_with(token()))) == RECEIVED


def test_a_token_that_is_signed_with_a_new_key_is_believed_at_once_and_one_with_the_old_key_no_more(
    one_sandbox,
) -> None:
    stack = one_sandbox
    assert outcome(stack.postback(body_with(token()))) == RECEIVED
    stack.tell("/secrets/fill", secret_string=secret(secret_key="the-new-secret-key"))
    assert outcome(stack.postback(body_with(token(key="the-new-secret-key")))) == RECEIVED
    assert outcome(stack.postback(body_with(token()))) == REFUSED


def test_without_a_secret_key_the_log_says_what_to_put_where_and_statuses_and_invoices_go_on(one_sandbox) -> None:
    stack = one_sandbox
    stack.tell("/secrets/fill", secret_string=secret(secret_key=None))
    invoice = stack.post({"amount": 1}).payload
    assert stack.status(f"uuid={invoice['invoice_id']}").payload["status_invoice"] == "created"
    asked = stack.seen()["asked"]
    assert len(asked) == 1
    for _ in range(2):
        assert outcome(stack.postback(body_with(token()))) == (500, "service_not_configured")
    assert stack.seen()["asked"] == asked
    failures = [json.loads(line) for line in stack.log_text().splitlines() if '"service_not_configured"' in line]
    assert {line["message"] for line in failures} == {"postback not received"}
    assert all('add "secret_key"' in line["reason"] for line in failures)
    stack.tell("/secrets/fill", secret_string=secret())


def test_nothing_of_a_postback_is_logged_but_the_invoice(start_stack) -> None:
    stack = start_stack(environment={"POWERTOOLS_LOG_LEVEL": "DEBUG", "POWERTOOLS_LOGGER_LOG_EVENT": "true"})
    texts = [token(), token(key=FORGED_KEY), "token-canary"]
    for text in texts:
        stack.postback(body_with(text, email="buyer-canary@example.com", order_id="order-canary"))
    log = stack.log_text()
    assert ID in log
    for canary in (*texts, "buyer-canary", "order-canary", "status-canary"):
        assert canary not in log
