"""Flow: how pulls wake deliveries."""

from __future__ import annotations

import asyncio

import pytest

from tiforge.engine.flow import Flow

FOREVER = 10_000.0


def test_everyone_who_waits_is_woken_at_every_change() -> None:
    """A change wakes all that wait then, and the next wait waits for the next change."""

    async def go() -> None:
        flow = Flow()
        for _ in range(3):
            waiting = [asyncio.create_task(flow.wait(FOREVER)) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not any(task.done() for task in waiting)
            flow.changed()
            await asyncio.gather(*waiting)

    asyncio.run(go())


def test_a_wait_ends_by_itself() -> None:
    """Another process tells nothing: after its time a wait is over without an error."""
    asyncio.run(Flow().wait(0.001))


def test_pulls_are_counted_whatever_becomes_of_them() -> None:
    """Several overlap; each end, failed ones too, wakes who waits."""

    async def go() -> None:
        flow = Flow()
        assert not flow.pulling
        with flow.pull():
            waiting = asyncio.create_task(flow.wait(FOREVER))
            await asyncio.sleep(0)
            with pytest.raises(ValueError, match="x"), flow.pull():
                raise ValueError("x")
            await waiting
            assert flow.pulling
        assert not flow.pulling

    asyncio.run(go())


def test_a_stop_is_kept_and_wakes_who_waits() -> None:
    """Whoever looks later sees it too."""

    async def go() -> None:
        flow = Flow()
        waiting = asyncio.create_task(flow.wait(FOREVER))
        await asyncio.sleep(0)
        flow.stop()
        await waiting
        assert flow.stopping.is_set()
        flow.stop()
        assert flow.stopping.is_set()

    asyncio.run(go())
