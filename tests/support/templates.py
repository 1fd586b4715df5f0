"""CloudFormation templates: read as they are written, and looked things up in."""

import copy
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as the long ones that they abbreviate.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
    """


def _long_form(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    match node:
        case yaml.ScalarNode():
            value = node.value
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case _:
            value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _long_form)


def read_template(path: Path) -> dict[str, Any]:
    """Returns a template with its intrinsic functions in their long forms: ``!Ref x`` is ``{"Ref": "x"}``."""
    return copy.deepcopy(_parsed(path.read_text()))


@functools.cache  # Parsing takes a hundred times as long as copying.
def _parsed(text: str) -> dict[str, Any]:
    return yaml.load(text, _Loader)


def of_type(template: Mapping[str, Any], resource_type: str) -> dict[str, dict[str, Any]]:
    """Returns the properties of all resources of a type, by their names; fails if there are none."""
    found = {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == resource_type
    }
    assert found, f"no {resource_type} in the template"
    return found


def only(found: Mapping[str, Any], name: str) -> Any:
    """Returns the one that has this name, or the one that SAM named after it.

    Args:
        found: Anything by its name, such as what ``of_type`` returned.
        name: Of a resource such as ``CreateInvoiceFunction``, whose version SAM names
            ``CreateInvoiceFunctionVersion0123456789``
            (https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-generated-resources.html).
    """
    named = [name] if name in found else [other for other in found if other.startswith(name)]
    assert named, f"nothing is named {name}, or after it; there are {', '.join(sorted(found)) or 'none at all'}"
    assert len(named) == 1, f"{len(named)} are named after {name}: {', '.join(named)}"
    return found[named[0]]


def references(part: Any) -> set[str]:
    """Returns the names of all resources and parameters that a part of a template refers to."""
    match part:
        case {"Ref": str(name)}:
            return {name}
        case {"Fn::GetAtt": [str(name), *_]}:
            return {name}
        case {"Fn::Sub": [str(text), dict(variables)]}:
            return references({"Fn::Sub": text}) - variables.keys() | references(variables)
        case {"DependsOn": names, **rest}:
            return set(listed(names)) | references(rest)
        case dict():
            inner = set().union(*map(references, part.values()))
            text = listed(part.get("Fn::Sub", ""))[0]
            return inner | set(re.findall(r"\$\{(\w+)", text)) if isinstance(text, str) else inner
        case list():
            return set().union(*map(references, part))
        case _:
            return set()


def listed(one_or_many: Any) -> list[Any]:
    """Returns a list, also of what a template may write without one."""
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]
