"""The vocabulary of settings: the base model and the types that plugins build their settings of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, SupportsIndex

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, WithJsonSchema

from tiforge.schedule import Schedule
from tiforge.stix.tlp import TLP

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])")


_directory: ContextVar[Path] = ContextVar("tiforge_config_directory")


@contextmanager
def relative_to(directory: Path) -> Iterator[None]:
    """Validate settings inside this block with relative paths starting from a folder."""
    token = _directory.set(directory)
    try:
        yield
    finally:
        _directory.reset(token)


class Settings(BaseModel):
    """The base of every settings model: unknown keys are refused, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # A pickle would hold the values of secrets as they are.
        raise TypeError(f"{type(self).__name__} may hold secrets and is never pickled")


def parse_duration(text: str) -> timedelta:
    """Read a duration as people write it: `90s`, `15m`, `12h`, `30d`, `1h30m`.

    Raises:
        ValueError: The text is no duration.
    """
    parts = _PART.findall(text.strip())
    if not parts or _PART.sub("", text).strip():
        raise ValueError(f"{text!r} is no duration; write it as 90s, 15m, 12h, 30d or 1h30m")
    seconds = sum(float(number) * (0.001 if unit == "ms" else _UNITS[unit]) for number, unit in parts)
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{text!r} is longer than the calendar") from None


def _duration(value: Any) -> Any:
    if isinstance(value, str) and not value.strip().startswith(("P", "-P")):
        return parse_duration(value)
    if isinstance(value, bool):
        raise ValueError("is no duration; write it as 90s, 15m, 12h, 30d or 1h30m")
    if isinstance(value, int | float):
        raise ValueError(f"{value} has no unit; write it as '{value}s', '{value}m' or '{value}h'")
    return value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("a duration is not negative")
    return value


def _tlp(value: Any) -> Any:
    # A bare number would pass for a level; only the names mean the same to everyone.
    return value if isinstance(value, TLP) else TLP.named(str(value))


def _schedule(value: Any) -> Any:
    return Schedule.parse(value) if isinstance(value, str) else value


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    AfterValidator(_not_negative),
    WithJsonSchema({"type": "string", "examples": ["90s", "15m", "12h", "30d"], "title": "duration"}),
]
"""A length of time, as `90s`, `15m`, `12h`, `30d`, `1h30m`."""


def _local(value: Path) -> Path:
    return _directory.get(Path()) / value


LocalPath = Annotated[Path, AfterValidator(_local)]
"""A path on this machine; a relative one starts from the folder of the config."""

Size = Annotated[ByteSize, Field(ge=1)]
"""A number of bytes, as `65536`, `16MiB` or `1GB`."""

TlpLevel = Annotated[
    TLP,
    BeforeValidator(_tlp),
    WithJsonSchema({"type": "string", "enum": ["clear", "green", "amber", "amber+strict", "red"]}),
]
"""A level of the Traffic Light Protocol, by name."""

When = Annotated[
    Schedule,
    BeforeValidator(_schedule),
    WithJsonSchema({"type": "string", "examples": ["*/15 * * * *", "every 15m"], "title": "schedule"}),
]
"""A schedule: a cron expression (UTC), or `every` and a duration."""
