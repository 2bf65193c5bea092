"""Alembic migrations of the store, run by tiforge itself when it opens an older one."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from tiforge.errors import StoreError


def upgrade(connection: Connection, found: str) -> None:
    """Bring the tables to the current revision, inside the caller's transaction.

    Args:
        connection: A connection whose transaction holds the set-up lock.
        found: The revision that the store is at; `base` builds everything.

    Raises:
        StoreError: The store's revision is unknown: a newer tiforge wrote it.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    if found != "base":
        try:
            ScriptDirectory.from_config(config).get_revision(found)
        except CommandError:
            raise StoreError(
                f"The store is at revision {found}, which this tiforge does not know.",
                hint="A newer tiforge wrote it; use that one.",
            ) from None
    command.upgrade(config, "head")
