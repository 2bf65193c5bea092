"""What every source promises the engine, as tests to inherit.

```python
import pytest
from tiforge.testing import SourceContract, SourceUnderTest


class TestAcmeSource(SourceContract):
    @pytest.fixture
    def source(self, acme_feed):  # an emulator, or a folder with files
        return SourceUnderTest(make=lambda: AcmeSource(acme_feed.settings, Context("acme")))
```
"""

# ruff: noqa: S101 - these are tests, and pytest rewrites their assertions

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from tiforge.errors import TiforgeError
from tiforge.record import Record
from tiforge.source import Cursor, Page, Source, SourceSettings
from tiforge.testing.contracts import assert_hidden, full_text, logged, secrets_of, shown_as_json

Version = tuple[str, str]


@dataclass(frozen=True)
class SourceUnderTest:
    """A source, and what its author knows about the feed behind it.

    Attributes:
        make: Returns a new instance each time, on the same feed, which does not change during a test.
        least: How many objects the feed holds at least. More than one page makes the best test.
        largest_page: How many objects one page may hold at most. It bounds the memory that a pull takes.
        since: A moment before all that a first run reads: a backfill from there is to bring it all. Without
            one, `since` is asked for a day before the source's clock, and is to give a cursor that works.
        boundaries: After how many pages, at most, a pull is tried anew; they are spread over the feed.
        broken: Returns an instance whose feed cannot be reached or refuses it; without one, what its errors
            say is not tested.
    """

    make: Callable[[], Source[Any]]
    least: int = 1
    largest_page: int = 1000
    since: datetime | None = None
    boundaries: int = 25
    broken: Callable[[], Source[Any]] | None = None


@dataclass
class _Pulled:
    pages: list[Page] = field(default_factory=list)
    records: list[list[Record]] = field(default_factory=list)

    @property
    def versions(self) -> list[Version]:
        return [(record.id, record.version) for page in self.records for record in page]

    def lost_pieces(self) -> set[str]:
        return {piece.raw for page in self.pages for piece in page.set_aside}

    def upto(self, boundary: int) -> _Pulled:
        return _Pulled(self.pages[:boundary], self.records[:boundary])


async def _pull(make: Callable[[], Source[Any]], cursor: Cursor | None, stop_after: int | None = None) -> _Pulled:
    pulled = _Pulled()
    async with make() as source, AsyncExitStack() as stack:
        pages = source.pull(cursor)
        if hasattr(pages, "aclose"):
            stack.push_async_callback(pages.aclose)
        async for page in pages:
            # Read at once: a source may reuse its buffers, and the engine does not keep pages either.
            pulled.records.append([Record.of(each) for each in page.records])
            pulled.pages.append(page)
            if len(pulled.pages) == stop_after:
                break
    return pulled


def _stored(cursor: Cursor) -> Cursor:
    """Return the cursor as the store gives it back: its state written as JSON and read again."""
    return Cursor(orjson.loads(orjson.dumps(cursor.state)), cursor.read_until)


def _spread(count: int, most: int) -> Sequence[int]:
    """Return the boundaries behind pages 1 to `count`, at most so many, the last always among them."""
    if count <= most:
        return range(1, count + 1)
    return sorted({round(1 + at * (count - 1) / (most - 1)) for at in range(most)}) if most > 1 else [count]


