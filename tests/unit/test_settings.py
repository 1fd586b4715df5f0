"""The environment: validated as a whole, and a fault names the variable and never its value."""

import re
from decimal import Decimal

import pytest

from invoicing.contract import settings as settings_module
from invoicing.contract.errors import ServiceNotConfigured
from invoicing.contract.origins import Origin, origin_of
from invoicing.contract.settings import CreateInvoiceSettings, InvoiceInfoSettings, PaymentSettings
from tests.support import ROOT
from tests.support.templates import read_template

ENVIRONMENT = {
    "ALLOWED_ORIGINS": "https://shop.example,https://www.shop.example",
    "CRYPTOCLOUD_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x",
    "IDEMPOTENCY_TABLE": "table",
    "INVOICE_TABLE": "invoices",
    "MAX_AMOUNT": "500",
    "MIN_AMOUNT": "0.50",
    "PROVIDER_TIMEOUT": "15",
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    def load_with(**changes: str | None) -> CreateInvoiceSettings:
        for name, value in {**ENVIRONMENT, **changes}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        settings_module.load.cache_clear()
        return settings_module.load(CreateInvoiceSettings)

    yield load_with
    settings_module.load.cache_clear()


def test_settings_come_from_the_environment(load) -> None:
    settings = load()
    assert (settings.min_amount, settings.max_amount) == (Decimal("0.50"), Decimal(500))
    assert settings.provider_timeout == 15
    assert settings.cryptocloud_api_url == "https://api.cryptocloud.plus"
    assert settings.cryptocloud_pay_origins == {
        origin_of("https://pay.cryptocloud.plus"),
        origin_of("https://pay.trybit.com"),
    }


@pytest.mark.parametrize(
    ("function", "model"),
    [
        ("CreateInvoiceFunction", CreateInvoiceSettings),
        ("InvoiceInfoFunction", InvoiceInfoSettings),
        ("PostbackFunction", PaymentSettings),
        ("WatchFunction", PaymentSettings),
    ],
)
def test_what_the_owner_leaves_out_is_what_the_template_says(function, model) -> None:
    template = read_template(ROOT / "template.yaml")
    variables = template["Resources"][function]["Properties"]["Environment"]["Variables"]
    required = {name: "x" for name, field in model.model_fields.items() if field.is_required()}
    said = {
        name.lower(): str(template["Parameters"][value["Ref"]]["Default"])
        for name, value in variables.items()
        if isinstance(value, dict) and "Default" in template["Parameters"].get(value.get("Ref"), {})
    }
    # An empty variable counts as none. Which sites may call, nobody can say for the owner.
    kept = {name: text for name, text in said.items() if name in model.model_fields and text}
    kept.pop("allowed_origins", None)
    assert len(kept) >= 2
    assert model.model_validate({**required, **kept}) == model.model_validate(required)


def test_the_owner_may_name_other_pay_origins(load) -> None:
    settings = load(CRYPTOCLOUD_PAY_ORIGINS="https://pay.shop.example, http://127.0.0.1:3002/")
    assert settings.cryptocloud_pay_origins == {
        Origin("https", "pay.shop.example", 443),
        Origin("http", "127.0.0.1", 3002),
    }


def test_v1_is_spoken_unless_the_owner_chooses_v2_which_knows_a_lifetime_and_coins(load) -> None:
    settings = load()
    assert (settings.cryptocloud_api, settings.invoice_lifetime, settings.coins) == ("v1", None, None)
    settings = load(CRYPTOCLOUD_API="v2", INVOICE_LIFETIME="90", COINS="USDT_TRC20,BTC")
    assert (settings.invoice_lifetime, settings.coins) == (90, ("USDT_TRC20", "BTC"))
    settings = load(CRYPTOCLOUD_API="v1", INVOICE_LIFETIME="project", COINS="project")
    assert (settings.invoice_lifetime, settings.coins) == (None, None)


@pytest.mark.parametrize(("name", "value"), [("INVOICE_LIFETIME", "90"), ("COINS", "BTC")])
def test_what_only_v2_can_do_is_not_silently_left_out_by_v1(load, name: str, value: str) -> None:
    with pytest.raises(ServiceNotConfigured) as fault:
        load(**{"CRYPTOCLOUD_API": "v1", "INVOICE_LIFETIME": "", "COINS": "", name: value})
    assert "Value error, COINS and INVOICE_LIFETIME need CRYPTOCLOUD_API=v2" in fault.value.reason


def test_only_listed_origins_may_call(load) -> None:
    settings = load()
    assert settings.allows_origin("https://www.shop.example")
    assert not any(map(settings.allows_origin, ["https://shop.example.evil", "http://shop.example", "null", ""]))
    assert not load(ALLOWED_ORIGINS=None).allows_origin("https://shop.example")
    assert load(ALLOWED_ORIGINS="*").allows_origin("https://any.example")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CRYPTOCLOUD_SECRET_ARN", None),
        ("IDEMPOTENCY_TABLE", None),
        ("INVOICE_TABLE", None),
        ("INVOICE_RETENTION", "1"),
        ("INVOICE_RETENTION", "3654"),
        ("CRYPTOCLOUD_API_URL", "http://api.cryptocloud.plus"),
        ("CRYPTOCLOUD_API_URL", "https://api.cryptocloud.plus/v1"),
        ("CRYPTOCLOUD_API_URL", "https://user@api.cryptocloud.plus"),
        ("CRYPTOCLOUD_API_URL", "ftp://api.cryptocloud.plus"),
        ("CRYPTOCLOUD_PAY_ORIGINS", "http://10.0.0.1"),
        ("CRYPTOCLOUD_PAY_ORIGINS", "pay.cryptocloud.plus"),
        ("CRYPTOCLOUD_API", "v3"),
        ("INVOICE_LIFETIME", "0"),
        ("INVOICE_LIFETIME", "1441"),
        ("INVOICE_LIFETIME", "1.5"),
        ("COINS", "btc"),
        ("COINS", "BTC;ETH"),
        ("COINS", "B"),
        ("COINS", "B" * 21),
        ("COINS", "BTC,B C"),
        ("MIN_AMOUNT", "nothing"),
        ("MIN_AMOUNT", "0"),
        ("MIN_AMOUNT", "NaN"),
        ("MIN_AMOUNT", "0.501"),
        ("MAX_AMOUNT", "499.001"),
        ("MAX_AMOUNT", "1000000000.01"),
        ("MIN_AMOUNT", "501"),
        ("PRICE_LIST_URL", "http://shop.example/prices.json"),
        ("PRICE_LIST_URL", "https://user@shop.example/prices.json"),
        ("PRICE_LIST_URL", "https://shop.example/prices.json#top"),
        ("PRICE_LIST_URL", "https://shop.example/pri ces.json"),
        ("PRICE_LIST_URL", "/prices.json"),
        ("PRICE_LIST_URL", "file:///etc/passwd"),
        ("PROVIDER_TIMEOUT", "0"),
        ("PROVIDER_TIMEOUT", "30"),
    ],
)
def test_a_wrong_variable_is_named_for_the_log_without_its_value(load, name: str, value: str | None) -> None:
    # In v1 lifetime and coins would be refused whatever they are.
    with pytest.raises(ServiceNotConfigured) as fault:
        load(**{"CRYPTOCLOUD_API": "v2", name: value})
    assert name in fault.value.reason
    assert value is None or f"'{value}'" not in fault.value.reason


