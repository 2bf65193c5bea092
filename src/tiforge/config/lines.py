"""Find the line on which each key of a TOML file stands, so that an error can point at it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every table and key of a TOML document that parses.

    Args:
        text: The document.

    Returns:
        Lines by path, as `("sources", "mimecast-eu", "region")`. Keys of inline tables stand on the line of
        the statement that they are in.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    # Not `splitlines`, which also ends a line where no editor does, as at U+2028 in a text.
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        start = at
        at += 1
        stripped = lines[start].strip()
        if not stripped or stripped.startswith("#"):
            continue
        statement = lines[start]
        # A value may run over several lines: the statement ends where it parses.
        while (parsed := _parsed(statement)) is None and at < len(lines):
            statement += "\n" + lines[at]
            at += 1
        if parsed is None:
            break
        if stripped.startswith("["):
            table = _spine(parsed)
            for depth in range(1, len(table) + 1):
                found.setdefault(table[:depth], start + 1)
        else:
            _note(parsed, table, start + 1, found)
    return found


def _parsed(statement: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return None


def _spine(parsed: Mapping[str, Any]) -> Path:
    """Return the path of a table header, which parses to nested tables with one key each."""
    path: list[str] = []
    inner: Any = parsed
    while inner:
        if isinstance(inner, list):
            inner = inner[0]
            continue
        key = next(iter(inner))
        path.append(key)
        inner = inner[key]
    return tuple(path)


def _note(parsed: Mapping[str, Any], above: Path, line: int, found: dict[Path, int]) -> None:
    for key, value in parsed.items():
        path = (*above, key)
        found.setdefault(path, line)
        if isinstance(value, Mapping):
            _note(value, path, line, found)
