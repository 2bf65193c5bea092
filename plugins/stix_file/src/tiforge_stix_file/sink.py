"""The sink `stix_file`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, ParamSpec, Self, TypeVar

from tiforge import ACCEPTED, Batch, ConfigurationError, Context, Limits, Receipt, Record, Sink
from tiforge_stix_file.durable import FolderLock, explained, make_folder
from tiforge_stix_file.encoding import suffix
from tiforge_stix_file.runs import RunFiles, RunLayout
from tiforge_stix_file.settings import NAME_PATTERN, StixFileSinkSettings
from tiforge_stix_file.snapshot import SnapshotFile
from tiforge_stix_file.threads import in_thread

# Inside the class `type` is the plugin's type name.
SettingsClass = type[StixFileSinkSettings]
ErrorClass = type[BaseException]

P = ParamSpec("P")
T = TypeVar("T")

_OBJECTS: Final = 5000
_BYTES: Final = 8 * 1024 * 1024
_PIECE: Final = 1024 * 1024


class StixFileSink(Sink[StixFileSinkSettings]):
    """Writes STIX bundles or JSON Lines into a folder.

    Args:
        settings: The validated settings.
        context: The instance's name and clock.

    Raises:
        ConfigurationError: The sink's name cannot begin a file name, and no `name` is set.
    """

    type: ClassVar[str] = "stix_file"
    Settings: ClassVar[SettingsClass] = StixFileSinkSettings

    def __init__(self, settings: StixFileSinkSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._name = settings.name or context.name
        if not re.fullmatch(NAME_PATTERN, self._name):
            raise ConfigurationError(
                f"The sink's name {self._name!r:.120} cannot begin a file name.",
                hint="Set `name` to letters, digits, dots, dashes and underscores.",
            )
        self._folder = settings.path
        self._lock = FolderLock(self._folder / f".{self._name}.lock")
        self._runs: RunFiles | None = None

    async def __aenter__(self) -> Self:
        await self._do(self._open)
        return self

    async def __aexit__(
        self, kind: ErrorClass | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._do(self._close)

    @property
    def limits(self) -> Limits:
        """Large batches, one at a time, and none larger than a file may be."""
        return Limits(objects=_OBJECTS, bytes=min(_BYTES, self.settings.max_size), in_flight=1)

    @property
    def publishes(self) -> bool:
        """Whether the mode is `snapshot`."""
        return self.settings.mode == "snapshot"

    async def deliver(self, batch: Batch) -> Receipt:
        """Append a batch to the current file; it is on the disk when this returns."""
        if self._runs is None:
            return await super().deliver(batch)
        if batch.records:
            payloads = [record.payload for record in batch.records]
            await self._do(self._runs.write, payloads, batch.seqs, batch.round)
        return ACCEPTED

    async def publish(self, records: AsyncIterator[Record]) -> None:
        """Write a new snapshot and put it in the place of the old one."""
        if not self.publishes:
            await super().publish(records)
        settings, pending, size = self.settings, list[bytes](), 0
        snapshot = await self._do(SnapshotFile, self._folder, self._name, settings.format, settings.compression)
        try:
            async for record in records:
                pending.append(record.payload)
                size += len(record.payload)
                if size >= _PIECE:
                    await self._do(snapshot.add, pending)
                    pending, size = [], 0
            if pending:
                await self._do(snapshot.add, pending)
            await self._do(snapshot.commit)
        finally:
            await self._do(snapshot.discard)

    async def check(self) -> str:
        """Try to write into the folder.

        Returns:
            Where the files go and how they are named.
        """
        await self._do(self._probe)
        settings = self.settings
        ending = suffix(settings.format, settings.compression)
        stem = self._name if self.publishes else f"{self._name}-<time>-<place in the log>"
        return f"{settings.mode} files go to {self._folder.absolute()} as {stem}{ending}"

    def _open(self) -> None:
        make_folder(self._folder)
        self._lock.acquire()
        try:
            self._runs = self._take_up()
        except BaseException:
            self._lock.release()
            raise

    def _take_up(self) -> RunFiles | None:
        settings = self.settings
        layout = RunLayout(
            self._folder, self._name, settings.format, settings.compression, settings.max_size, settings.keep
        )
        runs = RunFiles(layout, self.context.now)
        if not self.publishes:
            runs.open()
            return runs
        if runs.left_something:  # by a crash, before the mode was changed
            runs.open()
            runs.close()
        return None

    def _close(self) -> None:
        runs, self._runs = self._runs, None
        try:
            if runs is not None:
                runs.close()
        finally:
            self._lock.release()

    async def _do(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        with explained(self._folder):
            return await in_thread(call, *args, **kwargs)

    def _probe(self) -> None:
        with tempfile.TemporaryFile(dir=_nearest(self._folder), prefix=".tiforge-"):
            pass


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there already."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