PRICE_LISTS = [
    "https://shop.example/prices.json",
    "https://cdn.shop.example:8443/a/b~c.json?v=1&x=%20",
    "https://a.example/",
]
NO_PRICE_LISTS = ["http://shop.example/prices.json", "https://shop.example", "https://shop.example/#x", "prices.json"]


def test_a_price_list_is_where_the_owner_says_or_there_is_none(load) -> None:
    assert load().price_list_url is None
    assert load(PRICE_LIST_URL="").price_list_url is None
    assert load(PRICE_LIST_URL="http://127.0.0.1:8000/p.json").price_list_url == "http://127.0.0.1:8000/p.json"


def test_the_template_takes_no_address_of_a_price_list_that_the_function_would_refuse(load) -> None:
    parameter = read_template(ROOT / "template.yaml")["Parameters"]["PriceListUrl"]
    pattern = re.compile(parameter["AllowedPattern"])
    assert pattern.fullmatch(parameter["Default"])
    for url in PRICE_LISTS:
        assert pattern.fullmatch(url), url
        assert load(PRICE_LIST_URL=url).price_list_url == url
    assert not any(map(pattern.fullmatch, NO_PRICE_LISTS))


NEVER_SENT_BY_A_BROWSER = [
    "https://shop.example:443", "http://shop.example:80", "https://shop.example.", "https://Shop.example",
    "https://shop.example/", "https://shop.example/shop", "https://shop.example?", "https://user@shop.example",
    "shop.example", "https://shop.example:08443", "https://shop.example:", "null",
]  # fmt: skip
SENT_BY_BROWSERS = [
    "https://shop.example", "https://xn--bcher-kva.example", "http://127.0.0.1:8000", "http://localhost:8000",
    "https://shop.example:8443", "http://shop.example:443", "https://shop.example:80", "https://a.b-c.example:4430",
]  # fmt: skip


