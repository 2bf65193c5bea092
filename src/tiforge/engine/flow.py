"""How pulls tell deliveries, within one process, that the log has grown or that they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Flow:
    """What is under way in this process.

    Attributes:
        stopping: Set when everything should come to an end after the page or batch that is under way.
    """

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._pulls = 0
        self._changed = asyncio.Event()

    @property
    def pulling(self) -> bool:
        """Whether a source is being pulled."""
        return self._pulls > 0

    @contextmanager
    def pull(self) -> Iterator[None]:
        """Count a pull for as long as the block lasts."""
        self._pulls += 1
        try:
            yield
        finally:
            self._pulls -= 1
            self.changed()

    def changed(self) -> None:
        """Wake everyone who waits: the log has grown, a pull has ended, or it is time to stop."""
        self._changed.set()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Bring everything to an end."""
        self.stopping.set()
        self.changed()

    async def wait(self, seconds: float) -> None:
        """Wait until something changes, at most so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
