"""Templates as CloudFormation gets them: SAM's own translation, in this process and without an AWS account."""

import copy
import functools
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).parents[2] / "template.yaml"


def translate(**parameters: str) -> dict[str, Any]:
    """Returns the translated ``template.yaml``.

    Args:
        parameters: Values of its parameters; the others have their defaults.
    """
    template = copy.deepcopy(_template())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"  # as `sam deploy` does after its upload
    return translate_template(template, **parameters)


@functools.cache  # Parsing takes a hundred times as long as copying.
def _template() -> dict[str, Any]:
    return yaml_parse(TEMPLATE.read_text())


def translate_template(template: dict[str, Any], **parameters: str) -> dict[str, Any]:
    """Returns a template of SAM, as it is after its upload, translated; the one given is changed."""
    session = boto3.Session(region_name="us-east-1")
    # No managed policies: the template uses none, and one that it used should fail.
    return Translator({}, Parser(), boto_session=session).translate(template, parameters)
