"""Pull each source when it is due, deliver to each sink whenever there is something, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import structlog

from tiforge.engine.deliver import has_work
from tiforge.engine.work import DEFAULT_SCHEDULE, Engine
from tiforge.secrets import redact

_AFTER_A_FAULT: Final = 30.0  # seconds until what failed outside of all accounts is tried again
_BUSY: Final = 5.0  # seconds until what another process does is looked at again

log = structlog.get_logger("tiforge.serve")


async def serve(engine: Engine) -> None:
    """Work until SIGTERM or SIGINT; then finish the page and the batches under way, and return.

    Args:
        engine: The engine.
    """
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, engine.flow.stop)
    tasks = [
        *(asyncio.create_task(_source(engine, n)) for n, s in engine.config.sources.items() if s.enabled),
        *(asyncio.create_task(_sink(engine, n)) for n, s in engine.config.sinks.items() if s.enabled),
    ]
    log.info("serving", sources=list(engine.config.sources), sinks=list(engine.config.sinks))
    stopping = asyncio.create_task(engine.flow.stopping.wait())
    try:
        # None of the tasks ends by itself: the first that does has failed.
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        engine.flow.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=engine.config.serve.grace.total_seconds())
            for task in late:
                task.cancel()  # safe at any moment: what is not committed comes again
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
    finally:
        stopping.cancel()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
    log.info("stopped")


async def _source(engine: Engine, name: str) -> None:
    while not engine.flow.stopping.is_set():
        try:
            due = await engine.store.call(engine.due_at, name, DEFAULT_SCHEDULE)
            waits = await engine.store.call(engine.waits_until, "source", name, told_only=False)
            at = max((each for each in (due, waits) if each is not None), default=None)
            if at is not None and (seconds := _until(at)) > 0:
                await _pause(engine, seconds)
            elif (await engine.pull(name)).outcome == "busy":
                await _pause(engine, _BUSY)
        except Exception as error:  # noqa: BLE001 - one source must not end the others
            log.error("failed; trying again", source=name, error=redact(str(error) or repr(error)))
            await _pause(engine, _AFTER_A_FAULT)


async def _sink(engine: Engine, name: str) -> None:
    poll = engine.config.serve.poll.total_seconds()
    while not engine.flow.stopping.is_set():
        try:
            waits = await engine.store.call(engine.waits_until, "sink", name, told_only=False)
            if waits is not None:
                await _pause(engine, _until(waits))
                continue
            if await engine.store.call(has_work, engine.store, name, engine.sink(name)):
                await engine.deliver(name)
        except Exception as error:  # noqa: BLE001 - one sink must not end the others
            log.error("failed; trying again", sink=name, error=redact(str(error) or repr(error)))
            await _pause(engine, _AFTER_A_FAULT)
        await engine.flow.wait(poll)


def _until(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()


async def _pause(engine: Engine, seconds: float) -> None:
    """Wait, at most until it is time to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(engine.flow.stopping.wait(), max(0.0, seconds))
