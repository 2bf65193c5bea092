"""Where the time goes: one run of the pipeline in one process, each stage's CPU time taken apart.

The parts are tiforge's own, put together as the engine does: pages of the source are committed, and after
each the sink takes what is new. Clocks stand around whole pages and chunks of rows, so that they cost
nothing. What the engine adds (threads, events, progress) is not in here.

    python benchmarks/stages.py CONFIG
"""

from __future__ import annotations

import time

BEGAN = time.process_time()  # with the interpreter's own start

import asyncio  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import AsyncIterator, Callable, Iterator  # noqa: E402
from contextlib import asynccontextmanager, contextmanager  # noqa: E402
from itertools import islice  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import IO, Any  # noqa: E402

START = "start, imports, opening the store"
HTTP = "HTTP: the requests, the answers"
UNZIP = "unzip"
PARSE = "CSV: lines to rows"
BUILD = "objects: rows to records"
PLACE = "append: look up, decide what is new"
INSERT = "append: insert"
COMMIT = "append: cursor, commit"
READ = "read for delivery"
WRITE = "write the file"
MOVE = "commit the sink's offset"
STAGES = (START, HTTP, UNZIP, PARSE, BUILD, PLACE, INSERT, COMMIT, READ, WRITE, MOVE)
CHUNK = 1000


class Clock:
    """CPU time by stage. A stage within another is taken from it."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._within: list[str] = []
        self._since = 0.0

    def _turn(self) -> None:
        now = time.process_time()
        if self._within:
            self.spent[self._within[-1]] += now - self._since
        self._since = now

    def enter(self, stage: str) -> None:
        self._turn()
        self._within.append(stage)

    def leave(self) -> None:
        self._turn()
        self._within.pop()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.enter(stage)
        try:
            yield
        finally:
            self.leave()


clock = Clock()


def instrument() -> None:
    """Put clocks around the functions that the stages begin and end with."""
    from sqlalchemy import Engine, event

    from tiforge.store import log
    from tiforge_mimecast import content, feed

    fetch, members, read_rows, append = feed.Feed.fetch, content.members, content.read_rows, log.append

    @asynccontextmanager
    async def fetch_timed(self: Any, *args: Any) -> AsyncIterator[Any]:
        answering = fetch(self, *args)
        with clock(HTTP):
            answer = await answering.__aenter__()
        try:
            yield answer
        finally:
            with clock(HTTP):
                await answering.__aexit__(None, None, None)

    def members_timed(archive: IO[bytes], **options: Any) -> Iterator[tuple[str, IO[bytes]]]:
        for name, stream in members(archive, **options):
            with clock(UNZIP):
                whole = io.BytesIO(stream.read())
            yield name, whole

    def rows_timed(*args: Any, **options: Any) -> Iterator[Any]:
        rows = read_rows(*args, **options)
        while True:
            with clock(PARSE):
                some = list(islice(rows, CHUNK))
            if not some:
                return
            yield from some

    def append_timed(*args: Any, **options: Any) -> Any:
        with clock(PLACE):
            return append(*args, **options)

    feed.Feed.fetch, content.members, content.read_rows = fetch_timed, members_timed, rows_timed
    log.append = append_timed

    def is_insert(statement: str) -> bool:
        return statement.lower().startswith("insert into log ")

    @event.listens_for(Engine, "before_cursor_execute")
    def before(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if is_insert(statement):
            clock.enter(INSERT)

    @event.listens_for(Engine, "after_cursor_execute")
    def after(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if is_insert(statement):
            clock.leave()


async def run(file: Path) -> dict[str, Any]:
    from tiforge.cli.session import session
    from tiforge.engine.emit import Emitter
    from tiforge.engine.work import Engine
    from tiforge.record import Record
    from tiforge.sink import Batch
    from tiforge.store import commit_delivery, commit_page, leases, log

    rows = objects = handed = delivered = 0
    with session(file, quiet=True) as opened:
        store = opened.store
        engine = Engine(opened.config, opened.plugins, store, Emitter([]))
        source, sink = engine.source("mimecast"), engine.sink("bundle")
        only, limits = engine.only("bundle", sink), sink.limits
        of_source = leases.acquire(store, "source/mimecast")
        of_sink = leases.acquire(store, "sink/bundle")
        assert of_source
        assert of_sink
        instrument()
        clock.leave()
        async with source, sink:
            pages = source.pull(None)
            while True:
                with clock(BUILD):
                    page = await anext(pages, None)
                    if page is None:
                        break
                    records = [Record.of(each) for each in page.records]
                with clock(COMMIT):
                    appended = commit_page(
                        store, of_source, "mimecast", records, page.cursor,
                        set_aside=page.set_aside, ageing=source.ageing,
                    )  # fmt: skip
                rows += page.rows
                objects += appended.added
                del page, records
                while delivered < appended.head:
                    with clock(READ), store.reading() as connection:
                        entries = log.read(
                            connection, after=delivered, upto=appended.head, only=only,
                            objects=limits.objects, bytes=limits.bytes,
                        )  # fmt: skip
                    with clock(WRITE):
                        await sink.deliver(
                            Batch([each.record for each in entries], [each.seq for each in entries])
                        )
                    handed += len(entries)
                    delivered = entries[-1].seq
                    with clock(MOVE):
                        commit_delivery(store, of_sink, "bundle", delivered)
            clock.enter(WRITE)
        clock.leave()
    if handed != objects:
        raise SystemExit(f"{objects} objects were appended, {handed} delivered")
    return {"rows": rows, "objects": objects, "stages": clock.spent}


def main(file: Path, tell: Callable[[str], Any] = print) -> None:
    clock.enter(START)
    import tiforge.cli  # noqa: F401 - what the command imports before it does anything

    told = asyncio.run(run(file))
    told["stages"][START] += BEGAN
    tell(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
