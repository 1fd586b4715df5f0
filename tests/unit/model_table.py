"""A DynamoDB table in memory, as far as the three writes of a key's record need one.

It evaluates the very expressions that the store sends. tests/integration/test_model_table.py holds it to moto's table.
"""

import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, dict[str, str]]
_COMPARISON = re.compile(r"(#?\w+) (<>|<|=) (:\w+)")
_EXISTENCE = re.compile(r"attribute_not_exists\((\w+)\)")


class ModelTable:
    """Holds items by ``id``; the methods take what those of a DynamoDB client take."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}

    def put_item(self, **write: Any) -> None:
        """Puts an item if the condition holds."""
        self._check(self.items.get(write["Item"]["id"]["S"]), write)
        self.items[write["Item"]["id"]["S"]] = dict(write["Item"])

    def update_item(self, **write: Any) -> None:
        """Sets and removes attributes if the condition holds; makes an item where there is none."""
        record_id = write["Key"]["id"]["S"]
        self._check(self.items.get(record_id), write)
        item = {**self.items.get(record_id, write["Key"])}
        changes, _, removed = write["UpdateExpression"].partition(" REMOVE ")
        for change in changes.removeprefix("SET ").split(", "):
            name, _, value = change.partition(" = ")
            item[_name(name, write)] = write["ExpressionAttributeValues"][value]
        if removed:
            item.pop(_name(removed, write), None)
        self.items[record_id] = item

    def _check(self, item: Item | None, write: Mapping[str, Any]) -> None:
        def holds(match: re.Match[str]) -> str:
            name, operator, value = match.groups()
            return str(
                _compare((item or {}).get(_name(name, write)), operator, write["ExpressionAttributeValues"][value])
            )

        condition = _COMPARISON.sub(holds, write["ConditionExpression"])
        condition = _EXISTENCE.sub(lambda match: str(match[1] not in (item or {})), condition)
        if not eval(condition.replace("AND", "and").replace("OR", "or"), {}):
            answer: Any = {
                "Error": {"Code": "ConditionalCheckFailedException", "Message": "The conditional request failed"}
            }
            if item is not None and write.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
                answer["Item"] = item
            raise ClientError(answer, "write")


def _name(name: str, write: Mapping[str, Any]) -> str:
    return write["ExpressionAttributeNames"][name] if name.startswith("#") else name


def _compare(found: dict[str, str] | None, operator: str, given: dict[str, str]) -> bool:
    if found is None:
        return operator == "<>"
    [(kind, value)], [(given_kind, given_value)] = found.items(), given.items()
    if kind != given_kind:
        return operator == "<>"
    left, right = (float(value), float(given_value)) if kind == "N" else (value, given_value)
    return {"=": left == right, "<>": left != right, "<": left < right}[operator]
