"""What the engine gives to each instance of a plugin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """What the engine gives to a plugin's instance.

    Attributes:
        name: The instance's name in the config, as `mimecast-eu`.
        now: The clock: returns the time in UTC.
    """

    name: str
    now: Callable[[], datetime] = field(default=_utc_now)