class SourceContract:
    """The laws of delivery, as far as a source keeps them. Inherit it and give the fixture `source`."""

    @pytest.fixture
    def source(self) -> SourceUnderTest:
        """Return the source under test; a subclass overrides this."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `source` that returns SourceUnderTest(…)"
        )

    def test_it_names_its_type_and_its_settings(self, source: SourceUnderTest) -> None:
        """A config names a source by its type, and every key of its table is checked."""
        made = source.make()
        assert isinstance(made.type, str), "the class has no `type`"
        assert made.type, "the `type` is empty"
        assert issubclass(made.Settings, SourceSettings), "`Settings` does not derive from SourceSettings"
        assert isinstance(made.settings, made.Settings), "the instance's settings are not of the class's model"
        assert made.Settings.model_config.get("extra") == "forbid", "`Settings` lets a misspelled key pass"

    def test_the_first_run_yields_valid_stix(self, source: SourceUnderTest) -> None:
        """Everything that a source yields is a STIX 2.1 object (the log knows no other model)."""
        pulled = asyncio.run(_pull(source.make, None))
        assert len(pulled.versions) >= source.least, f"{len(pulled.versions)} objects, {source.least} expected"

    def test_each_cursor_can_be_stored(self, source: SourceUnderTest) -> None:
        """Law 1: a page and the cursor after it are one commit, so each cursor must be fit for the store."""
        pulled = asyncio.run(_pull(source.make, None))
        assert pulled.pages, "the source yielded no page, and so no cursor: the next run begins anew"
        for number, page in enumerate(pulled.pages, 1):
            state = page.cursor.state
            assert state, f"the cursor of page {number} is empty; the engine refuses it"
            again = orjson.loads(orjson.dumps(state))
            assert again == dict(state), f"the cursor of page {number} comes back from JSON as something else"

    def test_no_cursor_lies_in_the_future(self, source: SourceUnderTest) -> None:
        """Law 1: what is published until a cursor's moment would be skipped, were that not yet past."""
        now = source.make().context.now
        pulled = asyncio.run(_pull(source.make, None))
        for number, page in enumerate(pulled.pages, 1):
            until = page.cursor.read_until
            assert until is None or until.tzinfo is not None, f"`read_until` of page {number} has no time zone"
            assert until is None or until <= now(), f"the cursor of page {number} lies in the future: {until}"

    def test_a_second_pull_brings_nothing_new(self, source: SourceUnderTest) -> None:
        """Law 1: what is in the log is not asked for again, or comes as the same version of the same id."""
        first = asyncio.run(_pull(source.make, None))
        second = asyncio.run(_pull(source.make, _stored(first.pages[-1].cursor)))
        new = set(second.versions) - set(first.versions)
        assert not new, f"{len(new)} new versions of an unchanged feed, as {min(new)}"

    def test_a_pull_resumes_after_any_page(self, source: SourceUnderTest) -> None:
        """Law 1: a crash after any commit loses nothing; what was before and what comes then is the whole."""
        whole = asyncio.run(_pull(source.make, None))
        for boundary in _spread(len(whole.pages), source.boundaries):
            before = whole.upto(boundary)
            after = asyncio.run(_pull(source.make, _stored(before.pages[-1].cursor)))
            lost = set(whole.versions) - set(before.versions) - set(after.versions)
            assert not lost, f"resumed after page {boundary}: {len(lost)} objects are lost, as {min(lost)}"
            foreign = set(after.versions) - set(whole.versions)
            assert not foreign, f"resumed after page {boundary}: other versions than before, as {min(foreign)}"
            pieces = whole.lost_pieces() - before.lost_pieces() - after.lost_pieces()
            assert not pieces, f"resumed after page {boundary}: pieces set aside are lost, as {min(pieces)!r:.200}"

    def test_the_same_feed_gives_the_same_objects(self, source: SourceUnderTest) -> None:
        """Law 3: the same indicator has the same id, version and content on every machine, in every run."""
        first = asyncio.run(_pull(source.make, None))
        second = asyncio.run(_pull(source.make, None))
        assert first.versions == second.versions, "two pulls of one feed differ in ids, versions or order"
        payloads = [
            {record.id: record.payload for page in each.records for record in page} for each in (first, second)
        ]
        differing = [id for id, payload in payloads[0].items() if payloads[1][id] != payload]
        assert not differing, f"the same version of {differing[0]} has two contents"

    def test_a_pull_can_be_stopped(self, source: SourceUnderTest) -> None:
        """The engine stops a pull after any page (a signal, a lost lease): nothing is left running or locked."""

        async def stop_then_pull() -> tuple[_Pulled, set[asyncio.Task[Any]], _Pulled]:
            stopped = await _pull(source.make, None, stop_after=1)
            left = asyncio.all_tasks() - {task for task in (asyncio.current_task(),) if task}
            return stopped, left, await _pull(source.make, None)

        stopped, left, whole = asyncio.run(stop_then_pull())
        assert not left, f"tasks run on after the source was closed: {left}"
        assert whole.versions[: len(stopped.versions)] == stopped.versions

    def test_pages_are_bounded(self, source: SourceUnderTest) -> None:
        """Law 4: memory is bounded by a page, never by the size of the feed."""
        pulled = asyncio.run(_pull(source.make, None))
        for number, page in enumerate(pulled.pages, 1):
            size = len(page.records)
            assert size <= source.largest_page, (
                f"page {number} holds {size} objects, {source.largest_page} at most"
            )
            assert page.rows >= 0, f"page {number} stands for {page.rows} rows"
            progress = page.progress
            if progress is not None and progress.total is not None:
                assert 0 <= progress.done <= progress.total, f"page {number} says {progress}"

    def test_since_gives_a_cursor_to_pull_from(self, source: SourceUnderTest) -> None:
        """`tiforge backfill` reads the feed from a moment on, with a cursor that the store keeps like any."""
        made = source.make()
        now = made.context.now()
        cursor = made.since(source.since or now - timedelta(days=1))
        assert cursor.state, "`since` gives an empty cursor; the engine refuses it"
        assert cursor.read_until is None or cursor.read_until <= now, "`since` gives a cursor in the future"
        pulled = asyncio.run(_pull(source.make, _stored(cursor)))
        whole = asyncio.run(_pull(source.make, None))
        missing = set(whole.versions) - set(pulled.versions) if source.since else set()
        assert not missing, (
            f"a backfill from before the feed's start lacks {len(missing)} objects, as {min(missing)}"
        )

    def test_no_secret_shows(self, source: SourceUnderTest) -> None:
        """Law 5: a secret appears in no cursor, record, piece set aside, log line or `repr`."""
        made = source.make()
        with logged() as lines:
            pulled = asyncio.run(_pull(source.make, None))
            told = asyncio.run(_checked(source.make))
        places = {
            "the source's repr": repr(made),
            "the settings' repr": f"{made.settings!r} {made.settings}",
            "the settings as JSON": made.settings.model_dump_json(),
            "what `check` says": told,
            "the log": "\n".join(lines),
        }
        for number, (page, records) in enumerate(zip(pulled.pages, pulled.records, strict=True), 1):
            places[f"the cursor of page {number}"] = shown_as_json(dict(page.cursor.state)) + repr(page.cursor)
            places[f"what page {number} set aside"] = repr(page.set_aside)
            places[f"the objects of page {number}"] = b"\n".join(each.payload for each in records).decode()
        assert_hidden(secrets_of(made.settings), places)

    def test_check_says_one_line(self, source: SourceUnderTest) -> None:
        """`tiforge check` tells the operator in one line what was reached."""
        told = asyncio.run(_checked(source.make))
        assert told.strip(), "`check` says nothing"
        assert "\n" not in told, "`check` says more than one line"

    def test_its_errors_tell_the_engine_what_to_do(self, source: SourceUnderTest) -> None:
        """A feed that fails raises an error of tiforge's, told without a secret; the engine alone retries."""
        if source.broken is None:
            pytest.skip("SourceUnderTest has no `broken`")
        with logged() as lines, pytest.raises(TiforgeError) as caught:
            asyncio.run(_pull(source.broken, None))
        places = {"the error": full_text(caught.value), "the log": "\n".join(lines)}
        assert_hidden(secrets_of(source.broken().settings), places)


async def _checked(make: Callable[[], Source[Any]]) -> str:
    async with make() as source:
        return await source.check()
