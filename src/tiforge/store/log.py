"""The log: append a page's records, each once, and read them in order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from struct import Struct
from typing import Any, Final, NamedTuple, Self

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    any_,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.sql.compiler import SQLCompiler

from tiforge.record import Record
from tiforge.source import Ageing
from tiforge.store.ageing import aged
from tiforge.store.schema import log, log_head

_first = log.alias("first")
_FETCHED: Final = 128  # rows that the driver may hold beside the one that is looked at, however large they are


_signed: Final = Struct(">q").unpack


class Entry(NamedTuple):
    """A record and its place in the log."""

    seq: int
    record: Record


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a page's records.

    Attributes:
        added: Objects that are new in the log.
        unchanged: Objects that the log already held, or that change nothing.
        head: The last `seq` of the log.
        set_aside: Pieces that could not be read and were not known as such before.
    """

    added: int
    unchanged: int
    head: int
    set_aside: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records of the log a reader takes; `None` takes all.

    Attributes:
        sources: Names of sources.
        types: STIX types.
        min_confidence: Records with a confidence below it are left out; those without one are taken.
        max_tlp: Records marked more strictly are left out; unmarked ones are taken.
        modified_since: Records modified before it, in microseconds, are left out.
    """

    sources: Collection[str] | None = None
    types: Collection[str] | None = None
    min_confidence: int | None = None
    max_tlp: int | None = None
    modified_since: int | None = None

    def taking(self, types: Collection[str] | None) -> Self:
        """Return the filter that takes these types only, of those that it takes."""
        if types is None:
            return self
        both = set(types) if self.types is None else set(types) & set(self.types)
        return replace(self, types=both)

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filter as SQL. An object that two of the sources gave is taken once."""
        return [*self._taken(log), self._not_taken_before()]

    def _taken(self, table: FromClause) -> list[ColumnElement[bool]]:
        c = table.c
        found: list[ColumnElement[bool]] = []
        if self.sources is not None:
            found.append(c.source.in_(sorted(self.sources)))
        if self.types is not None:
            found.append(c.type.in_(sorted(self.types)))
        if self.min_confidence is not None:
            found.append(or_(c.confidence.is_(None), c.confidence >= self.min_confidence))
        if self.max_tlp is not None:
            found.append(or_(c.tlp.is_(None), c.tlp <= self.max_tlp))
        if self.modified_since is not None:
            found.append(func.coalesce(c.modified, c.date_added) >= self.modified_since)
        return found

    def _not_taken_before(self) -> ColumnElement[bool]:
        # Two sources may give the same version with other markings: what counts is whether the earlier entry
        # was one that this reader takes.
        earlier = select(_first.c.seq).where(
            _first.c.id_key == log.c.id_key,
            _first.c.id == log.c.id,
            _first.c.version == log.c.version,
            _first.c.seq < log.c.seq,
            *self._taken(_first),
        )
        return or_(log.c.repeats.is_(None), ~earlier.exists())


EVERYTHING: Final = Filter()


class _Held(NamedTuple):
    seq: int
    modified: int


def head(connection: Connection) -> int:
    """Return the last `seq` of the log; every one up to it is visible to this connection."""
    found: int = connection.execute(select(log_head.c.seq)).scalar_one()
    return found


def append(
    connection: Connection, source: str, records: Sequence[Record], *, now: int, ageing: Ageing | None = None
) -> Appended:
    """Append what the log does not hold yet, in order, inside the caller's transaction.

    The row of `log_head` stays locked until the transaction ends, so that appends commit in the order of
    their `seq`: a reader that sees one sees all before it.

    Args:
        connection: A connection that writes.
        source: The source's name.
        records: The page's records.
        now: The time in microseconds.
        ageing: How the source's indicators age.

    Returns:
        The counts, and the head after this page.
    """
    locked = connection.execute(select(log_head.c.seq, log_head.c.date_added).with_for_update()).one()
    seq, date_added = locked.seq, max(locked.date_added, now - 1)
    known = _Known(connection, source, records, ageing)
    rows: list[tuple[Any, ...]] = []
    for candidate in records:
        placed = known.place(candidate, seq + 1)
        if placed is None:
            continue
        record, repeats = placed
        seq += 1
        date_added += 1
        facets = record.facets
        rows.append((
            seq, source, record.id, known.keys[record.id], record.type, record.version, facets.modified,
            date_added, facets.valid_until, facets.revoked, facets.confidence, facets.tlp, repeats, record.payload,
        ))  # fmt: skip
    if rows:
        _insert(connection, rows)
        connection.execute(update(log_head).values(seq=seq, date_added=date_added))
    return Appended(len(rows), len(records) - len(rows), seq)


