"""The local stack: SAM CLI's gateway and invoke service over emulators, moto's AWS services, the sandbox."""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

import boto3
from botocore.config import Config
from flask import Flask
from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
from samcli.local.apigw.local_apigw_service import LocalApigwService
from samcli.local.lambda_service.local_lambda_http_service import LocalLambdaHttpService
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from infra.local.aws import Gate, Moto
from infra.local.control import ControlServer
from infra.local.emulator import EmulatorPool
from infra.local.events import Deliveries
from infra.local.loopback import reserve_port
from infra.local.provider_postbacks import Project
from infra.local.provider_sandbox import Sandbox
from infra.local.scheduler import Scheduler
from infra.local.shop import Shop
from infra.local.template import Template

_ROOT = Path(__file__).resolve().parents[2]
_RUNTIME_PYTHON = _ROOT / ".venv-lambda" / "bin" / "python"
_CREATE, _INFO, _POSTBACK = (f"/v1/invoice/{name}" for name in ("create", "info", "postback"))
_TABLE = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
_REGION = "us-east-1"
# Longer than Lambda lets any function run.
_RUN_TIMEOUT_S = 15 * 60 + 10
_API_KEY, _SHOP_ID, _SECRET_KEY = "local-api-key", "local-shop", "local-secret-key"
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
        first_port: The first of nine ports in a row; 0 takes free ones.
        sandboxes: How many events each function handles at once.
        parameters: Values for the template's parameters, on top of those that point it at this stack.
        environment: Variables for the functions, on top of those of the template.
        real_provider: API key and shop id for the real CryptoCloud instead of the sandbox.
        fill_secret: Whether the owner has filled the secret yet.
        price_list: Whether prices are those of the demo shop's list, so that pages must say what is bought.
        watched: Whether a person watches: then schedules run by the clock, and deliveries are announced as they come.
        template: The built template.
    """

    first_port: int = 0
    sandboxes: int = 4
    parameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    real_provider: tuple[str, str] | None = None
    fill_secret: bool = True
    price_list: bool = False
    watched: bool = False
    template: str = str(_ROOT / ".aws-sam" / "local" / "template.yaml")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where everything is. ``secret_id`` is the secret's name in the local Secrets Manager.

    What the template does not have is ``None``.
    """

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
    status_url: str | None
    status_function_name: str | None
    postback_url: str | None
    invoice_table_name: str | None
    events_url: str
    event_bus: str
    region: str = _REGION


