"""Cut a JSON text of any size into its elements, without holding more than one of them.

A streaming parser builds every value that it meets, and keeps the path to it: a text of nothing but opening
brackets costs it memory by the square of the depth. Here a value is only measured, by its brackets and
strings, with a limit on depth and size, and then handed to orjson as a slice. An element that is not JSON
costs that element and not the rest of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR: Final = re.compile(rb'[^\s,:"{}\[\]]++')
# From anywhere between two tokens to just after the next bracket, over strings and all else.
_TO_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[{}\[\]]', re.DOTALL)
_OPENING: Final = b"{["
_BOM: Final = b"\xef\xbb\xbf"
_LINE: Final = 64 * 1024
"""What is looked through for the end of a line before a value is measured instead."""

_SAMPLE: Final = 40

MAX_DEPTH: Final = 100
"""How deep one element may be nested; STIX needs ten or so."""


class Fault(Exception):
    """A text cannot be read further.

    Args:
        reason: Why, for the operator.
        incomplete: Whether more text might mend it, as in a file that is still being written.
    """

    def __init__(self, reason: str, *, incomplete: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.incomplete = incomplete


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a text.

    Attributes:
        value: The parsed value; `None` where it is not JSON.
        number: Its place among the elements, from 1.
        error: Why it is not JSON; empty where it is.
        raw: Its text where it is not JSON.
    """

    value: Any
    number: int
    error: str = ""
    raw: bytes = b""


