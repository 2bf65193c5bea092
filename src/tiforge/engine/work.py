"""One piece of work, whole: pull one source, or deliver to one sink, and note how it went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from tiforge.config import Config
from tiforge.context import Context
from tiforge.engine.deliver import Delivered, Delivery
from tiforge.engine.emit import Emitter
from tiforge.engine.fault import PluginFault
from tiforge.engine.flow import Flow
from tiforge.engine.holding import holding
from tiforge.engine.pace import Pace
from tiforge.engine.pull import Pulled, pull
from tiforge.errors import LONGEST_WAIT, LeaseLost, TiforgeError, Transient
from tiforge.events import Finished
from tiforge.plugins import Plugins
from tiforge.schedule import Schedule
from tiforge.secrets import redact
from tiforge.sink import Sink, SinkSettings
from tiforge.source import Cursor, Source, SourceSettings
from tiforge.stix.time import from_micros, micros
from tiforge.store import Filter, Lease, Run, Standing, Store, agenda, leases, log, positions
from tiforge.transform import Transform

_SOFT_WAIT: Final = timedelta(minutes=1)
_LONGEST_WAIT: Final = timedelta(hours=1)
_BEYOND_ALL_WAITS: Final = int((LONGEST_WAIT + 86400) * 1_000_000)
_BUSY_POLL: Final = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a piece of work ended.

    Attributes:
        side: `source` or `sink`.
        name: The instance's name.
        outcome: `ok`, `failed`, `stopped` (told to, before the end), `busy` (another process does it) or
            `waiting` (not to be tried yet).
        counts: What it did, in numbers.
        message: What went wrong, or what it waits for.
    """

    side: str
    name: str
    outcome: str
    counts: dict[str, int] = field(default_factory=dict)
    message: str | None = None