@pytest.mark.parametrize("origin", NEVER_SENT_BY_A_BROWSER)
def test_an_allowed_origin_that_no_browser_sends_is_refused(load, origin: str) -> None:
    with pytest.raises(ServiceNotConfigured) as fault:
        load(ALLOWED_ORIGINS=f"https://www.shop.example,{origin}")
    assert fault.value.reason.startswith("environment: ALLOWED_ORIGINS: ")


def test_the_template_and_the_settings_accept_the_same_origins(load) -> None:
    pattern = re.compile(read_template(ROOT / "template.yaml")["Parameters"]["AllowedOrigins"]["AllowedPattern"])
    for origin in (*SENT_BY_BROWSERS, "*", "none"):
        assert pattern.fullmatch(origin), origin
        assert load(ALLOWED_ORIGINS=origin).allowed_origins == {origin}
    assert pattern.fullmatch(",".join(SENT_BY_BROWSERS))
    for origin in NEVER_SENT_BY_A_BROWSER:
        for origins in (origin, f"https://www.shop.example,{origin}", f"{origin},https://www.shop.example"):
            assert not pattern.fullmatch(origins), origins


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:1", "https://api.example/"]
)
def test_http_is_for_loopback_only_and_https_for_all(load, url: str) -> None:
    assert load(CRYPTOCLOUD_API_URL=url).cryptocloud_api_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://pay.cryptocloud.plus/DZLF4212", Origin("https", "pay.cryptocloud.plus", 443)),
        ("HTTPS://PAY.cryptocloud.plus:443/?x=1#y", Origin("https", "pay.cryptocloud.plus", 443)),
        ("http://127.0.0.1:8080/pay/X", Origin("http", "127.0.0.1", 8080)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: Origin) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "//pay.cryptocloud.plus/X", "javascript:alert(1)", "https:///X", "https://pay.cryptocloud.plus@evil.example/X",
        "https://evil.example\\@pay.cryptocloud.plus/X", "https://pay.cryptocloud.plus\\.evil.example/X",
        "https://pay.cryptocloud.plus\n/X", " https://pay.cryptocloud.plus/X", "https://pay.cryptocloud.plus:99999/X",
        "https://p\u0430y.cryptocloud.plus/X", "https://[pay.cryptocloud.plus/X", "",
    ],
)  # fmt: skip
def test_a_url_on_which_parsers_could_disagree_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any reason will do
        origin_of(url)
