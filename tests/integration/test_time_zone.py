"""An owner's time zone with summer time: nothing of ours goes by local time, not even in the hour that comes twice."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from tests.support.stack import PROVIDER_TIMEOUT_S

IN_20_S = (
    "import datetime as d, time; print(round((d.datetime.now() + d.timedelta(seconds=20)).timestamp() - time.time()))"
)


def zone_whose_clocks_have_just_gone_back() -> str:
    """Returns a time zone, as POSIX writes it, in which the hour that comes twice has begun again 10 minutes ago.

    https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html#tag_08_03
    """
    now = datetime.now(UTC)
    start, end = now - timedelta(days=2), now + timedelta(hours=1, minutes=-10)  # the end is in summer time
    return f"WINTER0SUMMER-1,{start.timetuple().tm_yday - 1}/0,{end.timetuple().tm_yday - 1}/{end:%H:%M}"


def test_a_key_is_one_invoice_in_the_hour_that_comes_twice(start_stack, fresh) -> None:
    zone = zone_whose_clocks_have_just_gone_back()
    # So is it for a program that goes by local time:
    local = subprocess.run(
        [sys.executable, "-c", IN_20_S], env={"TZ": zone}, capture_output=True, text=True, check=True
    )
    assert int(local.stdout) == 20 - 3600

    stack = start_stack(environment={"TZ": zone}, sandboxes=2)
    with ThreadPoolExecutor(2) as tabs:  # both sandboxes have started then
        list(tabs.map(lambda _: stack.post({"amount": 1}), range(2)))
    stack.tell("/provider/forget")
    stack.misbehave("slow", value=PROVIDER_TIMEOUT_S)
    with ThreadPoolExecutor(1) as tab:
        first = tab.submit(stack.post, {"amount": 1}, key=fresh)
        while not stack.seen()["calls"]:
            pass  # until the first one is at the provider
        assert stack.post({"amount": 1}, key=fresh).payload["code"] == "invoice_in_progress"
    assert stack.post({"amount": 1}, key=fresh).payload == first.result().payload
