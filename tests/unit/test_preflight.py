"""``make preflight`` finds what would fail, says what to do, and reports what it may not look at."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from infra import preflight
from infra.preflight import NotReady, Preflight, run, signed_in_client
from tests.support import ROOT
from tests.support.sam import translate
from tests.support.templates import read_template

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:cryptocloud-invoices-prod-CreateInvoiceFunction-AbC"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ProviderSecret-a-b"
USED = Preflight("prod", "", "", lambda _: None)._types()
NO_STACK = ("ValidationError", "Stack with id cryptocloud-invoices-prod does not exist")


class Account:
    """Clients of botocore, each with the answers that AWS would give: botocore checks their form."""

    def __init__(self) -> None:
        self._clients: dict[str, tuple[Any, Stubber]] = {}
        self.answers("sts", "get_caller_identity", Arn="arn:aws:iam::123456789012:user/owner")

    def _of(self, service: str) -> tuple[Any, Stubber]:
        if service not in self._clients:
            client = boto3.client(
                service, region_name="eu-west-1", aws_access_key_id="any", aws_secret_access_key="any"
            )
            stubber = Stubber(client)
            stubber.activate()
            self._clients[service] = (client, stubber)
        return self._clients[service]

    def answers(self, service: str, operation: str, **answer: Any) -> None:
        self._of(service)[1].add_response(operation, answer)

    def refuses(self, service: str, operation: str, code: str, message: str = "") -> None:
        self._of(service)[1].add_client_error(operation, code, message)

    def client(self, service: str) -> Any:
        return self._of(service)[0]

    def has_stack(
        self, status: str = "UPDATE_COMPLETE", application: str = "cryptocloud-invoices", **parameters: str
    ) -> None:
        stack = {
            "StackName": "cryptocloud-invoices-prod",
            "CreationTime": "2026-01-01T00:00:00Z",
            "StackStatus": status,
            "Tags": [{"Key": "application", "Value": application}],
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            "Outputs": [{"OutputKey": "SecretArn", "OutputValue": SECRET}],
        }
        self.answers("cloudformation", "describe_stacks", Stacks=[stack])

    def has_concurrency(self, total: int, free: int) -> None:
        limit = {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": free}
        self.answers("lambda", "get_account_settings", AccountLimit=limit)

    def has_versions(self, of_the_stack: str, alias: str, *published: str) -> None:
        resource = {
            "LogicalResourceId": "Version",
            "PhysicalResourceId": f"{FUNCTION}:{of_the_stack}",
            "ResourceType": "AWS::Lambda::Version",
            "ResourceStatus": "CREATE_COMPLETE",
            "Timestamp": "2026-01-01T00:00:00Z",
        }
        self.answers("cloudformation", "describe_stack_resources", StackResources=[resource])
        self.answers("lambda", "get_alias", FunctionVersion=alias)
        self.answers("lambda", "list_versions_by_function", Versions=[{"Version": v} for v in ("$LATEST", *published)])

    def has_secret(self, *stages: str) -> None:
        versions = {"v" * 32: list(stages)} if stages else {}
        self.answers("secretsmanager", "describe_secret", VersionIdsToStages=versions)


@pytest.fixture(autouse=True)
def region_with_everything(monkeypatch) -> None:
    # cfn-lint's data are in SAM CLI's environment; that it is asked for each region is another test.
    monkeypatch.setattr(preflight, "_types_of", lambda _: USED)


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def report(account, capsys) -> Callable[..., tuple[bool, str]]:
    def report(origins: str = "", parameters: str = "", env: str = "prod") -> tuple[bool, str]:
        ready = run(Preflight(env, origins, parameters, account.client))
        return ready, capsys.readouterr().out

    return report


def test_a_first_deployment_that_can_work_passes_and_what_stays_open_is_said(account, report) -> None:
    account.refuses("cloudformation", "describe_stacks", *NO_STACK)
    account.has_concurrency(1000, 1000)
    account.answers("codedeploy", "list_applications", applications=[])
    ready, printed = report("https://shop.example")
    assert ready, printed
    assert "cryptocloud-invoices-prod is a free name" in printed
    assert "make secret ENV=prod" in printed
    assert "Only the deployment can tell:" in printed


def test_a_change_of_a_healthy_stack_passes(account, report) -> None:
    account.has_stack(AllowedOrigins="https://shop.example")
    account.has_concurrency(1000, 1000)
    account.answers("codedeploy", "list_applications", applications=[])
    account.has_versions("4", "4", "3", "4")
    account.has_secret("AWSCURRENT")
    ready, printed = report()
    assert ready, printed
    assert printed.count("ok  ") == 8, printed


def test_the_first_deployment_names_its_sites(account, report) -> None:
    account.refuses("cloudformation", "describe_stacks", *NO_STACK)
    ready, printed = report()
    assert not ready
    assert "make deploy ORIGINS=https://shop.example" in printed


@pytest.mark.parametrize(
    ("status", "to_do"),
    [
        ("ROLLBACK_COMPLETE", "aws cloudformation delete-stack --stack-name cryptocloud-invoices-prod"),
        ("DELETE_FAILED", "aws cloudformation delete-stack"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback"),
        ("UPDATE_IN_PROGRESS", "wait until the other deployment has ended"),
    ],
)
def test_a_stack_that_takes_no_change_is_found_with_the_way_out(account, report, status: str, to_do: str) -> None:
    account.has_stack(status)
    ready, printed = report("https://shop.example")
    assert not ready
    assert to_do in printed
    assert "Only the deployment" not in printed


def test_a_stack_of_somebody_else_is_not_changed(account, report) -> None:
    account.has_stack(application="their-shop")
    ready, printed = report("https://shop.example")
    assert not ready
    assert "is a stack that this project did not make" in printed


@pytest.mark.parametrize(
    ("total", "free", "asked", "has", "ready"),
    [
        (10, 10, "1", "none", False),  # a new account
        (10, 10, "none", "none", True),
        (1000, 1000, "900", "none", True),
        (1000, 1000, "901", "none", False),
        (1000, 500, "900", "500", True),  # its own reservation is free for it
        (1000, 500, "0", "none", True),
    ],
)
def test_more_concurrency_than_the_account_has_is_refused(account, report, total, free, asked, has, ready) -> None:
    account.has_stack(ReservedConcurrency=has)
    account.has_concurrency(total, free)
    account.answers("codedeploy", "list_applications", applications=[])
    account.has_versions("4", "4")
    account.has_secret("AWSCURRENT")
    is_ready, printed = report(parameters=f"ReservedConcurrency={asked}")
    assert is_ready is ready, printed
    assert ("ask for a higher quota" in printed) is not ready


def test_an_account_that_codedeploy_does_not_serve_yet_is_found_only_if_it_is_needed(account, report) -> None:
    account.has_stack()
    account.has_concurrency(1000, 1000)
    account.refuses("codedeploy", "list_applications", "SubscriptionRequiredException")
    account.has_versions("4", "4")
    account.has_secret("AWSCURRENT")
    ready, printed = report()
    assert not ready
    assert "PARAMETERS=CanaryRollout=false" in printed
    account.answers("sts", "get_caller_identity", Arn="arn:aws:iam::123456789012:user/owner")
    account.has_stack()
    account.has_concurrency(1000, 1000)
    account.has_versions("4", "4")
    account.has_secret("AWSCURRENT")
    ready, printed = report(parameters="CanaryRollout=false")
    assert ready, printed


def test_an_alias_that_was_moved_by_hand_is_found_before_the_canary_fails(account, report) -> None:
    account.has_stack()
    account.has_concurrency(1000, 1000)
    account.answers("codedeploy", "list_applications", applications=[])
    account.has_versions("4", "3", "3", "4")
    account.has_secret("AWSCURRENT")
    ready, printed = report()
    assert not ready
    assert f"update-alias --function-name {FUNCTION} --name live --function-version 4" in printed


def test_a_version_that_a_roll_back_left_is_named_with_how_to_delete_it(account, report) -> None:
    account.has_stack()
    account.has_concurrency(1000, 1000)
    account.answers("codedeploy", "list_applications", applications=[])
    account.has_versions("4", "4", "3", "4", "5")
    account.has_secret("AWSCURRENT")
    ready, printed = report()
    assert ready  # another commit can be deployed
    assert f"aws lambda delete-function --function-name {FUNCTION}:5" in printed


def test_an_empty_secret_is_found_without_reading_it(account, report) -> None:
    account.has_stack()
    account.has_concurrency(1000, 1000)
    account.answers("codedeploy", "list_applications", applications=[])
    account.has_versions("4", "4")
    account.has_secret()
    assert "note  secret: it is empty" in report()[1]


def test_what_the_rights_do_not_allow_to_see_is_reported_as_not_checked(account, report) -> None:
    account.has_stack()
    account.refuses("lambda", "get_account_settings", "AccessDeniedException")
    account.refuses("codedeploy", "list_applications", "AccessDeniedException")
    account.refuses("cloudformation", "describe_stack_resources", "AccessDenied")
    account.refuses("secretsmanager", "describe_secret", "AccessDeniedException")
    ready, printed = report()
    assert ready
    assert printed.count("was not checked") == 4
    assert "GetAccountSettings was refused (AccessDeniedException)" in printed


def test_a_region_that_lacks_a_type_of_resource_is_refused(account, report, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "_types_of", lambda _: USED - {"AWS::KMS::Key"})
    account.has_stack()
    account.has_concurrency(1000, 1000)
    account.answers("codedeploy", "list_applications", applications=[])
    account.has_versions("4", "4")
    account.has_secret("AWSCURRENT")
    ready, printed = report()
    assert not ready
    assert "eu-west-1 lacks AWS::KMS::Key" in printed


def test_credentials_that_expired_stop_everything(account, capsys) -> None:
    account = Account()
    account._clients.clear()
    account.refuses("sts", "get_caller_identity", "ExpiredToken")
    assert not run(Preflight("prod", "https://shop.example", "", account.client))
    printed = capsys.readouterr().out
    assert "sign in again" in printed
    assert "stack" not in printed


def test_a_network_that_is_down_is_not_taken_for_missing_rights(capsys) -> None:
    def unreachable(_: str) -> Any:
        raise EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com/")

    assert not run(Preflight("prod", "https://shop.example", "", unreachable))
    assert "AWS cannot be asked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("origins", "parameters", "sentence"),
    [
        ("https://a.example, https://b.example", "", "ORIGINS has a space in it"),
        ("https://shop.example/", "", "ORIGINS is 'https://shop.example/': it must be origins"),
        ("https://shop.example", "MaxAmount=0", "MaxAmount is '0': it must be a decimal number"),
        ("https://shop.example", "ProviderTimeout=21", "ProviderTimeout is '21': it must be a number from 2 to 20."),
        ("https://shop.example", "Observability=yes", "must be one of false, true"),
        ("https://shop.example", "MaxAmont=5", "there is no parameter MaxAmont"),
        ("https://shop.example", 'AlarmEmail="a', "a quotation mark without its other"),
        ("https://shop.example", "MaxAmount 5", "PARAMETERS has 'MaxAmount', which is no Name=value"),
        ("https://" + "a" * 2000, "", "characters at most"),
    ],
)
def test_parameters_that_cloudformation_would_refuse_are_refused_offline(origins, parameters, sentence) -> None:
    def nobody(service: str) -> Any:
        raise AssertionError(service)

    with pytest.raises(NotReady) as reason:
        Preflight("prod", origins, parameters, nobody).parameters_are_within_their_limits()
    assert sentence in str(reason.value)


def test_parameters_are_understood_as_sam_deploy_guided_writes_them() -> None:
    parameters = 'MaxAmount="5" AlarmEmail=""'
    assert Preflight("default", "", parameters, lambda _: None).given() == {"MaxAmount": "5", "AlarmEmail": ""}


def test_the_defaults_of_all_parameters_are_within_their_limits() -> None:
    for name, parameter in read_template(ROOT / "template.yaml")["Parameters"].items():
        assert preflight._fits(str(parameter.get("Default", "none")), parameter), name


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"AWS_REGION": "eu-west-1"}, "There are no AWS credentials: sign in"),
        ({"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}, "No AWS region is set: export AWS_REGION="),
        ({"AWS_PROFILE": "nobody"}, "AWS cannot be asked: The config profile (nobody) could not be found"),
    ],
)
def test_nobody_signed_in_and_no_region_are_found_first(monkeypatch, tmp_path, environment, sentence) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NotReady) as reason:
        signed_in_client()
    assert str(reason.value).startswith(sentence)


def test_the_region_is_the_one_that_other_tools_take(monkeypatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert signed_in_client()("sts").meta.region_name == "eu-west-1"


@pytest.mark.parametrize("canary", ["false", "true"])
def test_the_types_that_are_looked_for_are_all_that_sam_makes(canary: str) -> None:
    checks = Preflight("prod", "", f"CanaryRollout={canary}", lambda _: None)
    nested = read_template(ROOT / "infra" / "observability.yaml")["Resources"]
    made = {**translate(AllowedOrigins="*", CanaryRollout=canary)["Resources"], **nested}
    assert checks._types() == {resource["Type"] for resource in made.values()}
