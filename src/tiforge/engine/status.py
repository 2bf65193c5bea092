"""How every source and sink is doing. Silence is a fault, so all of it can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tiforge.config import Config
from tiforge.stix.time import from_micros
from tiforge.store import Run, Standing, Store, agenda, deadletters, leases, log, positions


@dataclass(frozen=True)
class SourceStatus:
    """How a source is doing.

    Attributes:
        name: Its name.
        type: Its type.
        enabled: Whether it is pulled.
        read_until: The moment up to which its feed has been read.
        cursor: Its cursor.
        set_aside: Pieces of its feed that could not be read.
        due_at: When it is due next; `None` for the next run.
        retry_at: Not to be tried before, after a failure.
        failures: In a row.
        last_success_at: When it last ended well.
        last_error_at: When it last failed.
        last_error: What was wrong then.
        held_by: Who is pulling it right now.
    """

    name: str
    type: str
    enabled: bool
    read_until: datetime | None
    cursor: dict[str, Any] | None
    set_aside: int
    due_at: datetime | None
    retry_at: datetime | None
    failures: int
    last_success_at: datetime | None
    last_error_at: datetime | None
    last_error: str | None
    held_by: str | None


@dataclass(frozen=True)
class SinkStatus:
    """How a sink is doing.

    Attributes:
        name: Its name.
        type: Its type.
        enabled: Whether anything is delivered to it.
        offset: The `seq` up to which it has everything.
        lag: Entries of the log behind which it is.
        dead_letters: Objects that it refused.
        retry_at: Not to be tried before, after a failure.
        failures: In a row.
        last_success_at: When it last had everything.
        last_error_at: When it last failed.
        last_error: What was wrong then.
        held_by: Who is delivering to it right now.
    """

    name: str
    type: str
    enabled: bool
    offset: int
    lag: int
    dead_letters: int
    retry_at: datetime | None
    failures: int
    last_success_at: datetime | None
    last_error_at: datetime | None
    last_error: str | None
    held_by: str | None


@dataclass(frozen=True)
class Status:
    """How everything is doing.

    Attributes:
        store: The store's address, without its password.
        head: The last `seq` of the log.
        sources: Each configured source.
        sinks: Each configured sink.
        runs: The last runs, newest first.
    """

    store: str
    head: int
    sources: list[SourceStatus]
    sinks: list[SinkStatus]
    runs: list[Run]


def status(config: Config, store: Store, *, runs: int = 10) -> Status:
    """Look at everything.

    Args:
        config: The settings.
        store: The store.
        runs: How many of the last runs to return.
    """
    with store.reading() as connection:
        head = log.head(connection)
        letters = deadletters.counted(connection)
        sources = []
        for name, settings in config.sources.items():
            cursor = positions.cursor(connection, name)
            standing = agenda.standing(connection, "source", name)
            sources.append(
                SourceStatus(
                    name=name,
                    type=settings.type,
                    enabled=settings.enabled,
                    read_until=cursor.read_until if cursor else None,
                    cursor=dict(cursor.state) if cursor else None,
                    set_aside=letters.get(("source", name), 0),
                    due_at=_moment(standing.due_at) if settings.schedule else None,
                    held_by=leases.holder(store, connection, f"source/{name}"),
                    **_standing(standing),
                )
            )
        sinks = []
        for name, wanted in config.sinks.items():
            offset = positions.offset(connection, name)
            sinks.append(
                SinkStatus(
                    name=name,
                    type=wanted.type,
                    enabled=wanted.enabled,
                    offset=offset,
                    lag=head - offset,
                    dead_letters=letters.get(("sink", name), 0),
                    held_by=leases.holder(store, connection, f"sink/{name}"),
                    **_standing(agenda.standing(connection, "sink", name)),
                )
            )
        return Status(store.address, head, sources, sinks, agenda.runs(connection, limit=runs))


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "retry_at": _moment(standing.retry_at),
        "failures": standing.failures,
        "last_success_at": _moment(standing.last_success_at),
        "last_error_at": _moment(standing.last_error_at),
        "last_error": standing.last_error,
    }


def _moment(value: int | None) -> datetime | None:
    return None if value is None else from_micros(value)
