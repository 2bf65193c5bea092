"""What a plugin's code does that it should not: raise anything, answer nonsense, hang."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from tiforge.errors import TiforgeError, Transient
from tiforge.secrets import redact

T = TypeVar("T")


class PluginFault(TiforgeError):
    """A plugin raised an error that is not of `tiforge.errors`, or broke its contract."""


async def limited(call: Awaitable[T], within: timedelta, who: str) -> T:
    """Await a plugin's call, and turn what it must not do into errors that name it.

    Args:
        call: The call.
        within: How long it may take.
        who: As `the sink type splunk`.

    Raises:
        Transient: It took too long.
        PluginFault: It raised something of its own.
    """
    try:
        async with asyncio.timeout(within.total_seconds()):
            return await call
    except TimeoutError:
        raise Transient(f"{who[:1].upper()}{who[1:]} did not answer within {within}.") from None
    except (TiforgeError, StopAsyncIteration):
        raise
    except Exception as error:
        told = redact(f"{type(error).__name__}: {error}")
        raise PluginFault(
            f"{who[:1].upper()}{who[1:]} failed with {told}.",
            hint="This is a fault of the plugin; report it there.",
        ) from error
