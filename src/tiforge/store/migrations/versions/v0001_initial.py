"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the log and what is known about sources and sinks."""
    op.create_table(
        "log",
        sa.Column("seq", _serial, primary_key=True, autoincrement=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column(
            "id_key", sa.BigInteger, nullable=False, comment="8 bytes of a digest of id: what the index is over"
        ),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("modified", sa.BigInteger),
        sa.Column("date_added", sa.BigInteger, nullable=False, comment="strictly increasing with seq"),
        sa.Column("valid_until", sa.BigInteger),
        sa.Column("revoked", sa.Boolean, nullable=False),
        sa.Column("confidence", sa.SmallInteger),
        sa.Column("tlp", sa.SmallInteger),
        sa.Column("repeats", sa.BigInteger, comment="the first seq with this id and version, from another source"),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        comment="every version of every object, once a source, in the order of arrival",
    )
    op.create_index("log_id_key", "log", ["id_key"])
    op.create_index("log_valid_until", "log", ["valid_until"])
    op.create_table(
        "log_head",
        sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("date_added", sa.BigInteger, nullable=False),
        comment="one row, locked by whoever appends: appends commit in the order of their seq, without gaps",
    )
    op.execute("INSERT INTO log_head (one, seq, date_added) VALUES (1, 0, 0)")
    op.create_table(
        "source_cursor",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False, comment="'' for the schedule, else a backfill"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("read_until", sa.BigInteger),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("source", "lane"),
    )
    op.create_table(
        "sink_offset",
        sa.Column("sink", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("round", sa.Text, nullable=False, comment="a new word when something is to be delivered again"),
        sa.Column("as_of", sa.BigInteger, comment="the time whose state was published, for a sink that publishes"),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", _serial, primary_key=True, autoincrement=True),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False, comment="what makes it the same letter when it comes again"),
        sa.Column("seq", sa.BigInteger, comment="its place in the log, for a sink's"),
        sa.Column("object_id", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("place", sa.Text, comment="where it stood in the feed, for a source's"),
        sa.Column("raw", sa.Text, comment="the piece of the feed as it came"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("retry", sa.Boolean, nullable=False, comment="to be delivered again"),
        sa.UniqueConstraint("side", "owner", "key"),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column(
            "token", sa.BigInteger, nullable=False, comment="grows with every holder; commits are fenced by it"
        ),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "agenda",
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("due_at", sa.BigInteger, comment="when the schedule wants it next"),
        sa.Column("retry_at", sa.BigInteger, comment="not to be tried before, after a failure"),
        sa.Column("told", sa.Boolean, nullable=False, comment="whether the remote API named that time"),
        sa.Column("failures", sa.Integer, nullable=False, comment="in a row"),
        sa.Column("last_success_at", sa.BigInteger),
        sa.Column("last_error_at", sa.BigInteger),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("side", "name"),
    )
    op.create_table(
        "run",
        sa.Column("id", _serial, primary_key=True, autoincrement=True),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("message", sa.Text),
    )
    op.create_index("run_of", "run", ["side", "name", "id"])
