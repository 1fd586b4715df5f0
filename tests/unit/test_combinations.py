"""Whatever the owner chooses: nothing in the stack refers to what is not there, and nothing waits for itself."""

import functools
import graphlib
import itertools
import re
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.decided import Stack
from tests.support.sam import translate
from tests.support.templates import read_template, references

NESTED = read_template(ROOT / "infra" / "observability.yaml")
DEPLOY = read_template(ROOT / "infra" / "github-deploy.yaml")
# For a parameter that is free text: one more value than those that conditions ask about.
ANOTHER = {
    "AllowedOrigins": "https://shop.example,https://www.shop.example",
    "AlarmEmail": "owner@shop.example",
    "GitHubProviderArn": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com",
    "KeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1",
    "ReservedConcurrency": "0",
    "InvoiceLifetime": "60",
    "Coins": "BTC",
}


def compared(condition: Any) -> list[tuple[str, str]]:
    """The parameters that a condition asks about, each with a value that it compares."""
    match condition:
        case {"Fn::Equals": [{"Ref": parameter}, value]}:
            return [(parameter, str(value))]
        case dict():
            return [pair for part in condition.values() for pair in compared(part)]
        case list():
            return [pair for part in condition for pair in compared(part)]
    return []


def combinations(template: dict[str, Any]) -> list[dict[str, str]]:
    """All combinations of values that the conditions tell apart."""
    values: dict[str, set[str]] = {}
    sources = [template.get("Conditions", {}), template.get("Rules", {})]
    for parameter, value in compared(sources):
        declared = template["Parameters"][parameter]
        allowed = set(map(str, declared.get("AllowedValues", ())))
        fits = not declared.get("AllowedPattern") or re.search(declared["AllowedPattern"], value)
        others = allowed or {str(declared["Default"]) if "Default" in declared else "", ANOTHER.get(parameter, "")}
        values.setdefault(parameter, set()).update({value} if fits else set(), others - {""} or {""})
        if not allowed and re.search(declared.get("AllowedPattern", ""), ""):
            values[parameter].add("")
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*map(sorted, values.values()))]


@functools.cache
def translated(canary: str) -> dict[str, Any]:
    # Alone among the parameters, this one changes what SAM makes and not only what CloudFormation makes of it.
    return translate(CanaryRollout=canary, AllowedOrigins="none")


WRITTEN = read_template(ROOT / "template.yaml")
CASES = [
    *(("stack", chosen) for chosen in combinations(WRITTEN)),
    *(("alarms", chosen) for chosen in combinations(NESTED)),
    *(("deploying roles", chosen) for chosen in combinations(DEPLOY)),
]


def decided(kind: str, chosen: dict[str, str]) -> Stack:
    templates = {"alarms": NESTED, "deploying roles": DEPLOY}
    return Stack(templates.get(kind) or translated(chosen["CanaryRollout"]), **chosen)


def test_there_are_combinations_of_every_switch() -> None:
    switches = {name for kind, chosen in CASES if kind == "stack" for name in chosen}
    assert switches >= {"AllowedOrigins", "CanaryRollout", "CustomerManagedKey", "Observability", "ReservedConcurrency"}
    assert len(CASES) >= 48


@pytest.mark.parametrize(
    ("kind", "chosen"), CASES, ids=lambda part: part if isinstance(part, str) else "-".join(part.values())
)
def test_nothing_refers_to_what_is_not_there_and_nothing_waits_for_itself(kind: str, chosen: dict[str, str]) -> None:
    stack = decided(kind, chosen)
    there = stack.resources.keys() | stack.parameters.keys()
    for name, part in {**stack.resources, **stack.outputs}.items():
        dangling = (
            {other for other in references(part) if not other.startswith("AWS")} - there - part.get("_", {}).keys()
        )
        # The variables of a Sub of their own, and those of API Gateway's access log.
        assert not dangling, f"{name} refers to {dangling}"
    waits_for = {name: references(resource) & stack.resources.keys() for name, resource in stack.resources.items()}
    graphlib.TopologicalSorter(waits_for).prepare()


@pytest.mark.parametrize("resource", ["RolloutRole", "EncryptionKey", "ObservabilityStack"])
def test_a_reference_to_what_a_choice_leaves_out_would_be_found(resource: str) -> None:
    # The check itself: with everything off, these are not there.
    stack = decided("stack", {"AllowedOrigins": "none", "CanaryRollout": "false"})
    assert resource not in stack.resources
    assert references({"Fn::GetAtt": [resource, "Arn"]}) - stack.resources.keys() == {resource}
