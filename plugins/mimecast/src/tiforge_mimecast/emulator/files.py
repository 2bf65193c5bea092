"""The files that the emulator sends."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import orjson

from tiforge_mimecast.emulator.rows import Rows

_DATE: Final = (2026, 1, 1, 0, 0, 0)
_GIBIBYTE_OF_ZEROS: Final = 0x5B64C2B0
"""Its CRC-32."""
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")


def csv_file(rows: Rows, first: int, last: int) -> bytes:
    """Write rows in the CSV form; there is no line end after the last, as with Mimecast."""
    return b"\n".join([rows.header, *(rows.line(index) for index in range(first, last))])


def stix_file(rows: Rows, first: int, last: int) -> bytes:
    """Write rows in the STIX form, newest first."""
    objects = [item for index in reversed(range(first, last)) for item in rows.triple(index)]
    bundle_id = f"bundle--00000000-0000-4000-a000-{first:012d}"
    return orjson.dumps({"type": "bundle", "id": bundle_id, "spec_version": "2.0", "objects": objects})


def zipped(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Write a zip archive; the same members give the same bytes."""
    written = io.BytesIO()
    with ZipFile(written, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members:
            archive.writestr(ZipInfo(name, _DATE), content, ZIP_DEFLATED, 1)
    return written.getvalue()


@cache
def zip_bomb(gibibytes: int = 10) -> bytes:
    """Write an archive of one member for each gibibyte of zeros, about 1 MiB each, without compressing them."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    # A full flush ends on a byte and forgets what was before, so the block may be repeated.
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    data = block * 1024 + deflate.flush()
    size, crc = 1 << 30, _GIBIBYTE_OF_ZEROS
    body, directory = bytearray(), bytearray()
    for number in range(gibibytes):
        name = f"malware_grid_csv_{number}.csv".encode()
        directory += _CENTRAL.pack(
            b"PK\x01\x02", 20, 20, 0, 8, 0, 33, crc, len(data), size, len(name), 0, 0, 0, 0, 0, len(body)
        )
        directory += name
        body += _LOCAL.pack(b"PK\x03\x04", 20, 0, 8, 0, 33, crc, len(data), size, len(name), 0)
        body += name + data
    end = _END.pack(b"PK\x05\x06", 0, 0, gibibytes, gibibytes, len(directory), len(body), 0)
    return bytes(body + directory + end)
