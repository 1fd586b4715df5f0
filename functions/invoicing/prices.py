"""The shop's price list: read from its site, kept, and believed whole or not at all; and what items cost by it.

Imported only where there is a list: without one, no start-up takes the time.
"""

import re
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlsplit

from invoicing.contract.errors import FieldError, InvalidRequest, OutcomeUnknown, PricesUnavailable, ProviderUnavailable
from invoicing.contract.price_list import MAX_PRICE_LIST_BYTES, NotAPriceList, PriceList, parse_price_list
from invoicing.contract.requests import MAX_DESCRIPTION_LENGTH, InvoiceRequest, Item, ItemsRequest
from invoicing.observability import PRICE_LIST_NOT_READ, PRICE_LIST_REFUSED, logger, metrics
from invoicing.provider.outcomes import Call, Reply
from invoicing.provider.transport import Transport
from invoicing.sockets import Opened

# How long a list counts as the site's. From when it was asked for: the answer may be that old.
KEPT_S = 60
# How long the last good one goes on counting while there is no other.
SERVED_S = 24 * 60 * 60
# After a read that failed, this long passes before the next, so that a list that hangs holds one request and not all.
READ_AGAIN_AFTER_S = 10
READ_LIMIT_S = 3.0
_MOST_FAULTS_IN_LOG = 5
# RFC 9110, 8.8.3, in visible ASCII. What is none is not sent back.
_ETAG = re.compile(r'(W/)?"[\x21\x23-\x7e]{0,200}"')


class Reading(NamedTuple):
    """What the site answered.

    Args:
        price_list: The list; ``None`` if it is still the one with the tag that was sent.
        etag: The tag of this list, if it has one.
    """

    price_list: PriceList | None
    etag: str | None


