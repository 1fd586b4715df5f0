"""The one Logger and the one Metrics of the function.

What is never logged: the API key, headers, e-mail addresses and bodies.
"""

import logging

from aws_lambda_powertools import Logger, Metrics

_SERVICE = "invoices"

logger = Logger(service=_SERVICE)
metrics = Metrics(namespace="CryptoCloudInvoices", service=_SERVICE)

INVOICE_CREATED = "InvoiceCreated"
INVOICE_REPLAYED = "InvoiceReplayed"
RECORD_LOST = "RecordLost"
KEY_NOT_RELEASED = "KeyNotReleased"
CIRCUIT_OPENED = "CircuitOpened"
CIRCUIT_CLOSED = "CircuitClosed"
PROVIDER_LATENCY = "ProviderLatency"
SECRET_REFRESH_FAILED = "SecretRefreshFailed"  # noqa: S105 - the name of a metric

# What the formatter never asks for: https://docs.python.org/3/howto/logging.html#optimization
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

# At DEBUG botocore logs whole replies, the secret's value among them. Whatever log level an owner sets, that stays out.
logging.getLogger("botocore").setLevel(logging.WARNING)
