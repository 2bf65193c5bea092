"""The tables. All times are microseconds since 1970-01-01 UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "0001"
"""The Alembic revision that these tables are; a test holds the two together."""

metadata = MetaData()

# SQLite numbers rows by itself only where the key's type is INTEGER.
_Serial = BigInteger().with_variant(Integer, "sqlite")

log = Table(
    "log",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("id_key", BigInteger, nullable=False, comment="8 bytes of a digest of id: what the index is over"),
    Column("type", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("modified", BigInteger),
    Column("date_added", BigInteger, nullable=False, comment="strictly increasing with seq"),
    Column("valid_until", BigInteger),
    Column("revoked", Boolean, nullable=False),
    Column("confidence", SmallInteger),
    Column("tlp", SmallInteger),
    Column("repeats", BigInteger, comment="the first seq with this id and version, from another source"),
    Column("payload", LargeBinary, nullable=False),
    # Ids are random and long. Over their digests the index is a sixth as large, and a page's objects
    # touch that much less of it. That no version is held twice is what appending under the head's lock sees to.
    Index("log_id_key", "id_key"),
    # What ran out since a snapshot was last published; only what can run out is in it.
    Index("log_valid_until", "valid_until"),
    comment="every version of every object, once a source, in the order of arrival",
)

log_head = Table(
    "log_head",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("date_added", BigInteger, nullable=False),
    comment="one row, locked by whoever appends: appends commit in the order of their seq, without gaps",
)

source_cursor = Table(
    "source_cursor",
    metadata,
    Column("source", Text, nullable=False),
    Column("lane", Text, nullable=False, comment="'' for the schedule, else a backfill"),
    Column("state", Text, nullable=False),
    Column("read_until", BigInteger),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("source", "lane"),
)

sink_offset = Table(
    "sink_offset",
    metadata,
    Column("sink", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("round", Text, nullable=False, comment="a new word when something is to be delivered again"),
    Column("as_of", BigInteger, comment="the time whose state was published, for a sink that publishes"),
    Column("updated_at", BigInteger, nullable=False),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("side", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("key", Text, nullable=False, comment="what makes it the same letter when it comes again"),
    Column("seq", BigInteger, comment="its place in the log, for a sink's"),
    Column("object_id", Text),
    Column("reason", Text, nullable=False),
    Column("place", Text, comment="where it stood in the feed, for a source's"),
    Column("raw", Text, comment="the piece of the feed as it came"),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retry", Boolean, nullable=False, comment="to be delivered again"),
    UniqueConstraint("side", "owner", "key"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False, comment="grows with every holder; commits are fenced by it"),
    Column("expires_at", BigInteger, nullable=False),
)

agenda = Table(
    "agenda",
    metadata,
    Column("side", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("due_at", BigInteger, comment="when the schedule wants it next"),
    Column("retry_at", BigInteger, comment="not to be tried before, after a failure"),
    Column("told", Boolean, nullable=False, comment="whether the remote API named that time"),
    Column("failures", Integer, nullable=False, comment="in a row"),
    Column("last_success_at", BigInteger),
    Column("last_error_at", BigInteger),
    Column("last_error", Text),
    PrimaryKeyConstraint("side", "name"),
)

run = Table(
    "run",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("side", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("counts", Text, nullable=False),
    Column("message", Text),
    Index("run_of", "side", "name", "id"),
)