class Engine:
    """Does the work that a config describes, over one store.

    Args:
        config: The settings.
        plugins: The installed plugins.
        store: The store.
        emit: Where to tell what happens.
    """

    def __init__(self, config: Config, plugins: Plugins, store: Store, emit: Emitter) -> None:
        self.config = config
        self.plugins = plugins
        self.store = store
        self.emit = emit
        self.flow = Flow()
        self._paces: dict[str, Pace] = {}

    def source(self, name: str) -> Source[Any]:
        """Make the instance of a configured source."""
        settings = self.config.sources[name]
        return self.plugins.sources[settings.type](settings, Context(name))

    def sink(self, name: str) -> Sink[Any]:
        """Make the instance of a configured sink."""
        settings = self.config.sinks[name]
        return self.plugins.sinks[settings.type](settings, Context(name))

    def due_at(self, name: str, default: Schedule | None = None) -> datetime | None:
        """Return when a source is due; `None` for now.

        Args:
            name: The source's name.
            default: The schedule of a source that has none.
        """
        settings = self.config.sources[name]
        schedule = settings.schedule or default
        with self.store.reading() as connection:
            stored = agenda.standing(connection, "source", name).due_at
        if schedule is None or stored is None:
            return None
        # A schedule that was tightened since applies at once.
        soonest = _next(schedule, settings, name, from_micros(self.store.now()))
        return min(from_micros(stored), soonest)

    def waits_until(self, side: str, name: str, *, told_only: bool) -> datetime | None:
        """Return the time before which a source or sink is not to be tried after a failure.

        Args:
            side: `source` or `sink`.
            name: The instance's name.
            told_only: Only a time that the remote API named counts.
        """
        with self.store.reading() as connection:
            standing = agenda.standing(connection, side, name)
        now = self.store.now()
        if standing.retry_at is None or standing.retry_at <= now:
            return None
        if standing.retry_at > now + _BEYOND_ALL_WAITS:
            return None  # stored while the clock was ahead
        return None if told_only and not standing.told else from_micros(standing.retry_at)

    async def pull(
        self, name: str, *, lane: str = "", since: datetime | None = None, reset: bool = False
    ) -> Outcome:
        """Pull one source to the end of its feed.

        Args:
            name: The source's name.
            lane: `""` for the schedule, else the name of a backfill.
            since: Where a new backfill begins.
            reset: Whether the schedule goes on from where the backfill ended.
        """

        async def work(lease: Lease) -> dict[str, Any]:
            done: Pulled
            async with self.source(name) as source:
                start: Cursor | None = source.since(since) if since is not None else None
                done = await pull(
                    self.store,
                    lease,
                    name,
                    source,
                    flow=self.flow,
                    emit=self.emit,
                    settings=self.config.retry,
                    lane=lane,
                    start=start,
                )
            if lane and not done.stopped:
                await self.store.call(self._end_lane, lease, name, lane, reset)
            return asdict(done)

        with self.flow.pull():
            return await self._do("source", name, work, scheduled=not lane)

    async def deliver(self, name: str) -> Outcome:
        """Deliver to one sink until it has everything and no source of this process is being pulled."""

        async def work(lease: Lease) -> dict[str, Any]:
            sink = self.sink(name)
            async with sink:
                delivery = Delivery(
                    store=self.store,
                    lease=lease,
                    name=name,
                    sink=sink,
                    only=self.only(name, sink),
                    transforms=self._transforms(name),
                    flow=self.flow,
                    emit=self.emit,
                    settings=self.config.retry,
                    pace=self._paces.setdefault(name, Pace(sink.limits.requests_per_minute)),
                )
                done: Delivered = await delivery.drain()
            return asdict(done)

        return await self._do("sink", name, work)

    async def deliver_or_wait(self, name: str) -> Outcome:
        """Deliver to one sink; while another process does, wait until the sink has everything all the same."""
        while (outcome := await self.deliver(name)).outcome == "busy":
            while await self.store.call(self._is_held, name):
                await self.flow.wait(_BUSY_POLL)
                if self.flow.stopping.is_set():
                    return outcome
            if not self.flow.pulling and await self.store.call(self._has_everything, name):
                return outcome
        return outcome

    def _is_held(self, name: str) -> bool:
        with self.store.reading() as connection:
            held = leases.holder(self.store, connection, f"sink/{name}") is not None
            behind = positions.offset(connection, name) < log.head(connection)
        return held and (behind or self.flow.pulling)

    def only(self, name: str, sink: Sink[Any]) -> Filter:
        """Return which entries of the log a sink takes."""
        settings: SinkSettings = self.config.sinks[name]
        since = None
        if settings.max_age is not None:
            since = self.store.now() - micros(from_micros(0) + settings.max_age)
        chosen = Filter(
            sources=settings.sources,
            types=settings.types,
            min_confidence=settings.min_confidence,
            max_tlp=settings.max_tlp,
            modified_since=since,
        )
        return chosen.taking(sink.limits.types)

    def _transforms(self, name: str) -> list[Transform[Any]]:
        found = []
        for each in self.config.sinks[name].transforms:
            settings = self.config.transforms[each]
            found.append(self.plugins.transforms[settings.type](settings, Context(each)))
        return found

    def _has_everything(self, name: str) -> bool:
        with self.store.reading() as connection:
            return positions.offset(connection, name) >= log.head(connection)

    async def _do(
        self,
        side: str,
        name: str,
        work: Callable[[Lease], Awaitable[dict[str, Any]]],
        *,
        scheduled: bool = True,
    ) -> Outcome:
        started = self.store.now()
        try:
            async with holding(self.store, f"{side}/{name}") as lease:
                if lease is None:
                    return Outcome(side, name, "busy", message="another process does it")
                outcome, error = await self._outcome(side, name, work(lease))
                await self.store.call(self._note, outcome, error, started, scheduled)
        except LeaseLost:
            # This process was paused past its lease. What the other one does is not to be judged here.
            return Outcome(side, name, "busy", message="another process has taken over")
        self.emit(Finished(side, name, outcome.outcome, outcome.message))
        return outcome

    async def _outcome(
        self, side: str, name: str, work: Awaitable[dict[str, Any]]
    ) -> tuple[Outcome, TiforgeError | None]:
        try:
            counts = await work
        except LeaseLost:
            raise
        except TiforgeError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - a plugin's fault in opening or closing is its own
            told = redact(f"{type(raised).__name__}: {raised}")
            error = PluginFault(f"The {side} {name} failed with {told}.", hint="This is a fault of the plugin.")
            error.__cause__ = raised
        else:
            stopped = counts.pop("stopped", False)
            return Outcome(side, name, "stopped" if stopped else "ok", counts), None
        return Outcome(side, name, "failed", {}, redact(str(error))), error

    def _end_lane(self, lease: Lease, name: str, lane: str, reset: bool) -> None:
        """Let a backfill that is done begin anew when it is asked for again."""
        with self.store.writing() as connection:
            leases.hold(self.store, connection, lease)  # as every commit that moves a cursor
            cursor = positions.cursor(connection, name, lane)
            if reset and cursor is not None:
                positions.put_cursor(connection, name, "", cursor, now=self.store.now())
            positions.drop_cursor(connection, name, lane)

    def _note(self, outcome: Outcome, error: TiforgeError | None, started: int, scheduled: bool) -> None:
        now = self.store.now()
        side, name = outcome.side, outcome.name
        with self.store.writing() as connection:
            if scheduled and outcome.outcome != "stopped":
                if error is None:
                    changes: dict[str, Any] = {"failures": 0, "retry_at": None, "told": False}
                    changes["last_success_at"] = now
                    if side == "source":
                        changes["due_at"] = self._due_next(name, now)
                else:
                    changes = _failure(agenda.standing(connection, side, name), error, now)
                agenda.put_standing(connection, side, name, **changes)
            if error is not None or any(outcome.counts.values()):
                done = Run(side, name, started, now, outcome.outcome, outcome.counts, outcome.message)
                agenda.put_run(connection, done)

    def _due_next(self, name: str, now: int) -> int | None:
        settings = self.config.sources[name]
        schedule = settings.schedule or DEFAULT_SCHEDULE
        return micros(_next(schedule, settings, name, from_micros(now)))


DEFAULT_SCHEDULE: Final = Schedule.parse("every 15m")
"""When `tiforge serve` pulls a source that has no schedule."""


def _next(schedule: Schedule, settings: SourceSettings, name: str, now: datetime) -> datetime:
    return schedule.with_jitter(schedule.next_after(now), key=name, limit=settings.jitter)


def _failure(before: Standing, error: TiforgeError, now: int) -> dict[str, Any]:
    """Open the circuit: what failed is left alone for a time that doubles with each failure in a row."""
    asked = error.retry_after if isinstance(error, Transient) else None
    soft = min(_LONGEST_WAIT, _SOFT_WAIT * 2**before.failures) if before.failures < 10 else _LONGEST_WAIT
    wait = timedelta(seconds=asked) if asked is not None else soft
    return {
        "failures": before.failures + 1,
        "retry_at": now + micros(from_micros(0) + wait),
        "told": asked is not None,
        "last_error_at": now,
        "last_error": str(error),
    }
