"""What is due when: the schedule's next times, waits after failures, and how each source and sink is doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from tiforge.store.schema import agenda, run
from tiforge.store.text import storable

_MESSAGE = 4000


@dataclass(frozen=True, slots=True)
class Standing:
    """How a source or a sink is doing. Times are microseconds since 1970-01-01 UTC.

    Attributes:
        due_at: When the schedule wants it next; `None` where it has no schedule, or never ran.
        retry_at: Not to be tried before, after a failure.
        told: Whether the remote API named that time, which then binds everyone.
        failures: In a row.
        last_success_at: When it last ended well.
        last_error_at: When it last failed.
        last_error: What was wrong then.
    """

    due_at: int | None = None
    retry_at: int | None = None
    told: bool = False
    failures: int = 0
    last_success_at: int | None = None
    last_error_at: int | None = None
    last_error: str | None = None


def standing(connection: Connection, side: str, name: str) -> Standing:
    """Return how a source or a sink is doing."""
    columns = [agenda.c[field] for field in Standing.__dataclass_fields__]
    row = connection.execute(select(*columns).where(agenda.c.side == side, agenda.c.name == name)).first()
    return Standing() if row is None else Standing(*row)


def put_standing(connection: Connection, side: str, name: str, **changes: Any) -> None:
    """Change what is known about a source or a sink."""
    if (error := changes.get("last_error")) is not None:
        changes["last_error"] = storable(error, _MESSAGE)
    this = (agenda.c.side == side) & (agenda.c.name == name)
    if connection.execute(update(agenda).where(this).values(**changes)).rowcount == 0:
        fresh = {"side": side, "name": name, "told": False, "failures": 0}
        connection.execute(insert(agenda).values(**{**fresh, **changes}))


@dataclass(frozen=True, slots=True)
class Run:
    """One pull or delivery that ended.

    Attributes:
        side: `source` or `sink`.
        name: Whose.
        started_at: In microseconds.
        ended_at: In microseconds.
        outcome: `ok`, `failed`, `busy` or `waiting`.
        counts: What it did, in numbers.
        message: What went wrong, where something did.
    """

    side: str
    name: str
    started_at: int
    ended_at: int
    outcome: str
    counts: dict[str, int]
    message: str | None = None


_KEPT = 200


def put_run(connection: Connection, done: Run) -> None:
    """Keep a run; the newest 200 of each source and sink stay."""
    values = {field: getattr(done, field) for field in Run.__dataclass_fields__}
    message = None if done.message is None else storable(done.message, _MESSAGE)
    values |= {"counts": orjson.dumps(done.counts).decode(), "message": message}
    result = connection.execute(run.insert().values(**values))
    newest = result.inserted_primary_key
    if newest is not None and newest[0] % _KEPT == 0:
        keep = (
            select(run.c.id)
            .where(run.c.side == done.side, run.c.name == done.name)
            .order_by(run.c.id.desc())
            .limit(_KEPT)
        )
        connection.execute(
            delete(run).where(run.c.side == done.side, run.c.name == done.name, run.c.id.not_in(keep))
        )


def runs(connection: Connection, *, limit: int = 10) -> list[Run]:
    """Return the last runs, newest first."""
    columns = [run.c[field] for field in Run.__dataclass_fields__]
    rows = connection.execute(select(*columns).order_by(run.c.id.desc()).limit(limit))
    return [Run(**{**row._asdict(), "counts": orjson.loads(row.counts)}) for row in rows]
