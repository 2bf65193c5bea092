"""Open the store: SQLite beside the config by default, PostgreSQL for several machines."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc, insert, inspect, text
from sqlalchemy.engine import URL, make_url

from tiforge.errors import StoreError
from tiforge.secrets import redact
from tiforge.store import schema

_SETUP_LOCK: Final = 7_210_644_301  # any constant: two processes that start together set up one at a time
_BUSY_SECONDS: Final = 60
_THREADS: Final = 8

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """A database with the log and everything that is known about its sources and sinks.

    Args:
        reader: The engine for reading.
        writer: The engine for writing; the same where the database sorts writers out itself.
    """

    def __init__(self, reader: Engine, writer: Engine) -> None:
        self._reader = reader
        self._writer = writer
        # SQLite does one thing at a time for a process; more threads would only keep more memory each.
        threads = 1 if reader.dialect.name == "sqlite" else _THREADS
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="tiforge-store")

    @classmethod
    def open(cls, url: str, *, directory: Path | None = None) -> Self:
        """Open a store; create or upgrade its tables where needed.

        Args:
            url: `sqlite:///file.db` (a relative path starts from `directory`) or `postgresql://…`.
            directory: The folder of the config.

        Returns:
            The store.

        Raises:
            StoreError: It cannot be reached, or a newer tiforge wrote it.
        """
        parsed = _parsed(url, directory)
        with _explained(parsed):
            reader, writer = _engines(parsed)
            try:
                _set_up(reader, writer)
            except BaseException:
                writer.dispose()
                raise
        return cls(reader, writer)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._reader.dialect.name

    @property
    def address(self) -> str:
        """The URL as the operator writes it, without its password."""
        # The query may hold a password too (`?password=…` is one of libpq's forms).
        plain = self._reader.url.set(drivername=self.dialect, query={})
        return plain.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection for reading; what it sees does not change within one statement."""
        with _explained(self._reader.url), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction: it commits when the block ends and rolls back when the block raises."""
        with _explained(self._writer.url), self._writer.begin() as connection:
            yield connection

    async def call(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Do blocking work on the store in its own threads, and return what that returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(work, *arguments, **options))

    def now(self) -> int:
        """Return this machine's time in microseconds."""
        return time.time_ns() // 1000

    def common_now(self, connection: Connection) -> int:
        """Return a time in microseconds that all machines on this store agree about: the database's."""
        if self.dialect == "sqlite":
            return self.now()  # one machine
        query = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return int(connection.execute(query).scalar_one())

    def close(self) -> None:
        """Close all connections, when the work under way is done."""
        self._threads.shutdown()
        self._reader.dispose()
        self._writer.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _parsed(url: str, directory: Path | None) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise StoreError(
            "The store's URL cannot be read.", hint="Write sqlite:///tiforge.db or postgresql://user@host/name."
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        name = parsed.database or ""
        if name in ("", ":memory:"):
            raise StoreError("The store must be a file: what is in memory is lost with the process.")
        path = (directory or Path()) / name
        if not path.parent.is_dir():
            raise StoreError(f"The store's folder {path.parent} does not exist.", hint="Create it first.")
        _make_private(path)
        return parsed.set(drivername="sqlite+pysqlite", database=str(path))
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreError(
        f"{backend!r} is no store.", hint="Write sqlite:///tiforge.db or postgresql://user@host/name."
    )


def _make_private(path: Path) -> None:
    """Create the database's file for its owner alone; SQLite gives the files beside it the same rights."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(f"The store {path} cannot be opened: {error.strerror}.") from None


def _engines(url: URL) -> tuple[Engine, Engine]:
    if url.get_backend_name() == "sqlite":
        # SQLite has one writer at a time: one connection with a large cache, where a pool would have several
        # that each keep their own. A writer that began by reading could not upgrade its lock while another
        # process writes, so it takes it at once.
        return _sqlite(url, "BEGIN", cache=2, size=4), _sqlite(url, "BEGIN IMMEDIATE", cache=16, size=1)
    try:
        engine = create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
    except ModuleNotFoundError:
        raise StoreError(
            "PostgreSQL needs psycopg.", hint="Install it: pip install 'tiforge[postgresql]'."
        ) from None
    return engine, engine


def _sqlite(url: URL, begin: str, *, cache: int, size: int) -> Engine:
    """Make an engine whose connections keep so many MiB of pages, in a pool of so many."""
    engine = create_engine(
        url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=size, max_overflow=0, pool_timeout=_BUSY_SECONDS
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # sqlite3's own transaction handling would begin too late and commit around DDL; ours is explicit.
        connection.isolation_level = None
        for pragma in (
            "page_size = 8192",  # heeded only when the file is made
            "journal_mode = WAL",
            "synchronous = FULL",
            f"cache_size = {-1024 * cache}",
            # A page of a feed is some megabytes: fold the log back when a few have gathered.
            "wal_autocheckpoint = 4000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_explicitly(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _set_up(reader: Engine, engine: Engine) -> None:
    with reader.connect() as connection:
        # Nearly always there is nothing to do, and a look need not wait for whoever is writing.
        if _revision(connection) == schema.REVISION:
            return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SETUP_LOCK})
        found = _revision(connection)
        if found is None:
            _create(connection)
        elif found != schema.REVISION:
            # Imported here: Alembic is needed once in the life of a store.
            from tiforge.store.migrations import upgrade

            upgrade(connection, found)


def _create(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": schema.REVISION})
    connection.execute(insert(schema.log_head).values(one=1, seq=0, date_added=0))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        where = url.database if url.get_backend_name() == "sqlite" else f"{url.host or 'socket'}/{url.database}"
        said = redact(str(error.orig)).strip().splitlines() or [type(error.orig).__name__]
        hint = "Free disk space and run again; nothing accepted is lost." if "full" in said[0] else None
        raise StoreError(f"The store {where} failed: {said[0]}.", hint=hint) from error
