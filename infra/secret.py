"""Puts API key, shop id and secret key into the stack's secret: ``make secret ENV=prod``.

It asks without echo, so no value is in a file, in the shell's history or in the list of processes. With ``CHECK=1`` it
asks for no value: it checks the form of what is stored, and asks the provider of the stack whether the key is right.
"""

import getpass
import json
import sys
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter, ValidationError

from infra import provider_check
from infra.preflight import NotReady, Preflight, signed_in_client
from invoicing.contract.errors import InvoicingError
from invoicing.credentials import Credentials, CredentialStore

# Where CryptoCloud shows each.
_QUESTIONS = {
    "api_key": "API key (in the settings of your project at CryptoCloud)",
    "shop_id": "Shop id (there too)",
    "secret_key": "Secret key (there too; it signs the postbacks that say that an invoice was paid)",
}
_NO_POSTBACKS = (
    "Without secret_key the stack refuses CryptoCloud's postbacks, and learns of payments by asking: after 10 minutes "
    "at the earliest."
)
_TRIES = 3


def deployed_stack(env: str, client: Callable[[str], Any]) -> dict[str, str]:
    """Returns the parameters and outputs of a deployed stack, by name.

    Args:
        env: The section of samconfig.toml.
        client: Makes a client of a service of AWS.

    Raises:
        NotReady: There is no such stack, or it was not asked.
    """
    stack_name = Preflight(env, "", "", client).stack_name
    try:
        stack = client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            raise NotReady(f"{stack_name} is not deployed", f"run make deploy ENV={env} first.") from None
        raise NotReady(f"AWS did not show {stack_name}: {error}", "sign in to its account and region.") from None
    values = {entry["OutputKey"]: entry["OutputValue"] for entry in stack.get("Outputs", ())}
    if "SecretArn" not in values:
        raise NotReady(f"{stack_name} is not deployed", f"run make deploy ENV={env} first.")
    return values | {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", ())}


def check(env: str, client: Callable[[str], Any]) -> None:
    """Reads what is stored as the function reads it, and asks the stack's provider whether the key is right.

    It asks for an invoice that does not exist, so nothing is created. Nobody can ask about the shop id without creating
    one, nor about the secret key.

    Args:
        env: The section of samconfig.toml.
        client: Makes a client of a service of AWS.

    Raises:
        NotReady: There is no stack, no usable secret, or the provider does not accept the key. The reason names the
            field at fault and never its value.
    """
    stack = deployed_stack(env, client)
    try:
        credentials = CredentialStore(client("secretsmanager"), stack["SecretArn"]).get()
    except InvoicingError as error:
        raise NotReady(f"the secret is of no use: {error.reason}", f"fill it: make secret ENV={env}.") from None
    print("ok    the secret is filled, and its form is right")
    url, api = stack.get("ProviderUrl", provider_check.CONFIGURED), stack.get("ProviderApi", "v1")
    found = provider_check.ask(url, api, credentials.api_key.get_secret_value())
    if found.kind == "refused":
        raise NotReady(f"{url} ({api}): {found.said}", f"put the right key in: make secret ENV={env}.")
    if found.kind != "works":
        to_do = f"find the right address: make provider SECRET_ARN={stack['SecretArn']}"
        raise NotReady(f"{url} ({api}): {found.said}", to_do)
    print(f"ok    {url} ({api}): {found.said}")
    print("      The shop id was not checked: only an invoice can do that. make smoke CREATE=1 creates one.")
    if credentials.secret_key:
        print(
            "      The secret key was not checked: only a postback can do that. Send a test postback from your project."
        )
    else:
        print(f"-     {_NO_POSTBACKS} Add it: make secret ENV={env}.")


def ask(ask_for: Callable[[str], str]) -> dict[str, str]:
    """Asks for each field of the secret, again where its form is wrong; what is optional may be left out.

    Args:
        ask_for: Shows a question and returns what was typed.

    Raises:
        NotReady: A field was wrong three times.
    """
    values = {}
    for name, field in Credentials.model_fields.items():
        optional = "" if field.is_required() else ", Enter for none"
        # The functions read an optional field whatever it is, for those that do not need it. Here a slip has to show.
        strict = Credentials.model_fields["api_key"] if optional else field
        rule = TypeAdapter(strict.rebuild_annotation(), config=Credentials.model_config)
        for _ in range(_TRIES):
            typed = ask_for(f"{_QUESTIONS[name]}{optional}: ")
            if optional and not typed.strip():
                break
            try:
                value: Any = rule.validate_python(typed)
            except ValidationError as error:
                print(f"It {error.errors()[0]['msg']}")
                continue
            values[name] = str(getattr(value, "get_secret_value", lambda: value)())  # noqa: B023 - called at once
            break
        else:
            raise NotReady(f"{name} was wrong {_TRIES} times", "copy it again at CryptoCloud. Nothing was stored.")
    return values


def store(env: str, client: Callable[[str], Any]) -> None:
    """Asks for the fields and stores them; the version before stays as AWSPREVIOUS.

    Raises:
        NotReady: There is no stack, a field was wrong, or AWS refused to store.
    """
    arn = deployed_stack(env, client)["SecretArn"]
    if not sys.stdin.isatty():
        raise NotReady("this is no terminal, so what is typed might be shown or kept", "run it in a terminal.")
    values = ask(getpass.getpass)
    try:
        client("secretsmanager").put_secret_value(SecretId=arn, SecretString=json.dumps(values))
    except ClientError as error:
        raise NotReady(
            f"Secrets Manager stored nothing ({error.response['Error']['Code']})",
            "it needs the right secretsmanager:PutSecretValue on the stack's secret.",
        ) from None
    print(f"Stored {', '.join(values)}. Functions that run use it within 5 minutes.")
    if "secret_key" not in values:
        print(_NO_POSTBACKS)
    print(f"Next: make secret ENV={env} CHECK=1, which asks CryptoCloud whether the key is right.")


def main() -> int:
    """Stores or checks the secret; returns the exit status."""
    env, check, *_ = [*sys.argv[1:], "", ""]
    try:
        client = signed_in_client()
        if check in ("", "0"):
            store(env or "default", client)
        else:
            check(env or "default", client)
    except NotReady as reason:
        print(f"FAIL  {reason.seen}\n      {reason.to_do}", file=sys.stderr)
        return 1
    except BotoCoreError as error:
        print(f"FAIL  AWS cannot be asked: {error}\n      Check region, network and AWS_PROFILE.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nNothing was stored.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
