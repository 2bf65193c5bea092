"""The sink end `stix_file` of `tiforge demo`: files in the demo's folder, read back to be counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from tiforge import DemoPart
from tiforge.elements import Elements
from tiforge.stix import observables
from tiforge_stix_file.reading import opened, text_of
from tiforge_stix_file.scan import scan

_NO_LIMIT: Final = 2**62


class StixFileDemo:
    """STIX bundles in a folder of the demo's own."""

    name: str = "stix_file"
    side: Literal["source", "sink"] = "sink"

    @contextmanager
    def open(self, directory: Path, rows: int) -> Iterator[DemoPart]:
        """Offer a folder in the demo's directory; there is nothing to start."""
        folder = directory / "out"
        yield DemoPart(
            about=f"STIX bundles in {folder}",
            settings={"type": "stix_file", "path": str(folder), "mode": "run"},
            values=lambda: _values(folder),
            ids=lambda: (str(each["id"]) for each in _objects(folder)),
        )


def _values(folder: Path) -> Iterator[str]:
    for each in _objects(folder):
        if each["type"] == "indicator":
            for observable in observables(each["pattern"]):
                yield observable.value


def _objects(folder: Path) -> Iterator[dict[str, Any]]:
    if folder.is_dir():
        for file in scan(folder, "*.json", recursive=False):
            with opened(file.path) as handle:
                for element in Elements(text_of(handle, _NO_LIMIT), _NO_LIMIT):
                    yield element.value
