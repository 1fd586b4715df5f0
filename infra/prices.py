"""Checks a price list before a site publishes it: ``make prices FILE=prices.json``, or ``FILE=https://…``.

A file needs no package, so the build of a site can run this from a copy of this project with any Python from 3.11 on:
``PYTHONPATH=functions python3 -m infra.prices prices.json``. An address is read as the function reads it, which needs
what ``make`` installs.
"""

import sys
import time
from pathlib import Path

from invoicing.contract.price_list import NotAPriceList, PriceList, parse_price_list

_URL_SCHEMES = ("http://", "https://")


class CannotCheck(Exception):
    """There is nothing to check; the message says what to do."""


def read_file(name: str) -> PriceList:
    """Returns the price list in a file.

    Args:
        name: The path of the file; ``-`` is standard input.

    Raises:
        CannotCheck: The file cannot be read.
        NotAPriceList: It is no price list.
    """
    try:
        text = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CannotCheck(f"{name} cannot be read: {error.strerror}. Name a file, or an address.") from None
    return parse_price_list(text)


def read_url(url: str) -> PriceList:
    """Returns the price list at an address, read as the function reads it: no redirect, 3 s, 1 MiB.

    Raises:
        CannotCheck: The address is none, its site gave no answer, or what is needed to read it is not installed.
        NotAPriceList: What is there is no price list that the function believes, or nothing is there.
    """
    try:
        from typing import get_args

        from invoicing.contract.currencies import Currency
        from invoicing.contract.errors import PricesUnavailable
        from invoicing.contract.origins import trusted_url
        from invoicing.prices import READ_LIMIT_S, read_price_list, site_of
    except ImportError as error:
        raise CannotCheck(f"To read an address, {error.name} must be installed: run make prices FILE={url}") from None
    try:
        trusted_url(url)
    except ValueError as error:
        raise CannotCheck(f"The address {error}.") from None
    latest_s = time.monotonic() + READ_LIMIT_S
    try:
        return read_price_list(url, site_of(url), get_args(Currency), deadline_s=latest_s).price_list
    except PricesUnavailable as error:
        raise CannotCheck(f"{url} was not read: {error.reason}. Try again, or check the file itself.") from None


def main() -> int:
    """Checks one list; returns the exit status: 0 if it is good, 1 if it is not, 2 if there was nothing to check."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        print(
            "Name a price list: make prices FILE=prices.json, or FILE=https://shop.example/prices.json", file=sys.stderr
        )
        return 2
    name = sys.argv[1]
    try:
        found = read_url(name) if name.startswith(_URL_SCHEMES) else read_file(name)
    except NotAPriceList as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        count = len(error.faults)
        print(
            f"FAIL  {name}: {count} fault{'s' if count > 1 else ''}. No invoice would use this list.", file=sys.stderr
        )
        return 1
    except CannotCheck as reason:
        print(reason, file=sys.stderr)
        return 2
    count = len(found.items)
    print(f"ok    {name}: {count} item{'s' if count > 1 else ''} in {found.currency}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
