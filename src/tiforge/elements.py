"""Cut a JSON text of any size into its elements, without holding more than one of them.

For sources that read bundles, lists or JSON Lines from outside:

```python
for element in Elements(chunks, max_size=1024 * 1024):
    if element.error:
        raw = element.raw.decode("utf-8", "replace")
        set_aside.append(SetAside(raw, element.error, f"object {element.number}"))
    else:
        records.append(Record.of(upgrade(element.value)))
```

A streaming parser builds every value that it meets, and keeps the path to it: a text of nothing but opening
brackets costs it memory by the square of the depth. Here a value is only measured, by its brackets and
strings, with a limit on depth and size, and then handed to orjson as a slice. An element that is not JSON,
nested too deeply or too large costs that element and not the rest of the text.
"""

from __future__ import annotations

import json
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
_IN_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_NO_TOKEN: Final = re.compile(rb'[^"{}\[\]]*+')
_OPENINGS: Final = re.compile(rb"[\[{]++")
_CLOSINGS: Final = re.compile(rb"[\]}]++")
_LONG_NUMBER: Final = re.compile(rb"\d{19}")
_OPENING: Final = b"{["
_QUOTE: Final = ord('"')
_BOM: Final = b"\xef\xbb\xbf"
_LINE: Final = 64 * 1024
"""What is looked through for the end of a line before a value is measured instead."""

_SAMPLE: Final = 40
_RAW: Final = 2000
"""What is kept of an element that is passed over."""
MAX_DEPTH: Final = 100
"""How deep one element may be nested; STIX needs ten or so."""


_TOO_DEEP: Final = f"It is nested deeper than {MAX_DEPTH} levels."


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


