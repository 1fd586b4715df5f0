"""What reaches a function makes a new version of it, what does not makes none, and the version before is kept.

Both ways are failures of a deployment: without a new version callers keep the old settings and the deployment reports
success; with one that would equal the last, Lambda publishes none and CloudFormation fails
(https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html).
"""

import re
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.support import ROOT
from tests.support.sam import translate, translate_template
from tests.support.templates import of_type, only, read_template, references

WRITTEN = read_template(ROOT / "template.yaml")
FUNCTIONS = of_type(WRITTEN, "AWS::Serverless::Function")
PARAMETERS = WRITTEN["Parameters"]
# All variables of a function, with their names: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
ENVIRONMENT_BYTES = 4096
# A value that is none of the parameter's own: what it is does not matter to SAM.
OTHER_VALUE = "other"
# Of the alias, of the function as a whole, or of the events; and the three that SAM looks at by itself.
NOT_OF_A_VERSION = {
    "AutoPublishAlias", "CodeUri", "DeploymentPreference", "Description", "Environment", "EventInvokeConfig", "Events",
    "MemorySize", "ReservedConcurrentExecutions", "SourceKMSKeyArn",
}  # fmt: skip


def version_of(function: str, template: dict[str, Any]) -> str:
    return str(only({name: name for name in of_type(template, "AWS::Lambda::Version")}, f"{function}Version"))


def parameters_of(function: str) -> set[str]:
    return references(FUNCTIONS[function].get("Environment", {})) & PARAMETERS.keys()


def leaves(part: Any) -> list[Any]:
    match part:
        case {"Ref": _} | {"Fn::GetAtt": _}:
            return [part]
        case dict():
            return [leaf for value in part.values() for leaf in leaves(value)]
        case list():
            return [leaf for value in part for leaf in leaves(value)]
    return [str(part)]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_a_parameter_makes_a_new_version_of_the_functions_that_it_reaches_and_of_no_other(parameter: str) -> None:
    # Both have a value for every parameter, so that only the one makes a difference.
    values = {name: str(each.get("Default", "none")) for name, each in PARAMETERS.items()}
    other = "true" if set(PARAMETERS[parameter].get("AllowedValues", ())) == {"false", "true"} else OTHER_VALUE
    before, after = translate(**values), translate(**{**values, parameter: other})
    for function in FUNCTIONS:
        is_new = version_of(function, before) != version_of(function, after)
        reaches = parameter in parameters_of(function)
        assert is_new is reaches, (
            f"{function}: name in its SourceKMSKeyArn the parameters of its Environment, no others"
        )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_property_that_a_version_keeps_makes_a_new_one(function: str) -> None:
    condition, joined, otherwise = FUNCTIONS[function]["SourceKMSKeyArn"]["Fn::If"]
    _, parts = joined["Fn::Join"]
    kept = [
        leaf for name, value in FUNCTIONS[function].items() if name not in NOT_OF_A_VERSION for leaf in leaves(value)
    ]
    for leaf in kept:
        assert leaf in parts, f"{function}: name {leaf} in its SourceKMSKeyArn"
    # CloudFormation never sees it, or Lambda would take it for a key.
    assert (condition, otherwise) == ("Never", {"Ref": "AWS::NoValue"})
    assert all(isinstance(part, str | dict) for part in parts)


def test_the_condition_that_hides_the_list_never_holds() -> None:
    assert WRITTEN["Conditions"]["Never"] == {"Fn::Equals": [{"Ref": "AllowedOrigins"}, ""]}
    assert not re.search(PARAMETERS["AllowedOrigins"]["AllowedPattern"], "")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_new_code_makes_a_new_version_and_other_artifacts_of_the_same_stack_none(function: str) -> None:
    def built(key: str) -> str:
        template = yaml_parse((ROOT / "template.yaml").read_text())
        for name, resource in template["Resources"].items():
            if resource["Type"] == "AWS::Serverless::Function":
                resource["Properties"]["CodeUri"] = f"s3://bucket/{key if name == function else 'same'}"
        return version_of(function, translate_template(template))

    assert built("one") != built("two")
    assert built("one") == built("one")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_version_before_is_kept(function: str) -> None:
    template = translate()
    version = template["Resources"][version_of(function, template)]
    # A new one has another logical id, so the old one is deleted from the stack, never replaced.
    assert version["DeletionPolicy"] == "Retain"
    assert version["Properties"].keys() == {"FunctionName"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_longest_values_that_are_allowed_fit_into_the_environment(function: str) -> None:
    def longest(parameter: dict[str, Any]) -> int:
        if "AllowedValues" in parameter:
            return max(len(str(value)) for value in parameter["AllowedValues"])
        if parameter["Type"] == "Number":
            return len(str(parameter["MaxValue"]))
        return int(parameter.get("MaxLength") or 12)  # an amount: nine digits, a point and two

    variables = FUNCTIONS[function]["Environment"]["Variables"]
    # Of a resource's name or ARN, at most 256 characters are needed.
    sizes = [
        longest(PARAMETERS[value["Ref"]]) if isinstance(value, dict) and value.get("Ref") in PARAMETERS else 256
        for value in variables.values()
    ]
    unbounded = [
        name
        for name in parameters_of(function)
        if "MaxLength" not in PARAMETERS[name]
        and "AllowedValues" not in PARAMETERS[name]
        and PARAMETERS[name]["Type"] == "String"
        and "{1,9}" not in PARAMETERS[name]["AllowedPattern"]
    ]
    assert not unbounded, "give them a MaxLength"
    assert sum(sizes) + sum(map(len, variables)) <= ENVIRONMENT_BYTES
