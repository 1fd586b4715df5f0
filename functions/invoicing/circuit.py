"""The circuit breaker around the provider: Powertools' one, on the idempotency table.

While the provider is down, callers get their 503 at once instead of each holding a sandbox for the whole deadline: a
new AWS account has ten of them.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.circuit_breaker import (
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    CircuitState,
    CircuitTransition,
    circuit_breaker,
)
from aws_lambda_powertools.utilities.circuit_breaker.persistence import CircuitBreakerDynamoDBPersistence
from botocore.exceptions import BotoCoreError, ClientError

from invoicing.contract.errors import InvoicingError, OutcomeUnknown, ProviderUnavailable
from invoicing.contract.invoice import Invoice
from invoicing.observability import CIRCUIT_CLOSED, CIRCUIT_OPENED, logger, metrics

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FAILURE_THRESHOLD = 3
RECOVERY_TIMEOUT_S = 30
STATE_CACHE_S = 5


class ProviderCircuit:
    """Lets calls through while the provider answers; one probe finds out when it is back.

    A run of ``FAILURE_THRESHOLD`` outcomes *not created* or *unknown* in one sandbox opens the circuit for all. What
    the provider says about one request (400, 401, any other 4xx, a redirect) is an answer: it is alive, and no caller
    can shut the others out with a request of that kind.

    Args:
        table_name: A DynamoDB table with the string key ``id``.
        client: A DynamoDB client.
    """

    def __init__(self, table_name: str, client: "DynamoDBClient") -> None:
        self._guarded = circuit_breaker(
            name="circuit#cryptocloud",
            persistence_store=CircuitBreakerDynamoDBPersistence(table_name, boto3_client=client),
            on_transition=_report,
            config=CircuitBreakerConfig(
                failure_threshold=FAILURE_THRESHOLD,
                recovery_timeout=RECOVERY_TIMEOUT_S,
                success_threshold=1,
                handled_exceptions=(ProviderUnavailable, OutcomeUnknown),
                local_cache_max_age=STATE_CACHE_S,
            ),
        )(_answer)

    def call(self, create: Callable[[], Invoice]) -> Invoice:
        """Returns what ``create`` returns, or raises what it raises.

        Args:
            create: Calls the provider; called at most once.

        Raises:
            ProviderUnavailable: The circuit is open; ``create`` was not called.
        """
        try:
            outcome: Invoice | InvoicingError = self._guarded(create)
        except CircuitBreakerOpenError as error:
            raise ProviderUnavailable("circuit open", retry_after_s=_retry_after_s(error)) from None
        except (BotoCoreError, ClientError) as error:
            # Only electing a probe can raise these, and nothing was called yet. A store that is down stops no traffic.
            logger.warning("circuit state not reached", reason=type(error).__name__)
            outcome = _answer(create)
        if isinstance(outcome, InvoicingError):
            raise outcome
        return outcome


def _answer(create: Callable[[], Invoice]) -> Invoice | InvoicingError:
    # An answer is returned, not raised: an exception that the breaker does not count leaves a probe undecided.
    try:
        return create()
    except InvoicingError as error:
        if error.answered:
            return error
        raise


def _retry_after_s(error: CircuitBreakerOpenError) -> int:
    opened_at_s = error.circuit.opened_at if error.circuit and error.circuit.opened_at else 0
    return max(1, opened_at_s + RECOVERY_TIMEOUT_S - int(time.time()))


def _report(transition: CircuitTransition) -> None:
    if transition.to_state == CircuitState.OPEN and transition.from_state == CircuitState.CLOSED:
        logger.error("circuit opened")
        metrics.add_metric(CIRCUIT_OPENED, "Count", 1)
    elif transition.to_state == CircuitState.CLOSED:
        logger.info("circuit closed")
        metrics.add_metric(CIRCUIT_CLOSED, "Count", 1)
