"""A sandbox lives for hours: what a request takes, it gives back."""

from tests.load.soak import soak


def test_thousands_of_requests_to_one_process_leave_it_as_it_was(stack) -> None:
    # Any wrong answer ends it. A leak of 1 KB a request would be 1.5 MB. docs/scaling.md has a run of many more.
    soaked = soak(stack.endpoints, warm_up=500, requests=1500)
    assert soaked.after.memory_bytes - soaked.before.memory_bytes < 1_000_000
    # A connection may have been dropped meanwhile and made again; a leak shows in thousands.
    assert soaked.after.descriptors <= soaked.before.descriptors + 2
    # Each record of an invoice is written in a thread, which ends just after it.
    assert soaked.after.threads <= soaked.before.threads + 1
