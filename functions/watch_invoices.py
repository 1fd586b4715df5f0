"""Lambda entry point of WatchFunction: on a schedule, it finds the payments whose postback did not arrive."""

from invoicing import startup

# isort: split
# The line above comes first: it begins what takes time on the network while everything else is imported.
import functools
from typing import Any

from invoicing import border
from invoicing.contract import errors
from invoicing.contract.settings import PaymentSettings, load
from invoicing.watch import Watcher

ERRORS = (errors.InvalidRequest, errors.InternalError, errors.ServiceNotConfigured, errors.ProviderUnavailable)
# Kept back from the time that Lambda leaves: the log, the metrics, and a last write.
RESERVE_S = 2.0


def _directly(_: Any, invocation: border.Invocation) -> dict[str, Any]:
    return _watcher().run(deadline_s=invocation.deadline_s - RESERVE_S)._asdict()


@functools.cache
def _watcher() -> Watcher:
    return Watcher.from_settings(load(PaymentSettings))


# Nothing routes HTTP to this function.
lambda_handler = border.handler(errors=ERRORS, failure="watch failed", direct=_directly)
startup.finish(prepare=_watcher)
