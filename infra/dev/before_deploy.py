"""What ``make deploy`` checks before it builds: ``python -m infra.dev.before_deploy ENV ORIGINS PARAMETERS``."""

import re
import sys
import tomllib
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from samtranslator.yaml_helper import yaml_parse


class NotReady(Exception):
    """What is missing, and what to do, in a sentence."""


def check(env: str, origins: str, parameters: str) -> None:
    """Looks at origins, region and credentials.

    Args:
        env: The section of samconfig.toml.
        origins: What ``make`` was given as ``ORIGINS``.
        parameters: What ``make`` was given as ``PARAMETERS``: ``Name=value`` pairs, separated by spaces.

    Raises:
        NotReady: The deployment would fail.
    """
    allowed = yaml_parse(Path("template.yaml").read_text())["Parameters"]["AllowedOrigins"]
    if origins and not re.search(allowed["AllowedPattern"], origins):
        raise NotReady(f"ORIGINS is '{origins}': it {allowed['ConstraintDescription']}")
    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            raise NotReady(
                "There are no AWS credentials: sign in (aws sso login, or aws configure) or set AWS_PROFILE."
            )
        if session.region_name is None:
            raise NotReady(
                "No AWS region is set: export AWS_REGION=eu-west-1, for example, or name one in your profile."
            )
        if not origins and "AllowedOrigins=" not in parameters:
            stack = tomllib.loads(Path("samconfig.toml").read_text())[env]["global"]["parameters"]["stack_name"]
            session.client("cloudformation").describe_stacks(StackName=stack)
    except ClientError as error:
        if "does not exist" in str(error):
            raise NotReady(
                f"The first deployment of {stack} needs the sites whose pages may create invoices: "
                f"make deploy ORIGINS=https://shop.example, or ORIGINS=none for no page."
            ) from error
        raise NotReady(f"AWS refused to say whether {stack} exists: {error}") from error
    except BotoCoreError as error:
        raise NotReady(f"AWS cannot be asked: {error}") from error


if __name__ == "__main__":
    try:
        check(*sys.argv[1:])
    except NotReady as reason:
        sys.exit(str(reason))
