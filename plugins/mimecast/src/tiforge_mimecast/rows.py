"""Read the feed's CSV form, row by row.

The columns are separated by `|`, and a value that holds one is in double quotes. They are found by name, in
any order and case; unknown ones are kept. The names known so far: Timestamp, SHA256, SHA1, MD5, FileName,
FileMimeType, FileSize, SendingIP, SenderDomain, SenderAddress, RecipientAddress. Empty text and `null` both
stand for no value.

A row ends with its line: a quote that is not closed there spoils that row alone, not the rest of the feed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import IO, Any, Final, NamedTuple

from tiforge import InvalidObject, Permanent, SetAside, Transient
from tiforge.http import excerpt
from tiforge.stix import parse_timestamp, timestamp
from tiforge_mimecast.lines import LONGEST, Line, lines_of

COLUMNS: Final = (
    "Timestamp",
    "SHA256",
    "SHA1",
    "MD5",
    "FileName",
    "FileMimeType",
    "FileSize",
    "SendingIP",
    "SenderDomain",
    "SenderAddress",
    "RecipientAddress",
)
"""The columns that this source understands."""

_USUAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|\+00:?00)", re.ASCII).fullmatch
_NULL: Final = frozenset({"", "null", "NULL", "Null"})
_NAME: Final = COLUMNS.index("FileName")
_HASHES: Final = {
    "SHA256": re.compile(r"[0-9a-f]{64}"),
    "SHA1": re.compile(r"[0-9a-f]{40}"),
    "MD5": re.compile(r"[0-9a-f]{32}"),
}
_SHA256, _SHA1, _MD5 = (pattern.fullmatch for pattern in _HASHES.values())
_SEPARATORS: Final = re.compile(r"[\s_-]+")
_RAW: Final = 2000
_AHEAD: Final = timedelta(days=1)
FUTURE: Final = "its time lies more than a day in the future"
_BOM: Final = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """One detection. What the feed does not say is an empty string.

    Attributes:
        seen: When, as a STIX timestamp.
        sha256: In lower case, as the other hashes.
        sha1: The SHA-1.
        md5: The MD5.
        name: The file's name, as it came.
        mime_type: The file's media type.
        size: The file's size, as it came.
        sending_ip: The address of the server that sent the message.
        sender_domain: The sender's domain.
        sender: The sender's address.
        recipient: The recipient's address.
        others: Name and value of the columns that this source does not know, sorted by name.
    """

    seen: str
    sha256: str
    sha1: str
    md5: str
    name: str
    mime_type: str
    size: str
    sending_ip: str
    sender_domain: str
    sender: str
    recipient: str
    others: tuple[tuple[str, str], ...] = ()


class Recent:
    """Which times of detections are taken: those up to a day from now.

    A detection in the far future would be the newest of its indicator for as long, and all that follow
    would pass for older ones.

    Args:
        now: The clock's time; without it, any time is taken.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self._last = timestamp(now + _AHEAD) if now else "9"

    def __contains__(self, seen: str) -> bool:
        # Times as `timestamp` writes them sort as text.
        return seen <= self._last


class _Unreadable(Exception):
    """A verdict on one row, caught where the row is set aside."""


class Layout:
    """Which column stands where.

    Args:
        header: The cells of the first line.
    """

    def __init__(self, header: Sequence[str]) -> None:
        self.width = len(header)
        known = {_plain(name): index for index, name in enumerate(COLUMNS)}
        places = [self.width] * len(COLUMNS)  # beyond the last cell stands the empty string
        others: dict[str, int] = {}
        for place, written in enumerate(header):
            index = known.get(_plain(written))
            if index is not None and places[index] == self.width:
                places[index] = place
            else:
                others[_unused(written.strip() or f"column {place + 1}", {*COLUMNS, *others})] = place
        self.has_hash = any(places[COLUMNS.index(name)] < self.width for name in _HASHES)
        self._others = sorted(others.items())
        self._pick: Callable[[Sequence[str]], tuple[str, ...]] = itemgetter(*places)

    def row(self, cells: list[str]) -> Row:
        """Read the cells of one line."""
        if len(cells) != self.width:
            raise _Unreadable(f"it has {len(cells)} cells, the header has {self.width}")
        cells.append("")
        picked = self._pick(cells)
        seen, sha256, sha1, md5, name, mime_type, size, ip, domain, sender, recipient = [
            text if (text := cell.strip()) not in _NULL else "" for cell in picked
        ]
        if sha256 and not _SHA256(sha256 := sha256.lower()):
            raise _Unreadable("its SHA256 is not 64 hexadecimal digits")
        if sha1 and not _SHA1(sha1 := sha1.lower()):
            raise _Unreadable("its SHA1 is not 40 hexadecimal digits")
        if md5 and not _MD5(md5 := md5.lower()):
            raise _Unreadable("its MD5 is not 32 hexadecimal digits")
        if not (sha256 or sha1 or md5):
            raise _Unreadable("it has no hash")
        if not seen:
            raise _Unreadable("it has no Timestamp")
        others: tuple[tuple[str, str], ...] = ()
        if self._others:
            others = tuple(
                (column, cells[place]) for column, place in self._others if cells[place].strip() not in _NULL
            )
        if name:
            name = picked[_NAME]  # a space at its end is part of a file's name
        return Row(_stamp(seen), sha256, sha1, md5, name, mime_type, size, ip, domain, sender, recipient, others)


