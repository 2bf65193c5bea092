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
        round: The round of the last accepted batch; `None` before the first.
        last: The place in the log of its last object.
        newest: The name of the newest file, which the next one's must sort after.
        part: The file that is being written; `None` between files.
    """

    round: str | None = None
    last: int = 0
    newest: str = ""
    part: Part | None = None

    def passed_over(self, round: str) -> int:
        """Return the place up to which what comes in a round has been written before.

        Within a round places only grow, so what is not behind the last one comes again after a crash. What
        comes in another round is to be written, whatever its place.

        Returns:
            A place in the log; 0 where all is to be written.
        """
        return self.last if round == self.round else 0

    def accept(self, round: str, last: int, part: Part) -> State:
        """Return the state after a batch."""
        return replace(self, round=round, last=last, newest=part.name, part=part)


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
    round = data["round"]
    if round is not None and not isinstance(round, str):
        raise TypeError("the round is no text")
    return State(round, int(data["last"]), str(data["newest"]), part)
