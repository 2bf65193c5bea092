"""The transactions that the laws of delivery are about.

Law 1: a page and the cursor that follows it are committed together (`commit_page`). Law 2: a sink's offset
moves only past what it accepted or what was set aside for it (`commit_delivery`). All are fenced: a
process that lost its lease while it was paused commits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from tiforge.errors import CursorRefused
from tiforge.record import Record
from tiforge.source import Ageing, Cursor, SetAside
from tiforge.stix.time import from_micros
from tiforge.store import deadletters, log, positions
from tiforge.store.database import Store
from tiforge.store.deadletters import Refused
from tiforge.store.leases import Lease, hold

CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""How far the clocks of two machines may be apart before a time counts as the future."""


def commit_page(
    store: Store,
    lease: Lease,
    source: str,
    records: Sequence[Record],
    cursor: Cursor,
    *,
    lane: str = "",
    set_aside: Sequence[SetAside] = (),
    ageing: Ageing | None = None,
) -> log.Appended:
    """Append a page and store the cursor that follows it, in one transaction.

    Args:
        store: The store.
        lease: The lease on the source.
        source: The source's name.
        records: The page's records, checked.
        cursor: Where the source goes on after this page.
        lane: `""` for the schedule, else the name of a backfill.
        set_aside: Pieces of the feed that could not be read; they become dead letters.
        ageing: How the source's indicators age.

    Returns:
        What became of the records and of the pieces.

    Raises:
        CursorRefused: The cursor is empty or lies in the future; nothing was written.
        LeaseLost: Another process pulls this source now; nothing was written.
    """
    now = store.now()
    if not cursor.state:
        raise CursorRefused(f"The source {source} gave an empty cursor; the one in the store stays.")
    if cursor.read_until is not None and cursor.read_until > from_micros(now) + CLOCKS_DIFFER:
        raise CursorRefused(
            f"The source {source} gave a cursor in the future ({cursor.read_until.isoformat()}); "
            "the one in the store stays.",
            hint="Check this machine's clock.",
        )
    with store.writing() as connection:
        hold(store, connection, lease)
        appended = log.append(connection, source, records, now=now, ageing=ageing)
        fresh = sum(deadletters.put_piece(connection, source, piece, now=now) for piece in set_aside)
        positions.put_cursor(connection, source, lane, cursor, now=now)
    return replace(appended, set_aside=fresh)


def commit_delivery(
    store: Store,
    lease: Lease,
    sink: str,
    offset: int,
    refused: Sequence[Refused] = (),
    *,
    as_of: int | None = None,
) -> int:
    """Move a sink's offset past what it accepted and what is set aside for it, in one transaction.

    Args:
        store: The store.
        lease: The lease on the sink.
        sink: The sink's name.
        offset: The `seq` up to which everything is accepted or set aside.
        refused: What the sink will never accept, with its reasons.
        as_of: For a sink that publishes, the time whose state it published, in microseconds.

    Returns:
        The last `seq` of the log.

    Raises:
        LeaseLost: Another process delivers to this sink now; nothing was written.
    """
    now = store.now()
    with store.writing() as connection:
        hold(store, connection, lease)
        for letter in refused:
            deadletters.put_refused(connection, sink, letter, now=now)
        positions.put_offset(connection, sink, offset, now=now, as_of=as_of)
        return log.head(connection)


def commit_retried(
    store: Store, lease: Lease, sink: str, delivered: Sequence[int], refused: Sequence[Refused]
) -> int:
    """Take away the dead letters that a sink has accepted now, and note another attempt at the others.

    Args:
        store: The store.
        lease: The lease on the sink.
        sink: The sink's name.
        delivered: The places in the log of what was accepted.
        refused: What was refused again.

    Returns:
        The last `seq` of the log.

    Raises:
        LeaseLost: Another process delivers to this sink now; nothing was written.
    """
    now = store.now()
    with store.writing() as connection:
        hold(store, connection, lease)
        deadletters.delivered(connection, sink, delivered)
        for letter in refused:
            deadletters.put_refused(connection, sink, letter, now=now)
        return log.head(connection)


def begin_round(store: Store, lease: Lease, sink: str) -> str:
    """Begin a round of a sink, in which it is to take again what it may have taken before.

    Returns:
        The round's word.

    Raises:
        LeaseLost: Another process delivers to this sink now; nothing was written.
    """
    now = store.now()
    with store.writing() as connection:
        hold(store, connection, lease)
        return positions.new_round(connection, sink, now=now)


def rewind(store: Store, lease: Lease, sink: str, offset: int) -> tuple[int, int]:
    """Set a sink back, so that it is delivered to again from there, and forget what it refused from there on.

    A sink is never set forward: that would step over what it does not have.

    Args:
        store: The store.
        lease: The lease on the sink.
        sink: The sink's name.
        offset: The `seq` after which it is to get everything again.

    Returns:
        The sink's offset now, and the last `seq` of the log.

    Raises:
        LeaseLost: Another process delivers to this sink now; nothing was written.
    """
    now = store.now()
    with store.writing() as connection:
        hold(store, connection, lease)
        offset = min(offset, positions.offset(connection, sink))
        deadletters.forget_after(connection, sink, offset)
        positions.put_offset(connection, sink, offset, now=now)
        positions.new_round(connection, sink, now=now)
        return offset, log.head(connection)
