"""The emulator's data: rows that are made when they are asked for, so that a large feed costs no memory.

All of it is invented: addresses and names are those that RFC 5737, RFC 3849 and RFC 2606 keep for
documentation, and hashes are digests of counters.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b, md5, sha1, sha256
from typing import Any, Final, Protocol

HEADER: Final = b"|".join((
    b"Timestamp", b"FileName", b"FileMimeType", b"FileSize", b"MD5", b"SHA1", b"SHA256",
    b"SendingIP", b"SenderDomain", b"SenderAddress", b"RecipientAddress",
))  # fmt: skip
"""The order is the emulator's own: the documentation does not give one."""

_KINDS: Final = (
    ("invoice", "pdf", "application/pdf"),
    ("report", "docm", "application/vnd.ms-word.document.macroEnabled.12"),
    ("order", "zip", "application/zip"),
    ("photo", "jpg", "image/jpeg"),
    ("statement", "xlsm", "application/vnd.ms-excel.sheet.macroEnabled.12"),
    ("voicemail", "html", "text/html"),
)
_UNREADABLE: Final = 251
_MD5_ONLY: Final = 41


class Rows(Protocol):
    """A feed's content, ordered by time."""

    def __len__(self) -> int: ...

    @property
    def header(self) -> bytes:
        """The first line of the CSV form."""
        ...

    def between(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Return the indices of the rows in a window, the last one exclusive."""
        ...

    def line(self, index: int) -> bytes:
        """Return a row in the CSV form."""
        ...

    def triple(self, index: int) -> tuple[dict[str, Any], ...]:
        """Return a row in the STIX form; empty where it has no SHA-256."""
        ...

    def hashes(self) -> Iterator[str]:
        """Yield the SHA-256 of each readable row that has one, each once."""
        ...


@dataclass(frozen=True)
class GeneratedRows:
    """Rows that follow from a seed.

    A quarter are later detections of earlier hashes. A few have a name with a `|`, `null`, no sender, an MD5
    alone, and about one in 250 cannot be read.

    Attributes:
        count: How many.
        seed: Other seeds make other hashes.
        end: When the last row was detected.
        span: The time that the rows are spread over.
        listed: The SHA-256 values to use instead; then every row can be read.
    """

    count: int
    seed: int
    end: datetime
    span: timedelta
    listed: Sequence[str] = ()

    def __len__(self) -> int:
        return self.count

    @property
    def header(self) -> bytes:
        """The first line of the CSV form."""
        return HEADER

    def between(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Return the indices of the rows in a window, its bounds included."""
        indices = range(self.count)
        return (
            bisect_left(indices, start, key=self.moment),
            bisect_right(indices, end, key=self.moment),
        )

    def moment(self, index: int) -> datetime:
        """Return when a row was detected, in whole seconds."""
        moment = self.end - self.span + self.span * (index + 1) / self.count
        return moment.replace(microsecond=0)

    def sha256(self, index: int) -> str:
        """Return the SHA-256 of a row's file, which may be that of an earlier row."""
        if self.listed:
            return self.listed[index % len(self.listed)]
        if self._is_repeat(index):
            earlier = int.from_bytes(blake2b(b"%d:%d" % (self.seed, index), digest_size=8).digest()) % index
            while self._is_repeat(earlier) or self._is_odd(earlier):
                earlier -= 1
            index = max(earlier, 0)
        return sha256(b"tiforge emulator %d:%d" % (self.seed, index)).hexdigest()

    def is_readable(self, index: int) -> bool:
        """Return whether a client can read a row."""
        return bool(self.listed) or index % _UNREADABLE != 120

    def line(self, index: int) -> bytes:
        """Return a row in the CSV form."""
        hash = self.sha256(index)
        known = bytes.fromhex(hash)
        stem, ending, kind = _KINDS[known[0] % len(_KINDS)]
        name = f"{stem}-{hash[:8]}.{ending}"
        if index % 53 == 7:
            name = f'"{stem} | copy ""{hash[:4]}"".{ending}"'
        size = str(1000 + int.from_bytes(known[1:4]) % 5_000_000)
        if index % 31 == 5:
            kind, size = "null", ""
        stamp = self.moment(index).strftime("%Y-%m-%dT%H:%M:%S")
        stamp += f".{index % 1000:03}Z" if index % 17 == 3 else "+0000"
        host = index * 2654435761 % 254 + 1
        address = (f"192.0.2.{host}", f"198.51.100.{host}", f"203.0.113.{host}", f"2001:db8::{host:x}")[index % 4]
        domain = f"mail{index % 97}.example.{('com', 'net', 'org')[index % 3]}"
        sender = f"sender{index % 389}@{domain}"
        if index % 29 == 3:
            domain, sender = "null", ""
        recipient = f"user{index % 211}@example.org"
        digests = (md5(known, usedforsecurity=False).hexdigest(), sha1(known, usedforsecurity=False).hexdigest())
        if not self.listed and index % _MD5_ONLY == 9:
            digests, hash = (digests[0], ""), ""
        cells = [stamp, name, kind, size, *digests, hash, address, domain, sender, recipient]
        if not self.is_readable(index):
            match index // _UNREADABLE % 4:
                case 0:
                    cells = cells[:5]
                case 1:
                    cells[0] = "yesterday"
                case 2:
                    cells[1] = f'"{stem} with a quote that never closes'
                case _:
                    cells[6] = "not-a-hash"
        return "|".join(cells).encode()

    def triple(self, index: int) -> tuple[dict[str, Any], ...]:
        """Return a row in the STIX form, with ids that are random to look at."""
        if not self.is_readable(index) or (not self.listed and index % _MD5_ONLY == 9):
            return ()
        hash = self.sha256(index)
        stem, ending, _ = _KINDS[bytes.fromhex(hash)[0] % len(_KINDS)]
        stamp = self.moment(index).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return triple(f"{self.seed}:{index}", hash, f"{stem}-{hash[:8]}.{ending}", stamp)

    def hashes(self) -> Iterator[str]:
        """Yield the SHA-256 of each readable row that has one, each once."""
        seen: set[str] = set()
        for index in range(self.count):
            if self.is_readable(index) and (self.listed or index % _MD5_ONLY != 9):
                hash = self.sha256(index)
                if hash not in seen:
                    seen.add(hash)
                    yield hash

    def _is_repeat(self, index: int) -> bool:
        return index % 4 == 3

    def _is_odd(self, index: int) -> bool:
        return index % _MD5_ONLY == 9 or not self.is_readable(index)


@dataclass(frozen=True)
class GivenRows:
    """Rows that a test writes out.

    Attributes:
        header: The first line.
        lines: Time and line of each row, in order of time.
        objects: The STIX form of each row, where a test wants that.
    """

    header: bytes
    lines: Sequence[tuple[datetime, bytes]]
    objects: Sequence[tuple[dict[str, Any], ...]] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def between(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Return the indices of the rows in a window, its bounds included."""
        moments = [moment for moment, _ in self.lines]
        return bisect_left(moments, start), bisect_right(moments, end)

    def line(self, index: int) -> bytes:
        """Return a row in the CSV form."""
        return self.lines[index][1]

    def triple(self, index: int) -> tuple[dict[str, Any], ...]:
        """Return a row in the STIX form."""
        return self.objects[index] if self.objects else ()

    def hashes(self) -> Iterator[str]:
        """Yield nothing: the test knows what it wrote."""
        return iter(())


def make_rows(
    count: int,
    seed: int = 0,
    *,
    end: datetime | None = None,
    span: timedelta = timedelta(hours=48),
    hashes: Sequence[str] = (),
) -> GeneratedRows:
    """Make a feed.

    Args:
        count: How many rows.
        seed: Other seeds make other hashes.
        end: When the last row was detected; now where it is not given.
        span: The time that the rows are spread over.
        hashes: The SHA-256 values to make it from; then there are at least as many rows, all readable.
    """
    end = (end or datetime.now(UTC)).replace(microsecond=0)
    return GeneratedRows(max(count, len(hashes)), seed, end, span, tuple(hashes))


def triple(key: str, hash: str, name: str, stamp: str) -> tuple[dict[str, Any], ...]:
    """Return malware, indicator and relationship as the feed's STIX form writes them.

    Args:
        key: What the ids are made from.
        hash: A SHA-256.
        name: The attachment's name.
        stamp: The time of all three.
    """
    malware, indicator, link = (
        f"{kind}--{_uuid4(f'{kind} {key}')}" for kind in ("malware", "indicator", "relationship")
    )
    times = {"created": stamp, "modified": stamp}
    return (
        {"type": "malware", "id": malware, **times, "name": name, "labels": ["virus"]},
        {
            "type": "indicator",
            "id": indicator,
            **times,
            "labels": ["malicious-activity"],
            "pattern": f"[file:hashes.'SHA-256' = '{hash}']",
            "valid_from": stamp,
        },
        {
            "type": "relationship",
            "id": link,
            **times,
            "relationship_type": "indicates",
            "source_ref": indicator,
            "target_ref": malware,
        },
    )


def _uuid4(key: str) -> str:
    digest = blake2b(key.encode(), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:]}"
