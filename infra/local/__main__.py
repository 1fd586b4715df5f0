"""Command line of the local stack: ``demo``, ``run`` for people, ``serve`` for tests."""

import argparse
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import urllib3

from infra.local.demo import DemoFailed, show, show_v2
from infra.local.stack import Endpoints, LocalStack, Options, PortTaken

_LOG = Path(".aws-sam") / "local.log"


def main() -> int:
    """Runs one command; returns the exit status."""
    arguments = _parser().parse_args()
    # A polite `kill`, or closing the terminal, ends the stack as Ctrl-C does: with everything that it started.
    for polite in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(polite, signal.default_int_handler)
    try:
        return {"demo": _demo, "run": _run, "serve": _serve}[arguments.command](arguments)
    except KeyboardInterrupt:
        return 0
    except (DemoFailed, PortTaken) as failure:
        print(failure, file=sys.stderr)
        return 1
    except urllib3.exceptions.HTTPError as failure:
        print(f"A part of the stack gave no answer: {failure}. The functions' log: {_LOG}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description="The stack on one machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="create invoices, pay, show what happens, stop")
    run = commands.add_parser("run", help="run on fixed ports until Ctrl-C, with logs")
    run.add_argument("--port", type=int, default=3000, help="the first of nine ports (default: 3000)")
    serve = commands.add_parser("serve", help="run on free ports until standard input ends; prints where as JSON")
    serve.add_argument("--options", type=json.loads, default={}, help="fields of infra.local.stack.Options, as JSON")
    serve.add_argument("--log", type=Path, default=_LOG, help=f"where the function's log goes (default: {_LOG})")
    return parser


def _demo(_: argparse.Namespace) -> int:
    with _LOG.open("w") as log, LocalStack(log, Options()) as stack:
        show(stack.endpoints)
    with _LOG.open("a") as log, LocalStack(log, Options(sandboxes=1, parameters={"ProviderApi": "v2"})) as stack:
        show_v2(stack.endpoints)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    api_key, shop_id = os.environ.get("CRYPTOCLOUD_API_KEY"), os.environ.get("CRYPTOCLOUD_SHOP_ID")
    if bool(api_key) != bool(shop_id):
        print("For the real CryptoCloud set both CRYPTOCLOUD_API_KEY and CRYPTOCLOUD_SHOP_ID.", file=sys.stderr)
        return 1
    real = (api_key, shop_id) if api_key and shop_id else None
    options = Options(first_port=arguments.port, real_provider=real, price_list=True, watched=True)
    with LocalStack(sys.stdout, options, announce=_announce) as stack:
        print(_welcome(stack.endpoints), flush=True)
        signal.pause()
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    with arguments.log.open("w") as log, LocalStack(log, Options(**arguments.options)) as stack:
        print(json.dumps(asdict(stack.endpoints)), flush=True)
        sys.stdin.read()
    return 0


def _announce(sentence: str) -> None:
    # Between the functions' lines of JSON.
    print(f"\n>>> {sentence}\n", flush=True)


def _welcome(endpoints: Endpoints) -> str:
    if endpoints.provider_url:
        provider, control = endpoints.provider_url, "make the sandbox misbehave: infra/local/provider_faults.py"
        click = (
            "Open the demo shop, click, press Pay on the sandbox's pay page, and read here what your shop would hear."
        )
    else:
        provider, control = "the real CryptoCloud: invoices are real", "outages"
        click = "Open the demo shop and click. CryptoCloud's postback finds no way here: payments are seen on schedule."
    return f"""
The stack is up. Ctrl-C stops it.
{click}

  Demo shop        {endpoints.shop_url}   <- open this in a browser

  HTTP API         {endpoints.invoice_url}
  Status           {endpoints.status_url}?uuid=INV-…
  Postbacks to     {endpoints.postback_url}
  Lambda           {endpoints.lambda_url} (function {endpoints.function_name})
  CryptoCloud      {provider}
  Secrets Manager  {endpoints.secrets_url}
  DynamoDB         {endpoints.table_url}
  EventBridge      {endpoints.events_url} (bus {endpoints.event_bus})
  Control          {endpoints.control_url} ({control})

Without a browser:

  curl {endpoints.invoice_url} -H 'Content-Type: application/json' -d '{{"items": [{{"id": "mug", "quantity": 2}}]}}'

To ask now for payments without a postback, not in ten minutes:

  curl -X POST {endpoints.control_url}/schedules/run
"""


if __name__ == "__main__":
    sys.exit(main())
