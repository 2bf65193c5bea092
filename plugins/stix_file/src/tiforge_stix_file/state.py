"""What a sink in mode `run` remembers between batches and between runs.

The state is a journal: each batch appends one line, durably, after the batch itself is durable. The last
line that is whole counts; a line torn by a crash stands for a batch that was never reported as accepted.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from tiforge import ConfigurationError
from tiforge_stix_file.durable import open_for_writing, replace_file, write_all
from tiforge_stix_file.settings import Compression, Format

WINDOW: Final = 2
"""How many of the last batches a crash may bring again: the one under way, and the one whose offset the
engine may still have been committing."""
_COMPACT_AT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """The file that is being written.

    Attributes:
        name: Its final name.
        format: How its objects are framed.
        compression: How it is compressed.
        size: Its length on the disk up to the end of the last accepted batch.
        payload: The bytes of its objects, before compression.
        objects: How many objects it holds.
        first: The place in the log of its first object.
        last: The place in the log of its last object.
    """

    name: str
    format: Format
    compression: Compression
    size: int
    payload: int
    objects: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class State:
    """What has been accepted.

    Attributes:
        last: The place in the log of the last accepted object.
        window: Where each of the last batches began, oldest first.
        settled: Whether the sink was closed in good order since, so that no batch is owed again.
        newest: The name of the newest file, which the next one's must sort after.
        part: The file that is being written; `None` between files.
    """

    last: int = 0
    window: tuple[int, ...] = ()
    settled: bool = True
    newest: str = ""
    part: Part | None = None

    def passed_over(self, first: int) -> int:
        """Return the place up to which a batch that begins at `first` has been written before.

        A batch after a crash begins no earlier than the oldest batch whose offset the engine may not have
        committed; what it holds up to `last` is here already. One that begins before that, or comes after
        the sink was closed in good order, is a replay, which writes again: nothing is passed over.

        Returns:
            A place in the log; 0 where all of the batch is to be written.
        """
        owed = not self.settled and self.window and self.window[0] <= first <= self.last
        return self.last if owed else 0

    def accept(self, first: int, last: int, part: Part) -> State:
        """Return the state after a batch."""
        goes_on = not self.settled and self.window and first >= self.window[0]
        window = (*self.window, first)[-WINDOW:] if goes_on else (first,)
        return replace(self, last=last, window=window, settled=False, newest=part.name, part=part)


class Journal:
    """The file that holds the state.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._size = 0
        self._durable = State()
        self._in_doubt = False

    def read(self) -> State | None:
        """Return the last state that was written whole; `None` where there is no journal.

        Raises:
            ConfigurationError: There is one, and no line of it is a state.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        for line in reversed(text.split(b"\n")[:-1]):
            try:
                return _state(orjson.loads(line))
            except (orjson.JSONDecodeError, TypeError, KeyError):
                continue  # torn by a crash: the line before it holds
        raise ConfigurationError(
            f"{self.path} is damaged: it names no state.",
            hint="Move it and the `.part` files beside it away; the sink then starts afresh.",
        )

    def write(self, state: State) -> None:
        """Make a state durable in place of all before it."""
        self.close()
        line = _line(state)
        self._in_doubt = True
        replace_file(self.path, line)
        self._handle = open_for_writing(self.path)
        self._size = os.lseek(self._handle, 0, os.SEEK_END)
        self._durable = state
        self._in_doubt = False

    def append(self, state: State) -> None:
        """Make a state durable after the one before it."""
        if self._handle is None or self._size > _COMPACT_AT:
            self.write(state)
            return
        line = _line(state)
        self._in_doubt = True
        write_all(self._handle, line)
        os.fsync(self._handle)
        self._size += len(line)
        self._durable = state
        self._in_doubt = False

    def take_back(self) -> None:
        """Undo a write that failed, which may be on the disk all the same."""
        if self._in_doubt:
            self.write(self._durable)

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _line(state: State) -> bytes:
    return orjson.dumps(asdict(state)) + b"\n"


def _state(data: dict[str, Any]) -> State:
    part = Part(**data["part"]) if data["part"] else None
    return State(int(data["last"]), tuple(data["window"]), bool(data["settled"]), str(data["newest"]), part)
