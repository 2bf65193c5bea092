"""How objects become the bytes of a file: the framing of a bundle or of JSON Lines, and compression.

What a compressor returns for one call is a whole gzip member or zstd frame. A file that is cut between two
of them is a valid file, which is what lets a crashed run be finished.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import zstandard

from tiforge.stix import stable_id
from tiforge_stix_file.settings import Compression, Format

_GZIP: Final = 31  # zlib's window bits for the largest window, with a gzip header
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3

SUFFIX_OF_FORMAT: Final[dict[Format, str]] = {"bundle": ".json", "jsonl": ".jsonl"}
SUFFIX_OF_COMPRESSION: Final[dict[Compression, str]] = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def suffix(format: Format, compression: Compression) -> str:
    """Return how the names of such files end, as `.json.gz`."""
    return SUFFIX_OF_FORMAT[format] + SUFFIX_OF_COMPRESSION[compression]


class Framing(Protocol):
    """What stands before, between and after the objects of a file."""

    def objects(self, payloads: Sequence[bytes], *, first: bool) -> bytes:
        """Return the next objects of the file; `first` says whether none came before."""
        ...

    def end(self, *parts: str, empty: bool) -> bytes:
        """Return what ends the file; `parts` is what identifies its content."""
        ...


class BundleFraming:
    """A STIX 2.1 bundle (section 8), one object a line.

    The id comes last: it is derived from what the bundle holds, which is known only then. The same content
    has the same id and so the same bytes. A bundle without objects has no `objects` at all, since a list
    in STIX 2.1 must not be empty (section 2.8).
    """

    def objects(self, payloads: Sequence[bytes], *, first: bool) -> bytes:
        """Return the objects as they are, with the bundle's head before the first."""
        return (b'{"type":"bundle","objects":[\n' if first else b",\n") + b",\n".join(payloads)

    def end(self, *parts: str, empty: bool) -> bytes:
        """Return the bundle's end, with its id."""
        head = '{"type":"bundle"' if empty else "\n]"
        return f'{head},"id":"{stable_id("bundle", *parts)}"}}\n'.encode()


class LinesFraming:
    """JSON Lines: one object a line."""

    def objects(self, payloads: Sequence[bytes], *, first: bool) -> bytes:
        """Return the objects, each on one line."""
        text = b"\n".join((*payloads, b""))
        if text.count(b"\n") != len(payloads):
            # Inside JSON text a line break can only be white space between tokens.
            text = b"\n".join((*(payload.replace(b"\n", b" ") for payload in payloads), b""))
        return text

    def end(self, *parts: str, empty: bool) -> bytes:
        """Return nothing: a line ends itself."""
        return b""


FRAMINGS: Final[dict[Format, Framing]] = {"bundle": BundleFraming(), "jsonl": LinesFraming()}


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(data)


def _plain(data: bytes) -> bytes:
    return data


_COMPRESSORS: Final[dict[Compression, Callable[[bytes], bytes]]] = {"none": _plain, "gzip": _gzip, "zstd": _zstd}


def compress(data: bytes, compression: Compression) -> bytes:
    """Return data as one gzip member, as one zstd frame, or as it is; nothing stays nothing."""
    return _COMPRESSORS[compression](data) if data else b""
