"""The one Logger and Metrics of a function, and the names of the metrics.

What is never logged: the API key, headers, e-mail addresses and bodies.
"""

import logging
import os
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.functions import is_metrics_disabled

from invoicing.contract.personal_data import may_hold_email

if TYPE_CHECKING:
    from aws_lambda_powertools.metrics.base import SingleMetric
    from aws_lambda_powertools.utilities.typing import LambdaContext

NAMESPACE = "CryptoCloudInvoices"

# Both take their service from POWERTOOLS_SERVICE_NAME, the stack's name. It is a dimension of every metric, so that two
# stacks in one account do not set off each other's alarms.
logger = Logger()
metrics = Metrics(namespace=NAMESPACE)

# Each error is also counted under the name of its class.
INVOICE_CREATED = "InvoiceCreated"
TEST_INVOICE_CREATED = "TestInvoiceCreated"
INVOICE_REPLAYED = "InvoiceReplayed"
RECORD_LOST = "RecordLost"
KEY_NOT_RELEASED = "KeyNotReleased"
IMPATIENT = "Impatient"  # each request that had only the short time for CryptoCloud
PROVIDER_MOVED = "ProviderMoved"
PROVIDER_LATENCY = "ProviderLatency"
SECRET_REFRESH_FAILED = "SecretRefreshFailed"  # noqa: S105 - the name of a metric
PRICE_LIST_REFUSED = "PriceListRefused"  # the site answered, and not with a price list that can be believed
PRICE_LIST_NOT_READ = "PriceListNotRead"  # it gave no answer
AMOUNT_ASKED = "AmountAsked"  # and the currency
ERROR_RAISED = "ErrorRaised"
INVOICE_NOT_RECORDED = "InvoiceNotRecorded"
INVOICE_PAID = "InvoicePaid"
AMOUNT_PAID = "AmountPaid"  # and the currency
INVOICE_UNKNOWN = "InvoiceUnknown"
EVENT_PUBLISHED = "EventPublished"
EVENT_NOT_PUBLISHED = "EventNotPublished"
OLDEST_DUE = "OldestDue"
WATCH_STOPPED = "WatchStopped"

# It is fine if an invocation counts nothing.
warnings.filterwarnings("ignore", "No application metrics to publish")


def warn_of_switched_off_promises() -> None:
    """Logs each setting of the environment that switches off something that our documentation promises."""
    if is_metrics_disabled():
        logger.critical(
            "POWERTOOLS_METRICS_DISABLED or POWERTOOLS_DEV is set: there are no metrics, so no alarm can go off and no "
            "bad version is rolled back"
        )
    if _threshold() > logging.INFO:
        logger.critical(
            "the log level hides lines below it: refused requests are not logged, and cold starts are not counted"
        )


def log_created(invoice_id: str, amount: Decimal, currency: str) -> None:
    """Counts a created invoice and logs its id at once, at any log level. A later crash cannot lose the line.

    Args:
        invoice_id: The provider's id of the invoice.
        amount: What it asks for, in whole units of the currency, such as dollars. CloudWatch keeps a binary float, so
            the metric is only for looking at.
        currency: Its code, such as ``USD``. It is in the metric's name: a dimension would need a record of its own.
    """
    # At the lowest level that the owner's settings show: no other line says which invoice a request made.
    levels = {logging.INFO: logger.info, logging.WARNING: logger.warning, logging.ERROR: logger.error}
    log = next((log for level, log in levels.items() if level >= _threshold()), logger.critical)
    log("invoice created", invoice_id=invoice_id)
    metrics.add_metric(INVOICE_CREATED, MetricUnit.Count, 1)
    metrics.add_metric(AMOUNT_ASKED + currency, MetricUnit.NoUnit, float(amount))


def let_pass(record: "Metrics | SingleMetric") -> None:
    """Gives a line of metrics the level that Lambda's own filter asks for, if it asks for more than INFO.

    A line without a level and a time is INFO to that filter, so it would be dropped:
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html

    Args:
        record: What is flushed as one line.
    """
    if _lambdas_threshold() > logging.INFO:
        record.add_metadata("level", os.environ["AWS_LAMBDA_LOG_LEVEL"])
        record.add_metadata("timestamp", datetime.now(UTC).isoformat(timespec="milliseconds"))


def _threshold() -> int:
    return max(logger.log_level, _lambdas_threshold())


def _lambdas_threshold() -> int:
    return logging.getLevelNamesMapping().get(os.environ.get("AWS_LAMBDA_LOG_LEVEL", ""), logging.NOTSET)


def order_in_log(order_id: object) -> str | None:
    """Returns how an order is named in the log.

    Args:
        order_id: What a caller sent, valid or not. Some shops use the buyer's e-mail address, and those are never
            logged.
    """
    if isinstance(order_id, bool) or not isinstance(order_id, str | int | Decimal) or order_id == "":
        return None
    return "(may be an e-mail address)" if may_hold_email(str(order_id)) else str(order_id)[:255]


def count_for_version(name: str, context: "LambdaContext", *, started_s: float) -> None:
    """Counts something against the version of the function that did it, for the alarms that roll a new one back.

    Args:
        name: The name of the metric.
        context: Lambda's context of the invocation, which has the function's name and version.
        started_s: When the invocation started, in seconds since 1970. Lambda stamps its own ``Errors`` with the start
            of an invocation, and the alarms compare the two minute by minute:
            https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    """
    dimensions = {"function": context.function_name, "version": context.function_version}
    # A separate record: in the invocation's record, the version would become a dimension of every metric.
    with single_metric(name, MetricUnit.Count, 1, namespace=NAMESPACE, default_dimensions=dimensions) as metric:
        metric.set_timestamp(int(started_s * 1000))
        let_pass(metric)
