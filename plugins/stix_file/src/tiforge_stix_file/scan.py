"""Find the files to read, and tell whether one has changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Final

_UNFINISHED: Final = (".part", ".tmp", ".new", "~")


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was when the folder was looked through.

    Attributes:
        path: Where it is, links resolved.
        name: Its path within the folder, for people and for `mark`.
        modified: When it was last written, in nanoseconds since 1970.
        mark: Stands for this content of this file: another name, size or time has another mark.
    """

    path: Path
    name: str
    modified: int
    mark: str


def mark_of(name: str, status: os.stat_result) -> str:
    """Return what stands for a file as it is now, in 16 characters."""
    # The change time tells a file that was put in place of another with the size and time kept.
    told = f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}"
    return blake2b(told.encode(), digest_size=8).hexdigest()


def scan(folder: Path, pattern: str, *, recursive: bool) -> list[Found]:
    """Return the files in a folder that a pattern names, oldest first.

    Hidden and unfinished files are left out, and so is what is no regular file, or a link that leads out
    of the folder.

    Args:
        folder: The folder.
        pattern: As `*.json*`.
        recursive: Whether folders within it are looked through; links to folders never are.

    Raises:
        OSError: The folder cannot be read.
    """
    root = folder.resolve(strict=True)
    found = [each for path in _named(root, pattern, recursive=recursive) if (each := _look(root, path))]
    return sorted(found, key=lambda each: (each.modified, each.name))


def _named(folder: Path, pattern: str, *, recursive: bool) -> Iterator[Path]:
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if recursive:
                        pending.append(Path(entry.path))
                elif fnmatchcase(entry.name, pattern):
                    yield Path(entry.path)


def _look(root: Path, path: Path) -> Found | None:
    try:
        target = path.resolve(strict=True)
        status = target.stat()
    except (OSError, RuntimeError):  # gone again, a link to nowhere, or one to itself
        return None
    if not stat.S_ISREG(status.st_mode) or not target.is_relative_to(root):
        return None
    # A name need not be UTF-8, but what a cursor holds must be.
    name = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
    return Found(target, name, status.st_mtime_ns, mark_of(name, status))
