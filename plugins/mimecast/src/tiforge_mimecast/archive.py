"""Read the members of a zip archive as streams, within limits."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from tiforge import Permanent, Transient
from tiforge.http import excerpt

_DIRECTORY: Final = 4 * 1024 * 1024
"""The largest table of contents to load, in bytes: some 40,000 members."""
_MEMBERS: Final = 10_000
_RATIO: Final = 200
"""Feeds compress to a tenth; deflate ends at a thousandth, which only a bomb comes near."""
_UNSUSPECTED: Final = 64 * 1024 * 1024
_END: Final = struct.Struct("<4s4H2LH")
_LOCATOR: Final = struct.Struct("<4sLQL")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")


def members(archive: IO[bytes], *, max_expanded: int) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each member of an archive, to be read before the next is asked for.

    A member's name is shown, never used as a path.

    Args:
        archive: A seekable file.
        max_expanded: The most bytes that all members together may expand to.

    Yields:
        The name as one safe line, and the member as a stream.

    Raises:
        Permanent: The archive is encrypted, of an unknown method, or a bomb.
        Transient: The archive is damaged or cut short, also while a member is read.
    """
    with damage_is_transient():
        _check_directory(archive)
        with _opened(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            _check(entries, max_expanded)
            for entry in entries:
                with opened.open(entry) as stream:
                    yield excerpt(entry.filename.encode("utf-8", "replace")), stream


def _opened(archive: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except ValueError as error:  # an offset before the start of the file, a name that is no text
        raise Transient(f"The zip archive is damaged: {error}.") from None


@contextmanager
def damage_is_transient() -> Iterator[None]:
    """Raise what zipfile says of a damaged archive as the engine's errors."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, OverflowError) as error:
        raise Transient(f"The zip archive is damaged or cut short: {error}.") from None
    except NotImplementedError as error:
        raise Permanent(f"The zip archive cannot be read: {error}.") from None


def _check_directory(archive: IO[bytes]) -> None:
    # The table of contents is loaded whole, so its size is looked up before.
    size = archive.seek(0, io.SEEK_END)
    tail_at = max(0, size - _END.size - _LOCATOR.size - 65535)
    archive.seek(tail_at)
    tail = archive.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise Transient("The zip archive is cut short: the record that ends it is missing.")
    directory = _END.unpack_from(tail, at)[5]
    before = at - _LOCATOR.size
    if before >= 0 and tail.startswith(b"PK\x06\x07", before):
        # zipfile looks right before the locator, whatever address that names.
        archive.seek(max(0, tail_at + before - _END_64.size))
        end_64 = archive.read(_END_64.size)
        if len(end_64) == _END_64.size and end_64.startswith(b"PK\x06\x06"):
            directory = max(directory if directory != 0xFFFFFFFF else 0, _END_64.unpack(end_64)[8])
    archive.seek(0)
    if directory > _DIRECTORY:
        raise Permanent(f"The zip archive's table of contents is {directory:,} bytes long, which no feed's is.")


def _check(entries: list[zipfile.ZipInfo], max_expanded: int) -> None:
    if len(entries) > _MEMBERS:
        raise Permanent(f"The zip archive holds {len(entries):,} members, which no feed does.")
    # zipfile never expands a member beyond the size that is declared here.
    expanded = sum(entry.file_size for entry in entries)
    if expanded > max_expanded:
        raise Permanent(
            f"The zip archive would expand to {expanded:,} bytes, more than the {max_expanded:,} allowed.",
            hint="If the feed is really that large, raise `max_expanded`; if not, this is a zip bomb.",
        )
    packed = sum(entry.compress_size for entry in entries)
    if expanded > _UNSUSPECTED and expanded > _RATIO * packed:
        raise Permanent(f"The zip archive expands {expanded // max(1, packed)}-fold: it is a zip bomb.")
    for entry in entries:
        if entry.flag_bits & 0x1:
            raise Permanent(f"The zip member {excerpt(entry.filename.encode('utf-8', 'replace'))} is encrypted.")
