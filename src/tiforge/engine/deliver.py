"""Deliver: from the log to one sink, until it has everything."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tiforge.config.model import RetrySettings
from tiforge.engine.emit import Emitter
from tiforge.engine.fault import PluginFault, limited
from tiforge.engine.flow import Flow
from tiforge.engine.handover import Handed, Handover
from tiforge.engine.pace import Pace
from tiforge.engine.retry import Backoff, retrying
from tiforge.errors import TiforgeError
from tiforge.events import BatchDelivered, Retrying
from tiforge.record import Record
from tiforge.secrets import redact
from tiforge.sink import Sink
from tiforge.store import (
    Entry,
    Filter,
    Lease,
    Refused,
    Store,
    begin_round,
    commit_delivery,
    commit_retried,
    deadletters,
    log,
    positions,
)
from tiforge.transform import Transform

_POLL: Final = 0.5  # seconds between looks for what another process appended
_CHUNK: Final = 1000
_CHUNK_BYTES: Final = 16 * 1024 * 1024
_FAULTS: Final = 8  # more objects than this that all break a transform: the transform is at fault, not they


@dataclass
class Delivered:
    """What a delivery did.

    Attributes:
        accepted: Objects that the sink accepted.
        rejected: Objects that went to the dead letters.
        passed_over: Objects that the sink does not take.
        batches: Batches that were handed over.
        stopped: Whether it was told to stop before the sink had everything.
    """

    accepted: int = 0
    rejected: int = 0
    passed_over: int = 0
    batches: int = 0
    stopped: bool = False

    def add(self, accepted: int, rejected: int, passed_over: int, *, batches: int) -> None:
        """Count what a commit was about."""
        self.accepted += accepted
        self.rejected += rejected
        self.passed_over += passed_over
        self.batches += batches


@dataclass(frozen=True)
class Delivery:
    """What it takes to deliver to one sink.

    Attributes:
        store: The store.
        lease: The lease on the sink.
        name: The sink's name.
        sink: The sink, open.
        only: Which entries it takes, by its settings and its API.
        transforms: What each record goes through, in order.
        flow: What is under way in this process.
        emit: Where to tell what happens.
        settings: The limits on retries.
        pace: The limit on requests, which outlives a delivery.
    """

    store: Store
    lease: Lease
    name: str
    sink: Sink[Any]
    only: Filter
    transforms: Sequence[Transform[Any]]
    flow: Flow
    emit: Emitter
    settings: RetrySettings
    pace: Pace

    async def drain(self) -> Delivered:
        """Deliver until the sink has everything and no source is being pulled.

        Raises:
            TiforgeError: What the sink raised. Its offset is behind the last batch that it accepted.
        """
        if self.sink.publishes:
            return await _Publication(self).run()
        return await _Stream(self).run()

    def transformed(self, entry: Entry) -> Entry | None:
        """Return an entry as the sink is to see it, or `None` where a transform drops it.

        Raises:
            PluginFault: A transform failed on it.
        """
        record: Record | None = entry.record
        for transform in self.transforms:
            if record is None:
                return None
            try:
                record = transform.apply(record)
            except Exception as error:  # whatever a plugin raises is about this object alone
                told = redact(f"{type(error).__name__}: {error}")
                raise PluginFault(f"The transform {transform.context.name} failed with {told}.") from error
        if record is None:
            return None
        return entry if record is entry.record else Entry(entry.seq, record)

    def prepared(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[Refused]]:
        """Return entries as the sink is to see them, and those on which a transform failed."""
        if not self.transforms:
            return list(entries), []
        wanted: list[Entry] = []
        refused: list[Refused] = []
        for entry in entries:
            try:
                changed = self.transformed(entry)
            except PluginFault as fault:
                refused.append(Refused(entry, str(fault)))
                continue
            if changed is not None:
                wanted.append(changed)
        if len(refused) == len(entries) > _FAULTS:
            raise PluginFault(f"{refused[0].reason} It fails on every object, so nothing is set aside.")
        return wanted, refused


class _InFlight(NamedTuple):
    """A batch that is being handed over: its entries, those that never reach the sink, and where it ends."""

    entries: list[Entry]
    broken: list[Refused]
    upto: int
    handed: Handed
    task: asyncio.Task[None]


class _Stream:
    """Batches in order, several in flight, the offset following the oldest."""

    def __init__(self, delivery: Delivery) -> None:
        self._d = delivery
        self._done = Delivered()
        self._handover = Handover(delivery.name, delivery.sink, delivery.settings, delivery.emit, delivery.pace)
        self._in_flight: deque[_InFlight] = deque()
        self._offset = 0

    async def run(self) -> Delivered:
        d = self._d
        self._offset, self._handover.round = await d.store.call(self._place)
        read = self._offset
        try:
            while not d.flow.stopping.is_set():
                pulling = d.flow.pulling
                head, entries = await d.store.call(self._next, read)
                if entries:
                    read = entries[-1].seq
                    await self._send(entries, read)
                elif read < head:
                    read = head
                    await self._send([], head)
                else:
                    await self._settle(0)
                    if not pulling:
                        break
                    await d.flow.wait(_POLL)
            await self._settle(0)
        finally:
            await self._abandon()
        # After what is new: a sink that was owed its last batch again has had it, so that what it is given
        # now, on purpose, cannot be taken for that.
        await self._deliver_dead_letters()
        self._done.stopped = d.flow.stopping.is_set()
        return self._done

    def _place(self) -> tuple[int, str]:
        """Return the sink's offset, and the word of its round."""
        d = self._d
        with d.store.reading() as connection:
            offset, word = positions.offset(connection, d.name), positions.round_of(connection, d.name)
        return offset, word or begin_round(d.store, d.lease, d.name)

    def _next(self, after: int) -> tuple[int, list[Entry]]:
        limits = self._d.sink.limits
        with self._d.store.reading() as connection:
            head = log.head(connection)
            if after >= head:
                return head, []
            only = self._d.only
            return head, log.read(
                connection, after=after, upto=head, only=only, objects=limits.objects, bytes=limits.bytes
            )

    async def _send(self, entries: list[Entry], upto: int) -> None:
        await self._settle(self._d.sink.limits.in_flight - 1)
        wanted, broken = self._d.prepared(entries)
        handed = Handed()
        task = asyncio.create_task(self._handover.hand(wanted, handed))
        self._in_flight.append(_InFlight(wanted, broken, upto, handed, task))

    async def _settle(self, most: int) -> None:
        """Wait for the oldest batches until at most so many are in flight; commit the offset past each."""
        while len(self._in_flight) > most:
            batch = self._in_flight[0]
            try:
                await asyncio.shield(batch.task)
            except TiforgeError:
                # Of a batch that was split, the first parts may have been taken: they are not sent again.
                await self._commit(batch, batch.handed.settled_upto)
                raise
            self._in_flight.popleft()
            await self._commit(batch, batch.upto)

    async def _commit(self, batch: _InFlight, upto: int) -> None:
        d = self._d
        if upto <= self._offset:
            return
        refused = [each for each in (*batch.broken, *batch.handed.refused) if each.entry.seq <= upto]
        given = sum(entry.seq <= upto for entry in batch.entries)
        accepted = given - sum(each.entry.seq <= upto for each in batch.handed.refused)
        head = await d.store.call(commit_delivery, d.store, d.lease, d.name, upto, refused)
        passed_over = upto - self._offset - accepted - len(refused)
        self._offset = upto
        self._done.add(accepted, len(refused), passed_over, batches=int(bool(batch.entries)))
        d.emit(BatchDelivered(d.name, accepted, len(refused), passed_over, upto, head))

    async def _abandon(self) -> None:
        """End what is in flight behind a batch that failed: the offset stays before it, so it comes again."""
        tasks = [each.task for each in self._in_flight]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver_dead_letters(self) -> None:
        """Deliver what `tiforge deadletter retry` marked, in a round of its own."""
        d = self._d
        begun = False
        while not d.flow.stopping.is_set() and (found := await d.store.call(self._marked)):
            if not begun:
                self._handover.round = await d.store.call(begin_round, d.store, d.lease, d.name)
                begun = True
            entries, broken = d.prepared(found)
            handed = Handed()
            await self._handover.hand(entries, handed)
            refused = [*broken, *handed.refused]
            again = {each.entry.seq for each in refused}
            gone = [entry.seq for entry in found if entry.seq not in again]
            head = await d.store.call(commit_retried, d.store, d.lease, d.name, gone, refused)
            accepted = len(entries) - len(handed.refused)
            self._done.add(accepted, len(refused), 0, batches=1)
            d.emit(BatchDelivered(d.name, accepted, len(refused), 0, self._offset, head))

    def _marked(self) -> list[Entry]:
        """Return the first of the entries to deliver again, as many as make a batch."""
        d, limits = self._d, self._d.sink.limits
        with d.store.reading() as connection:
            seqs = deadletters.to_retry(connection, d.name, limits.objects)
            return log.at(connection, seqs, bytes=limits.bytes)


