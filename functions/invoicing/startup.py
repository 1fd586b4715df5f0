"""What happens while an execution environment starts. Every entry file imports this first and ends with ``finish``.

The garbage collector is off from here to ``finish``. Almost everything that imports create lives as long as the
process. Collecting garbage during the start cost 8 % of it. Pydantic does not look for plugins of its own among all
packages: https://docs.pydantic.dev/latest/concepts/plugins/.
"""

import gc
import os

gc.disable()
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from invoicing import ahead

ahead.begin()

from collections.abc import Callable

from invoicing.observability import logger, warn_of_switched_off_promises


def finish(prepare: Callable[[], object]) -> None:
    """Ends the start-up of a function.

    Args:
        prepare: What takes time on the network and can be done before the first request, so that the first buyer does
            not wait for it. If it raises anything, that is logged and the start goes on: the first request tries
            again, and can report the error to its caller.
    """
    warn_of_switched_off_promises()
    try:
        prepare()
    except Exception as exception:
        logger.warning("not ready at start", reason=getattr(exception, "reason", type(exception).__name__))
    gc.freeze()  # from now on the collector skips what exists already
    gc.enable()
