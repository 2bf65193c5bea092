"""One run: pull everything that is due, deliver at the same time until every sink has everything, end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime

from tiforge.engine.work import Engine, Outcome


async def run(engine: Engine, *, now: bool = False) -> list[Outcome]:
    """Do everything once.

    Args:
        engine: The engine.
        now: Pull every source, due or not, and try what waits after a failure. A wait that the remote API
            asked for is kept all the same.

    Returns:
        One outcome for each enabled source and sink, sources first, in the order of the config.
    """
    sources = [name for name, settings in engine.config.sources.items() if settings.enabled]
    sinks = [name for name, settings in engine.config.sinks.items() if settings.enabled]
    work = [_pull(engine, name, now) for name in sources]
    return await _together(engine, work, sinks)


async def backfill(
    engine: Engine, source: str, since: datetime, *, name: str | None = None, reset: bool = False
) -> list[Outcome]:
    """Pull one source again from a moment on, beside its schedule, and deliver what is new.

    An interrupted backfill goes on where it was when it is started again under the same name.

    Args:
        engine: The engine.
        source: The source's name.
        since: The moment.
        name: What to know the backfill by; the moment, where it is not given.
        reset: Whether the schedule goes on from where the backfill ended, whatever its own cursor says.
    """
    sinks = [each for each, settings in engine.config.sinks.items() if settings.enabled]
    return await _together(engine, [_backfill(engine, source, since, name or since.isoformat(), reset)], sinks)


async def _backfill(engine: Engine, source: str, since: datetime, name: str, reset: bool) -> Outcome:
    waits = await engine.store.call(engine.waits_until, "source", source, told_only=True)
    if waits is not None:
        return Outcome("source", source, "waiting", message=_asked(waits))
    return await engine.pull(source, lane=f"backfill {name}", since=since, reset=reset)


async def _together(engine: Engine, pulls: Sequence[Awaitable[Outcome]], sinks: Sequence[str]) -> list[Outcome]:
    # The flow counts as pulling from before the first delivery looks until the last pull is done.
    async with asyncio.TaskGroup() as group:
        with engine.flow.pull():
            delivered = [group.create_task(_deliver(engine, name)) for name in sinks]
            pulled = await asyncio.gather(*pulls)
    return [*pulled, *(task.result() for task in delivered)]


async def _pull(engine: Engine, name: str, now: bool) -> Outcome:
    due = None if now else await engine.store.call(engine.due_at, name)
    waits = await engine.store.call(engine.waits_until, "source", name, told_only=True)
    if due is not None and due > datetime.now(UTC):
        return Outcome("source", name, "waiting", message=f"due at {due.isoformat(timespec='seconds')}")
    if waits is not None:
        return Outcome("source", name, "waiting", message=_asked(waits))
    return await engine.pull(name)


async def _deliver(engine: Engine, name: str) -> Outcome:
    waits = await engine.store.call(engine.waits_until, "sink", name, told_only=True)
    if waits is not None:
        return Outcome("sink", name, "waiting", message=_asked(waits))
    return await engine.deliver_or_wait(name)


def _asked(until: datetime) -> str:
    return f"the remote API asked to wait until {until.isoformat(timespec='seconds')}"
