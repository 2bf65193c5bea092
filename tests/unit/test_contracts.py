"""The contract kit: honest plugins pass every check, and each way to break a law fails the check for it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from tiforge import (
    ACCEPTED,
    Batch,
    Context,
    Cursor,
    Limits,
    Page,
    Permanent,
    Receipt,
    Record,
    Rejected,
    Secret,
    SetAside,
    Sink,
    SinkSettings,
    Source,
    SourceSettings,
    Transient,
)
from tiforge.testing import (
    SinkContract,
    SinkUnderTest,
    SourceContract,
    SourceUnderTest,
    sample_indicator,
    sample_of_each_type,
    sink_contract,
    source_contract,
)

KEY = "correct-horse-battery-staple"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CONTEXT = Context("sample", lambda: NOW)


class MemorySinkSettings(SinkSettings):
    type: str = "memory"
    key: Secret = KEY  # type: ignore[assignment]


class MemorySink(Sink[MemorySinkSettings]):
    """Keeps the latest version of each object in a dictionary that outlives it."""

    type: ClassVar[str] = "memory"
    Settings = MemorySinkSettings

    def __init__(self, there: dict[str, bytes]) -> None:
        super().__init__(MemorySinkSettings(), CONTEXT)
        self.there = there

    @property
    def limits(self) -> Limits:
        return Limits(objects=4, types=frozenset({"indicator", "identity", "malware", "file"}))

    async def deliver(self, batch: Batch) -> Receipt:
        for record in batch.records:
            self.there[record.id] = record.payload
        return ACCEPTED


class LogSink(MemorySink):
    """Appends each version, and passes over the places that it already has of the same round."""

    def __init__(self, there: list[tuple[str, int, bytes]]) -> None:
        super().__init__({})
        self.lines = there

    async def deliver(self, batch: Batch) -> Receipt:
        last = max((seq for round, seq, _ in self.lines if round == batch.round), default=0)
        for seq, each in zip(batch.seqs, batch.records, strict=True):
            if seq > last:
                self.lines.append((batch.round, seq, each.payload))
        return ACCEPTED


class PublishingSink(MemorySink):
    """Replaces everything by the current state."""

    @property
    def publishes(self) -> bool:
        return True

    async def publish(self, records: AsyncIterator[Record]) -> None:
        fresh = {record.id: record.payload async for record in records}
        self.there.clear()
        self.there.update(fresh)


class DownSink(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        raise Transient("sample.example is down.")


def on_memory(kind: type[MemorySink], **known: Any) -> SinkUnderTest:
    there: dict[str, bytes] = {}
    return SinkUnderTest(
        make=lambda: kind(there), stored=lambda: list(there.values()), broken=lambda: DownSink({}), **known
    )


class TestHonestSink(SinkContract):
    @pytest.fixture
    def sink(self) -> SinkUnderTest:
        return on_memory(MemorySink)


class TestHonestSinkThatShowsIds(SinkContract):
    @pytest.fixture
    def sink(self) -> SinkUnderTest:
        there: dict[str, bytes] = {}
        return SinkUnderTest(make=lambda: MemorySink(there), stored=lambda: list(there))


class TestHonestLog(SinkContract):
    @pytest.fixture
    def sink(self) -> SinkUnderTest:
        lines: list[tuple[str, int, bytes]] = []
        return SinkUnderTest(
            make=lambda: LogSink(lines), stored=lambda: [line for _, _, line in lines], keeps_versions=True
        )


class TestHonestPublisher(SinkContract):
    @pytest.fixture
    def sink(self) -> SinkUnderTest:
        there: dict[str, bytes] = {}
        return SinkUnderTest(make=lambda: PublishingSink(there), stored=lambda: list(there.values()))


class GoesByThePlaceAlone(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        last = len(self.there)
        new = [at for at, seq in enumerate(batch.seqs) if seq > last]
        return await super().deliver(Batch([batch.records[at] for at in new], [batch.seqs[at] for at in new]))


class LosesTheLast(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        return await super().deliver(Batch(batch.records[:-1], batch.seqs[:-1]))


class Doubles(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        for record in batch.records:
            self.there[f"{record.id}#{len(self.there)}"] = record.payload
        return ACCEPTED


class ForgetsOnOpening(MemorySink):
    async def __aenter__(self) -> ForgetsOnOpening:
        self.there.clear()
        return self


class Rejects(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        return Receipt(rejected=[Rejected(0, "the name is not liked")])


class RejectsOutside(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        return Receipt(rejected=[Rejected(len(batch), "no such place")])


class DefersForEver(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        return Receipt(deferred=range(len(batch)))


class Strips(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        for record in batch.records:
            name = str(record.object.get("name", "")).strip()
            self.there[record.id] = Record.of({**record.object, "name": name}).payload
        return ACCEPTED


class KeepsTheFirst(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        for record in batch.records:
            self.there.setdefault(record.id, record.payload)
        return ACCEPTED


class RefusesRevoked(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        if any(record.facets.revoked for record in batch.records):
            raise Permanent("Revoked objects are not taken.")
        return await super().deliver(batch)


class NoLimit(MemorySink):
    @property
    def limits(self) -> Limits:
        return Limits(objects=0)


class LargerThanItTakes(MemorySink):
    @property
    def limits(self) -> Limits:
        return Limits(objects=50)

    async def deliver(self, batch: Batch) -> Receipt:
        if len(batch) > 40:
            raise Permanent("At most 40.")
        return await super().deliver(batch)


class NamesTooManyTypes(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        return Receipt(
            rejected=[Rejected(at, "type") for at, each in enumerate(batch.records) if each.type == "file"]
        )


class ShowsItsKey(MemorySink):
    def __repr__(self) -> str:
        return f"<ShowsItsKey {self.settings.key.get_secret_value()}>"


class StoresItsKey(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        for record in batch.records:
            changed = {**record.object, "x_key": self.settings.key.get_secret_value()}
            self.there[record.id] = Record.of(changed).payload
        return ACCEPTED


class ChecksByWriting(MemorySink):
    async def check(self) -> str:
        await self.deliver(Batch([sample_indicator(99)], [1]))
        return "wrote an object"


class LeaksInItsError(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        raise Transient(f"sample.example is down for {self.settings.key.get_secret_value()}.")


class LeaksInACause(MemorySink):
    async def deliver(self, batch: Batch) -> Receipt:
        try:
            raise OSError(self.settings.key.get_secret_value())
        except OSError as error:
            raise Transient("sample.example is down.") from error


class Adds(PublishingSink):
    async def publish(self, records: AsyncIterator[Record]) -> None:
        self.there.update({record.id: record.payload async for record in records})


class ClearsFirst(PublishingSink):
    async def publish(self, records: AsyncIterator[Record]) -> None:
        self.there.clear()
        self.there.update({record.id: record.payload async for record in records})


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (LosesTheLast, SinkContract.test_everything_is_accepted_once),
        (LosesTheLast, SinkContract.test_a_batch_of_one),
        (LosesTheLast, SinkContract.test_the_largest_batch),
        (Doubles, SinkContract.test_a_batch_that_comes_again_is_once_in_effect),
        (Doubles, SinkContract.test_it_goes_on_after_a_crash),
        (GoesByThePlaceAlone, SinkContract.test_a_new_round_is_delivered_whatever_its_places),
        (ForgetsOnOpening, SinkContract.test_it_is_closed_and_opened_between_batches),
        (ForgetsOnOpening, SinkContract.test_opening_and_closing_moves_nothing),
        (ForgetsOnOpening, SinkContract.test_it_goes_on_after_a_crash),
        (Rejects, SinkContract.test_everything_is_accepted_once),
        (RejectsOutside, SinkContract.test_everything_is_accepted_once),
        (DefersForEver, SinkContract.test_everything_is_accepted_once),
        (Strips, SinkContract.test_hostile_text_survives),
        (KeepsTheFirst, SinkContract.test_a_later_version_arrives),
        (KeepsTheFirst, SinkContract.test_a_revoked_version_is_accepted),
        (NoLimit, SinkContract.test_its_limits_can_be_kept),
        (NamesTooManyTypes, SinkContract.test_every_type_that_it_accepts),
        (ShowsItsKey, SinkContract.test_no_secret_shows),
        (StoresItsKey, SinkContract.test_no_secret_shows),
        (ChecksByWriting, SinkContract.test_check_says_one_line),
        (Adds, SinkContract.test_publishing_replaces_what_was_there),
        (ClearsFirst, SinkContract.test_a_publication_that_fails_leaves_the_one_before),
    ],
)
def test_a_broken_sink_fails_its_check(
    kind: type[MemorySink], check: Callable[[Any, SinkUnderTest], None]
) -> None:
    """Each way in which a sink breaks its promise is an AssertionError of the check that stands for it."""
    with pytest.raises(AssertionError):
        check(SinkContract(), on_memory(kind))


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (RefusesRevoked, SinkContract.test_a_revoked_version_is_accepted),
        (LargerThanItTakes, SinkContract.test_the_largest_batch),
    ],
)
def test_a_refusal_fails_the_check(kind: type[MemorySink], check: Callable[[Any, SinkUnderTest], None]) -> None:
    """A refusal of what the contract says is acceptable reaches the author as the sink raised it."""
    with pytest.raises(Permanent):
        check(SinkContract(), on_memory(kind))


@pytest.mark.parametrize("kind", [LeaksInItsError, LeaksInACause])
def test_a_sink_that_leaks_in_an_error_fails(kind: type[MemorySink]) -> None:
    """A secret in the text of an error, or of its cause, fails the check, whose message does not repeat it."""
    under_test = SinkUnderTest(make=lambda: MemorySink({}), stored=list, broken=lambda: kind({}))
    with pytest.raises(AssertionError) as caught:
        SinkContract().test_its_errors_tell_the_engine_what_to_do(under_test)
    assert KEY not in str(caught.value)


def test_a_sink_without_upsert_declares_it() -> None:
    """With `upserts=False` a batch that comes again may be there twice, but nothing may be lost."""
    SinkContract().test_a_batch_that_comes_again_is_once_in_effect(on_memory(Doubles, upserts=False))
    with pytest.raises(AssertionError):
        SinkContract().test_it_goes_on_after_a_crash(on_memory(LosesTheLast, upserts=False))


class MemorySourceSettings(SourceSettings):
    type: str = "memory"
    key: Secret = KEY  # type: ignore[assignment]


class MemorySource(Source[MemorySourceSettings]):
    """Reads ten sample indicators, three a page, from a number on."""

    type: ClassVar[str] = "memory"
    Settings = MemorySourceSettings
    count: ClassVar[int] = 10
    page: ClassVar[int] = 3

    def __init__(self) -> None:
        super().__init__(MemorySourceSettings(), CONTEXT)

    def record(self, number: int) -> Record | dict[str, Any]:
        return sample_indicator(number)

    def cursor(self, position: int) -> Cursor:
        return Cursor({"position": position}, NOW)

    async def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
        start = cursor.state["position"] if cursor else 0
        for at in range(start, max(self.count, start + 1), self.page):
            end = min(at + self.page, self.count)
            piece = [SetAside("???", "no row", f"row {at}")] if at == 3 else []
            yield Page([self.record(number) for number in range(at, end)], self.cursor(end), piece, rows=end - at)

    def since(self, moment: datetime) -> Cursor:
        return self.cursor(0)


class DownSource(MemorySource):
    async def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
        raise Transient("sample.example is down.")
        yield


class TestHonestSource(SourceContract):
    @pytest.fixture
    def source(self) -> SourceUnderTest:
        return SourceUnderTest(
            make=MemorySource, least=10, largest_page=3, since=NOW - timedelta(days=300), broken=DownSource
        )


class YieldsNonsense(MemorySource):
    def record(self, number: int) -> Record | dict[str, Any]:
        return {"type": "indicator", "id": "indicator--7"}


class YieldsNothing(MemorySource):
    count = 0


class CursorInTheFuture(MemorySource):
    def cursor(self, position: int) -> Cursor:
        return Cursor({"position": position}, NOW + timedelta(seconds=1))


class EmptyCursor(MemorySource):
    def cursor(self, position: int) -> Cursor:
        return Cursor({}, NOW)

    async def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
        async for page in super().pull(None):
            yield page


class CursorThatJsonChanges(MemorySource):
    def cursor(self, position: int) -> Cursor:
        return Cursor({"position": position, "seen": (1, 2)}, NOW)


class LosesOnResume(MemorySource):
    def cursor(self, position: int) -> Cursor:
        return super().cursor(position + 1 if position == 6 else position)


class LosesPiecesOnResume(MemorySource):
    async def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
        async for page in super().pull(cursor):
            yield page if cursor is None else Page(page.records, page.cursor)


class NewVersionEachTime(MemorySource):
    made: ClassVar[int] = 0

    def record(self, number: int) -> Record:
        type(self).made += 1
        return sample_indicator(number, version=self.made)


class NewContentEachTime(MemorySource):
    made: ClassVar[int] = 0

    def record(self, number: int) -> Record:
        type(self).made += 1
        return sample_indicator(number, name=str(self.made))


class RepeatsUnderNewIds(NewVersionEachTime):
    def cursor(self, position: int) -> Cursor:
        return Cursor({"position": 0}, NOW)


class LeavesATask(MemorySource):
    async def __aenter__(self) -> LeavesATask:
        self.task = asyncio.ensure_future(asyncio.sleep(3600))
        return self


class StateInTheClass(MemorySource):
    position: ClassVar[int] = 0

    async def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
        async for page in super().pull(cursor or self.cursor(self.position)):
            type(self).position = page.cursor.state["position"]
            yield page


class LeaksInItsCursor(MemorySource):
    def cursor(self, position: int) -> Cursor:
        return Cursor({"position": position, "token": self.settings.key.get_secret_value()}, NOW)


class LeaksInARecord(MemorySource):
    def record(self, number: int) -> Record:
        return sample_indicator(number, name=self.settings.key.get_secret_value())


class TellsTwoLines(MemorySource):
    async def check(self) -> str:
        return "one\ntwo"


class SinceTheFuture(MemorySource):
    def since(self, moment: datetime) -> Cursor:
        return Cursor({"position": 0}, NOW + timedelta(days=1))


class SinceTheMiddle(MemorySource):
    def since(self, moment: datetime) -> Cursor:
        return self.cursor(5)


class LeakingDownSource(MemorySource):
    async def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
        raise Transient(f"The key {self.settings.key.get_secret_value()} is refused.")
        yield


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (YieldsNothing, SourceContract.test_the_first_run_yields_valid_stix),
        (CursorInTheFuture, SourceContract.test_no_cursor_lies_in_the_future),
        (EmptyCursor, SourceContract.test_each_cursor_can_be_stored),
        (CursorThatJsonChanges, SourceContract.test_each_cursor_can_be_stored),
        (LosesOnResume, SourceContract.test_a_pull_resumes_after_any_page),
        (LosesPiecesOnResume, SourceContract.test_a_pull_resumes_after_any_page),
        (NewVersionEachTime, SourceContract.test_a_pull_resumes_after_any_page),
        (NewVersionEachTime, SourceContract.test_the_same_feed_gives_the_same_objects),
        (NewContentEachTime, SourceContract.test_the_same_feed_gives_the_same_objects),
        (RepeatsUnderNewIds, SourceContract.test_a_second_pull_brings_nothing_new),
        (LeavesATask, SourceContract.test_a_pull_can_be_stopped),
        (StateInTheClass, SourceContract.test_a_pull_can_be_stopped),
        (LeaksInItsCursor, SourceContract.test_no_secret_shows),
        (LeaksInARecord, SourceContract.test_no_secret_shows),
        (TellsTwoLines, SourceContract.test_check_says_one_line),
        (SinceTheFuture, SourceContract.test_since_gives_a_cursor_to_pull_from),
        (SinceTheMiddle, SourceContract.test_since_gives_a_cursor_to_pull_from),
    ],
)
def test_a_broken_source_fails_its_check(
    kind: type[MemorySource], check: Callable[[Any, SourceUnderTest], None]
) -> None:
    """Each way in which a source breaks its promise is an AssertionError of the check that stands for it."""
    with pytest.raises(AssertionError):
        check(SourceContract(), SourceUnderTest(make=kind, since=NOW - timedelta(days=300)))


def test_pages_that_are_too_large_fail() -> None:
    """A page larger than its author says fails the check."""
    with pytest.raises(AssertionError):
        SourceContract().test_pages_are_bounded(SourceUnderTest(make=MemorySource, largest_page=2))


def test_a_source_of_nonsense_is_told_what_is_wrong() -> None:
    """An object that is no STIX reaches the author as the reason that the engine would set it aside for."""
    with pytest.raises(Exception, match="indicator--7"):
        SourceContract().test_the_first_run_yields_valid_stix(SourceUnderTest(make=YieldsNonsense))


def test_a_source_that_leaks_in_an_error_fails() -> None:
    """A secret in an error's text fails the check, whose message does not repeat it."""
    under_test = SourceUnderTest(make=MemorySource, broken=LeakingDownSource)
    with pytest.raises(AssertionError) as caught:
        SourceContract().test_its_errors_tell_the_engine_what_to_do(under_test)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("contract", [SinkContract, SourceContract])
