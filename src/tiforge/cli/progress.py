"""Show what the engine does: bars on a terminal, a line a page or batch otherwise. Both on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tiforge.cli.show import err, safe
from tiforge.events import BatchDelivered, Event, Finished, PageAppended, PullStarted, Retrying

Observer = Callable[[Event], None]


@contextmanager
def watching(*, machine: bool = False) -> Iterator[list[Observer]]:
    """Show progress for as long as the block lasts.

    Args:
        machine: Nothing is shown: a program is reading.

    Yields:
        The observers to give to the engine.
    """
    if machine:
        yield []
    elif sys.stderr.isatty():
        with _Bars() as bars:
            yield [bars]
    else:
        yield [_Lines()]


class _Bars:
    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=err(),
        )
        self._tasks: dict[tuple[str, str], Any] = {}
        self._counts: dict[str, list[int]] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, PullStarted):
            self._task("source", event.source)
        elif isinstance(event, PageAppended):
            counts = self._counts.setdefault(event.source, [0, 0, 0])
            for at, more in enumerate((event.rows, event.added, event.set_aside)):
                counts[at] += more
            detail = f"{counts[0]:,} rows, {counts[1]:,} objects new"
            detail += f", {counts[2]:,} set aside" if counts[2] else ""
            done, total = (event.progress.done, event.progress.total) if event.progress else (counts[0], None)
            self._update("source", event.source, completed=done, total=total, detail=detail)
        elif isinstance(event, BatchDelivered):
            detail = f"{event.offset:,} of {event.head:,}"
            self._update("sink", event.sink, completed=event.offset, total=event.head, detail=detail)
        elif isinstance(event, Retrying):
            self._progress.console.print(safe(_retrying(event)), markup=False)
        else:
            self._finish(event)

    def _task(self, side: str, name: str) -> Any:
        arrow = "⇣" if side == "source" else "⇡"
        key = (side, name)
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(f"{arrow} {safe(name)}", total=None, detail="")
        return self._tasks[key]

    def _update(self, side: str, name: str, **fields: Any) -> None:
        self._progress.update(self._task(side, name), **fields)

    def _finish(self, event: Finished) -> None:
        task = self._task(event.side, event.name)
        if event.outcome == "ok":
            done = max(self._progress.tasks[task].completed, 1)
            self._progress.update(task, completed=done, total=done)
        else:
            self._progress.update(task, detail=safe(event.outcome))
        self._progress.stop_task(task)


class _Lines:
    """One line each second at most for each source and sink, and every failure."""

    def __init__(self) -> None:
        self._console = err()
        self._last: dict[tuple[str, str], float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, PageAppended):
            text = f"{event.source}: {event.rows:,} rows, {event.added:,} objects new, log at {event.head:,}"
            self._sometimes("source", event.source, text)
        elif isinstance(event, BatchDelivered):
            text = f"{event.sink}: {event.accepted:,} objects delivered, {event.offset:,} of {event.head:,}"
            self._sometimes("sink", event.sink, text)
        elif isinstance(event, Retrying):
            self._console.print(safe(_retrying(event)), markup=False)
        elif isinstance(event, Finished) and event.message:
            self._console.print(safe(f"{event.name}: {event.outcome}: {event.message}"), markup=False)

    def _sometimes(self, side: str, name: str, text: str) -> None:
        now = time.monotonic()
        if now - self._last.get((side, name), 0.0) >= 1:
            self._last[(side, name)] = now
            self._console.print(safe(text), markup=False)


def _retrying(event: Retrying) -> str:
    return f"{event.name}: attempt {event.attempt} failed, next in {event.wait:.1f} s: {event.reason}"
