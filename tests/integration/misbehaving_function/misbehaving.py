"""Sleeps, crashes or raises as the event says; otherwise returns which process and which call it was."""

import os
import time
from typing import Any

calls = 0


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    global calls
    calls += 1
    time.sleep(event.get("sleep_s", 0))
    if "exit" in event:
        os._exit(event["exit"])
    if "raise" in event:
        raise type(event.get("type", "ValueError"), (Exception,), {})(event["raise"])
    return {"pid": os.getpid(), "calls": calls, "request_id": context.aws_request_id}
