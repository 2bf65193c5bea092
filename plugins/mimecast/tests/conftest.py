"""A bench: the emulator on a real socket, and sources that read it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tiforge import Context, Cursor, Page, Record, SetAside, TiforgeError, Transient
from tiforge.testing.serving import serving
from tiforge_mimecast.emulator import Emulator, credentials, make_rows
from tiforge_mimecast.settings import MimecastSettings
from tiforge_mimecast.source import MimecastSource

NOW = datetime(2026, 2, 1, 12, 0, 0, tzinfo=UTC)


class Bench:
    now: datetime = NOW
    emulator: Emulator
    url: str

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def clock(self) -> datetime:
        return self.now

    def start(self, rows: Any = 500, **options: Any) -> Emulator:
        if isinstance(rows, int):
            rows = make_rows(rows, end=self.now - timedelta(minutes=1))
        self.emulator = Emulator(rows, **{"page_size": 100, "now": self.clock, **options})
        self.url = self._stack.enter_context(serving(self.emulator.app))
        return self.emulator

    def settings(self, **changes: Any) -> MimecastSettings:
        table: dict[str, Any] = {"type": "mimecast", "base_url": self.url, "page_rows": 30}
        if changes.get("api") == "1.0":
            table |= {
                "app_id": credentials.APP_ID,
                "app_key": credentials.APP_KEY,
                "access_key": credentials.ACCESS_KEY,
                "secret_key": credentials.SECRET_KEY,
            }
        else:
            table |= {"client_id": credentials.CLIENT_ID, "client_secret": credentials.CLIENT_SECRET}
        return MimecastSettings.model_validate(table | changes)

    def source(self, *, now: Callable[[], datetime] | None = None, **changes: Any) -> MimecastSource:
        return MimecastSource(self.settings(**changes), Context("mimecast", now=now or self.clock))

    def pull(self, cursor: Cursor | None = None, *, stop_after: int | None = None, **changes: Any) -> list[Page]:
        return asyncio.run(self._pull(self.source(**changes), cursor, stop_after))

    async def _pull(self, source: MimecastSource, cursor: Cursor | None, stop_after: int | None) -> list[Page]:
        found: list[Page] = []
        async with source:
            pages = source.pull(cursor)
            async for page in pages:
                found.append(page)
                if len(found) == stop_after:
                    break
            await pages.aclose()  # type: ignore[attr-defined]
        return found

    def persist(self, **changes: Any) -> tuple[list[Page], list[TiforgeError]]:
        """Pull as the engine does: after a `Transient`, again from the last cursor, at most 10 times."""

        async def go() -> tuple[list[Page], list[TiforgeError]]:
            found: list[Page] = []
            errors: list[TiforgeError] = []
            async with self.source(**changes) as source:
                while len(errors) < 10:
                    try:
                        async for page in source.pull(found[-1].cursor if found else None):
                            found.append(page)
                    except Transient as error:
                        errors.append(error)
                    else:
                        break
            return found, errors

        return asyncio.run(go())


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


@pytest.fixture
def records() -> Callable[[list[Page]], list[Record]]:
    return lambda pages: [Record.of(each) for page in pages for each in page.records]


@pytest.fixture
def values(records: Callable[[list[Page]], list[Record]]) -> Callable[[list[Page]], set[str]]:
    """The SHA-256 values of all indicators."""

    def of(pages: list[Page]) -> set[str]:
        return {
            found.value
            for record in records(pages)
            if record.type == "indicator"
            for found in record.observables
            if len(found.value) == 64
        }

    return of


@pytest.fixture
def set_aside() -> Callable[[list[Page]], list[SetAside]]:
    return lambda pages: [each for page in pages for each in page.set_aside]
