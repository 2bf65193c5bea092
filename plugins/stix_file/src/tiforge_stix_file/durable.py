"""Files that survive a crash: synchronised writes, atomic replacement, one writer to a folder, clear errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tiforge import ConfigurationError, TiforgeError, Transient

FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750
# Windows opens in text mode unless told otherwise, and has no flag against following a link.
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)
_NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FOR_THE_OPERATOR: Final = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
})  # fmt: skip


def explain(error: OSError, path: Path) -> TiforgeError:
    """Say what an operating-system error means for the sink that writes to a path."""
    words = error.strerror or str(error)
    if error.errno in _FULL:
        return Transient(
            f"There is no space left to write {path} ({words}).",
            hint="Free some space, or raise the quota; nothing is lost meanwhile.",
        )
    if error.errno in _FOR_THE_OPERATOR:
        return ConfigurationError(
            f"{path} cannot be written: {words}.",
            hint="Set `path` to a folder that the user who runs tiforge may write to.",
        )
    return Transient(f"Writing {path} failed: {words}.", hint="Look at the disk or the network share.")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's errors inside the block into tiforge's."""
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error


def make_folder(path: Path) -> None:
    """Create a folder where it is missing, and make its entry durable."""
    if path.is_dir():
        return
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make what was created, renamed or removed in a folder durable."""
    if os.name == "nt":  # folders cannot be opened there; the file system journals its entries
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_for_writing(path: Path, *, fresh: bool = False, create: bool = False) -> int:
    """Open a file for writing without following a link.

    Args:
        path: The file.
        fresh: Whether it is created, and must not exist yet.
        create: Whether it is created where it does not exist; otherwise it must be there.

    Returns:
        The file descriptor.
    """
    flags = os.O_RDWR | _BINARY | _NO_FOLLOW
    if fresh or create:
        flags |= os.O_CREAT
    if fresh:
        flags |= os.O_EXCL
    return os.open(path, flags, FILE_MODE)


def write_all(handle: int, data: bytes) -> None:
    """Write all of it: the system may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def cut(handle: int, length: int) -> None:
    """Shorten a file to a length, durably, and go on writing there."""
    os.ftruncate(handle, length)
    os.lseek(handle, length, os.SEEK_SET)
    os.fsync(handle)


def replace_file(path: Path, data: bytes) -> None:
    """Put new content into a file so that it holds the old or the new content, never a part."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = open_for_writing(beside, fresh=True)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    beside.replace(path)
    sync_folder(path.parent)


class FolderLock:
    """The claim of one writer to the files of one name in a folder, given up by a crash by itself.

    Where the platform or the file system has no locks, the claim is taken as granted: the engine's lease
    still keeps two processes on one store apart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the claim.

        Raises:
            ConfigurationError: Another writer has it.
        """
        try:
            import fcntl
        except ImportError:
            return
        handle = open_for_writing(self._path, create=True)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ConfigurationError(
                f"Another process is writing the files that {self._path} guards.",
                hint="Give each sink a `path` or a `name` of its own.",
            ) from None
        except OSError as error:
            if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}:
                os.close(handle)
                raise
        self._handle = handle

    def release(self) -> None:
        """Give the claim up. The file stays: removing it would race with the next writer."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
