"""Prints ``template.yaml`` as CloudFormation gets it, in JSON: ``python -m infra.local.translate [Name=value ...]``.

It is SAM's own translation, without an AWS account; the arguments are values for the template's parameters.
"""

import json
import sys
from pathlib import Path

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

if __name__ == "__main__":
    template = yaml_parse(Path("template.yaml").read_text())
    parameters = dict(argument.split("=", 1) for argument in sys.argv[1:])
    # No loader of managed policies: the template uses none, and a call for one should fail.
    validator = SamTemplateValidator(
        template, managed_policy_loader=None, region="us-east-1", parameter_overrides=parameters
    )
    print(json.dumps(yaml_parse(validator.get_translated_template_if_valid())))
