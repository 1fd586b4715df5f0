"""Bad input in bulk: always a 4xx problem that names the field, never a 5xx, and the provider is not called."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from invoicing.contract.personal_data import may_hold_email
from tests.support.stack import Answer, Stack

BULK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

CONTROL = st.characters(categories=["Cc"], exclude_characters="\t\n\v\f\r\x85")
BREAK = st.sampled_from("\t\n\r\x85")
SOME_TEXT = st.text(min_size=1)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NOT_A_STRING = ANY_JSON.filter(lambda value: value is not None and not isinstance(value, str))
# An integer order id counts as its digits.
NOT_AN_ORDER = NOT_A_STRING.filter(lambda value: isinstance(value, bool) or not isinstance(value, int))
WITH_CONTROL = st.builds("a{}b".format, CONTROL)
NOT_AN_AMOUNT = st.one_of(
    st.none(),
    st.booleans(),
    st.lists(ANY_JSON, max_size=3),
    st.dictionaries(st.text(), ANY_JSON, max_size=3),
    st.sampled_from([math.nan, math.inf, -math.inf, 0, -1, 1e300, 10**300, 1e-9, 0.001, 100_000.01]),
    st.text().filter(lambda text: not text.isascii() or not text.replace(".", "").isdigit()),
    st.floats(max_value=0, allow_nan=False),
)
# Names that the answer repeats: not what may be an e-mail address, nor what is no Unicode. Both of these are tried in
# tests/unit/test_request_contract.py.
NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda name: not may_hold_email(name))
BAD_FIELDS = st.one_of(
    st.tuples(st.just("amount"), NOT_AN_AMOUNT),
    st.tuples(st.just("currency"), NOT_A_STRING | SOME_TEXT.filter(lambda text: len(text) != 3)),
    st.tuples(
        st.just("order_id"), NOT_AN_ORDER | WITH_CONTROL | st.builds("a{}b".format, BREAK) | st.text(min_size=256)
    ),
    st.tuples(st.just("email"), NOT_A_STRING | SOME_TEXT.filter(lambda text: "@" not in text)),
    st.tuples(st.just("description"), NOT_A_STRING | WITH_CONTROL | st.text(min_size=256)),
    st.tuples(st.just("shop_id"), NOT_A_STRING | SOME_TEXT),
    st.tuples(
        NAME.map("x{}".format),
        ANY_JSON.filter(lambda value: value is not None),
    ),
)
RAW = st.one_of(
    st.binary(min_size=1, max_size=2_000),
    st.text(min_size=1).map(lambda text: text.encode(errors="surrogatepass")),
    st.integers(1, 8_000).map(lambda depth: b'{"amount":' * depth),
    st.integers(1, 8_000).map(lambda depth: b"[" * depth + b"]" * depth),
    ANY_JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"\xff", b"\xef\xbb\xbf{}", b'{"amount": 1, "order_id": "\xed\xa0\x80"}', b"{}" * 8_200]),
).filter(lambda raw: not raw.startswith(b'{"amount": 1}'))


def assert_refused(answer: Answer, pointer: str | None = None) -> None:
    assert 400 <= answer.status < 500
    problem = answer.problem
    assert problem["code"] in ("invalid_request", "payload_too_large")
    if problem["code"] == "invalid_request":
        pointers = [error["pointer"] for error in problem["errors"]]
        assert pointers
        assert pointer is None or pointer in pointers


@BULK
@given(bad=BAD_FIELDS)
def test_a_bad_field_is_named_over_http(stack: Stack, bad: tuple[str, Any]) -> None:
    name, value = bad
    body = json.dumps({"amount": 1, name: value})
    assert_refused(stack.post(body), ("/" + name.replace("~", "~0").replace("/", "~1"))[:100])
    assert stack.seen()["calls"] == []


@BULK
@given(bad=BAD_FIELDS)
def test_a_bad_field_is_named_to_a_direct_caller(stack: Stack, bad: tuple[str, Any]) -> None:
    name, value = bad
    # Lambda itself refuses an event with NaN or Infinity in it: it is no JSON.
    assume("NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value))
    answer = stack.invoke(json.dumps({"amount": 1, name: value}))
    assert answer.error_type == "InvalidRequest"
    pointer = ("/" + name.replace("~", "~0").replace("/", "~1"))[:100]
    assert pointer in [error["pointer"] for error in answer.problem["errors"]]
    assert stack.seen()["calls"] == []


@BULK
@given(raw=RAW)
def test_bytes_that_are_no_request_are_refused_in_base64(stack: Stack, raw: bytes) -> None:
    assert_refused(stack.pass_on(raw))
    assert stack.seen()["calls"] == []


@BULK
@given(raw=RAW)
def test_text_that_is_no_request_is_refused(stack: Stack, raw: bytes) -> None:
    assume(raw == raw.decode(errors="replace").encode())  # SAM CLI's gateway passes on text only
    assert_refused(stack.post(raw))
    assert stack.seen()["calls"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"amount": NaN}', "/amount"),
        ('{"amount": 1e400}', "/amount"),
        ('{"amount": 1, "amount": 2}', "/amount"),
        ('{"amount": 1, "email": "a@b.example", "email": "c@d.example"}', "/email"),
        ('{"amount": [1]}', "/amount"),
        ('{"Amount": 1}', "/Amount"),
        ("", ""),
        ("{}{}", ""),
        ('{"amount": 1,}', ""),
    ],
)
def test_a_trap_of_json_is_refused_by_name(stack: Stack, body: str, pointer: str) -> None:
    assert_refused(stack.post(body), pointer)
    assert_refused(stack.pass_on(body.encode()), pointer)
    assert stack.seen()["calls"] == []


def test_base64_of_a_good_body_is_a_good_body(stack: Stack) -> None:
    assert stack.pass_on(b'{"amount": 1}').status == 200


def test_exactly_16_kib_is_read_and_one_byte_more_is_not(stack: Stack) -> None:
    body = '{"amount": 1}'
    assert stack.post(body + " " * (16 * 1024 - len(body))).status == 200
    assert stack.post(body + " " * (16 * 1024 - len(body) + 1)).status == 413
    assert stack.pass_on(body.encode() + b" " * (16 * 1024 - len(body) + 1)).status == 413
    # Bytes, not characters.
    assert stack.post(f'{{"amount": 1, "description": "{"é" * 9_000}"}}').status == 413
