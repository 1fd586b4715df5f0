"""What is logged: enough to find a request again, and never the key, a header, an e-mail address or a body."""

import json

from tests.support.account import API_KEY
from tests.support.stack import EMAIL

CANARIES = {
    "email": EMAIL,
    "order_id": f"order of {EMAIL}",
    "description": "description-canary",
}


def test_nothing_private_is_logged_whatever_happens_and_whatever_is_switched_on(start_stack) -> None:
    stack = start_stack(
        parameters={"ProviderTimeout": "2"},
        environment={
            "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
            "POWERTOOLS_LOG_LEVEL": "DEBUG",
            "POWERTOOLS_LOGGER_LOG_EVENT": "true",
        },
    )
    headers = {"Authorization": "Token header-canary", "Cookie": "session=cookie-canary"}
    request = {"amount": 1, **CANARIES}
    for fault in (*({"fault": "status", "value": code} for code in (400, 401, 406, 500)), {"fault": "huge"}):
        for create in (
            lambda: stack.post(request, {**headers, "Idempotency-Key": "key-canary"}),
            lambda: stack.invoke(request),
            lambda: stack.post(request, headers),
        ):
            stack.misbehave(**fault)
            create()
    stack.post({**request, "amount": EMAIL, "currency": EMAIL}, headers)
    stack.invoke({**request, "amount": EMAIL, "currency": EMAIL})
    stack.post(json.dumps(request)[:-1], headers)
    stack.tell("/secrets/fill", secret_string=f'{{"api_key": "{API_KEY}"}}')
    stack.misbehave("status", value=401)
    stack.post(request, headers)

    log = stack.log_text()
    assert log.count('"message":"invoice created"') >= 2
    assert log.count('"message":"invoice not created"') >= 8
    for canary in (API_KEY, "header-canary", "cookie-canary", "key-canary", *CANARIES.values()):
        assert canary not in log


def test_a_failure_is_one_line_with_code_reason_and_both_request_ids(stack) -> None:
    stack.misbehave("html")
    request_id = stack.post({"amount": 1}).problem["request_id"]
    [line] = [
        json.loads(line)
        for line in stack.log_text().splitlines()
        if request_id in line and '"message":"invoice not created"' in line
    ]
    assert line["level"] == "ERROR"
    assert line["code"] == "outcome_unknown"
    assert line["reason"] == "provider answered 200 with another media type than JSON"
    assert line["function_request_id"] == request_id
    assert line["correlation_id"]


def test_a_refused_request_names_its_fields_and_its_order_in_the_log_and_is_no_error_of_ours(stack, fresh) -> None:
    request = {"amount": "ten", "order_id": fresh, "curency": "value-canary"}
    for request_id in (stack.post(request).problem["request_id"], stack.invoke(request).problem["request_id"]):
        [line] = [
            json.loads(line)
            for line in stack.log_text().splitlines()
            if f'"function_request_id":"{request_id}"' in line
        ]
        assert (line["level"], line["message"], line["code"]) == ("INFO", "invoice not created", "invalid_request")
        assert line["order_id"] == fresh
        assert sorted(line["fields"]) == ["/amount", "/curency"]
    assert "value-canary" not in stack.log_text()


def test_a_line_never_carries_the_order_or_the_key_of_the_request_before(start_stack, fresh) -> None:
    stack = start_stack(sandboxes=1)
    stack.post({"amount": 1, "order_id": fresh}, key=fresh)
    for refused in (stack.post({"amount": "ten"}), stack.post("{"), stack.invoke([])):
        [line] = [
            json.loads(line)
            for line in stack.log_text().splitlines()
            if f'"function_request_id":"{refused.problem["request_id"]}"' in line
        ]
        assert not {"order_id", "idempotency_record"} & {name for name, value in line.items() if value is not None}
