"""The local stack: SAM CLI's gateway and invoke service over emulators, moto's Secrets Manager, the sandbox."""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

import boto3
from flask import Flask
from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.local.apigw.local_apigw_service import LocalApigwService
from samcli.local.lambda_service.local_lambda_http_service import LocalLambdaHttpService
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from infra.local.aws import Gate, Moto
from infra.local.control import ControlServer
from infra.local.emulator import EmulatorPool
from infra.local.loopback import reserve_port
from infra.local.provider_sandbox import Sandbox
from infra.local.shop import Shop

_ROOT = Path(__file__).resolve().parents[2]
_RUNTIME_PYTHON = _ROOT / ".venv-lambda" / "bin" / "python"
_FUNCTION = "CreateInvoiceFunction"
_REGION = "us-east-1"
# Never a real account's: the stack must not reach AWS even where the user is signed in.
_AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": _REGION,
    "AWS_REGION": _REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class PortTaken(Exception):
    """A fixed port is in use, or cannot be used."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the stack is set up.

    Args:
        first_port: The first of eight ports in a row; 0 takes free ones.
        sandboxes: How many events the function handles at once.
        parameters: Values for the template's parameters, on top of those that point it at this stack.
        environment: Variables for the function besides those of the template.
        real_provider: API key and shop id for the real CryptoCloud instead of the sandbox.
        fill_secret: Whether the owner has filled the secret yet.
        template: The built template.
    """

    first_port: int = 0
    sandboxes: int = 4
    parameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    real_provider: tuple[str, str] | None = None
    fill_secret: bool = True
    template: str = str(_ROOT / ".aws-sam" / "local" / "template.yaml")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where everything is. ``secret_id`` is the secret's name in the local Secrets Manager."""

    shop_url: str
    invoice_url: str
    lambda_url: str
    function_name: str
    provider_url: str | None
    secrets_url: str
    secret_id: str
    table_url: str
    table_name: str
    control_url: str
    region: str = _REGION


