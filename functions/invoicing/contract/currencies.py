"""The currencies that an invoice may be asked for in."""

from typing import Literal

# Those of version 2 of the provider's API. Version 1 knows the first five; which a deployment takes, create.py decides.
Currency = Literal[
    "USD", "RUB", "EUR", "GBP", "UAH",
    "UZS", "KGS", "KZT", "AMD", "AZN", "BYN", "AUD", "TRY", "AED", "CAD",
    "CNY", "HKD", "IDR", "INR", "JPY", "PHP", "SGD", "THB", "VND", "MYR",
]  # fmt: skip
