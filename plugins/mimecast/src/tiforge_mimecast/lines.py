"""Split a file into lines in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final, NamedTuple

_CHUNK: Final = 128 * 1024
LONGEST: Final = 64 * 1024
"""The longest line that is kept whole; a row of the feed is some hundred bytes."""
_KEPT: Final = 2048


class Line(NamedTuple):
    """One line.

    Attributes:
        number: Counted from 1.
        raw: Its bytes without the line end; of a line that is too long, the start.
        ended: Whether a line end followed: not so for the last line of a file that was cut short.
        too_long: Whether it is longer than `LONGEST`.
    """

    number: int
    raw: bytes
    ended: bool = True
    too_long: bool = False


def lines_of(body: IO[bytes]) -> Iterator[Line]:
    r"""Yield the lines of a file, which end with `\n` or `\r\n`.

    Args:
        body: A file at its start.
    """
    number, rest, skipping = 0, b"", False
    while chunk := body.read(_CHUNK):
        first, *others = chunk.split(b"\n")
        if others:
            number += 1
            if skipping or len(rest) + len(first) > LONGEST:
                yield Line(number, (rest + first)[:_KEPT], too_long=True)
            else:
                yield Line(number, (rest + first).removesuffix(b"\r"))
            rest, skipping = others.pop(), False
            for raw in others:
                number += 1
                if len(raw) > LONGEST:
                    yield Line(number, raw[:_KEPT], too_long=True)
                else:
                    yield Line(number, raw.removesuffix(b"\r"))
        elif not skipping:
            rest += first
        if len(rest) > LONGEST:
            rest, skipping = rest[:_KEPT], True
    if rest:
        yield Line(number + 1, rest.removesuffix(b"\r"), ended=False, too_long=skipping)