def test_each_check_says_what_it_stands_for(contract: type) -> None:
    """The docstring of a check is what the author of a plugin reads when it fails."""
    checks = [each for name, each in inspect.getmembers(contract) if name.startswith("test_")]
    assert len(checks) > 10
    assert all(inspect.getdoc(each) for each in checks)


@pytest.mark.parametrize("count", [1, 2, 3, 30, 100])
@pytest.mark.parametrize("most", [1, 2, 25])
def test_boundaries_are_spread_to_the_last(count: int, most: int) -> None:
    """However many pages there are, the last boundary is among those tried, and no more than asked for."""
    boundaries = list(source_contract._spread(count, most))
    assert boundaries[-1] == count
    assert len(boundaries) <= most
    assert boundaries == sorted(set(boundaries))


def test_batches_are_cut_as_the_engine_cuts_them() -> None:
    """A batch stays within objects and bytes; what is larger than the limit goes alone; nothing is lost."""

    class Small(MemorySink):
        @property
        def limits(self) -> Limits:
            return Limits(objects=4, bytes=2000)

    records = [sample_indicator(0), sample_indicator(1, name="n" * 3000), *map(sample_indicator, range(2, 9))]
    batches = sink_contract._in_batches(Small({}), records, 5, 7)
    assert [record for batch in batches for record in batch.records] == records
    assert [seq for batch in batches for seq in batch.seqs] == list(range(5, 14))
    for batch in batches:
        assert len(batch) <= 4
        assert len(batch) == 1 or sum(len(record.payload) for record in batch.records) <= 2000


def test_samples_are_the_same_always() -> None:
    """Samples have stable ids, so that a repeated delivery is one."""
    assert sample_of_each_type() == sample_of_each_type()
    assert sample_indicator(3) == sample_indicator(3)
    assert sample_indicator(3, version=1).version > sample_indicator(3).version
