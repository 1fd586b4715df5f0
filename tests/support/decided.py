"""A template as CloudFormation deploys it: its parameters have values, its conditions are decided."""

from typing import Any

_NO_VALUE = {"Ref": "AWS::NoValue"}


class Stack:
    """What is left of a template.

    Args:
        template: As ``translate`` or ``read_template`` returns it.
        parameters: Values in place of the parameters' defaults.
    """

    def __init__(self, template: dict[str, Any], **parameters: str) -> None:
        self._template = template
        declared = template.get("Parameters", {})
        assert parameters.keys() <= declared.keys()
        self.parameters = {name: str(parameters.get(name, each.get("Default", ""))) for name, each in declared.items()}
        self.resources = self._kept("Resources")
        self.outputs = self._kept("Outputs")

    def _kept(self, section: str) -> dict[str, Any]:
        parts = self._template.get(section, {})
        return {
            name: self._decided(part)
            for name, part in parts.items()
            if "Condition" not in part or self._holds(part["Condition"])
        }

    def _holds(self, condition: Any) -> bool:
        match condition:
            case str(name):
                return self._holds(self._template["Conditions"][name])
            case {"Condition": name}:
                return self._holds(name)
            case {"Fn::Equals": [one, other]}:
                return self._text(one) == self._text(other)
            case {"Fn::Not": [inner]}:
                return not self._holds(inner)
            case {"Fn::And": parts}:
                return all(map(self._holds, parts))
            case {"Fn::Or": parts}:
                return any(map(self._holds, parts))
        raise AssertionError(condition)

    def _text(self, value: Any) -> str:
        return self.parameters[value["Ref"]] if isinstance(value, dict) else str(value)

    def _decided(self, part: Any) -> Any:
        match part:
            case {"Fn::If": [condition, yes, no]}:
                return self._decided(yes if self._holds(condition) else no)
            case dict():
                parts = {name: self._decided(value) for name, value in part.items()}
                return {name: value for name, value in parts.items() if value != _NO_VALUE}
            case list():
                return [value for value in map(self._decided, part) if value != _NO_VALUE]
        return part
