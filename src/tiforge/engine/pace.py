"""A limit on requests in any sliding minute, shared by all batches of a sink that are in flight."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

_MINUTE: Final = 60.0


class Pace:
    """Lets a request go when fewer than the limit have gone in the last minute.

    A token bucket would let twice the limit go within one minute, half at its end and half at the start of
    the next; the services count any minute.

    Args:
        per_minute: The limit; `None` for none.
        clock: Seconds that only grow.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        per_minute: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limit = per_minute
        self._clock = clock
        self._sleep = sleep
        self._gone: deque[float] = deque()
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Return when a request may go."""
        if self._limit is None:
            return
        async with self._turn:
            while True:
                now = self._clock()
                while self._gone and self._gone[0] + _MINUTE <= now:
                    self._gone.popleft()
                if len(self._gone) < self._limit:
                    self._gone.append(now)
                    return
                await self._sleep(self._gone[0] + _MINUTE - now)
