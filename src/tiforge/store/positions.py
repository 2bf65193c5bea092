"""Where each source goes on (cursors) and how far each sink has come (offsets)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
from sqlalchemy import Connection, Table, delete, insert, select, update

from tiforge.source import Cursor
from tiforge.stix.time import from_micros, micros
from tiforge.store.schema import sink_offset, source_cursor

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


def inserting(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an insert that may say what to do on a conflict, in the connection's dialect."""
    # PostgreSQL's dialect takes as long to import as all of this package, and SQLite's users never need it.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as for_postgresql

        return for_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert as for_sqlite

    return for_sqlite(table)


def upsert(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Insert a row, or update the one that has this key."""
    statement = inserting(connection, table).values(**key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def cursor(connection: Connection, source: str, lane: str = "") -> Cursor | None:
    """Return where a source goes on; `None` before its first page."""
    row = connection.execute(
        select(source_cursor.c.state, source_cursor.c.read_until).where(
            source_cursor.c.source == source, source_cursor.c.lane == lane
        )
    ).first()
    if row is None:
        return None
    return Cursor(orjson.loads(row.state), None if row.read_until is None else from_micros(row.read_until))


def put_cursor(connection: Connection, source: str, lane: str, cursor: Cursor, *, now: int) -> None:
    """Store where a source goes on."""
    values = {
        "state": orjson.dumps(cursor.state).decode(),
        "read_until": None if cursor.read_until is None else micros(cursor.read_until),
        "updated_at": now,
    }
    upsert(connection, source_cursor, {"source": source, "lane": lane}, values)


def drop_cursor(connection: Connection, source: str, lane: str) -> None:
    """Forget a lane, as when a backfill is done."""
    connection.execute(delete(source_cursor).where(source_cursor.c.source == source, source_cursor.c.lane == lane))


def offset(connection: Connection, sink: str) -> int:
    """Return the `seq` up to which a sink has everything; 0 before its first delivery."""
    found = connection.execute(select(sink_offset.c.seq).where(sink_offset.c.sink == sink)).scalar_one_or_none()
    return int(found or 0)


def as_of(connection: Connection, sink: str) -> int | None:
    """Return the time whose state a sink published last, in microseconds; `None` where it never did."""
    query = select(sink_offset.c.as_of).where(sink_offset.c.sink == sink)
    return connection.execute(query).scalar_one_or_none()


def round_of(connection: Connection, sink: str) -> str | None:
    """Return the word of a sink's round; `None` before its first delivery."""
    query = select(sink_offset.c.round).where(sink_offset.c.sink == sink)
    return connection.execute(query).scalar_one_or_none()


def new_round(connection: Connection, sink: str, *, now: int) -> str:
    """Begin a round of a sink, and return its word. Its offset stays where it is."""
    word = uuid4().hex
    changed = connection.execute(update(sink_offset).where(sink_offset.c.sink == sink).values(round=word))
    if changed.rowcount == 0:
        connection.execute(insert(sink_offset).values(sink=sink, seq=0, round=word, updated_at=now))
    return word


def put_offset(connection: Connection, sink: str, seq: int, *, now: int, as_of: int | None = None) -> None:
    """Store how far a sink has come and, for one that publishes, the time whose state it published."""
    values = {"seq": seq, "updated_at": now, **({} if as_of is None else {"as_of": as_of})}
    changed = connection.execute(update(sink_offset).where(sink_offset.c.sink == sink).values(**values))
    if changed.rowcount == 0:
        new_round(connection, sink, now=now)
        put_offset(connection, sink, seq, now=now, as_of=as_of)
