"""How long an instance waits for CryptoCloud: less time, after several calls in a row without an answer.

An instance serves one request at a time, so one that waits for an answer that never comes serves no buyer. Unlike a
circuit breaker, this refuses no request: each one is sent. docs/patience.md compares the two.
"""

import time
from collections.abc import Callable

IMPATIENT_AFTER = 3
FULL_TIME_EVERY_S = 30.0
SHORT_SHARE = 1 / 4
# With less there is hardly time for an answer: connecting takes part of it. The parameter ProviderTimeout has the same
# minimum. With that, an instance is never impatient.
LEAST_S = 2.0
# A provider that answers slowly must not be cut off because other requests hang.
TIMES_THE_LAST_ANSWER = 2


class Patience:
    """The time for one instance's next call, from what became of the calls before.

    The instance becomes impatient when ``IMPATIENT_AFTER`` calls in a row held it for at least a quarter of the time
    and brought no answer. It is patient again when one is answered, with whatever status and however late. The state is
    this instance's alone: nothing is read, written or shared.

    Args:
        provider_timeout_s: All the seconds that the provider may have for one invoice.
        wall_clock: Seconds of wall time. A monotonic clock need not count the time for which the instance is frozen.
    """

    def __init__(self, provider_timeout_s: float, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._all_s = provider_timeout_s
        self._long_s = min(provider_timeout_s, max(provider_timeout_s * SHORT_SHARE, LEAST_S))
        self._wall_clock = wall_clock
        self._calls_in_vain = 0
        self._last_in_vain_at_s = 0.0
        self._last_answer_took_s = 0.0

    def allowed_s(self) -> float:
        """Returns the seconds that the next call may take: all of them, or the short time if the instance is impatient.

        At least every ``FULL_TIME_EVERY_S`` a call has all the time, so that an impatient instance notices when the
        provider answers again, but slowly.
        """
        since_s = self._wall_clock() - self._last_in_vain_at_s
        # A clock that was set back must not keep the instance impatient.
        if self._calls_in_vain < IMPATIENT_AFTER or not 0 <= since_s < FULL_TIME_EVERY_S:
            return self._all_s
        return min(self._all_s, max(self._long_s, self._last_answer_took_s * TIMES_THE_LAST_ANSWER))

    def learn(self, *, allowed_s: float, held_s: float, answered: bool) -> None:
        """Takes note of a call that has ended.

        Args:
            allowed_s: What ``allowed_s`` returned for it.
            held_s: Seconds that its attempts took, without the waits between them.
            answered: Whether the provider answered, with whatever status.
        """
        if answered:
            self._calls_in_vain = 0
            self._last_answer_took_s = held_s
        elif allowed_s < self._all_s:
            return  # it adds nothing to what made the instance impatient
        elif held_s >= self._long_s:
            if self._calls_in_vain >= IMPATIENT_AFTER:
                self._last_answer_took_s = 0.0  # too long ago to expect another such answer
            self._calls_in_vain += 1
            self._last_in_vain_at_s = self._wall_clock()
        elif self._calls_in_vain < IMPATIENT_AFTER:
            self._calls_in_vain = 0
