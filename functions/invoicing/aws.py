"""The AWS clients, from one session and with explicit time limits."""

import functools
import logging
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

# The longest that a call may take: two attempts and the back-off between them, at most 1 s in standard mode.
SECRETS_LIMIT_S = 7.0
TABLE_LIMIT_S = 3.0
EVENTS_LIMIT_S = 3.0
# Errors of table, index and bus that only the owner can fix. All others are treated as temporary:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/CommonErrors.html
LASTING_ERRORS = frozenset({"AccessDeniedException", "ResourceNotFoundException", "ValidationException"})
_SECRETS = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2, "mode": "standard"})
_TABLE = _EVENTS = Config(connect_timeout=0.5, read_timeout=0.5, retries={"total_max_attempts": 2, "mode": "standard"})


# At DEBUG botocore logs whole replies, the secret's value among them. That must never reach the log, at any level. Set
# here, before there is any client: the first call is made while the rest is imported.
logging.getLogger("botocore").setLevel(logging.WARNING)


@functools.cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


@functools.cache
def secrets_manager_client() -> "SecretsManagerClient":
    """Returns a Secrets Manager client; a call takes at most ``SECRETS_LIMIT_S``."""
    return _session().client("secretsmanager", config=_SECRETS)


def events_client() -> "EventBridgeClient":
    """Returns an EventBridge client; a call takes at most ``EVENTS_LIMIT_S``."""
    return _session().client("events", config=_EVENTS)


@functools.cache
def dynamodb_client() -> "DynamoDBClient":
    """Returns a DynamoDB client; a call takes at most ``TABLE_LIMIT_S``."""
    return _session().client("dynamodb", config=_TABLE)
