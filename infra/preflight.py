"""Checks whether a deployment can work, before anything is built or changed: ``make preflight ENV=prod ORIGINS=…``.

It changes nothing. What your rights do not let it read, it reports as not checked. It reads no value of the secret.
"""

import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from samtranslator.yaml_helper import yaml_parse

_ROOT = Path(__file__).parents[1]
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_ENDED_IN_FAILURE = frozenset({"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"})
_ONLY_THE_DEPLOYMENT_CAN_TELL = (
    "whether your rights, or those of the stack's role, suffice for every resource",
    "whether a policy of your organization forbids something",
    "whether the new version creates invoices: afterwards, run make smoke",
)


class NotReady(Exception):
    """The deployment would fail, or would not do what was asked. Has what was seen, and what to do."""

    def __init__(self, seen: str, to_do: str) -> None:
        super().__init__(f"{seen}: {to_do}")
        self.seen = seen
        self.to_do = to_do


class NotChecked(Exception):
    """This cannot be checked from here; the message is the reason."""


class Ready(str):
    """What was seen, where all is well."""

    __slots__ = ()


class Remark(str):
    """What was seen, where all is well but there is still something to do."""

    __slots__ = ()


@dataclass(slots=True)
class Preflight:
    """The checks of one deployment.

    Args:
        env: The section of samconfig.toml.
        origins: What ``make`` was given as ``ORIGINS``.
        parameters: What ``make`` was given as ``PARAMETERS``: ``Name=value`` pairs, separated by spaces.
        client: Makes a client of a service of AWS; raises what botocore raises.
    """

    env: str
    origins: str
    parameters: str
    client: Callable[[str], Any]
    _stack: dict[str, Any] | None = field(default=None, init=False)
    _template: dict[str, Any] = field(init=False)
    _section: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self._template = yaml_parse((_ROOT / "template.yaml").read_text())
        self._section = tomllib.loads((_ROOT / "samconfig.toml").read_text())[self.env]

    @property
    def stack_name(self) -> str:
        """The name of the stack."""
        return str(self._section["global"]["parameters"]["stack_name"])

    def checks(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yields name and check, the most important first. If one of the first three fails, no other runs."""
        yield "parameters", self.parameters_are_within_their_limits
        yield "signed in", self.somebody_is_signed_in
        yield "stack", self.the_stack_can_be_changed
        yield "region", self.the_region_has_every_type_of_resource
        yield "concurrency", self.the_quota_suffices
        yield "CodeDeploy", self.codedeploy_answers
        yield "versions", self.the_alias_is_where_the_stack_left_it
        yield "secret", self.the_secret_is_filled

    # Offline.

    def given(self) -> dict[str, str]:
        """Returns the parameters that this deployment would set.

        Raises:
            NotReady: They are not pairs of name and value.
        """
        if re.search(r"\s", self.origins):
            raise NotReady(
                f"ORIGINS has a space in it: '{self.origins}'",
                "separate the sites by commas alone, as in ORIGINS=https://shop.example,https://www.shop.example.",
            )
        section = self._section["deploy"]["parameters"].get("parameter_overrides", "")
        sites = f"AllowedOrigins={self.origins}" if self.origins else ""
        try:
            # In quotes, as `sam deploy --guided` writes them into samconfig.toml.
            words = shlex.split(f"{section} {sites} {self.parameters}")
        except ValueError:
            raise NotReady("PARAMETERS has a quotation mark without its other", "write Name=value pairs.") from None
        for word in words:
            if "=" not in word:
                raise NotReady(
                    f"PARAMETERS has '{word}', which is no Name=value",
                    "separate the pairs by spaces; a value has none.",
                )
        return dict(word.split("=", 1) for word in words)

    def parameters_are_within_their_limits(self) -> str:
        """Compares names and values with the template's rules."""
        known = self._template["Parameters"]
        given = self.given()
        for name, value in given.items():
            if name not in known:
                raise NotReady(f"there is no parameter {name}", f"the parameters are {', '.join(sorted(known))}.")
            if not _fits(value, rule := known[name]):
                named = "ORIGINS" if name == "AllowedOrigins" and self.origins else name
                raise NotReady(f"{named} is '{value}'", f"it {_rule(rule)}")
        return Ready(f"{len(given)} given, all within their limits")

    # The account.

    def somebody_is_signed_in(self) -> str:
        """Asks who is signed in, and in which region."""
        try:
            sts = self.client("sts")
            identity = sts.get_caller_identity()
        except ClientError as error:
            raise NotReady(
                f"AWS does not accept your credentials ({_code(error)})",
                "sign in again (aws sso login, or aws configure). If they are right, the region is not turned on.",
            ) from error
        return Ready(f"{identity['Arn']} in {sts.meta.region_name}")

    def the_stack_can_be_changed(self) -> str:
        """Checks that the name is free, or is a stack of ours that can take a change."""
        try:
            self._stack = self.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
        if self._stack is None or self._stack["StackStatus"] == "REVIEW_IN_PROGRESS":
            self._stack = None
            if "AllowedOrigins" not in self.given():
                raise NotReady(
                    f"the first deployment of {self.stack_name} needs the sites whose pages may create invoices",
                    "make deploy ORIGINS=https://shop.example, or ORIGINS=none for no page.",
                )
            return Ready(f"{self.stack_name} is a free name; this creates it")
        tags = {tag["Key"]: tag["Value"] for tag in self._stack.get("Tags", ())}
        if tags.get("application") != "cryptocloud-invoices":
            raise NotReady(
                f"{self.stack_name} is a stack that this project did not make",
                "give yours another stack_name in samconfig.toml: at most 28 letters, digits and single dashes.",
            )
        status = self._stack["StackStatus"]
        if status in _ENDED_IN_FAILURE:
            raise NotReady(
                f"{self.stack_name} is {status}: its creation or deletion failed, so it takes no change",
                f"delete it, then deploy again: aws cloudformation delete-stack --stack-name {self.stack_name}. "
                "The events of the stack in the CloudFormation console name the reason.",
            )
        if status == "UPDATE_ROLLBACK_FAILED":
            raise NotReady(
                f"{self.stack_name} is {status}",
                f"aws cloudformation continue-update-rollback --stack-name {self.stack_name}, then deploy again.",
            )
        if status.endswith("_IN_PROGRESS"):
            raise NotReady(f"{self.stack_name} is {status}", "wait until the other deployment has ended.")
        return Ready(f"{self.stack_name} is {status}; this changes it")

    def the_region_has_every_type_of_resource(self) -> str:
        """Compares the types that the templates use with those that CloudFormation has in the region."""
        region = self.client("sts").meta.region_name
        missing = self._types() - _types_of(region)
        if missing:
            raise NotReady(f"{region} lacks {', '.join(sorted(missing))}", "deploy to another region: AWS_REGION=…")
        return Ready(f"{region} has every type of resource that is used")

    def the_quota_suffices(self) -> str:
        """Compares the account's concurrency with the one that is asked for."""
        limit = self.client("lambda").get_account_settings()["AccountLimit"]
        total, free = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
        asked, has = (
            _number(self._effective("ReservedConcurrency")),
            _number(self._current().get("ReservedConcurrency")),
        )
        # Lambda keeps this many for the functions without a reservation; a new account has no more than that in all.
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
        kept = min(100, total)
        if asked > free + has - kept:
            raise NotReady(
                f"ReservedConcurrency={asked} is more than the account has: {total} in all, {free} unreserved, "
                f"of which {kept} must stay so",
                "ask for a higher quota (https://console.aws.amazon.com/servicequotas, Lambda, Concurrent executions), "
                "or leave ReservedConcurrency at none.",
            )
        return Ready(f"Lambda runs {total} requests at once in this account, over all functions")

    def codedeploy_answers(self) -> str:
        """With a canary, asks whether the account has CodeDeploy: some new ones do not."""
        if self._effective("CanaryRollout") != "true":
            return Ready("not needed: CanaryRollout is false")
        try:
            self.client("codedeploy").list_applications()
        except ClientError as error:
            if _code(error) in _DENIED:
                raise
            raise NotReady(
                f"CodeDeploy does not serve this account ({_code(error)})",
                "deploy once with PARAMETERS=CanaryRollout=false; AWS turns a new account on within a day.",
            ) from error
        return Ready("it answers; the stack brings the role that shifts its alias")

    # What earlier deployments, or changes by hand, left behind.

    def the_alias_is_where_the_stack_left_it(self) -> str:
        """Finds what makes every canary fail: an alias that was moved by hand, a version that a roll-back left."""
        if self._stack is None:
            return Ready("none yet")
        resources = self.client("cloudformation").describe_stack_resources(StackName=self.stack_name)["StackResources"]
        versions = [r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::Lambda::Version"]
        left = []
        for arn in versions:
            function, _, version = arn.rpartition(":")
            alias = self.client("lambda").get_alias(FunctionName=function, Name="live")["FunctionVersion"]
            if alias != version and self._effective("CanaryRollout") == "true":
                # https://github.com/aws/serverless-application-model/issues/291
                raise NotReady(
                    f"the alias of {function} points to version {alias}, and the stack knows {version}: "
                    "every deployment as a canary fails",
                    f"point it back first: aws lambda update-alias --function-name {function} --name live "
                    f"--function-version {version}. Or deploy with PARAMETERS=CanaryRollout=false.",
                )
            left += [f"{function}:{number}" for number in self._versions_after(function, int(version))]
        if left:
            # https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html
            return Remark(
                f"a deployment that was rolled back left {', '.join(left)}. To deploy the same commit and parameters "
                "again, delete it first, or AWS finds nothing new: "
                + " ".join(f"aws lambda delete-function --function-name {version};" for version in left)
            )
        return Ready("the alias of every function is where the last deployment left it")

    def _versions_after(self, function: str, version: int) -> list[int]:
        pages = self.client("lambda").get_paginator("list_versions_by_function").paginate(FunctionName=function)
        numbers = [each["Version"] for page in pages for each in page["Versions"]]
        return [int(number) for number in numbers if number.isdecimal() and int(number) > version]

    def the_secret_is_filled(self) -> str:
        """Checks that the secret has a value, without reading it."""
        outputs = {o["OutputKey"]: o["OutputValue"] for o in (self._stack or {}).get("Outputs", ())}
        if "SecretArn" not in outputs:
            return Remark(f"not there yet; after the deployment, run make secret ENV={self.env}")
        described = self.client("secretsmanager").describe_secret(SecretId=outputs["SecretArn"])
        if not any("AWSCURRENT" in stages for stages in described.get("VersionIdsToStages", {}).values()):
            return Remark(f"it is empty, so no invoice can be created: run make secret ENV={self.env}")
        return Ready(f"it is filled; whether CryptoCloud takes it: make secret ENV={self.env} CHECK=1")

    def _current(self) -> dict[str, str]:
        parameters = (self._stack or {}).get("Parameters", ())
        return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in parameters}

    def _effective(self, name: str) -> str:
        default = str(self._template["Parameters"][name].get("Default", ""))
        return self.given().get(name) or self._current().get(name) or default

    def _types(self) -> set[str]:
        nested = yaml_parse((_ROOT / "infra" / "observability.yaml").read_text())
        written = {r["Type"] for t in (self._template, nested) for r in t["Resources"].values()}
        # What SAM makes of its own types.
        made = {"Lambda::Function", "Lambda::Version", "Lambda::Alias", "Lambda::Permission"}
        made |= {"Lambda::EventInvokeConfig", "ApiGatewayV2::Api", "ApiGatewayV2::Stage", "Scheduler::Schedule"}
        if self._effective("CanaryRollout") == "true":
            made |= {"CodeDeploy::Application", "CodeDeploy::DeploymentGroup"}
        return {name for name in written if not name.startswith("AWS::Serverless")} | {f"AWS::{name}" for name in made}


def _types_of(region: str) -> set[str]:
    # Takes half a second to import, and is only in SAM CLI's environment.
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    return set(PROVIDER_SCHEMA_MANAGER.get_resource_types(region))


def _fits(value: str, rule: Mapping[str, Any]) -> bool:
    if "AllowedValues" in rule:
        return value in map(str, rule["AllowedValues"])
    if rule["Type"] == "Number":
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
            return False
        return float(rule.get("MinValue", "-inf")) <= float(value) <= float(rule.get("MaxValue", "inf"))
    fits = int(rule.get("MinLength", 0)) <= len(value) <= int(rule.get("MaxLength", 4096))
    return fits and re.search(rule.get("AllowedPattern", ""), value) is not None


def _rule(rule: Mapping[str, Any]) -> str:
    if "AllowedValues" in rule:
        return f"must be one of {', '.join(map(str, rule['AllowedValues']))}."
    if rule["Type"] == "Number":
        bounds = [f"{word} {rule[name]}" for word, name in (("from", "MinValue"), ("to", "MaxValue")) if name in rule]
        return f"must be a number {' '.join(bounds)}."
    length = f" It may have {rule['MaxLength']} characters at most." if "MaxLength" in rule else ""
    return rule.get("ConstraintDescription", "is too long.") + length


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def run(preflight: Preflight) -> bool:
    """Prints a line for each check; returns whether the deployment can be tried."""
    ready = True
    for place, (name, check) in enumerate(preflight.checks()):
        try:
            seen = _asked(check)
        except NotChecked as reason:
            print(f"-     {name} was not checked: {reason}")
            continue
        except NotReady as reason:
            print(f"FAIL  {name}: {reason.seen}\n      {reason.to_do}")
            ready = False
            if place < 3:
                break
            continue
        print(f"{'note' if isinstance(seen, Remark) else 'ok  '}  {name}: {seen}")
    if ready:
        print("Only the deployment can tell:\n" + "\n".join(f"-     {what}" for what in _ONLY_THE_DEPLOYMENT_CAN_TELL))
    return ready


def _asked(check: Callable[[], str]) -> str:
    try:
        return check()
    except ClientError as error:
        action = f"{error.operation_name} was refused"
        raise NotChecked(f"{action} ({_code(error)})") from error
    except BotoCoreError as error:
        raise NotReady(f"AWS cannot be asked: {error}", "check region, network and AWS_PROFILE.") from error


def signed_in_client() -> Callable[[str], Any]:
    """Returns what makes clients with the credentials and in the region that are set, ``AWS_REGION`` first.

    Raises:
        NotReady: There are none, or no region.
    """
    try:
        session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
        signed_in = session.get_credentials() is not None
    except BotoCoreError as error:
        raise NotReady(
            f"AWS cannot be asked: {error}", "set AWS_PROFILE to a profile that aws configure made."
        ) from error
    if not signed_in:
        raise NotReady("There are no AWS credentials", "sign in (aws sso login, or aws configure) or set AWS_PROFILE.")
    if session.region_name is None:
        raise NotReady("No AWS region is set", "export AWS_REGION=eu-west-1, for example, or name one in your profile.")
    return session.client


def main() -> int:
    """Runs the checks; returns the exit status."""
    env, origins, parameters = [*sys.argv[1:], "", "", ""][:3]
    try:
        # Checks that need no account come first.
        Preflight(env or "default", origins, parameters, _nobody).parameters_are_within_their_limits()
        return 0 if run(Preflight(env or "default", origins, parameters, signed_in_client())) else 1
    except NotReady as reason:
        print(f"FAIL  {reason.seen}\n      {reason.to_do}", file=sys.stderr)
        return 1


def _nobody(service: str) -> Any:
    raise AssertionError(service)


if __name__ == "__main__":
    sys.exit(main())