def _insert(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    # SQLAlchemy writes the statement; the rows go to the driver as they are, at half the cost of binding
    # each value by name.
    compiled = insert(log).compile(dialect=connection.dialect)
    if isinstance(compiled, SQLCompiler) and compiled.positional:
        connection.exec_driver_sql(str(compiled), rows)
    else:
        names = log.columns.keys()
        connection.exec_driver_sql(str(compiled), [dict(zip(names, row, strict=True)) for row in rows])


class _Known:
    """What the log holds of a page's objects, kept true while the page is being placed."""

    def __init__(
        self, connection: Connection, source: str, records: Sequence[Record], ageing: Ageing | None
    ) -> None:
        self._source = source
        self._ageing = ageing
        self._ages = frozenset[str]() if ageing is None else ageing.types
        self._mine: set[tuple[str, str]] = set()
        self._anyones: dict[tuple[str, str], int] = {}
        self.keys = {id: id_key(id) for id in {record.id for record in records}}
        # The latest of each object: of any source, under None, and of this one.
        latest: dict[tuple[str | None, str], _Held] = {}
        for seq, of, id, version, modified in _rows_of(connection, list(self.keys.values())):
            if id not in self.keys:
                continue  # another id with the same digest
            key = (id, version)
            self._anyones[key] = min(seq, self._anyones.get(key, seq))
            if of == source:
                self._mine.add(key)
            for whose in (None, source) if of == source else (None,):
                held = _Held(seq, modified or 0)
                if (newest := latest.get((whose, id))) is None or held.modified > newest.modified:
                    latest[(whose, id)] = held
        self._latest: dict[tuple[str | None, str], Record] = {}
        if ageing is not None:
            ids = {record.id for record in records if record.type in self._ages}
            wanted = {held.seq: None for (_, id), held in latest.items() if id in ids}
            found = {entry.seq: entry.record for entry in at(connection, list(wanted))}
            self._latest = {key: found[held.seq] for key, held in latest.items() if held.seq in found}

    def place(self, record: Record, seq: int) -> tuple[Record, int | None] | None:
        """Say what is to be appended for a candidate, and take note of it.

        Args:
            record: The candidate.
            seq: The place that it would have.

        Returns:
            The record to append and the `seq` that it repeats from another source; `None` where the log has it.
        """
        key = (record.id, record.version)
        if key in self._mine:
            return None
        if record.type in self._ages:
            record = self._aged(record)
            key = (record.id, record.version)
            if key in self._mine:
                return None
            self._latest[(None, record.id)] = self._latest[(self._source, record.id)] = record
        self._mine.add(key)
        first = self._anyones.setdefault(key, seq)
        return record, None if first == seq else first

    def _aged(self, record: Record) -> Record:
        """Return the version that holds after a detection, which is one in the log where it changes nothing.

        Two sources share one line of versions, as long as they say the same. Where they do not, what this
        one said last is what its next detection changes or does not.
        """
        ageing = self._ageing
        shared, own = self._latest.get((None, record.id)), self._latest.get((self._source, record.id))
        if shared is None or ageing is None:
            return record
        merged = aged(shared, record, ageing)
        if merged is shared or own is None or own is shared:
            return merged
        return own if aged(own, record, ageing) is own else merged


def id_key(id: str) -> int:
    """Return what the log's index knows an id by: 64 bits of a digest, signed, as databases count."""
    key: int = _signed(blake2b(id.encode(), digest_size=8).digest())[0]
    return key


def _prefer_index(connection: Connection) -> None:
    """Have PostgreSQL look objects up by the index, also while it has no statistics of a log that grows fast."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")


def _rows_of(connection: Connection, keys: Sequence[int]) -> Iterator[Any]:
    _prefer_index(connection)
    columns = select(log.c.seq, log.c.source, log.c.id, log.c.version, log.c.modified)
    yield from connection.execute(columns.where(_among(connection, log.c.id_key, keys)))


def _among(connection: Connection, column: Column[int], values: Sequence[int]) -> ColumnElement[bool]:
    """Return the condition that a column has one of many values, passed as one parameter."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(values), ARRAY(BigInteger)))
    members = func.json_each(orjson.dumps(values).decode()).table_valued("value")
    return column.in_(select(members.c.value))


def read(
    connection: Connection, *, after: int, upto: int, only: Filter, objects: int, bytes: int | None = None
) -> list[Entry]:
    """Read entries in order.

    Args:
        connection: A connection.
        after: Read what comes after this `seq`.
        upto: And not past this one: a head that was read before.
        only: Which entries.
        objects: How many at most.
        bytes: How many bytes of payload at most; one entry is returned however large it is.

    Returns:
        The entries; fewer than asked for, by both limits, only where there are no more.
    """
    query = _entries(after, upto, only).order_by(log.c.seq).limit(objects)
    return _within(connection, query, bytes)


def _within(connection: Connection, query: Select[Any], bytes: int | None) -> list[Entry]:
    """Read entries until the next would exceed a number of bytes; one is read however large it is."""
    taken: list[Entry] = []
    size = 0
    # SQLite's driver reads as it goes; PostgreSQL's would fetch everything, were it not told to stream.
    options = {"yield_per": _FETCHED} if connection.dialect.name == "postgresql" else {}
    with connection.execute(query, execution_options=options) as rows:
        for some in rows.partitions(_FETCHED):
            for seq, id, type, version, payload in some:
                size += len(payload)
                if taken and bytes is not None and size > bytes:
                    return taken
                taken.append(Entry(seq, Record(id, type, version, payload)))
    return taken


def _entries(after: int, upto: int, only: Filter) -> Select[Any]:
    return select(log.c.seq, log.c.id, log.c.type, log.c.version, log.c.payload).where(
        log.c.seq > after, log.c.seq <= upto, *only.conditions()
    )


class Scan(NamedTuple):
    """A stretch of the current state.

    Attributes:
        entries: The entries in it.
        upto: Go on after this `seq`; `None` where the state ends here.
    """

    entries: list[Entry]
    upto: int | None


def current(
    connection: Connection,
    *,
    after: int,
    upto: int,
    only: Filter,
    objects: int,
    now: int,
    bytes: int | None = None,
) -> Scan:
    """Read the latest version of each object that is neither revoked nor expired, stretch by stretch, in order.

    Args:
        connection: A connection.
        after: Read what comes after this `seq`.
        upto: The state at this `seq`: later entries count for nothing.
        only: Which entries.
        objects: How many entries to look at.
        now: What has run out by this time, in microseconds, is left out.
        bytes: How many bytes of payload to look at, at most.
    """
    alive = and_(log.c.revoked.is_(False), or_(log.c.valid_until.is_(None), log.c.valid_until > now))
    query = _entries(after, upto, only).where(alive).order_by(log.c.seq).limit(objects)
    found = _within(connection, query, bytes)
    latest = _latest_versions(connection, {entry.record.id for entry in found}, upto, only)
    entries = [entry for entry in found if latest[entry.record.id] == entry.record.version]
    return Scan(entries, found[-1].seq if found else None)


def _latest_versions(connection: Connection, ids: set[str], upto: int, only: Filter) -> dict[str, str]:
    """Return the latest version of each object: the last modified, or, without `modified`, the last new one."""
    _prefer_index(connection)
    keys = sorted(id_key(id) for id in ids)
    query = select(log.c.id, log.c.version, log.c.modified, func.min(log.c.seq)).where(
        _among(connection, log.c.id_key, keys), log.c.seq <= upto
    )
    if only.sources is not None:
        query = query.where(log.c.source.in_(sorted(only.sources)))
    query = query.group_by(log.c.id, log.c.version, log.c.modified)
    latest: dict[str, tuple[int, int, str]] = {}
    for id, version, modified, seq in connection.execute(query):
        latest[id] = max(latest.get(id, (-1, -1, "")), (modified or 0, seq, version))
    return {id: version for id, (_, _, version) in latest.items()}


def ran_out(connection: Connection, *, after: int, until: int) -> bool:
    """Say whether any object's validity ended between two times, in microseconds."""
    found = select(log.c.seq).where(log.c.valid_until > after, log.c.valid_until <= until).limit(1)
    return connection.execute(found).first() is not None


def at(connection: Connection, seqs: Sequence[int], *, bytes: int | None = None) -> list[Entry]:
    """Read the entries at these places, in order; the first of them, where a number of bytes is given."""
    columns = select(log.c.seq, log.c.id, log.c.type, log.c.version, log.c.payload)
    return _within(connection, columns.where(_among(connection, log.c.seq, seqs)).order_by(log.c.seq), bytes)


def newest(connection: Connection, *, only: Filter, objects: int, id: str | None = None) -> list[Entry]:
    """Read the newest entries, newest first; with `id`, those of one object."""
    query = _entries(0, head(connection), only).order_by(log.c.seq.desc()).limit(objects)
    if id is not None:
        query = query.where(log.c.id_key == id_key(id), log.c.id == id)
    return _within(connection, query, None)


def seq_at(connection: Connection, moment: int) -> int:
    """Return the last `seq` that was in the log at a moment, in microseconds; 0 where nothing was."""
    found = connection.execute(select(func.max(log.c.seq)).where(log.c.date_added < moment)).scalar()
    return int(found or 0)


def count(connection: Connection, only: Filter = EVERYTHING) -> dict[tuple[str, str], int]:
    """Count entries by source and type."""
    query = (
        select(log.c.source, log.c.type, func.count())
        .where(*only.conditions())
        .group_by(log.c.source, log.c.type)
        .order_by(log.c.source, log.c.type)
    )
    return {(source, type): number for source, type, number in connection.execute(query)}