class _Publication:
    """The whole current state, again whenever it has changed and no source is being pulled."""

    def __init__(self, delivery: Delivery) -> None:
        self._d = delivery
        self._count = 0
        self._broken: list[Refused] = []

    async def run(self) -> Delivered:
        d = self._d
        while d.flow.pulling and not d.flow.stopping.is_set():
            await d.flow.wait(_POLL)
        if d.flow.stopping.is_set():
            return Delivered(stopped=True)
        if not await d.store.call(has_work, d.store, d.name, d.sink):
            return Delivered()
        head = await d.store.call(_head, d.store)
        now = d.store.now()
        backoff = Backoff(d.settings, self._told)
        async for attempt in retrying(backoff):
            with attempt:
                self._count, self._broken = 0, []
                await d.pace.wait()
                async with aclosing(self._records(head, now)) as records:
                    await limited(d.sink.publish(records), d.settings.call_timeout, f"the sink type {d.sink.type}")
        await d.store.call(commit_delivery, d.store, d.lease, d.name, head, self._broken, as_of=now)
        d.emit(BatchDelivered(d.name, self._count, len(self._broken), 0, head, head))
        return Delivered(accepted=self._count, rejected=len(self._broken), batches=1)

    async def _records(self, head: int, now: int) -> AsyncGenerator[Record, None]:
        d = self._d
        after: int | None = 0
        while after is not None:
            entries, after = await d.store.call(self._chunk, after, head, now)
            wanted, broken = d.prepared(entries)
            self._broken += broken
            for entry in wanted:
                self._count += 1
                yield entry.record

    def _chunk(self, after: int, head: int, now: int) -> log.Scan:
        with self._d.store.reading() as connection:
            return log.current(
                connection,
                after=after,
                upto=head,
                only=self._d.only,
                objects=_CHUNK,
                now=now,
                bytes=_CHUNK_BYTES,
            )

    def _told(self, attempt: int, wait: float, reason: str) -> None:
        self._d.emit(Retrying("sink", self._d.name, attempt, wait, reason))


def has_work(store: Store, name: str, sink: Sink[Any]) -> bool:
    """Say whether a sink may have something to take.

    That is: entries behind the head, dead letters to deliver again, or, for a sink that publishes, a state
    that was never published or of which something has run out since.
    """
    now = store.now()
    with store.reading() as connection:
        if positions.offset(connection, name) < log.head(connection):
            return True
        if sink.publishes:
            published = positions.as_of(connection, name)
            return published is None or log.ran_out(connection, after=published, until=now)
        return bool(deadletters.to_retry(connection, name, 1))


def _head(store: Store) -> int:
    with store.reading() as connection:
        return log.head(connection)
