"""The one Logger and Metrics of the function, and the names of the metrics.

What is never logged: the API key, headers, e-mail addresses and bodies.
"""

import logging
import warnings
from decimal import Decimal

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

NAMESPACE = "CryptoCloudInvoices"

# Both take their service from POWERTOOLS_SERVICE_NAME, the stack's name. It is a dimension of every metric, so that two
# stacks in one account do not set off each other's alarms.
logger = Logger()
metrics = Metrics(namespace=NAMESPACE)

# Besides these, each error is counted under the name of its class.
INVOICE_CREATED = "InvoiceCreated"
INVOICE_REPLAYED = "InvoiceReplayed"
RECORD_LOST = "RecordLost"
KEY_NOT_RELEASED = "KeyNotReleased"
IMPATIENT = "Impatient"  # each request that had only the short time for CryptoCloud
PROVIDER_LATENCY = "ProviderLatency"
SECRET_REFRESH_FAILED = "SecretRefreshFailed"  # noqa: S105 - the name of a metric
AMOUNT_ASKED = "AmountAsked"  # and the currency
ERROR_RAISED = "ErrorRaised"

# What a line about a request is found by.
_IDS = ("function_request_id", "correlation_id", "order_id", "idempotency_record", "cold_start")

# After a created invoice nothing is left to publish at the end of the invocation, and that is well.
warnings.filterwarnings("ignore", "No application metrics to publish")

# What the formatter never asks for: https://docs.python.org/3/howto/logging.html#optimization
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

# At DEBUG botocore logs whole replies, the secret's value among them. Whatever log level an owner sets, that stays out.
logging.getLogger("botocore").setLevel(logging.WARNING)


def record_created(invoice_id: str, amount: Decimal, currency: str) -> None:
    """Counts a created invoice and says which one it is, at once: whatever happens to the invocation after this.

    All on one line, that of the metrics: a line of the logger's besides would be a tenth of the time that a request
    takes here (docs/benchmarks.md). So it is there whatever the log level.

    Args:
        invoice_id: The provider's id of the invoice.
        amount: What it asks for, in whole units of the currency, such as dollars. CloudWatch keeps a binary float: a
            figure to look at.
        currency: Its code, such as ``USD``. It is in the metric's name: a dimension would need a record of its own.
    """
    metrics.add_metric(INVOICE_CREATED, MetricUnit.Count, 1)
    metrics.add_metric(AMOUNT_ASKED + currency, MetricUnit.NoUnit, float(amount))
    keys = logger.get_current_keys()
    line = {"level": "INFO", "message": "invoice created", **{name: keys.get(name) for name in _IDS}}
    for name, value in {**line, "invoice_id": invoice_id}.items():
        if value is not None:
            metrics.add_metadata(name, value)
    metrics.flush_metrics()


def count_for_version(name: str, version: str) -> None:
    """Counts something against the version of the function that did it, for the alarms that roll a new one back.

    Args:
        name: The name of the metric.
        version: ``context.function_version``.
    """
    dimensions = {"version": version}
    if metrics.service:
        dimensions["service"] = metrics.service
    # A record of its own: in the function's one, the version would be a dimension of every metric.
    with single_metric(name, MetricUnit.Count, 1, namespace=NAMESPACE, default_dimensions=dimensions):
        pass
