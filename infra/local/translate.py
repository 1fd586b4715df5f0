"""Prints ``template.yaml`` as CloudFormation gets it: ``python -m infra.local.translate [--template FILE] [Name=value ...]``.

It is SAM's own translation, in JSON, without an AWS account; the arguments are values for the template's parameters.
"""

import argparse
import json
from pathlib import Path

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--template", default="template.yaml")
    parser.add_argument("values", nargs="*")
    arguments = parser.parse_args()
    template = yaml_parse(Path(arguments.template).read_text())
    parameters = dict(value.split("=", 1) for value in arguments.values)
    # No loader of managed policies: the template uses none, and a call for one should fail.
    validator = SamTemplateValidator(
        template, managed_policy_loader=None, region="us-east-1", parameter_overrides=parameters
    )
    print(json.dumps(yaml_parse(validator.get_translated_template_if_valid())))
