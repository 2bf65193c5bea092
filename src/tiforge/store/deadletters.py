"""Dead letters: what a sink refused for good, and pieces of a feed that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select, update

from tiforge.source import SetAside
from tiforge.stix.time import from_micros
from tiforge.store.log import Entry
from tiforge.store.positions import inserting
from tiforge.store.schema import dead_letter
from tiforge.store.text import storable

_RAW: Final = 65536
_REASON: Final = 2000


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that a sink will never accept.

    Attributes:
        entry: The entry.
        reason: The sink's words.
    """

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter.

    Attributes:
        id: Its number.
        side: `source` or `sink`.
        owner: The source's or the sink's name.
        reason: What was wrong.
        created_at: When it was set aside first.
        attempts: How often it was tried.
        retry: Whether it is waiting to be delivered again.
        seq: Its place in the log, for a sink's.
        object_id: The STIX id, for a sink's.
        place: Where it stood in the feed, for a source's.
        raw: The piece of the feed as it came, for a source's.
    """

    id: int
    side: str
    owner: str
    reason: str
    created_at: datetime
    attempts: int
    retry: bool
    seq: int | None
    object_id: str | None
    place: str | None
    raw: str | None


def put_refused(connection: Connection, sink: str, refused: Refused, *, now: int) -> None:
    """Set an entry aside for a sink; one that is there already keeps its number and counts another attempt."""
    entry = refused.entry
    _put(connection, "sink", sink, str(entry.seq), refused.reason, now, seq=entry.seq, object_id=entry.record.id)


def put_piece(connection: Connection, source: str, piece: SetAside, *, now: int) -> bool:
    """Set a piece of a feed aside; say whether it is new. The same piece read again is the same letter."""
    raw = storable(piece.raw, _RAW)
    # The overlap of two windows reads a row again from another line of another file: it is the same letter.
    # A piece that is nothing but its place, as a file that cannot be opened, is told apart by that.
    what = raw or storable(piece.where, _REASON)
    key = blake2b(f"{storable(piece.reason, _REASON)}\n{what}".encode(), digest_size=16).hexdigest()
    return _put(
        connection, "source", source, key, piece.reason, now, place=storable(piece.where, _REASON), raw=raw
    )


def _put(connection: Connection, side: str, owner: str, key: str, reason: str, now: int, **details: Any) -> bool:
    reason = storable(reason, _REASON)
    statement = inserting(connection, dead_letter).values(
        side=side, owner=owner, key=key, reason=reason, created_at=now, attempts=1, retry=False, **details
    )
    again = {"reason": reason, "attempts": dead_letter.c.attempts + 1, "retry": False}
    statement = statement.on_conflict_do_update(index_elements=["side", "owner", "key"], set_=again)
    return bool(connection.execute(statement.returning(dead_letter.c.attempts)).scalar_one() == 1)


def listed(
    connection: Connection, *, owner: str | None = None, ids: Sequence[int] = (), limit: int | None = None
) -> list[DeadLetter]:
    """Return dead letters, oldest first.

    Args:
        connection: A connection.
        owner: Those of this source or sink only.
        ids: These only.
        limit: At most this many.
    """
    columns = [dead_letter.c[name] for name in DeadLetter.__dataclass_fields__]
    query = select(*columns).order_by(dead_letter.c.id).limit(limit)
    if owner is not None:
        query = query.where(dead_letter.c.owner == owner)
    if ids:
        query = query.where(dead_letter.c.id.in_(ids))
    found = (row._asdict() for row in connection.execute(query))
    return [DeadLetter(**{**row, "created_at": from_micros(row["created_at"])}) for row in found]


def counted(connection: Connection) -> dict[tuple[str, str], int]:
    """Count dead letters by side and owner."""
    query = select(dead_letter.c.side, dead_letter.c.owner, func.count()).group_by(
        dead_letter.c.side, dead_letter.c.owner
    )
    return {(side, owner): number for side, owner, number in connection.execute(query)}


def mark_for_retry(connection: Connection, sink: str, ids: Sequence[int] = ()) -> int:
    """Have a sink's dead letters delivered again at its next delivery; return how many."""
    query = update(dead_letter).where(dead_letter.c.side == "sink", dead_letter.c.owner == sink)
    if ids:
        query = query.where(dead_letter.c.id.in_(ids))
    return connection.execute(query.values(retry=True)).rowcount


def to_retry(connection: Connection, sink: str, limit: int) -> list[int]:
    """Return the places in the log of a sink's dead letters that wait to be delivered again."""
    query = (
        select(dead_letter.c.seq)
        .where(dead_letter.c.side == "sink", dead_letter.c.owner == sink, dead_letter.c.retry.is_(True))
        .order_by(dead_letter.c.seq)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def delivered(connection: Connection, sink: str, seqs: Sequence[int]) -> None:
    """Take away a sink's dead letters that it has accepted now."""
    keys = [str(seq) for seq in seqs]
    connection.execute(
        delete(dead_letter).where(
            dead_letter.c.side == "sink", dead_letter.c.owner == sink, dead_letter.c.key.in_(keys)
        )
    )


def forget_after(connection: Connection, sink: str, offset: int) -> None:
    """Take away a sink's dead letters behind a place in the log, since what they are about comes again."""
    connection.execute(
        delete(dead_letter).where(
            dead_letter.c.side == "sink", dead_letter.c.owner == sink, dead_letter.c.seq > offset
        )
    )


def drop(connection: Connection, side: str, owner: str, ids: Sequence[int] = ()) -> int:
    """Take away dead letters of a source or a sink for good; return how many."""
    query = delete(dead_letter).where(dead_letter.c.side == side, dead_letter.c.owner == owner)
    if ids:
        query = query.where(dead_letter.c.id.in_(ids))
    return connection.execute(query).rowcount
