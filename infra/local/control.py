"""The control port of the local stack: what a person or a test asks of it and orders, over HTTP.

``GET /`` answers with the endpoints, ``GET /provider`` with what the sandbox saw, ``GET /provider/postbacks`` with what
it sent and what the answers were, ``GET /events`` with what EventBridge delivered, ``GET /secrets``, ``GET /table`` and
``GET /bus`` with the calls that Secrets Manager, DynamoDB and EventBridge saw, ``GET /table/calls`` with those of each
table. ``POST /provider/faults`` makes the sandbox misbehave, ``POST /schedules/run`` runs the watcher now. A ``POST``
to any unknown path answers with the list of all orders. The members of the JSON object in the body are the arguments.
"""

import json
from collections.abc import Callable, Mapping
from http.server import ThreadingHTTPServer
from typing import Any

from infra.local.loopback import QuietHandler


class ControlServer(ThreadingHTTPServer):
    """The server, on loopback.

    Args:
        port: 0 takes a free one.
        questions: What ``GET`` answers, by path.
        orders: What ``POST`` does, by path.
    """

    daemon_threads = True

    def __init__(
        self,
        port: int,
        questions: Mapping[str, Callable[[], Mapping[str, Any]]],
        orders: Mapping[str, Callable[..., None]],
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.questions = questions
        self.orders = orders


class _Handler(QuietHandler):
    server: ControlServer

    def do_GET(self) -> None:
        if question := self.server.questions.get(self.path):
            self._reply(200, question())
        else:
            self._reply(404, {"error": f"GET one of {', '.join(sorted(self.server.questions))}"})

    def do_POST(self) -> None:
        body = self.read_body() or b"{}"
        order = self.server.orders.get(self.path)
        if order is None:
            self._reply(404, {"error": f"POST to one of {', '.join(sorted(self.server.orders))}"})
            return
        try:
            order(**_members(body))
        except (TypeError, ValueError) as error:
            self._reply(400, {"error": str(error)})
        else:
            self._reply(200, {})

    def _reply(self, status: int, payload: Mapping[str, Any]) -> None:
        self.answer(status, json.dumps(payload).encode(), Content_Type="application/json")


def _members(body: bytes) -> dict[str, Any]:
    members = json.loads(body)
    if not isinstance(members, dict):
        raise TypeError("send a JSON object")
    return members
