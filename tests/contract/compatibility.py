"""What in a new version of the contract breaks callers of an old one.

The tools tried do not do it for this file: oasdiff and openapi-changes are programs to be downloaded from GitHub,
openapi-diff stops at OpenAPI 3.0, optic lets a shorter maxLength pass. So this is a small one that knows what our
contract is made of, and takes for breaking whatever it does not know to be harmless.

Harmless are: descriptions and examples; a new operation, optional request field or header, a request that accepts more;
a new reply field or header; a new error code, which the contract asks callers to expect; a new status of an error.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

Json = Mapping[str, Any]
_ANNOTATIONS = {"$comment", "default", "deprecated", "description", "example", "examples", "summary", "title"}
_LOWER = {"exclusiveMinimum", "minItems", "minLength", "minProperties", "minimum"}
_UPPER = {"exclusiveMaximum", "maxItems", "maxLength", "maxProperties", "maximum"}
_STRUCTURE = {"additionalProperties", "anyOf", "const", "enum", "items", "oneOf", "properties", "required", "type"}
_MISSING, _NOT_ACCEPTED = ": may be missing where it is needed", ": no longer accepted"
_PROBLEM = "application/problem+json"


def breaking_changes(old: Json, new: Json) -> list[str]:
    """Returns a line for each change that breaks callers, or nothing.

    Args:
        old: The OpenAPI document that callers rely on.
        new: The one that is to replace it.
    """
    return list(_in_document(_resolved(old, old), _resolved(new, new)))


def _in_document(old: Json, new: Json) -> Iterator[str]:
    for path, operations in old["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            successor = new["paths"].get(path, {}).get(method)
            if successor is None:
                yield f"{name}: removed"
                continue
            before, after = (
                {"security": document.get("security", []), **it}
                for document, it in ((old, operation), (new, successor))
            )
            yield from (f"{name}: {change}" for change in _in_operation(before, after))


def _in_operation(old: Json, new: Json) -> Iterator[str]:
    for member in ("operationId", "security"):
        if old.get(member) != new.get(member):
            yield f"{member} changed"
    yield from _in_parameters(_parameters(old), _parameters(new))
    yield from _in_request(old.get("requestBody", {"content": {}}), new.get("requestBody", {"content": {}}))
    yield from _in_responses(old["responses"], new["responses"])
    yield from _in_errors(_errors(old), _errors(new))


def _in_parameters(old: Json, new: Json) -> Iterator[str]:
    for name, parameter in old.items():
        if name not in new:
            yield f"{name}: removed"
        else:
            yield from _not_within(parameter["schema"], new[name]["schema"], name)
    for name, parameter in new.items():
        if parameter.get("required") and not old.get(name, {}).get("required"):
            yield f"{name}: now required"


def _in_request(old: Json, new: Json) -> Iterator[str]:
    if new.get("required") and not old.get("required"):
        yield "request body: now required"
    for media_type, content in old["content"].items():
        if media_type not in new["content"]:
            yield f"request body {media_type}: no longer accepted"
        else:
            yield from _not_within(content["schema"], new["content"][media_type]["schema"], "request body")


def _in_responses(old: Json, new: Json) -> Iterator[str]:
    for status in new.keys() - old.keys():
        if status[0] not in "45":
            yield f"response {status}: a new kind of success"
    for status, response in old.items():
        where = f"response {status}"
        if status not in new:
            yield f"{where}: removed"
            continue
        for name, header in response.get("headers", {}).items():
            after = new[status].get("headers", {}).get(name)
            if after is None:
                yield f"{where} header {name}: removed"
                continue
            if header.get("required") and not after.get("required"):
                yield f"{where} header {name}: may be missing"
            yield from _not_within(after["schema"], header["schema"], f"{where} header {name}")
        before, after = response.get("content", {}), new[status].get("content", {})
        yield from (f"{where} {media_type}: removed" for media_type in before if media_type not in after)
        yield from (f"{where} {media_type}: a new form of reply" for media_type in after if media_type not in before)
        for media_type in (before.keys() & after.keys()) - {_PROBLEM}:
            yield from _not_within(after[media_type]["schema"], before[media_type]["schema"], where)


def _in_errors(old: Json, new: Json) -> Iterator[str]:
    for code, (status, schema) in old.items():
        if code not in new:
            yield f"error {code}: removed"
        elif new[code][0] != status:
            yield f"error {code}: status {status} became {new[code][0]}"
        else:
            yield from _not_within(new[code][1], schema, f"error {code}")


def _parameters(operation: Json) -> Json:
    return {f"{parameter['in']} {parameter['name']}": parameter for parameter in operation.get("parameters", [])}


def _errors(operation: Json) -> dict[str, tuple[str, Json]]:
    """Returns status and schema of each error by its code."""
    return {
        branch["properties"]["code"]["const"]: (status, branch)
        for status, response in operation["responses"].items()
        for branch in _branches(response.get("content", {}).get(_PROBLEM, {"schema": {"oneOf": []}})["schema"])
    }


def _not_within(inner: Json, outer: Json, where: str) -> Iterator[str]:
    """Says why a value of the schema ``inner`` may not be one of ``outer``; says too much rather than too little."""
    if "default" in inner and inner["default"] != outer.get("default"):
        yield f"{where}: default {inner['default']}, now {outer.get('default', 'absent')}"
    for branch in _branches(inner):
        if "const" in branch or "enum" in branch:
            allowed = jsonschema_rs.Draft202012Validator(outer)
            values = [branch["const"]] if "const" in branch else branch["enum"]
            refused = [value for value in values if not allowed.is_valid(value)]
            yield from (f"{where}: {value!r} instead of what was promised" for value in refused)
            continue
        reasons = [list(_plain_not_within(branch, candidate, where)) for candidate in _branches(outer)]
        if all(reasons):
            yield from min(reasons, key=_how_unlike)


def _how_unlike(reasons: list[str]) -> tuple[int, bool, int]:
    # The likeliest counterpart of a schema has the same fields and is of the same type.
    fields = sum(reason.endswith((_NOT_ACCEPTED, _MISSING)) for reason in reasons)
    return fields, any(": type " in reason for reason in reasons), len(reasons)


def _plain_not_within(inner: Json, outer: Json, where: str) -> Iterator[str]:
    if "type" in outer and inner.get("type") not in (outer["type"], "integer" if outer["type"] == "number" else None):
        yield f"{where}: type {inner.get('type', 'any')}, not {outer['type']}"
        return
    if ("const" in outer or "enum" in outer) and not ("const" in inner or "enum" in inner):
        yield f"{where}: no longer one of {outer.get('enum', [outer.get('const')])}"
    for keyword in outer.keys() - _ANNOTATIONS - _STRUCTURE:
        if not _implies(keyword, inner.get(keyword), outer[keyword]):
            yield f"{where}: {keyword} {inner.get(keyword, 'absent')}, not {outer[keyword]}"
    for name in outer.get("required", []):
        if name not in inner.get("required", []):
            yield f"{where}/{name}{_MISSING}"
    yield from _properties_not_within(inner, outer, where)
    if "items" in outer:
        yield from _not_within(inner.get("items", {}), outer["items"], f"{where}/*")


def _properties_not_within(inner: Json, outer: Json, where: str) -> Iterator[str]:
    inner_properties, outer_properties = inner.get("properties", {}), outer.get("properties", {})
    closed = inner.get("additionalProperties") is False
    for name, schema in outer_properties.items():
        if name in inner_properties:
            yield from _not_within(inner_properties[name], schema, f"{where}/{name}")
        elif not closed:
            yield f"{where}/{name}: no longer described"
    if outer.get("additionalProperties", True) is not True:
        for name in inner_properties.keys() - outer_properties.keys():
            yield f"{where}/{name}{_NOT_ACCEPTED}"
        if inner.get("additionalProperties", True) != outer["additionalProperties"]:
            yield f"{where}: other fields no longer accepted"


def _implies(keyword: str, inner: Any, outer: Any) -> bool:
    if inner is not None and keyword in _LOWER:
        return bool(inner >= outer)
    if inner is not None and keyword in _UPPER:
        return bool(inner <= outer)
    return bool(inner == outer)


def _branches(schema: Json) -> list[Json]:
    """Returns the alternatives of a schema, each with one type at most."""
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            rest = {name: value for name, value in schema.items() if name != keyword and name not in _ANNOTATIONS}
            return [branch for option in schema[keyword] for branch in _branches({**rest, **option})]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return [schema]


def _resolved(node: Any, document: Json) -> Any:
    """Returns a part of a document with references followed and ``allOf`` merged."""
    if isinstance(node, list):
        return [_resolved(item, document) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _resolved(target, document)
    resolved = {name: _resolved(value, document) for name, value in node.items()}
    for part in resolved.pop("allOf", []):
        resolved = _merged(resolved, part)
    return resolved


def _merged(one: Json, other: Json) -> dict[str, Any]:
    merged = {**one, **other}
    if "required" in one and "required" in other:
        merged["required"] = sorted({*one["required"], *other["required"]})
    if "properties" in one and "properties" in other:
        both = one["properties"].keys() & other["properties"].keys()
        merged["properties"] = {
            **one["properties"],
            **other["properties"],
            **{name: {**one["properties"][name], **other["properties"][name]} for name in both},
        }
    return merged
