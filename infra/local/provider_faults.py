"""What the provider sandbox does wrong when it is asked to.

Faults are for the next requests (``Sandbox.misbehave``, or ``POST /provider/faults`` on the control port) or for one
request to create (its ``description``, in v2 its ``order_id``, is ``sandbox:<fault>`` or ``sandbox:<fault>=<value>``):

============== ===================================================== ===============
fault          what happens                                          is it done?
============== ===================================================== ===============
slow           the right answer after ``value`` seconds              yes
reset          half of the answer, then the connection is reset      yes
refuse         the connection is reset without an answer             no
status         the status code ``value``, with ``retry_after``       no
html           200 and a page                                        yes
truncated      200 and half of the JSON                              yes
huge           200 and more than 64 KiB of JSON                      yes
redirect       302                                                   no
trickle        the answer's head at once, then a byte a second       yes
trickle_head   a byte a second from the first on                     yes
gzip_bomb      200 and 64 MiB of zeros in 64 KiB of gzip             yes
plain_text     200 and the JSON as text/plain                        yes
close_early    the connection is closed before any answer            yes
foreign        200 and a link to another site                        yes
no_pay_url     200 without a link                                    yes
bare_link      200 and a link without its scheme                     yes
test_mode      as always; in v2 it says that the project is a test   yes
refused_key    the key is refused; in v2 by the status ``value``,    no
               400, 401 or 403, each with a body of its own
firewall       403 and a page                                        no
============== ===================================================== ===============
"""

from dataclasses import dataclass
from typing import Any

_FAULTS = {
    "slow", "reset", "refuse", "status", "html", "truncated", "huge", "redirect", "foreign", "no_pay_url",
    "trickle", "trickle_head", "gzip_bomb", "plain_text", "close_early", "bare_link", "test_mode", "refused_key",
    "firewall",
}  # fmt: skip
_CALLS = ("create", "info", "list", "cancel")


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour.

    Args:
        name: One of the faults above.
        value: Seconds for ``slow``, the status code for ``status`` and ``refused_key``.
        retry_after: A value for the header ``Retry-After``, for ``status``.
        call: What it is for: ``create``, ``info``, ``list`` or ``cancel``.
    """

    name: str
    value: float = 0
    retry_after: str | None = None
    call: str = "create"

    def __post_init__(self) -> None:
        if self.name not in _FAULTS:
            raise ValueError(f"unknown fault {self.name!r}: use one of {', '.join(sorted(_FAULTS))}")
        if self.call not in _CALLS:
            raise ValueError(f"unknown call {self.call!r}: use one of {', '.join(_CALLS)}")
        if not isinstance(self.value, int | float):
            raise TypeError("value must be a number")
        if self.name == "status" and not 200 <= self.value <= 599:
            raise ValueError("value must be a status code from 200 to 599")


def spoil_link(fault: str, place: dict[str, Any], name: str) -> None:
    """Changes the link in a reply as ``foreign``, ``no_pay_url`` and ``bare_link`` ask for."""
    link = place.pop(name)
    if fault == "foreign":
        place[name] = "https://pay.cryptocloud.plus.example/DZLF4212"
    elif fault == "bare_link":
        place[name] = link.partition("://")[2]


def asked_for(request: dict[str, Any]) -> Fault | None:
    """Returns the fault that a request to create asks for in its own words."""
    for text in (request.get("description"), request.get("order_id")):
        if isinstance(text, str) and text.startswith("sandbox:"):
            name, _, value = text.removeprefix("sandbox:").partition("=")
            try:
                return Fault(name, float(value or 0))
            except ValueError:
                return None
    return None