class LocalStack:
    """Everything running, within a ``with`` block.

    Args:
        log: An open file with a descriptor: the function's logs go there.
        options: How it is set up.
    """

    def __init__(self, log: TextIO, options: Options) -> None:
        self._log = log
        self._options = options
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            os.environ.pop(name, None)
        os.environ.update(_AWS_ENVIRONMENT, SAM_CLI_TELEMETRY="0", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        with self._cleanup:
            self._start()
            self._cleanup = self._cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _start(self) -> None:
        api_port, lambda_port, provider_port, secrets_port, table_port, control_port, moto_port, shop_port = (
            self._ports()
        )
        self.provider: Sandbox | None = None
        # The demo shop's, and those of a page that you serve yourself: python3 -m http.server
        origins = [f"http://{host}:{port}" for port in (shop_port, 8000) for host in ("localhost", "127.0.0.1")]
        parameters = {"AllowedOrigins": ",".join(origins)}
        if self._options.real_provider:
            self._credentials = self._options.real_provider
        else:
            self._credentials = ("local-api-key", "local-shop")
            api_key, shop_id = self._credentials
            self.provider = Sandbox(api_key=api_key, shop_id=shop_id, port=provider_port)
            self._cleanup.callback(self.provider.server.stop)
            # A link without its scheme is taken for https.
            pay_origins = f"{self.provider.server.url},https://127.0.0.1:{self.provider.server.port}"
            parameters |= {"ProviderUrl": self.provider.server.url, "PayOrigins": pay_origins}

        moto = Moto(moto_port)
        self._cleanup.callback(moto.stop)
        self.secrets, self.table = Gate(moto.url, secrets_port), Gate(moto.url, table_port)
        self._cleanup.callback(self.secrets.server.stop)
        self._cleanup.callback(self.table.server.stop)
        environment = {
            "AWS_ENDPOINT_URL_DYNAMODB": self.table.server.url,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.secrets.server.url,
            **self._options.environment,
        }
        pool = EmulatorPool(
            size=self._options.sandboxes, python=_RUNTIME_PYTHON, environment=environment, log=self._log
        )
        template = self._options.template
        stacks, _ = SamLocalStackProvider.get_stacks(
            template, parameter_overrides={**parameters, **self._options.parameters}
        )
        functions = SamFunctionProvider(stacks)
        folder = str(Path(template).parent)
        runner = LocalLambdaRunner(pool, functions, folder, folder, aws_region=_REGION)
        variables = functions.get(_FUNCTION).environment["Variables"]
        for name in variables:
            # SAM CLI would let the user's shell overrule the template: with a real provider's address, for example.
            os.environ.pop(name, None)
        self._secret_id, table_name = variables["CRYPTOCLOUD_SECRET_ARN"], variables["IDEMPOTENCY_TABLE"]
        boto3.client("secretsmanager", endpoint_url=moto.url).create_secret(Name=self._secret_id)
        if self._options.fill_secret:
            api_key, shop_id = self._credentials
            self.fill_secret(json.dumps({"api_key": api_key, "shop_id": shop_id}))
        table = stacks[0].resources[table_name]["Properties"]
        definition = {name: table[name] for name in ("AttributeDefinitions", "BillingMode", "KeySchema")}
        boto3.client("dynamodb", endpoint_url=moto.url).create_table(TableName=table_name, **definition)
        self.secrets.forget()

        gateway = LocalApigwService(ApiProvider(stacks, cwd=folder).api, runner, port=api_port, host="127.0.0.1")
        invoke = LocalLambdaHttpService(runner, port=lambda_port, host="127.0.0.1")
        self._cleanup.callback(pool.stop)
        route = next(route for route in gateway.api.routes if route.function_name == _FUNCTION)
        control = ControlServer(control_port, self._questions(), self._orders())
        self._run(control)
        api_origin = f"http://127.0.0.1:{self._serve(gateway, api_port)}"
        pay_origin = self.provider.server.url if self.provider else "https://pay.cryptocloud.plus"
        shop = Shop(shop_port, api_origin=api_origin, pay_origin=pay_origin)
        self._cleanup.callback(shop.server.stop)
        lambda_url = f"http://127.0.0.1:{self._serve(invoke, lambda_port)}"
        environment["AWS_ENDPOINT_URL_LAMBDA"] = lambda_url  # no sandbox has started yet
        self.endpoints = Endpoints(
            shop_url=f"{shop.server.url}/",
            invoice_url=f"{api_origin}{route.path}",
            lambda_url=lambda_url,
            function_name=f"{_FUNCTION}:live",
            provider_url=self.provider.server.url if self.provider else None,
            secrets_url=self.secrets.server.url,
            secret_id=self._secret_id,
            table_url=self.table.server.url,
            table_name=table_name,
            control_url=f"http://127.0.0.1:{control.server_port}",
        )

    def _questions(self) -> dict[str, Callable[[], Mapping[str, Any]]]:
        questions: dict[str, Callable[[], Mapping[str, Any]]] = {
            "/": lambda: asdict(self.endpoints),
            "/secrets": self.secrets.report,
            "/table": self.table.report,
        }
        return {**questions, "/provider": self.provider.report} if self.provider else questions

    def _orders(self) -> dict[str, Callable[..., None]]:
        orders: dict[str, Callable[..., None]] = {
            "/secrets/fill": self.fill_secret,
            "/secrets/stop": self.secrets.server.stop,
            "/secrets/start": self.secrets.server.start,
            "/table/disturb": self.table.disturb,
            "/table/fail": self.table.fail,
            "/table/let_go": self.table.let_go,
            "/table/forget": self.table.forget,
            "/table/stop": self.table.server.stop,
            "/table/start": self.table.server.start,
        }
        if self.provider:
            orders |= {
                "/provider/faults": self.provider.misbehave,
                "/provider/rotate": self.provider.rotate,
                "/provider/status": self.provider.set_status,
                "/provider/forget": self.provider.forget,
                "/provider/stop": self.provider.server.stop,
                "/provider/start": self.provider.server.start,
            }
        return orders

    def fill_secret(self, secret_string: str) -> None:
        """Does what the owner does after the first deployment."""
        client = boto3.client("secretsmanager", endpoint_url=self.secrets.server.url)
        client.put_secret_value(SecretId=self._secret_id, SecretString=secret_string)

    def _serve(self, service: Any, port: int) -> int:
        # The services' own run() is for a process of their own each: it sets signal handlers.
        service.create()
        app: Flask = service._app
        server: BaseWSGIServer = make_server("127.0.0.1", port, app, threaded=True, request_handler=_RequestHandler)
        server.daemon_threads = True
        self._run(server)
        return server.server_port

    def _run(self, server: Any) -> None:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self._cleanup.callback(server.server_close)
        self._cleanup.callback(server.shutdown)

    def _ports(self) -> list[int]:
        first = self._options.first_port
        try:
            reservations = [
                self._cleanup.enter_context(reserve_port(first + offset if first else 0)) for offset in range(8)
            ]
        except OverflowError:
            raise PortTaken(f"PORT is {first}: eight ports in a row start there, so it must be 1 to 65528.") from None
        except PermissionError:
            raise PortTaken(f"PORT is {first}: only root may use it. Take a higher one: make run PORT=4000") from None
        except OSError:
            raise PortTaken(
                f"One of the ports {first} to {first + 7} is not free: stop what uses it, or `make run PORT=4000`."
            ) from None
        return [reservation.getsockname()[1] for reservation in reservations]


class _RequestHandler(WSGIRequestHandler):
    disable_nagle_algorithm = True