class NoBundle(Fault):
    """A text is JSON, but no bundle."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a text.

    Attributes:
        value: The parsed value; `None` where it cannot be read.
        number: Its place among the elements, from 1.
        error: Why it cannot be read, as a sentence; empty where it can.
        raw: Its text where it cannot be read, the first 2,000 bytes of it.
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
        size_name: What the limit is called where an element is larger, as the setting that raises it.
    """  # noqa: D205

    def __init__(self, chunks: Iterable[bytes], max_size: int, *, size_name: str = "") -> None:
        self._chunks = iter(chunks)
        self._max_size = max_size
        limit = f"`{size_name}` ({max_size:,} bytes) allows" if size_name else f"{max_size:,} bytes"
        self._too_large = f"It is larger than {limit}."
        self._text = b""
        self._base = 0  # how much of the whole text lies before `_text`
        self._at = 0
        self._kept: int | None = None
        self._number = 0
        self._lines = False

    def __iter__(self) -> Iterator[Element]:
        """Yield the elements.

        Raises:
            Fault: The text breaks off or is no JSON; what came before has been yielded.
        """
        self._begin()
        while mark := self._peek():
            if mark in b"{" or self._lines:
                yield from self._line_or_object()
            elif mark == b"[":
                self._at += 1
                yield from self._list()
            else:
                raise Fault(f"It holds neither a JSON object nor a list, but begins with {self._sample()!r}.")

    def of_bundle(self) -> Iterator[Element]:
        """Yield the elements of a text that is to be one bundle, and nothing else.

        Raises:
            NoBundle: It is JSON, but something else.
            Fault: As for the iterator.
        """
        self._begin()
        if self._require() != b"{":
            raise NoBundle("It is no bundle.")
        yield from self._object(only_bundle=True)
        if self._peek():
            raise Fault(f"There is more behind the bundle: {self._sample()!r}.")

    def _begin(self) -> None:
        while len(self._text) < len(_BOM) and self._more():
            pass
        if self._text.startswith(_BOM):
            self._at = len(_BOM)

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

    def _object(self, *, only_bundle: bool = False) -> Iterator[Element]:
        """Read an object by its properties, and hand out the list `objects` piece by piece."""
        self._kept = self._at
        begin = self._base + self._at
        head, error = self._head(begin), ""
        self._at += 1
        may_be_bundle = whole = True
        is_bundle = False
        first = True
        while self._has_next(b"}", first=first):
            first = False
            if self._peek() != b'"':
                raise Fault(f"The name of a property is missing before {self._sample()!r}.")
            name, _ = self._value()
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
                value, wrong = self._value()
                error = error or wrong
                if name == b'"type"':
                    may_be_bundle = is_bundle = value == b'"bundle"'
                if only_bundle and (not may_be_bundle or name == b'"objects"'):
                    raise NoBundle("It is no bundle, or one whose `objects` are no list.")
        if not whole:
            return
        if only_bundle:
            self._kept = None
            if not is_bundle:
                raise NoBundle("It is no bundle.")
        elif self._kept is None:  # let go of, since something in it was too deep or all of it too large
            yield from self._numbered(
                [Element(None, 0, error or self._too_large, head[: self._base + self._at - begin])]
            )
        else:
            text = self._text[self._kept : self._at]
            self._kept = None
            yield from self._numbered(self._parsed(text))

    def _list(self) -> Iterator[Element]:
        first = True
        while self._has_next(b"]", first=first):
            first = False
            text, error = self._value()
            found = [Element(None, 0, error, text)] if error else self._parsed(text)
            yield from self._numbered(found)

    def _parsed(self, text: bytes) -> Iterator[Element]:
        error = ""
        if len(text) > self._max_size:
            error = self._too_large
        elif _is_too_deep(text):
            error = _TOO_DEEP
        else:
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError as wrong:
                error = f"It is not JSON: {wrong}."
            else:
                error = _long_number(text)
        if error:
            yield Element(None, 0, error, text[:_RAW])
        else:
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

    def _value(self) -> tuple[bytes, str]:
        """Return the text of the value that begins here, and go on behind it.

        Returns:
            The text; or its beginning, and why no more of it was kept.
        """
        within = self._kept is not None
        if self._kept is None:
            self._kept = self._at
        begin = self._at - self._kept
        mark = self._text[self._at : self._at + 1]
        if mark in _OPENING:
            error, head = self._pass_brackets(begin)
        elif mark == b'"':
            error, head = self._pass(_STRING, begin)
        else:
            error, head = self._pass(_SCALAR, begin)
        if error:
            return head, error
        text = self._text[self._kept + begin : self._at]
        if not within:
            self._kept = None
        return text, ""

    def _pass_brackets(self, begin: int) -> tuple[str, bytes]:
        depth = 0
        while True:
            match = _TO_BRACKET.match(self._text, self._at)
            if match is None:
                if self._is_full():
                    return self._pass_over(self._too_large, begin, depth)
                self._more_or_fault()
                continue
            self._at = match.end()
            if self._text[self._at - 1] in _OPENING:
                depth += 1
                if depth > MAX_DEPTH:
                    return self._pass_over(_TOO_DEEP, begin, depth)
            else:
                depth -= 1
                if not depth:
                    return "", b""

    def _pass(self, token: re.Pattern[bytes], begin: int) -> tuple[str, bytes]:
        while True:
            match = token.match(self._text, self._at)
            # A number or a word that reaches to the end of what has been read may go on behind it.
            if match and (token is _STRING or match.end() < len(self._text)):
                self._at = match.end()
                return "", b""
            if match is None and token is _SCALAR:
                raise Fault(f"There is no value at {self._sample()!r}.")
            if self._is_full():
                return self._pass_over(self._too_large, begin, 0)
            self._more_or_fault()

    def _pass_over(self, error: str, begin: int, depth: int) -> tuple[str, bytes]:
        """Read to the end of a value without keeping it.

        Returns:
            The error, and the beginning of the value.
        """
        begin += self._base + (self._kept or 0)
        head = self._head(begin)
        self._kept = None
        # Where the text ends within it, more of the text would not make the value readable.
        endless = Fault(f"Object {self._number + 1}: {error} It does not end.")
        self._skip(depth, endless)
        return error, head[: self._base + self._at - begin]

    def _head(self, begin: int) -> bytes:
        """Return up to 2,000 bytes from a place in the whole text, which must be kept."""
        while len(self._text) + self._base - begin < _RAW and self._more():
            pass
        return self._text[begin - self._base : begin - self._base + _RAW]

    def _skip(self, depth: int, endless: Fault) -> None:
        while True:
            pattern = _NO_TOKEN if depth else _SCALAR
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
            if self._at == len(self._text):
                if not self._more():
                    raise endless
                continue
            if self._text[self._at] == _QUOTE:
                self._at += 1
                self._skip_string(endless)
            elif not depth:
                return  # behind a number or a word
            elif run := _OPENINGS.match(self._text, self._at):
                self._at = run.end()
                depth += len(run[0])
            elif run := _CLOSINGS.match(self._text, self._at):
                closed = min(depth, len(run[0]))
                self._at += closed
                depth -= closed
            if not depth:
                return

    def _skip_string(self, endless: Fault) -> None:
        while True:
            if match := _IN_STRING.match(self._text, self._at):
                self._at = match.end()
            if self._text[self._at : self._at + 1] == b'"':
                self._at += 1
                return
            if not self._more():
                raise endless

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
            if self._is_full():
                self._kept = None
            if not self._more():
                return b""

    def _require(self) -> bytes:
        if not (mark := self._peek()):
            raise self._broken_off()
        return mark

    def _is_full(self) -> bool:
        return self._kept is not None and len(self._text) - self._kept > self._max_size

    def _more_or_fault(self) -> None:
        if not self._more():
            raise self._broken_off()

    def _more(self) -> bool:
        """Read on, and let go of what is behind. Whether there was more."""
        base = self._at if self._kept is None else self._kept
        chunk = next(self._chunks, b"")
        self._text = self._text[base:] + chunk
        self._base += base
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


def _is_too_deep(text: bytes) -> bool:
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for match in _TO_BRACKET.finditer(text):
        depth += 1 if text[match.end() - 1] in _OPENING else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _long_number(text: bytes) -> str:
    """Say so where a text holds an integer beyond 64 bits, which orjson would round."""
    if not _LONG_NUMBER.search(text):
        return ""
    try:
        orjson.dumps(json.loads(text))
    except (TypeError, ValueError):
        return "It holds an integer beyond 64 bits."
    return ""


def _unpacked(value: Any) -> Iterator[Element]:
    if isinstance(value, dict) and value.get("type") == "bundle" and isinstance(value.get("objects", []), list):
        for each in value.get("objects", []):
            yield from _unpacked(each)
    else:
        yield Element(value, 0)
