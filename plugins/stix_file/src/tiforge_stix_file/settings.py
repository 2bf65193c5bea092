"""The settings of the `stix_file` sink and source."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field

from tiforge import Duration, LocalPath, SinkSettings, Size, SourceSettings

Mode = Literal["run", "snapshot"]
Format = Literal["bundle", "jsonl"]
Compression = Literal["none", "gzip", "zstd"]

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What the stem of a file name may be: it neither hides the file nor leaves the folder."""


class StixFileSinkSettings(SinkSettings):
    """The settings of a `stix_file` sink."""

    path: LocalPath = Path("out/")
    """The folder that the files go into. It is created where it is missing."""
    mode: Mode = "run"
    """`run` writes what is new into new files; `snapshot` keeps one file with the latest version of every
    object that is neither revoked nor expired."""
    format: Format = "bundle"
    """`bundle` writes STIX bundles, `jsonl` one object a line."""
    compression: Compression = "none"
    """`none`, `gzip` (`.gz`) or `zstd` (`.zst`)."""
    max_size: Size = ByteSize(256 * 1024 * 1024)
    """In mode `run`: the bytes of the objects in one file, before compression, at most. An object that is
    larger has a file of its own."""
    keep: Annotated[int, Field(ge=1)] | None = None
    """In mode `run`: how many of the finished files are kept; older ones are deleted. Without it, all."""
    name: Annotated[str, Field(pattern=rf"^{NAME_PATTERN}$")] | None = None
    """What the file names begin with; without it, the sink's name."""


class StixFileSourceSettings(SourceSettings):
    """The settings of a `stix_file` source."""

    path: LocalPath
    """The folder that is read."""
    pattern: Annotated[str, Field(min_length=1)] = "*.json*"
    """Which files are read, by name, with the wildcards `*`, `?` and `[…]`."""
    recursive: bool = False
    """Whether folders in the folder are read too."""
    page_objects: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Objects that are handed over and stored at a time."""
    settle: Duration = timedelta(minutes=1)
    """An incomplete file that was modified less than this ago is taken as still being written, and read
    again at the next pull; an older one is reported as damaged."""
    max_expanded: Size = ByteSize(16 * 1024**3)
    """What a compressed file may expand to. A file that expands to more is not read further."""
    max_object: Size = ByteSize(16 * 1024**2)
    """The size of one object as JSON text, at most."""
