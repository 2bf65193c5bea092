"""Mode `run`: new files for what is new, exact through crashes.

The order of writes is what makes it so. A batch is written to the part file and synchronised; then a line
of the journal says so and is synchronised; then the batch is accepted. What lies in the part beyond the
length that the journal states was never accepted, and is cut off before anything else is written.
"""

from __future__ import annotations

import os
import re
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tiforge import ConfigurationError
from tiforge_stix_file.durable import cut, open_for_writing, sync_folder, write_all
from tiforge_stix_file.encoding import FRAMINGS, compress, suffix
from tiforge_stix_file.settings import Compression, Format
from tiforge_stix_file.state import Journal, Part, State

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class RunLayout:
    """What files a run writes.

    Attributes:
        folder: Where they go.
        name: What their names begin with.
        format: How objects are framed.
        compression: How files are compressed.
        max_size: Bytes of objects in one file, at most.
        keep: How many finished files are kept; `None` for all.
    """

    folder: Path
    name: str
    format: Format
    compression: Compression
    max_size: int
    keep: int | None = None


class RunFiles:
    """The files of one sink in mode `run`. One caller at a time is let in; the others wait.

    Args:
        layout: What files are written.
        now: The clock that file names are taken from.
    """

    def __init__(self, layout: RunLayout, now: Callable[[], datetime]) -> None:
        self._layout = layout
        self._now = now
        self._journal = Journal(layout.folder / f".{layout.name}.state")
        self._state = State()
        self._handle: int | None = None
        self._in_doubt = False
        self._guard = threading.Lock()
        name = re.escape(layout.name)
        self._finished = re.compile(rf"{name}-(\d{{8}}T\d{{6}}Z)-\d{{12,}}\.jsonl?(?:\.gz|\.zst)?")

    @property
    def left_something(self) -> bool:
        """Whether an earlier run left a part file."""
        return any(self._is_part(path.name) for path in self._layout.folder.iterdir())

    def open(self) -> None:
        """Take up what the last run left: finish its part file, drop what was never accepted."""
        with self._guard:
            try:
                self._take_up_all()
            except BaseException:
                self._let_go()
                self._journal.close()
                raise

    def write(self, payloads: Sequence[bytes], seqs: Sequence[int], round: str) -> None:
        """Append a batch, durably. What has been written in the same round is passed over.

        Args:
            payloads: The objects.
            seqs: Their places in the log, ascending.
            round: The batch's round.
        """
        with self._guard:
            self._take_back()
            start = bisect_right(seqs, self._state.passed_over(round))
            if start < len(payloads):
                self._append(payloads[start:], seqs[start:], round)

    def close(self) -> None:
        """Finish the part file."""
        with self._guard:
            try:
                self._take_back()
                if self._state.part is not None:
                    self._finish(self._state.part)
                self._journal.write(self._state)
                self._drop_old()
            finally:
                self._let_go()
                self._journal.close()

    def _append(self, payloads: Sequence[bytes], seqs: Sequence[int], round: str) -> None:
        size = sum(map(len, payloads))
        part = self._state.part
        if part is not None and part.payload + size > self._layout.max_size:
            self._finish(part)
            part = None
        self._in_doubt = True
        if part is None:
            part = self._begin(seqs[0])
        data = compress(FRAMINGS[part.format].objects(payloads, first=not part.objects), part.compression)
        handle = self._opened(part)
        write_all(handle, data)
        os.fsync(handle)
        part = replace(
            part,
            size=part.size + len(data),
            payload=part.payload + size,
            objects=part.objects + len(payloads),
            last=seqs[-1],
        )
        state = self._state.accept(round, seqs[-1], part)
        self._journal.append(state)
        self._state = state
        self._in_doubt = False

    def _begin(self, first: int) -> Part:
        layout = self._layout
        name = self._new_name(first)
        self._handle = open_for_writing(layout.folder / _part_name(name), fresh=True)
        return Part(name, layout.format, layout.compression, 0, 0, 0, first, first)

    def _new_name(self, first: int) -> str:
        """Name a file so that it sorts after all before it, whatever the clock and a replay do."""
        layout = self._layout
        moment = self._now().astimezone(UTC).replace(microsecond=0)
        if newest := self._finished.fullmatch(self._state.newest):
            moment = max(moment, datetime.strptime(newest[1], _STAMP).replace(tzinfo=UTC))
        while True:
            name = f"{layout.name}-{moment:{_STAMP}}-{first:012d}{suffix(layout.format, layout.compression)}"
            taken = (layout.folder / name).exists() or (layout.folder / _part_name(name)).exists()
            if name > self._state.newest and not taken:
                return name
            moment += _SECOND

    def _finish(self, part: Part) -> None:
        """Give a part file its end and its final name."""
        self._in_doubt = True
        end = FRAMINGS[part.format].end(
            self._layout.name, str(part.first), str(part.last), str(part.objects), empty=not part.objects
        )
        handle = self._opened(part)
        write_all(handle, compress(end, part.compression))
        os.fsync(handle)
        self._let_go()
        folder = self._layout.folder
        (folder / _part_name(part.name)).replace(folder / part.name)
        # The journal still names the part. That it is gone says, after a crash, that it was finished.
        self._state = replace(self._state, part=None)
        self._in_doubt = False
        sync_folder(folder)

    def _take_up_all(self) -> None:
        parts = [entry for entry in self._layout.folder.iterdir() if self._is_part(entry.name)]
        state = self._journal.read()
        if state is None and parts:
            raise ConfigurationError(
                f"{self._journal.path} is missing, so what {parts[0].name} holds cannot be told.",
                hint="Move the `.part` file away, then replay to the sink.",
            )
        self._state = state or State()
        owned = self._state.part
        for path in parts:
            if owned is None or path.name != _part_name(owned.name):
                path.unlink()
        if owned is not None:
            self._take_up(owned)
        self._journal.write(self._state)

    def _take_up(self, part: Part) -> None:
        path = self._layout.folder / _part_name(part.name)
        if not path.exists():  # the crash came after it was given its final name
            self._state = replace(self._state, part=None)
            return
        size = path.stat().st_size
        if size < part.size:
            raise ConfigurationError(
                f"{path} holds {size} bytes, but {part.size} were written: the disk has lost some.",
                hint=f"Move it away, then replay to the sink from place {part.first} of the log.",
            )
        cut(self._opened(part), part.size)
        self._finish(part)

    def _take_back(self) -> None:
        """Undo a write that failed. The journal goes first: it must never state more than the part holds."""
        if not self._in_doubt:
            return
        self._journal.take_back()
        part = self._state.part
        if part is not None:
            cut(self._opened(part), part.size)
        else:
            self._let_go()
            for path in self._layout.folder.iterdir():
                if self._is_part(path.name):
                    path.unlink()
        self._in_doubt = False

    def _opened(self, part: Part) -> int:
        if self._handle is None:
            self._handle = open_for_writing(self._layout.folder / _part_name(part.name))
            os.lseek(self._handle, 0, os.SEEK_END)
        return self._handle

    def _let_go(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _drop_old(self) -> None:
        if self._layout.keep is None:
            return
        names = sorted(path.name for path in self._layout.folder.iterdir() if self._finished.fullmatch(path.name))
        for name in names[: -self._layout.keep]:
            (self._layout.folder / name).unlink(missing_ok=True)

    def _is_part(self, name: str) -> bool:
        return name.startswith(".") and name.endswith(".part") and bool(self._finished.fullmatch(name[1:-5]))


def _part_name(name: str) -> str:
    return f".{name}.part"