class LocalStack:
    """Everything running, within a ``with`` block.

    Args:
        log: An open file with a descriptor: the functions' logs go there.
        options: How it is set up.
        announce: Hears what happens to payments, a sentence each.
    """

    def __init__(self, log: TextIO, options: Options, announce: Callable[[str], None] = lambda _: None) -> None:
        self._log = log
        self._announce = announce
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
        ports = self._ports()
        template = self._read_template(ports)
        self.provider = self._start_provider(template, ports)
        self._start_aws(template, ports)
        environment = {
            "AWS_ENDPOINT_URL_DYNAMODB": self.table.server.url,
            "AWS_ENDPOINT_URL_EVENTBRIDGE": self.bus.server.url,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.secrets.server.url,
            **self._options.environment,
        }
        pool = EmulatorPool(
            size=self._options.sandboxes, python=_RUNTIME_PYTHON, environment=environment, log=self._log
        )
        runner = LocalLambdaRunner(pool, template.functions, template.folder, template.folder, aws_region=_REGION)
        gateway = LocalApigwService(template.api, runner, port=ports.api, host="127.0.0.1")
        invoke = LocalLambdaHttpService(runner, port=ports.invoke, host="127.0.0.1")
        self._cleanup.callback(pool.stop)
        self._serve(gateway, ports.api)
        pay_origin = self.provider.server.url if self.provider else "https://pay.cryptocloud.plus"
        shop = Shop(ports.shop, api_origin=_origin(ports.api), pay_origin=pay_origin)
        self._cleanup.callback(shop.server.stop)
        self._serve(invoke, ports.invoke)
        environment["AWS_ENDPOINT_URL_LAMBDA"] = _origin(ports.invoke)  # no sandbox has started yet
        config = Config(read_timeout=_RUN_TIMEOUT_S, retries={"total_max_attempts": 1})
        client = boto3.client("lambda", endpoint_url=_origin(ports.invoke), config=config)
        self.scheduler = Scheduler(template.schedules, client, self._announce)
        self._cleanup.callback(self.scheduler.stop)
        if self._options.watched:
            self.scheduler.start()
        self.endpoints = self._endpoints(template, ports)
        self._run(ControlServer(ports.control, self._questions(), self._orders()))

    def _read_template(self, ports: "_Ports") -> Template:
        # The demo shop's, and those of a page that you serve yourself: python3 -m http.server
        origins = [f"http://{host}:{port}" for port in (ports.shop, 8000) for host in ("localhost", "127.0.0.1")]
        parameters = {"AllowedOrigins": ",".join(origins)}
        if not self._options.real_provider:
            # A link without its scheme is taken for https.
            pay_origins = f"{_origin(ports.provider)},https://127.0.0.1:{ports.provider}"
            parameters |= {"ProviderUrl": _origin(ports.provider), "PayOrigins": pay_origins}
        if self._options.price_list:
            parameters["PriceListUrl"] = f"{_origin(ports.shop)}/prices.json"
        template = Template(self._options.template, {**parameters, **self._options.parameters})
        for name in template.environment:
            # SAM CLI would let the user's shell overrule the template: with a real provider's address, for example.
            os.environ.pop(name, None)
        return template

    def _start_provider(self, template: Template, ports: "_Ports") -> Sandbox | None:
        if self._options.real_provider:
            return None
        has_postbacks = template.function_at(_POSTBACK) is not None
        shop_url = f"{_origin(ports.shop)}/"
        project = Project(
            secret_key=_SECRET_KEY,
            notification_url=f"{_origin(ports.api)}{_POSTBACK}" if has_postbacks else None,
            success_url=f"{shop_url}thanks.html",
            fail_url=shop_url,
        )
        sandbox = Sandbox(
            api_key=_API_KEY, shop_id=_SHOP_ID, port=ports.provider, project=project, announce=self._announce
        )
        self._cleanup.callback(sandbox.server.stop)
        return sandbox

    def _start_aws(self, template: Template, ports: "_Ports") -> None:
        """Starts AWS, and creates there what the template describes."""
        moto = Moto(ports.moto)
        self._cleanup.callback(moto.stop)
        gates = [Gate(moto.url, port) for port in (ports.secrets, ports.table, ports.events)]
        for gate in gates:
            self._cleanup.callback(gate.server.stop)
        self.secrets, self.table, self.bus = gates
        self._secret_id = template.environment["CRYPTOCLOUD_SECRET_ARN"]
        boto3.client("secretsmanager", endpoint_url=moto.url).create_secret(Name=self._secret_id)
        if self._options.fill_secret:
            self.fill_secret(json.dumps(self._credentials()))
        self.secrets.forget()
        dynamodb = boto3.client("dynamodb", endpoint_url=moto.url)
        for name, table in template.of_type("AWS::DynamoDB::Table").items():
            dynamodb.create_table(TableName=name, **{key: table[key] for key in _TABLE if key in table})
        bus = template.environment.get("EVENT_BUS", "default")
        self.deliveries = Deliveries(template, bus, moto.url, self._announce)
        self._cleanup.callback(self.deliveries.stop)
        if self._options.watched:
            self.deliveries.follow()

    def _credentials(self) -> dict[str, str]:
        if self._options.real_provider:
            api_key, shop_id = self._options.real_provider
            return {"api_key": api_key, "shop_id": shop_id}
        return {"api_key": _API_KEY, "shop_id": _SHOP_ID, "secret_key": _SECRET_KEY}

    def _endpoints(self, template: Template, ports: "_Ports") -> Endpoints:
        def url_of(path: str) -> str | None:
            return f"{_origin(ports.api)}{path}" if template.function_at(path) else None

        status_function = template.function_at(_INFO)
        return Endpoints(
            shop_url=f"{_origin(ports.shop)}/",
            invoice_url=f"{_origin(ports.api)}{_CREATE}",
            lambda_url=_origin(ports.invoke),
            function_name=f"{template.function_at(_CREATE)}:live",
            provider_url=self.provider.server.url if self.provider else None,
            secrets_url=self.secrets.server.url,
            secret_id=self._secret_id,
            table_url=self.table.server.url,
            table_name=template.environment["IDEMPOTENCY_TABLE"],
            control_url=_origin(ports.control),
            status_url=url_of(_INFO),
            status_function_name=f"{status_function}:live" if status_function else None,
            postback_url=url_of(_POSTBACK),
            invoice_table_name=template.environment.get("INVOICE_TABLE"),
            events_url=self.bus.server.url,
            event_bus=template.environment.get("EVENT_BUS", "default"),
        )

    def _questions(self) -> dict[str, Callable[[], Mapping[str, Any]]]:
        questions: dict[str, Callable[[], Mapping[str, Any]]] = {
            "/": lambda: asdict(self.endpoints),
            "/bus": self.bus.report,
            "/events": self.deliveries.report,
            "/secrets": self.secrets.report,
            "/table": self.table.report,
            "/table/calls": self.table.report_by_table,
        }
        if self.provider:
            questions |= {"/provider": self.provider.report, "/provider/postbacks": self.provider.postbacks.report}
        return questions

    def _orders(self) -> dict[str, Callable[..., None]]:
        orders: dict[str, Callable[..., None]] = {
            "/events/forget": self.deliveries.forget,
            "/events/wait": self.deliveries.wait,
            "/schedules/run": self.scheduler.run,
            "/secrets/fill": self.fill_secret,
        }
        for name, gate in (("bus", self.bus), ("secrets", self.secrets), ("table", self.table)):
            orders |= {
                f"/{name}/disturb": gate.disturb,
                f"/{name}/fail": gate.fail,
                f"/{name}/let_go": gate.let_go,
                f"/{name}/forget": gate.forget,
                f"/{name}/stop": gate.server.stop,
                f"/{name}/start": gate.server.start,
            }
        if self.provider:
            orders |= {
                "/provider/faults": self.provider.misbehave,
                "/provider/rotate": self.provider.rotate,
                "/provider/status": self.provider.set_status,
                "/provider/forget": self.provider.forget,
                "/provider/stop": self.provider.server.stop,
                "/provider/start": self.provider.server.start,
                "/provider/press": self.provider.press,
                "/provider/project": self.provider.postbacks.configure,
                "/provider/postbacks/send": self.provider.send_postback,
                "/provider/postbacks/test": self.provider.send_test_postback,
                "/provider/postbacks/interfere": self.provider.postbacks.interfere,
                "/provider/postbacks/let_go": self.provider.postbacks.let_go,
                "/provider/postbacks/wait": self.provider.postbacks.wait,
            }
        return orders

    def fill_secret(self, secret_string: str) -> None:
        """Does what the owner does after the first deployment."""
        client = boto3.client("secretsmanager", endpoint_url=self.secrets.server.url)
        client.put_secret_value(SecretId=self._secret_id, SecretString=secret_string)

    def _serve(self, service: Any, port: int) -> None:
        # The services' own run() is for a process of their own each: it sets signal handlers.
        service.create()
        app: Flask = service._app
        server: BaseWSGIServer = make_server("127.0.0.1", port, app, threaded=True, request_handler=_RequestHandler)
        server.daemon_threads = True
        self._run(server)

    def _run(self, server: Any) -> None:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self._cleanup.callback(server.server_close)
        self._cleanup.callback(server.shutdown)

    def _ports(self) -> "_Ports":
        first = self._options.first_port
        try:
            reservations = [
                self._cleanup.enter_context(reserve_port(first + offset if first else 0))
                for offset in range(len(_Ports._fields))
            ]
        except OverflowError:
            raise PortTaken(f"PORT is {first}: nine ports in a row start there, so it must be 1 to 65527.") from None
        except PermissionError:
            raise PortTaken(f"PORT is {first}: only root may use it. Take a higher one: make run PORT=4000") from None
        except OSError:
            raise PortTaken(
                f"One of the ports {first} to {first + 8} is not free: stop what uses it, or `make run PORT=4000`."
            ) from None
        return _Ports(*(reservation.getsockname()[1] for reservation in reservations))


class _Ports(NamedTuple):
    """In this order from the first on, where that is fixed: the demo shop's page as committed names two of them."""

    api: int
    invoke: int
    provider: int
    secrets: int
    table: int
    control: int
    moto: int
    shop: int
    events: int


class _RequestHandler(WSGIRequestHandler):
    disable_nagle_algorithm = True


def _origin(port: int) -> str:
    return f"http://127.0.0.1:{port}"