class Elements:
    """The elements of a text, whichever of these it is: a bundle, a list, one object, or objects one after
    another, as in JSON Lines. A bundle among them stands for its objects.

    Args:
        chunks: The text.
        max_size: The bytes of one element, at most.
    """  # noqa: D205

    def __init__(self, chunks: Iterable[bytes], max_size: int) -> None:
        self._chunks = iter(chunks)
        self._max_size = max_size
        self._text = b""
        self._at = 0
        self._kept: int | None = None
        self._number = 0
        self._lines = False

    def __iter__(self) -> Iterator[Element]:
        """Yield the elements.

        Raises:
            Fault: The text breaks off or is no JSON; what came before has been yielded.
        """
        while len(self._text) < len(_BOM) and self._more():
            pass
        if self._text.startswith(_BOM):
            self._at = len(_BOM)
        while mark := self._peek():
            if mark in b"{" or self._lines:
                yield from self._line_or_object()
            elif mark == b"[":
                self._at += 1
                yield from self._list()
            else:
                raise Fault(f"It holds neither a JSON object nor a list, but begins with {self._sample()!r}.")

    def _line_or_object(self) -> Iterator[Element]:
        line, ended = self._line()
        found = list(self._parsed(line)) if line else []
        # Once there have been lines, a bad one stands for itself alone; before that, it is the beginning of
        # an object over many lines.
        if found and (not found[0].error or (self._lines and ended)):
            self._lines = True
            self._at += len(line)
            yield from self._numbered(found)
        elif self._peek() == b"{":
            yield from self._object()
        else:
            raise Fault(f"It breaks off or is no JSON after object {self._number}.", incomplete=True)

    def _object(self) -> Iterator[Element]:
        """Read an object by its properties, and hand out the list `objects` piece by piece."""
        self._kept = self._at
        self._at += 1
        may_be_bundle = whole = True
        first = True
        while self._has_next(b"}", first=first):
            first = False
            if self._peek() != b'"':
                raise Fault(f"The name of a property is missing before {self._sample()!r}.")
            name = self._value()
            if self._require() != b":":
                raise Fault(f"A colon is missing before {self._sample()!r}.")
            self._at += 1
            if name == b'"objects"' and may_be_bundle and self._require() == b"[":
                self._at += 1
                self._kept = None
                whole = False
                yield from self._list()
            else:
                self._require()
                value = self._value()
                if name == b'"type"':
                    may_be_bundle = value == b'"bundle"'
        if whole and self._kept is not None:
            text = self._text[self._kept : self._at]
            self._kept = None
            yield from self._numbered(self._parsed(text))

    def _list(self) -> Iterator[Element]:
        first = True
        while self._has_next(b"]", first=first):
            first = False
            yield from self._numbered(self._parsed(self._value()))

    def _parsed(self, text: bytes) -> Iterator[Element]:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield Element(None, 0, str(error), text)
            return
        yield from _unpacked(value)

    def _numbered(self, elements: Iterable[Element]) -> Iterator[Element]:
        for element in elements:
            self._number += 1
            yield Element(element.value, self._number, element.error, element.raw)

    def _has_next(self, closing: bytes, *, first: bool) -> bool:
        mark = self._require()
        if mark == closing:
            self._at += 1
            return False
        if not first:
            if mark != b",":
                raise Fault(f"A comma is missing before {self._sample()!r}.")
            self._at += 1
            self._require()
        return True

    def _value(self) -> bytes:
        """Return the text of the value that begins here, and go on behind it."""
        within = self._kept is not None
        if self._kept is None:
            self._kept = self._at
        begin = self._at - self._kept
        mark = self._text[self._at : self._at + 1]
        if mark in _OPENING:
            self._pass_brackets()
        elif mark == b'"':
            self._pass(_STRING)
        else:
            self._pass(_SCALAR)
        text = self._text[self._kept + begin : self._at]
        if not within:
            self._kept = None
        return text

    def _pass_brackets(self) -> None:
        depth = 0
        while True:
            match = _TO_BRACKET.match(self._text, self._at)
            if match is None:
                self._more_or_fault()
                continue
            self._at = match.end()
            if self._text[self._at - 1] in _OPENING:
                depth += 1
                if depth > MAX_DEPTH:
                    raise Fault(f"Object {self._number + 1} is nested deeper than {MAX_DEPTH} levels.")
            else:
                depth -= 1
                if not depth:
                    return

    def _pass(self, token: re.Pattern[bytes]) -> None:
        while True:
            match = token.match(self._text, self._at)
            # A number or a word that reaches to the end of what has been read may go on behind it.
            if match and (token is _STRING or match.end() < len(self._text)):
                self._at = match.end()
                return
            if match is None and token is _SCALAR:
                raise Fault(f"There is no value at {self._sample()!r}.")
            self._more_or_fault()

    def _line(self) -> tuple[bytes, bool]:
        """Return the text up to the end of the line or of the file, and whether there is a line end.

        The text is empty where a line is too long to be worth the look.
        """
        while True:
            end = self._text.find(b"\n", self._at, self._at + _LINE)
            if end >= 0:
                return self._text[self._at : end], True
            if len(self._text) - self._at >= _LINE:
                return b"", False
            if not self._more():
                return self._text[self._at :], False

    def _peek(self) -> bytes:
        """Pass over white space and return the byte behind it; nothing at the end of the text."""
        while True:
            match = _SPACE.match(self._text, self._at)
            if match:
                self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at : self._at + 1]
            if not self._more():
                return b""

    def _require(self) -> bytes:
        if not (mark := self._peek()):
            raise self._broken_off()
        return mark

    def _more_or_fault(self) -> None:
        if not self._more():
            raise self._broken_off()

    def _more(self) -> bool:
        """Read on, and let go of what is behind. Whether there was more."""
        base = self._at if self._kept is None else self._kept
        if len(self._text) - base > self._max_size:
            raise Fault(f"Object {self._number + 1} is larger than `max_object` ({self._max_size} bytes) allows.")
        chunk = next(self._chunks, b"")
        self._text = self._text[base:] + chunk
        self._at -= base
        if self._kept is not None:
            self._kept = 0
        return bool(chunk)

    def _broken_off(self) -> Fault:
        return Fault(f"It breaks off after object {self._number}.", incomplete=True)

    def _sample(self) -> str:
        while len(self._text) - self._at < _SAMPLE and self._more():
            pass
        return self._text[self._at : self._at + _SAMPLE].decode("utf-8", "replace")


def _unpacked(value: Any) -> Iterator[Element]:
    if isinstance(value, dict) and value.get("type") == "bundle" and isinstance(value.get("objects", []), list):
        for each in value.get("objects", []):
            yield from _unpacked(each)
    else:
        yield Element(value, 0)
