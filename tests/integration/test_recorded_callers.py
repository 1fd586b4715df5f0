"""Programs that others wrote for the provider's v1 page, with both versions of its API: they work or learn why not."""

import json
from decimal import Decimal
from functools import partial

import pytest

from tests.support.recorded_callers import CALLERS, Caller

parse = partial(json.loads, parse_float=Decimal, parse_int=Decimal)


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_what_real_callers_send_works_or_is_refused_by_name(either_stack, caller: Caller) -> None:
    answer = either_stack.post(caller.body.encode())
    calls = either_stack.seen()["calls"]
    if caller.refused:
        said = {error["pointer"]: error["detail"] for error in answer.payload["errors"]}
        assert said.keys() == caller.refused.keys()
        assert all(part in said[pointer] for pointer, part in caller.refused.items())
        assert calls == []
        return
    assert answer.status == 200, answer.payload
    expected = caller.upstream_fields(parse)
    if "amount_usd" in answer.payload:  # v2, which has no place for it
        expected.pop("description", None)
    [call] = calls
    assert parse(call["body"]) == expected


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/x-www-form-urlencoded", "amount=10&currency=USD"),
        ("multipart/form-data; boundary=x", '--x\r\nContent-Disposition: form-data; name="amount"\r\n\r\n10\r\n--x--'),
    ],
)
def test_a_form_is_refused_because_any_site_could_post_one_without_being_asked(stack, media_type, body) -> None:
    answer = stack.post(body, {"Content-Type": media_type})
    assert answer.payload["code"] == "unsupported_media_type"
    assert stack.seen()["calls"] == []