def read_rows(
    body: IO[bytes], *, where: str, accept_cut: Callable[[str, bytes], bool], recent: Recent | None = None
) -> Iterator[Row | SetAside]:
    """Read a CSV file.

    Args:
        body: The file at its start.
        where: What it is, as `malware_grid, member feed.csv`.
        accept_cut: Called where the file ends in the middle of a row, with the place and the row's bytes:
            whether that is how the file is, so that the row is set aside.
        recent: Which times are taken; without it, any.

    Yields:
        A row, or what could not be read of one.

    Raises:
        Permanent: The first line names no column with a hash: this is no feed.
        Transient: The file ends in the middle of a row, and seems to have been cut short.
    """
    lines = lines_of(body)
    layout = _header(next(lines, None), where)
    for line in lines:
        number, raw, ended, too_long = line
        if not raw:
            continue
        try:
            row = layout.row(_cells(raw, too_long))
            if recent is not None and row.seen not in recent:
                raise _Unreadable(FUTURE)
            yield row
        except _Unreadable as verdict:
            place = f"{where}, line {number}"
            if not ended and not accept_cut(place, raw):
                raise Transient(f"The feed seems to be cut short: its last row is incomplete ({place}).") from None
            yield SetAside(shown(raw), f"The row cannot be read: {verdict}.", place)


def _stamp(text: str) -> str:
    try:
        moment = parse_timestamp(text)
    except InvalidObject as error:
        raise _Unreadable(f"its Timestamp: {error.message.rstrip('.')}") from None
    if moment.year >= 9000:
        raise _Unreadable("its Timestamp is too late for anything to expire after it")
    # The feed's usual form is a text operation away from STIX's.
    return f"{text[:19]}.000Z" if _USUAL(text) else timestamp(moment)


def _header(line: Line | None, where: str) -> Layout:
    raw = line.raw.removeprefix(_BOM) if line else b""
    try:
        layout = Layout(_cells(raw, line is None or line.too_long))
    except _Unreadable as verdict:
        raise Permanent(f"The feed's header cannot be read ({where}): {verdict}.") from None
    if not layout.has_hash:
        raise Permanent(f"The answer is no feed ({where}): its first line names no hash: {excerpt(raw)}.")
    return layout


def _cells(raw: bytes, too_long: bool) -> list[str]:
    if too_long:
        raise _Unreadable(f"it is longer than {LONGEST:,} bytes")
    if b"\0" in raw:
        raise _Unreadable("it holds NUL bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise _Unreadable("it is not UTF-8") from None
    if '"' not in text:
        return text.split("|")
    # The line is the whole input, so a quote that is still open at its end is an error. No cell is longer
    # than a line, which is shorter than the csv module's own limit of 128 KiB.
    try:
        cells: list[Any] = next(csv.reader([text], delimiter="|", quotechar='"', strict=True))
    except csv.Error as error:
        raise _Unreadable(f"its quotes are wrong ({error})") from None
    return cells


def shown(raw: bytes) -> str:
    """Return bytes as text that can be stored anywhere, of bounded length."""
    return raw[:_RAW].decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name).lower()


def _unused(name: str, taken: set[str]) -> str:
    unused, count = name, 1
    while unused in taken:
        count += 1
        unused = f"{name} {count}"
    return unused
