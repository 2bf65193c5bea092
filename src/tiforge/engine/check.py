"""Ask every source and sink whether it could work, without moving anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tiforge.engine.fault import limited
from tiforge.engine.work import Engine
from tiforge.errors import TiforgeError
from tiforge.secrets import redact
from tiforge.sink import Sink
from tiforge.source import Source

_WITHIN = timedelta(minutes=2)


@dataclass(frozen=True)
class Finding:
    """What a source or sink said.

    Attributes:
        side: `source` or `sink`.
        name: The instance's name.
        ok: Whether it could work.
        message: What was reached as whom, or what is wrong and what to do.
    """

    side: str
    name: str
    ok: bool
    message: str


async def check_all(engine: Engine) -> list[Finding]:
    """Check every enabled source and sink at the same time, in the order of the config."""
    sources = [_check("source", name, engine.source) for name, s in engine.config.sources.items() if s.enabled]
    sinks = [_check("sink", name, engine.sink) for name, s in engine.config.sinks.items() if s.enabled]
    return list(await asyncio.gather(*sources, *sinks))


async def _check(side: str, name: str, make: Callable[[str], Source[Any] | Sink[Any]]) -> Finding:
    async def ask() -> str:
        async with make(name) as opened:
            return await opened.check()

    try:
        return Finding(side, name, True, redact(await limited(ask(), _WITHIN, f"the {side} {name}")))
    except TiforgeError as error:
        return Finding(side, name, False, redact(str(error)))
