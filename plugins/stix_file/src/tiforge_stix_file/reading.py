"""Open a file and read it as text, whatever it is compressed with, within bounds."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import zstandard

from tiforge.elements import Fault

_CHUNK: Final = 256 * 1024
# A zstd block of 4 bytes may stand for 128 KiB; the decompressor returns all that a piece stands for.
_ZSTD_PIECE: Final = 1024
_ZSTD_WINDOW: Final = 128 * 1024 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = tuple(bytes((low, 0x2A, 0x4D, 0x18)) for low in range(0x50, 0x60))


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a regular file for reading; anything else is refused, and a pipe never waited for.

    Raises:
        Fault: It is not a regular file.
        OSError: It cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Fault("It is not a regular file.")
        yield handle
    finally:
        os.close(handle)


def text_of(handle: int, max_expanded: int) -> Iterator[bytes]:
    """Yield what a file holds, expanded, in chunks of bounded size.

    Args:
        handle: The open file.
        max_expanded: What a compressed file may expand to.

    Raises:
        Fault: It is damaged, breaks off, or expands to more than that.
    """
    head = _read(handle)
    if head.startswith(_GZIP_MAGIC):
        yield from _bounded(_expanded(handle, head, _Gzip), max_expanded)
    elif head.startswith((_ZSTD_MAGIC, *_ZSTD_SKIPPABLE)):
        yield from _bounded(_expanded(handle, head, _Zstd), max_expanded)
    else:
        while head:
            yield head
            head = _read(handle)


def _read(handle: int) -> bytes:
    return os.read(handle, _CHUNK)


def _bounded(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """Gather small pieces into chunks, up to a limit in all; what comes before a fault is handed out first."""
    total = size = 0
    gathered: list[bytes] = []
    fault: Fault | None = None
    try:
        for chunk in chunks:
            total += len(chunk)
            if total > limit:
                raise Fault(f"It expands to more than `max_expanded` ({limit} bytes) allows.")
            gathered.append(chunk)
            size += len(chunk)
            if size >= _CHUNK:
                yield b"".join(gathered)
                gathered, size = [], 0
    except Fault as error:
        fault = error
    if size:
        yield b"".join(gathered)
    if fault:
        raise fault


class _Expander(Protocol):
    """One gzip member or zstd frame."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data expand to."""
        ...

    def rest(self) -> bytes | None:
        """Return what lies behind the end; `None` where the end has not been reached."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            try:
                yield self._inner.decompress(data, _CHUNK)
            except zlib.error as error:
                raise Fault(f"It is a damaged gzip file: {error}.") from None
            data = self._inner.unconsumed_tail

    def rest(self) -> bytes | None:
        # Some tools fill the last block of a gzip file up with zeros.
        return self._inner.unused_data.lstrip(b"\0") if self._inner.eof else None


class _Zstd:
    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._behind = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        for begin in range(0, len(data), _ZSTD_PIECE):
            try:
                yield self._inner.decompress(data[begin : begin + _ZSTD_PIECE])
            except zstandard.ZstdError as error:
                raise Fault(f"It is a damaged zstd file: {error}.") from None
            if self._inner.eof:
                self._behind = self._inner.unused_data + data[begin + _ZSTD_PIECE :]
                return

    def rest(self) -> bytes | None:
        return self._behind if self._inner.eof else None


def _expanded(handle: int, data: bytes, kind: type[_Gzip] | type[_Zstd]) -> Iterator[bytes]:
    expander: _Expander | None = None
    while data:
        if expander is None:
            expander = kind()
        yield from expander.feed(data)
        rest = expander.rest()
        if rest is not None:
            expander = None
        data = rest or _read(handle)
    if expander is not None:
        raise Fault("The compressed file breaks off.", incomplete=True)
