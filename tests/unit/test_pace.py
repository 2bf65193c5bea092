"""Pace: never more than the limit in any sliding minute, in a loop whose time the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiforge.engine.pace import Pace


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that jumps to the next moment at which something is due, instead of waiting for it."""

    moment = 0.0

    def time(self) -> float:
        return self.moment

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.moment = max(self.moment, self._scheduled[0]._when)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def virtually(work: Coroutine[Any, Any, None]) -> float:
    """Run to the end; return the seconds that would have passed."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)
        return runner.get_loop().time()


def starts_of(limit: int | None, arrivals: list[float]) -> list[float]:
    """Return when each request goes that comes at a moment, all of them on tasks of their own."""
    gone: list[float] = []

    async def go() -> None:
        loop = asyncio.get_running_loop()
        pace = Pace(limit, clock=loop.time)

        async def request(at: float) -> None:
            await asyncio.sleep(at)
            await pace.wait()
            gone.append(loop.time())

        await asyncio.gather(*(request(at) for at in arrivals))

    virtually(go())
    return gone


# In eighths of a second, which add up without rounding.
ARRIVALS = st.lists(st.integers(0, 8 * 200).map(lambda eighths: eighths / 8), max_size=60)


@given(st.integers(1, 7), ARRIVALS)
def test_no_sliding_minute_sees_more_than_the_limit(limit: int, arrivals: list[float]) -> None:
    """Whenever they come, and however many at once; and each goes as soon as that lets it."""
    gone = starts_of(limit, arrivals)
    assert len(gone) == len(arrivals)
    assert gone == sorted(gone)
    for number, moment in enumerate(gone):
        within = [each for each in gone[: number + 1] if moment - 60 < each]
        assert len(within) <= limit
        soonest = sorted(arrivals)[number]
        if number >= limit:
            soonest = max(soonest, gone[number - limit] + 60)
        assert moment == max(soonest, gone[number - 1] if number else 0)


@given(ARRIVALS)
def test_without_a_limit_nothing_waits(arrivals: list[float]) -> None:
    """Each request goes when it comes."""
    assert starts_of(None, arrivals) == sorted(arrivals)


def test_one_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    """The next in line goes in its stead, at the same moment."""
    gone: list[float] = []

    async def go() -> None:
        loop = asyncio.get_running_loop()
        pace = Pace(1, clock=loop.time)
        await pace.wait()
        first = asyncio.create_task(pace.wait())
        await asyncio.sleep(30)
        first.cancel()
        await pace.wait()
        gone.append(loop.time())
        with pytest.raises(asyncio.CancelledError):
            await first

    virtually(go())
    assert gone == [60.0]
