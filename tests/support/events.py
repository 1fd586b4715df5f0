"""What Lambda hands to a function: API Gateway's event, and the context of the invocation."""

import base64
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

SITE = "https://shop.example"


def http_event(
    body: object = None,
    *,
    method: str = "POST",
    path: str = "/v1/invoice/create",
    query: str = "",
    origin: str | None = SITE,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """Returns the event, version 2.0, that API Gateway makes of a request.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html

    Args:
        body: ``None`` for no body, bytes for what API Gateway does not take for text (it passes that on in base64),
            text as it is; anything else is sent as JSON.
        method: The request's method.
        path: The request's path, and that of its route.
        query: The query string, without ``?``.
        origin: Of the page that sends it; ``None`` for what is no page.
        headers: On top of those that a page sends, by lower-case names, as API Gateway passes them on.
        key: The idempotency key, if there is one.
    """
    sent = {"host": "abc123.execute-api.eu-west-1.amazonaws.com", "x-forwarded-for": "192.0.2.1"}
    if origin is not None:
        sent["origin"] = origin
    if body is not None:
        sent["content-type"] = "application/json"
    if key is not None:
        sent["idempotency-key"] = key
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {**sent, **(headers or {})},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "domainName": "abc123.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "abc123",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "a browser",
            },
            "requestId": str(uuid4()),
            "routeKey": f"{method} {path}",
            "stage": "$default",
            "time": "25/Nov/2026:09:00:00 +0000",
            "timeEpoch": 1795597200000,
        },
        "isBase64Encoded": isinstance(body, bytes),
    }
    if query:
        event["queryStringParameters"] = dict(parse_qsl(query, keep_blank_values=True))
    if body is not None:
        event["body"] = _as_text(body)
    return event


def _as_text(body: object) -> str:
    match body:
        case bytes():
            return base64.b64encode(body).decode()
        case str():
            return body
    return json.dumps(body)


def lambda_context(**changes: Any) -> Any:
    """Returns the context of an invocation.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html

    Args:
        changes: What is different from 28 s left for version 7 of the function ``invoices``.
    """
    usual = {
        "aws_request_id": "request-1",
        "function_name": "invoices",
        "function_version": "7",
        "invoked_function_arn": "arn:aws:lambda:eu-west-1:123456789012:function:invoices:live",
        "memory_limit_in_mb": 1024,
        "get_remaining_time_in_millis": lambda: 28_000,
    }
    return SimpleNamespace(**{**usual, **changes})
