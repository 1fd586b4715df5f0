"""CloudFormation's templates for tests: read with their short forms, translated as AWS does, and with conditions decided."""

import functools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_LOCAL_PYTHON = ROOT / ".venv-local" / "bin" / "python"
_ENVIRONMENT = {"AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin", "SAM_CLI_TELEMETRY": "0"}


class _Loader(yaml.SafeLoader):
    """Reads the short forms: ``!Ref x`` as ``{"Ref": "x"}``, ``!GetAtt a.b`` as ``{"Fn::GetAtt": ["a", "b"]}``."""


def _short_form(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    match node:
        case yaml.ScalarNode():
            value = node.value
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case yaml.MappingNode():
            value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _short_form)


def read(file: str) -> dict[str, Any]:
    """Returns a template of the repository as it is written."""
    return yaml.load((ROOT / file).read_text(), _Loader)


@functools.cache
def _local_tool(module: str, *arguments: str) -> str:
    command = [_LOCAL_PYTHON, "-m", f"infra.local.{module}", *arguments]
    return subprocess.run(command, cwd=ROOT, env=_ENVIRONMENT, capture_output=True, check=True, text=True).stdout


def translate(*parameters: str, template: str = "template.yaml") -> dict[str, Any]:
    """Returns ``template.yaml`` as SAM translates it.

    Args:
        parameters: Values for it, such as ``MaxAmount=5``.
        template: Another template to translate, its path.
    """
    return json.loads(_local_tool("translate", *([] if template == "template.yaml" else ["--template", template]), *parameters))


def actions_of(resource_types: set[str]) -> dict[str, list[str]]:
    """Returns, for each type, the actions that CloudFormation may need for such a resource, by its schema."""
    return json.loads(_local_tool("schemas", *sorted(resource_types)))


def listed(one_or_many: Any) -> list[Any]:
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


NO_VALUE = {"Ref": "AWS::NoValue"}


class Stack:
    """A translated template with values for its parameters: its conditions decided, what they leave out left out.

    Args:
        template: As ``translate`` returns it, or ``read`` for one without a transform.
        parameters: Values in place of the defaults.
    """

    def __init__(self, template: dict[str, Any], **parameters: str) -> None:
        self._template = template
        self.parameters = {
            name: str(parameters.get(name, parameter.get("Default", ""))) for name, parameter in template["Parameters"].items()
        }
        assert not parameters.keys() - self.parameters.keys()
        kept = {
            name: resource
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self.holds(resource["Condition"])
        }
        self.resources: dict[str, dict[str, Any]] = {name: self._decided(resource) for name, resource in kept.items()}
        self.outputs: dict[str, Any] = {
            name: self._decided(output)
            for name, output in template.get("Outputs", {}).items()
            if "Condition" not in output or self.holds(output["Condition"])
        }

    def holds(self, condition: Any) -> bool:
        """Tells whether a condition holds, named or written out."""
        match condition:
            case str(name):
                return self.holds(self._template["Conditions"][name])
            case {"Condition": name}:
                return self.holds(name)
            case {"Fn::Equals": [one, other]}:
                return self._text(one) == self._text(other)
            case {"Fn::Not": [inner]}:
                return not self.holds(inner)
            case {"Fn::And": parts}:
                return all(map(self.holds, parts))
            case {"Fn::Or": parts}:
                return any(map(self.holds, parts))
        raise AssertionError(condition)

    def _text(self, value: Any) -> str:
        return self.parameters[value["Ref"]] if isinstance(value, dict) else str(value)

    def _decided(self, part: Any) -> Any:
        match part:
            case {"Fn::If": [condition, yes, no]}:
                return self._decided(yes if self.holds(condition) else no)
            case dict():
                parts = {name: self._decided(value) for name, value in part.items()}
                return {name: value for name, value in parts.items() if value != NO_VALUE}
            case list():
                return [value for value in map(self._decided, part) if value != NO_VALUE]
        return part

    def of_type(self, resource_type: str) -> dict[str, dict[str, Any]]:
        """Returns the properties of all resources of a type, by logical id."""
        found = {name: r.get("Properties", {}) for name, r in self.resources.items() if r["Type"] == resource_type}
        assert found, f"no {resource_type} in the template"
        return found


def references(part: Any) -> set[str]:
    """Returns the names that a part of a template refers to: of resources, parameters and pseudo parameters."""
    match part:
        case {"Ref": str(name)}:
            return {name}
        case {"Fn::GetAtt": [str(name), *_]}:
            return {name}
        case {"Fn::GetAtt": str(name)}:
            return {name.partition(".")[0]}
        case {"Fn::Sub": [str(text), dict(values)]}:
            return references({"Fn::Sub": text}) - values.keys() | references(values)
        case {"Fn::Sub": str(text)}:
            return {name.partition(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text)}
        case {"DependsOn": names, **rest}:
            return set(listed(names)) | references(rest)
        case dict():
            return set().union(*map(references, part.values()))
        case list():
            return set().union(*map(references, part))
    return set()
