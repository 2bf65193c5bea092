"""When and how long to wait before a failed call is made again. The only place that retries.

Exponential backoff with full jitter: the n-th wait is drawn between 0 and `wait_initial · 2ⁿ⁻¹`, below
`wait_max`. A time that the remote API names is obeyed instead. Where it is longer than `wait_max` nobody
sits it out: the error goes up, and the engine stores when to try again.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import stamina

from tiforge.config.model import RetrySettings
from tiforge.errors import Transient
from tiforge.secrets import redact

Told = Callable[[int, float, str], None]


class Backoff:
    """Decides about each failure of one piece of work.

    Args:
        settings: The limits.
        told: Is called before each wait with the attempt that failed, the wait in seconds, and the reason.
        clock: Seconds that only grow.
    """

    def __init__(
        self, settings: RetrySettings, told: Told, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._told = told
        self._clock = clock
        self.progressed()

    def progressed(self) -> None:
        """Forget earlier failures: the work has come on since."""
        self._failures = 0
        self._since = self._clock()

    def __call__(self, error: Exception) -> bool | float:
        """Return how long to wait, in seconds, or `False` to give up."""
        if not isinstance(error, Transient):
            return False
        self._failures += 1
        limit = self._settings.wait_max.total_seconds()
        if error.retry_after is not None:
            wait = error.retry_after
            if wait > limit:
                return False
        else:
            ceiling = self._settings.wait_initial.total_seconds() * 2 ** (self._failures - 1)
            wait = random.uniform(0, min(limit, ceiling))  # noqa: S311 - spreads load, hides nothing
        elapsed = self._clock() - self._since
        if self._failures >= self._settings.attempts:
            return False
        if elapsed + wait > self._settings.give_up_after.total_seconds():
            return False
        self._told(self._failures, wait, redact(str(error)))
        return wait


def retrying(backoff: Backoff) -> AsyncIterator[Any]:
    """Return the attempts at a piece of work, each to be used as a context: `with attempt:`."""
    # The limits are in the backoff, which knows about progress; stamina must not add its own.
    return stamina.retry_context(on=backoff, attempts=None, timeout=None)
