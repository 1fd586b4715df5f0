"""Prints ``template.yaml`` as CloudFormation gets it, in JSON: ``python -m infra.local.translate``.

It is SAM's own translation, without an AWS account.
"""

import json
from pathlib import Path

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

if __name__ == "__main__":
    template = yaml_parse(Path("template.yaml").read_text())
    # No loader of managed policies: the template uses none, and a call for one should fail.
    validator = SamTemplateValidator(template, managed_policy_loader=None, region="us-east-1")
    print(json.dumps(yaml_parse(validator.get_translated_template_if_valid())))
