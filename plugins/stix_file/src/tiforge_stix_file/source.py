"""The source `stix_file`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

import orjson

from tiforge import ConfigurationError, Cursor, InvalidObject, Page, Progress, Record, SetAside, Source, Transient
from tiforge.elements import Element, Elements, Fault
from tiforge.stix import micros, upgrade
from tiforge_stix_file.reading import opened, text_of
from tiforge_stix_file.scan import Found, mark_of, scan
from tiforge_stix_file.settings import StixFileSourceSettings
from tiforge_stix_file.threads import in_thread

# Inside the class `type` is the plugin's type name.
SettingsClass = type[StixFileSourceSettings]

_PAGE_BYTES: Final = 8 * 1024 * 1024
_SAMPLE: Final = 2000


class StixFileSource(Source[StixFileSourceSettings]):
    """Reads STIX 2.0 and 2.1 from the files in a folder: bundles, lists, single objects and JSON Lines.

    The cursor holds a mark for each file that has been read, and forgets those that are gone.
    """

    type: ClassVar[str] = "stix_file"
    Settings: ClassVar[SettingsClass] = StixFileSourceSettings

    async def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
        """Yield what is in the files that are new or have changed."""
        pages = _Pull(self.settings, self.context.now(), cursor).pages()
        try:
            while (page := await in_thread(next, pages, None)) is not None:
                yield page
        finally:
            pages.close()

    def since(self, moment: datetime) -> Cursor:
        """Return the cursor that reads the files modified since a moment."""
        return Cursor({"read": [], "since": micros(moment)})

    async def check(self) -> str:
        """Look into the folder.

        Returns:
            How many files there are to read.
        """
        settings = self.settings
        found = await in_thread(_files, settings)
        files = "1 file matches" if len(found) == 1 else f"{len(found)} files match"
        return f"{files} {settings.pattern} in {settings.path.absolute()}"


class _Pull:
    """One pull: the files that were there when it began, one after another.

    Args:
        settings: Which files, and how they are read.
        now: When the pull began.
        cursor: Which files have been read.
    """

    def __init__(self, settings: StixFileSourceSettings, now: datetime, cursor: Cursor | None) -> None:
        self._settings = settings
        self._now = now
        self._state: Mapping[str, Any] = cursor.state if cursor else {}
        self._read: set[str] = set()
        self._records: list[Record] = []
        self._set_aside: list[SetAside] = []
        self._bytes = 0
        self._rows = 0
        self._done = 0
        self._total = 0
        self._unreadable: list[str] = []

    def pages(self) -> Generator[Page, None, None]:
        """Yield the pages.

        Raises:
            ConfigurationError: The folder cannot be read.
            Transient: The disk failed on some files; all others have been read.
        """
        found = _files(self._settings)
        todo = self._unread(found)
        before = set(self._read)
        self._total = len(todo)
        for file in todo:
            yield from self._file(file)
            self._done += 1
        if self._rows or self._set_aside or self._read != before:
            yield self._page()
        if self._unreadable:
            raise Transient(
                f"{len(self._unreadable)} of {self._total} files could not be read; {self._unreadable[0]}",
                hint="Look at the disk or the network share.",
            )

    def _unread(self, found: list[Found]) -> list[Found]:
        """Split what is there into read, forgetting what is gone, and unread."""
        known = set(self._state.get("read", ()))
        since = self._state.get("since")
        for file in found:
            # A backfill takes the older files as read, by their marks, so that one put there later is not.
            old = since is not None and file.modified < since * 1000
            if old or file.mark in known:
                self._read.add(file.mark)
        return [file for file in found if file.mark not in self._read]

    def _file(self, file: Found) -> Iterator[Page]:
        try:
            with opened(file.path) as handle:
                text = text_of(handle, self._settings.max_expanded)
                for element in Elements(text, self._settings.max_object, size_name="max_object"):
                    self._take(element, file)
                    if self._full():
                        yield self._page()
                whole = mark_of(file.name, os.fstat(handle)) == file.mark
        except FileNotFoundError:
            return
        except PermissionError as error:
            self._put_aside(b"", f"It cannot be opened: {error.strerror}.", file.name)
            whole = True
        except OSError as error:
            self._unreadable.append(f"{file.name}: {error.strerror}")
            return
        except Fault as fault:
            if fault.incomplete and self._is_young(file):
                return
            self._put_aside(b"", f"{fault.reason} What comes after is not read.", file.name)
            whole = True
        # One that changed meanwhile is read again at the next pull; what is the same costs nothing.
        if whole:
            self._read.add(file.mark)

    def _take(self, element: Element, file: Found) -> None:
        self._rows += 1
        where = f"{file.name}, object {element.number}"
        if element.error:
            self._put_aside(element.raw, element.error, where)
            return
        try:
            record = _record(element.value)
        except InvalidObject as error:
            self._put_aside(_sample(element.value), str(error), where)
        except RecursionError:
            self._put_aside(b"", "It is nested too deeply.", where)
        else:
            self._records.append(record)
            self._bytes += len(record.payload)

    def _put_aside(self, raw: bytes, reason: str, where: str) -> None:
        self._set_aside.append(SetAside(raw[:_SAMPLE].decode("utf-8", "replace"), reason, where))

    def _full(self) -> bool:
        return (
            len(self._records) + len(self._set_aside) >= self._settings.page_objects or self._bytes >= _PAGE_BYTES
        )

    def _page(self) -> Page:
        """Hand over what has been gathered, with the files that are read to their end."""
        page = Page(
            self._records,
            Cursor({"read": sorted(self._read)}),
            self._set_aside,
            self._rows,
            Progress(self._done, self._total, "files"),
        )
        self._records, self._set_aside, self._bytes, self._rows = [], [], 0, 0
        return page

    def _is_young(self, file: Found) -> bool:
        return abs(micros(self._now) - file.modified // 1000) < self._settings.settle.total_seconds() * 1_000_000


def _files(settings: StixFileSourceSettings) -> list[Found]:
    try:
        return scan(settings.path, settings.pattern, recursive=settings.recursive)
    except (FileNotFoundError, NotADirectoryError, PermissionError, RuntimeError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"The folder {settings.path} cannot be read: {words}.",
            hint="Set `path` to a folder that the user who runs tiforge may read.",
        ) from None
    except OSError as error:
        raise Transient(f"The folder {settings.path} cannot be read: {error.strerror}.") from None


def _record(value: Any) -> Record:
    """Make a record of one element.

    Raises:
        InvalidObject: It is no STIX object.
    """
    if not isinstance(value, dict):
        raise InvalidObject("It is no JSON object, so no STIX object.")
    for name in ("type", "id"):
        if not isinstance(value.get(name), str):
            raise InvalidObject(f"The object has no `{name}`.")
    version = value.get("spec_version", "2.0")
    if version not in ("2.0", "2.1"):
        raise InvalidObject(f"The object has the `spec_version` {version!r:.20}; 2.0 and 2.1 are read.")
    if version != "2.1" and not isinstance(value.get("labels", []), list):
        raise InvalidObject(f"{value['id']:.120} has `labels` that are no list.")
    return Record.of(upgrade(value))


def _sample(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # nested deeper than orjson writes
        return b""