class Prices:
    """The price list of one shop, kept.

    Args:
        url: Where the shop publishes it.
        site: The transport to that site.
        currencies: What an invoice may be asked for in, by code. A list in another currency is not believed.
        clock: Wall time in seconds. Not a monotonic clock: that one stops while an instance is frozen.
    """

    def __init__(
        self, url: str, site: Transport, currencies: Sequence[str], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._url = url
        self._site = site
        self._currencies = currencies
        self._clock = clock
        self._list: PriceList | None = None
        self._etag: str | None = None
        self._asked_at_s = 0.0
        self._failure = ""
        self._failed_at_s = 0.0

    def current(self, *, deadline_s: float) -> PriceList:
        """Returns the list, at most ``KEPT_S`` old, or while the site has no other at most ``SERVED_S``.

        Args:
            deadline_s: ``time.monotonic()`` by which it must be there. It has ``READ_LIMIT_S`` at most.

        Raises:
            PricesUnavailable: There is none.
        """
        if self._list and self._is_within(KEPT_S, self._asked_at_s):
            return self._list
        if not self._failure or not self._is_within(READ_AGAIN_AFTER_S, self._failed_at_s):
            self._read(deadline_s)
        if self._list and self._is_within(SERVED_S, self._asked_at_s):
            return self._list
        raise PricesUnavailable(self._failure)

    def _is_within(self, limit_s: float, since_s: float) -> bool:
        # A clock that was set back must keep nothing for longer.
        return 0 <= self._clock() - since_s < limit_s

    def _read(self, deadline_s: float) -> None:
        asked_at_s = self._clock()
        try:
            reading = read_price_list(self._url, self._site, self._currencies, etag=self._etag, deadline_s=deadline_s)
        except NotAPriceList as error:
            self._note_failure(PRICE_LIST_REFUSED, "price list refused", _some_of(error.faults))
        except PricesUnavailable as error:
            self._note_failure(PRICE_LIST_NOT_READ, "price list not read", error.reason)
        else:
            if reading.price_list:
                self._list, self._etag = reading
            self._asked_at_s, self._failure = asked_at_s, ""

    def _note_failure(self, metric: str, message: str, reason: str) -> None:
        self._failure, self._failed_at_s = f"{message}: {reason}", self._clock()
        age_s = int(self._failed_at_s - self._asked_at_s) if self._list else None
        logger.warning(message, reason=reason, age_of_the_one_kept_s=age_s)
        metrics.add_metric(metric, "Count", 1)


def site_of(url: str, *, opened: Opened | None = None) -> Transport:
    """Returns the transport to the site of a price list.

    Args:
        url: Where the list is.
        opened: As for ``Transport``.
    """
    return Transport(url, peer="the site of the price list", latency=None, opened=opened)


def read_price_list(
    url: str, site: Transport, currencies: Sequence[str], *, etag: str | None = None, deadline_s: float
) -> Reading:
    """Reads a price list once.

    Args:
        url: Where it is.
        site: The transport to that site.
        currencies: What an invoice may be asked for in, by code.
        etag: The tag of the list that is known already.
        deadline_s: ``time.monotonic()`` by which it must be there. It has ``READ_LIMIT_S`` at most.

    Raises:
        NotAPriceList: The site answered, and with no price list that can be believed.
        PricesUnavailable: The site gave no answer in time, or one that may pass by itself.
    """
    deadline_s = min(deadline_s, time.monotonic() + READ_LIMIT_S)
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    headers = {"If-None-Match": etag} if etag else {}
    call = Call("GET", path, b"", _as_it_is, frozenset({200, 304}), MAX_PRICE_LIST_BYTES, headers)
    try:
        # Without credentials: the site is the shop's, and the key is for the provider alone.
        reply = site.perform(call, None, deadline_s=deadline_s, attempts=1)
    except (ProviderUnavailable, OutcomeUnknown) as error:
        raise PricesUnavailable(error.reason) from None
    if reply.status == 304 and etag:
        return Reading(None, etag)
    if reply.status >= 500 or reply.status == 429:
        raise PricesUnavailable(f"the site answered {reply.status}")
    if reply.status != 200:
        raise NotAPriceList(f"The site answered {reply.status}: PriceListUrl must be the address of the file itself.")
    if reply.body is None:
        if time.monotonic() >= deadline_s:
            raise PricesUnavailable("the file did not come whole in time")
        raise NotAPriceList(f"The file has more than {MAX_PRICE_LIST_BYTES} bytes, or did not come whole.")
    price_list = parse_price_list(reply.body)
    if price_list.currency not in currencies:
        known = ", ".join(currencies)
        raise NotAPriceList(f"The member currency must be one of {known}, in this version of CryptoCloud's API.")
    return Reading(price_list, reply.etag if reply.etag and _ETAG.fullmatch(reply.etag) else None)


def priced(request: ItemsRequest, prices: PriceList) -> InvoiceRequest:
    """Returns the request with what its items cost in place of the items.

    Args:
        request: What is bought.
        prices: The shop's prices.

    Raises:
        InvalidRequest: An item is not in the list, or the currency is not the list's. What the list has in place of it
            is for nobody to learn here.
    """
    faults = [
        FieldError(f"/items/{place}/id", "is not in the price list")
        for place, item in enumerate(request.items)
        if item.id not in prices.items
    ]
    if request.currency not in (None, prices.currency):
        faults.append(FieldError("/currency", f"must be left out or be {prices.currency}, that of the price list"))
    if faults:
        raise InvalidRequest(fields=faults)
    # Exact: 50 items, 999 of each, at prices of 11 digits are fewer than the 28 digits that Decimal keeps.
    amount = sum((prices.price_of(item.id) * item.quantity for item in request.items), Decimal(0))
    fields = request.model_dump(include=set(InvoiceRequest.model_fields), exclude_none=True)
    description = request.description or _description_of(request.items, prices)
    return InvoiceRequest.model_validate(
        {**fields, "amount": amount, "currency": prices.currency, "description": description}
    )


def _description_of(items: Sequence[Item], prices: PriceList) -> str:
    names = [
        prices.name_of(item.id) if item.quantity == 1 else f"{item.quantity} \u00d7 {prices.name_of(item.id)}"
        for item in items
    ]
    for count in range(len(names), 0, -1):
        left = len(names) - count
        text = ", ".join(names[:count]) + (f" and {left} more" if left else "")
        if len(text) <= MAX_DESCRIPTION_LENGTH:
            return text
    raise ValueError("no name fits")  # a name is shorter than that


def _some_of(faults: Sequence[str]) -> str:
    left = len(faults) - _MOST_FAULTS_IN_LOG
    return " ".join(faults[:_MOST_FAULTS_IN_LOG]) + (f" And {left} more." if left > 0 else "")


def _as_it_is(reply: Reply) -> Reply:
    return reply
