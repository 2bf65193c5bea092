"""Print for people and for machines. Text from outside is made safe first: no escapes, no markup."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from tiforge.secrets import redact

if TYPE_CHECKING:
    from rich.console import Console

_UNSAFE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")

_PIPE: Final = 200


def safe(text: str) -> str:
    """Return text with secrets and everything that could steer a terminal taken out."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", redact(text))


def out() -> Console:
    """Return the console for results: standard output."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False)
    # A pipe has no width. That of a table is its content's, up to what a line of a log may be.
    width = None if os.environ.get("COLUMNS", "").isdigit() else _PIPE
    return Console(highlight=False, soft_wrap=True, width=width)


def err() -> Console:
    """Return the console for progress and messages: standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str) -> None:
    """Print a line of text for people, as it is but safe."""
    out().print(safe(text), markup=False)


def json(value: Any) -> None:
    """Print a value as JSON on one line, secrets redacted."""
    # Text is redacted piece by piece: a secret made of digits must not be cut out of a number.
    plain = _redacted(orjson.loads(orjson.dumps(value, default=_plain)))
    sys.stdout.write(orjson.dumps(plain).decode() + "\n")


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(each) for each in value]
    if isinstance(value, dict):
        return {redact(key): _redacted(each) for key, each in value.items()}
    return value


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        numeric = column.startswith("#")
        grid.add_column(column.removeprefix("#"), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(safe(_cell(cell))) for cell in row))
    out().print(grid)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return str(value)


def ago(moment: datetime | None) -> str:
    """Say how long ago a moment was, or how far ahead, in its largest unit."""
    if moment is None:
        return "never"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if size >= length:
            text = f"{size / length:.0f} {unit}"
            break
    else:
        text = f"{size:.0f} s"
    return f"{text} ago" if seconds >= 0 else f"in {text}"
