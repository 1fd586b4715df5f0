"""The provider's postback: what it says, and whether the provider sent it.

Only the token is signed, and it names no invoice for sure. So a valid token proves who sent the postback, and its body
is believed in one thing: which invoice to ask about.
"""

import warnings
from typing import NamedTuple
from urllib.parse import parse_qsl

import jwt
from jwt.warnings import InsecureKeyLengthWarning

from invoicing.contract.errors import FieldError, InvalidRequest
from invoicing.contract.exact_json import NotAJsonObject, parse_json_object
from invoicing.contract.invoice import bare_id, is_invoice_id

# A token is valid for five minutes. Our clock and the provider's may differ by this.
LEEWAY_S = 60
# The provider does not document what else the token claims, or how long its secret keys are.
_ONLY_SIGNATURE_AND_TIME: jwt.types.Options = {
    "require": ["exp"],
    "verify_aud": False,
    "verify_iat": False,
    "verify_iss": False,
    "verify_jti": False,
    "verify_nbf": False,
    "verify_sub": False,
}


class Postback(NamedTuple):
    """What is read of a postback, not yet verified.

    Args:
        token: The JSON web token; empty without one.
        invoice_id: Which invoice to ask about, without ``INV-``; ``None`` if the body has no id.
    """

    token: str
    invoice_id: str | None


def read_postback(body: bytes) -> Postback:
    """Reads a postback in either format: which one is a setting of the project at the provider.

    Args:
        body: JSON or a form.

    Raises:
        InvalidRequest: It is neither.
    """
    try:
        # The project's setting decides the format, and the Content-Type has been seen to say the other one.
        text = body.decode("utf-8-sig").strip()
        fields = parse_json_object(text) if text.startswith("{") else dict(parse_qsl(text, strict_parsing=True))
    except (NotAJsonObject, ValueError):
        raise InvalidRequest(fields=[FieldError("", "must be a JSON object or a form in UTF-8")]) from None
    token, uuid = fields.get("token"), fields.get("invoice_id")
    invoice_id = bare_id(uuid) if isinstance(uuid, str) else None
    return Postback(
        token=_without_python_quotes(token) if isinstance(token, str) else "",
        invoice_id=invoice_id if is_invoice_id(invoice_id) else None,
    )


def is_signed(token: str, secret_key: str) -> bool:
    """Returns whether the provider made a token for this project, and not long ago.

    Args:
        token: A JSON web token (RFC 7519).
        secret_key: The secret key of the project.
    """
    try:
        with warnings.catch_warnings():
            # The owner cannot choose a longer key.
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            jwt.decode(
                token,
                secret_key,
                # Never what the token itself names: https://datatracker.ietf.org/doc/html/rfc8725#section-3.1
                algorithms=["HS256"],
                leeway=LEEWAY_S,
                options=_ONLY_SIGNATURE_AND_TIME,
            )
    except (jwt.PyJWTError, ValueError, OverflowError):
        return False
    return True


def _without_python_quotes(token: str) -> str:
    # Some projects get the token as Python prints bytes.
    return token[2:-1] if token.startswith(("b'", 'b"')) and token[-1:] == token[1] else token
