"""``make smoke`` sends what a browser would, whatever way the owner writes the site."""

import argparse

import pytest

from infra.smoke import _amount, _browser_origin


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://Shop.Example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://localhost:80", "http://localhost"),
        ("https://shop.example:8443/cart?x=1#y", "https://shop.example:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_the_origin_is_the_one_of_a_page_there(written: str, sent: str) -> None:
    assert _browser_origin(written) == sent


@pytest.mark.parametrize("written", ["shop.example", "ftp://shop.example", "https://", "https://a b", "https://a:x"])
def test_what_is_no_site_is_refused_before_anything_is_sent(written: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a site such as"):
        _browser_origin(written)


@pytest.mark.parametrize(
    ("written", "accepted"), [("", True), ("1", True), ("0.50", True), ("abc", False), ("-1", False)]
)
def test_an_amount_that_is_no_number_is_refused_before_anything_is_sent(written: str, accepted: bool) -> None:
    if accepted:
        assert _amount(written) == written
    else:
        with pytest.raises(argparse.ArgumentTypeError, match="AMOUNT is"):
            _amount(written)
