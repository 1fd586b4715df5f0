"""The idempotency key as callers write it: the header ``Idempotency-Key``, and the field of a direct invocation."""

import re

from invoicing.contract.errors import FieldError, InvalidRequest

RULE = "must be 1 to 255 visible ASCII characters"
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')


def is_idempotency_key(value: str) -> bool:
    """Returns whether this can be a key: 1 to 255 visible ASCII characters."""
    return _VISIBLE.fullmatch(value) is not None


def parse_idempotency_key(header: str) -> str:
    """Returns the key in a header ``Idempotency-Key``.

    Args:
        header: The header's value: 1 to 255 visible characters without a comma, bare, or quoted as in
            https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/. A header that was sent twice
            arrives as one, its values joined by a comma: as one key, ``k,k`` would be another purchase than ``k``.
            https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html

    Raises:
        InvalidRequest: It is not such a value. A key that we do not understand must not count as no key.
    """
    if "," in header:
        raise InvalidRequest(fields=[FieldError("", "the header Idempotency-Key must be one key, without a comma")])
    value = header.strip(" \t")
    if quoted := _QUOTED.fullmatch(value):
        value = re.sub(r"\\(.)", r"\1", quoted.group(1))
    if not is_idempotency_key(value):
        raise InvalidRequest(fields=[FieldError("", f"the header Idempotency-Key {RULE}, bare or quoted")])
    return value
