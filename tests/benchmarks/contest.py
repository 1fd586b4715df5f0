"""The contestants, what they all talk to, and how one of them is asked for an invoice."""

import uuid
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from infra.local.aws import Gate, Moto
from infra.local.loopback import reserve_port
from infra.local.provider_sandbox import Sandbox as ProviderSandbox
from tests.benchmarks.runtime_api import Reply, Sandbox
from tests.support import ROOT
from tests.support.account import API_KEY, SHOP_ID, create_tables_and_secret, function_environment
from tests.support.events import SITE, http_event

RUNTIME_PYTHON = ROOT / ".venv-lambda" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A function to compare.

    Args:
        letter: What tables call it.
        description: What it is.
        artifact: The folder in place of ``/var/task``.
        handler: As in its template.
        takes_keys: Whether it knows idempotency keys.
    """

    letter: str
    description: str
    artifact: Path
    handler: str = "app.lambda_handler"
    takes_keys: bool = False

    def zipped_bytes(self) -> int:
        """Returns the size of the artifact as a zip file."""
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(self.artifact.rglob("*")):
                archive.write(file, file.relative_to(self.artifact))
        return buffer.tell()


_PLAIN = ROOT / ".aws-sam" / "contestants"
_ENTRY = "create_invoice.lambda_handler"
_LOCAL = ROOT / ".aws-sam" / "local"
OURS = Contestant("a", "ours as built", _LOCAL / "CreateInvoiceFunction", _ENTRY, takes_keys=True)
PLAIN = Contestant("b", "ours built plainly", _PLAIN / "Plain" / "Plain", _ENTRY, takes_keys=True)
BARE = Contestant("c", "bare: boto3 client, urllib3, nothing checked", _PLAIN / "Bare" / "Bare")
TUTORIAL = Contestant("d", "tutorial: requests, a client for each call", _PLAIN / "Tutorial" / "Tutorial")
#: All functions of the stack, from the same files: the entry file of each is what differs.
FUNCTIONS = [
    Contestant("", entry, _LOCAL / function, f"{entry}.lambda_handler")
    for function, entry in (
        ("CreateInvoiceFunction", "create_invoice"),
        ("InvoiceInfoFunction", "invoice_info"),
        ("PostbackFunction", "receive_postback"),
        ("WatchFunction", "watch_invoices"),
    )
]


class Surroundings:
    """Secrets Manager and DynamoDB behind counting gates, and a provider that answers at once."""

    def __init__(self, cleanup: ExitStack) -> None:
        port = cleanup.enter_context(reserve_port()).getsockname()[1]
        moto = Moto(port)
        cleanup.callback(moto.stop)
        self.secrets, self.table = Gate(moto.url, 0), Gate(moto.url, 0)
        self.provider = ProviderSandbox(api_key=API_KEY, shop_id=SHOP_ID, port=0)
        for server in (self.secrets.server, self.table.server, self.provider.server):
            cleanup.callback(server.stop)
        #: The function's variables.
        self.environment = function_environment(
            provider_url=self.provider.server.url,
            secrets_url=self.secrets.server.url,
            table_url=self.table.server.url,
            site=SITE,
        )
        create_tables_and_secret(moto.url)

    def start(self, contestant: Contestant, **environment: str) -> Sandbox:
        """Starts a sandbox of a contestant.

        Args:
            contestant: Which.
            environment: Variables in addition to those that all have.
        """
        variables = {**self.environment, **environment}
        return Sandbox(RUNTIME_PYTHON, contestant.artifact, contestant.handler, variables)


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Everything that a contestant talks to."""
    with ExitStack() as cleanup:
        yield Surroundings(cleanup)


def ask(sandbox: Sandbox, *, with_key: bool = False) -> Reply:
    """Asks for an invoice and sees that there is one."""
    body = {"amount": 19.99, "currency": "USD", "order_id": "A-1001"}
    reply = sandbox.invoke(http_event(body, key=uuid.uuid4().hex if with_key else None))
    assert reply.payload.get("statusCode") == 200, reply
    return reply
