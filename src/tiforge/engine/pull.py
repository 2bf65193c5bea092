"""Pull: a source's pages into the log, each with the cursor that follows it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from tiforge.config.model import RetrySettings
from tiforge.engine.emit import Emitter
from tiforge.engine.fault import limited
from tiforge.engine.flow import Flow
from tiforge.engine.retry import Backoff, retrying
from tiforge.errors import CursorRefused, InvalidObject
from tiforge.events import PageAppended, PullStarted, Retrying
from tiforge.record import Record
from tiforge.source import Cursor, Page, SetAside, Source
from tiforge.stix.time import from_micros
from tiforge.store import CLOCKS_DIFFER, Lease, Store, commit_page, positions


@dataclass
class Pulled:
    """What a pull did.

    Attributes:
        pages: Pages that are in the log.
        rows: Rows of the feed that they stand for.
        added: Objects that are new in the log.
        unchanged: Objects that the log already held, or that change nothing.
        set_aside: Pieces that could not be read, and were not known as such before.
        stopped: Whether it was told to stop before the end of the feed.
    """

    pages: int = 0
    rows: int = 0
    added: int = 0
    unchanged: int = 0
    set_aside: int = 0
    stopped: bool = False


async def pull(
    store: Store,
    lease: Lease,
    name: str,
    source: Source[Any],
    *,
    flow: Flow,
    emit: Emitter,
    settings: RetrySettings,
    lane: str = "",
    start: Cursor | None = None,
) -> Pulled:
    """Pull a source to the end of its feed.

    After a `Transient` the source is asked again, from the last cursor in the store. A cursor that moves on
    is progress: the limits on attempts and time start again after it. A page alone is none, since the first
    part of a remote page whose end is broken comes again with every attempt.

    Args:
        store: The store.
        lease: The lease on the source.
        name: The source's name.
        source: The source, open.
        flow: Where to tell that the log has grown.
        emit: Where to tell what happens.
        settings: The limits on retries.
        lane: `""` for the schedule, else the name of a backfill.
        start: Where to begin when the lane has no cursor yet.

    Returns:
        What was done.

    Raises:
        TiforgeError: What the source raised, when it is not worth another try now.
    """
    done = Pulled()

    def told(attempt: int, wait: float, reason: str) -> None:
        emit(Retrying("source", name, attempt, wait, reason))

    backoff = Backoff(settings, told)
    reached: Cursor | None = None
    emit(PullStarted(name))
    async for attempt in retrying(backoff):
        with attempt:
            cursor = await store.call(_cursor, store, name, lane)
            _refuse_future(name, cursor, store)
            async with aclosing(_pages(source, cursor or start, settings)) as pages:
                async for page in pages:
                    records, set_aside = _checked(page)
                    appended = await store.call(
                        commit_page,
                        store,
                        lease,
                        name,
                        records,
                        page.cursor,
                        lane=lane,
                        set_aside=set_aside,
                        ageing=source.ageing,
                    )
                    if page.cursor != reached:
                        backoff.progressed()
                        reached = page.cursor
                    done.pages += 1
                    done.rows += page.rows
                    done.added += appended.added
                    done.unchanged += appended.unchanged
                    done.set_aside += appended.set_aside
                    flow.changed()
                    emit(
                        PageAppended(
                            name,
                            page.rows,
                            appended.added,
                            appended.unchanged,
                            appended.set_aside,
                            appended.head,
                            page.progress,
                        )
                    )
                    # The next page is made while these names still hold this one: one page is enough.
                    del page, records
                    if flow.stopping.is_set():
                        done.stopped = True
                        return done
    return done


def _refuse_future(name: str, cursor: Cursor | None, store: Store) -> None:
    """Refuse to go on from a cursor that was stored while a clock was ahead: it would skip what comes until then.

    Raises:
        CursorRefused: It lies in the future.
    """
    now = from_micros(store.now())
    if cursor is not None and cursor.read_until is not None and cursor.read_until > now + CLOCKS_DIFFER:
        raise CursorRefused(
            f"The stored cursor of {name} lies in the future ({cursor.read_until.isoformat()}).",
            hint=f"Check this machine's clock; if it is right: tiforge backfill {name} --since 1d --reset",
        )


def _cursor(store: Store, name: str, lane: str) -> Cursor | None:
    with store.reading() as connection:
        return positions.cursor(connection, name, lane)


async def _pages(
    source: Source[Any], cursor: Cursor | None, settings: RetrySettings
) -> AsyncGenerator[Page, None]:
    """Yield a source's pages, each within the time that a call may take."""
    pages = source.pull(cursor)
    try:
        while True:
            try:
                page = await limited(anext(pages), settings.call_timeout, f"the source type {source.type}")
            except StopAsyncIteration:
                return
            yield page
    finally:
        close = getattr(pages, "aclose", None)
        if close is not None:
            await close()


def _checked(page: Page) -> tuple[list[Record], list[SetAside]]:
    """Return a page's records, those that are no records yet checked and made into some."""
    records: list[Record] = []
    set_aside = list(page.set_aside)
    for item in page.records:
        try:
            records.append(Record.of(item))
        except InvalidObject as error:
            set_aside.append(SetAside(_raw(item), str(error), "the page"))
        except Exception as error:  # noqa: BLE001 - a foreign object may do anything; the others must go on
            told = f"{type(error).__name__}: {error}"
            set_aside.append(SetAside(_raw(item), f"The object cannot be read: {told}", "the page"))
    return records, set_aside


def _raw(item: Any) -> str:
    if isinstance(item, bytes):
        return item.decode("utf-8", "replace")
    try:
        return str(item)
    except Exception as error:  # noqa: BLE001 - what cannot be read may not be printable either
        return f"{type(item).__name__} ({type(error).__name__} when printed)"
