"""Mode `snapshot`: one file with the whole current state, replaced as a whole."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import zstandard

from tiforge_stix_file.durable import open_for_writing, sync_folder, write_all
from tiforge_stix_file.encoding import FRAMINGS, suffix
from tiforge_stix_file.settings import Compression, Format

_GZIP = 31
_LEVEL_OF_GZIP = 6
_LEVEL_OF_ZSTD = 3


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _packer(compression: Compression) -> _Packer:
    if compression == "gzip":
        return zlib.compressobj(_LEVEL_OF_GZIP, zlib.DEFLATED, _GZIP)
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=_LEVEL_OF_ZSTD, write_checksum=True).compressobj()
    return _Plain()


class SnapshotFile:
    """A new snapshot on its way: it takes the old one's place with `commit`, or leaves it with `discard`.

    Args:
        folder: Where it goes.
        name: Its name without the suffix.
        format: How objects are framed.
        compression: How it is compressed.
    """

    def __init__(self, folder: Path, name: str, format: Format, compression: Compression) -> None:
        self._name = name
        self._framing = FRAMINGS[format]
        self._packer = _packer(compression)
        self._path = folder / f"{name}{suffix(format, compression)}"
        self._part = folder / f".{self._path.name}.part"
        self._content = blake2b(digest_size=16)
        self._empty = True
        self._part.unlink(missing_ok=True)  # a crash may have left one; the caller holds the folder's lock
        self._handle: int | None = open_for_writing(self._part, fresh=True)

    def add(self, payloads: Sequence[bytes]) -> None:
        """Append objects; there must be some."""
        text = self._framing.objects(payloads, first=self._empty)
        self._empty = False
        self._content.update(text)
        self._write(text)

    def commit(self) -> None:
        """Put the file in the place of the one before."""
        self._write(self._framing.end(self._name, self._content.hexdigest(), empty=self._empty))
        handle = self._require()
        write_all(handle, self._packer.flush())
        os.fsync(handle)
        self._let_go()
        self._part.replace(self._path)
        sync_folder(self._path.parent)

    def discard(self) -> None:
        """Remove what was written, unless it was committed."""
        self._let_go()
        self._part.unlink(missing_ok=True)

    def _write(self, text: bytes) -> None:
        write_all(self._require(), self._packer.compress(text))

    def _require(self) -> int:
        if self._handle is None:
            raise ValueError("the snapshot is closed")
        return self._handle

    def _let_go(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
