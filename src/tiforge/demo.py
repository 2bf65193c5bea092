"""What a plugin contributes to `tiforge demo`: a local emulator, and the settings to use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol


def _none() -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class DemoPart:
    """One end of the demo, running.

    Attributes:
        about: One line for the person who watches, as `Mimecast emulator on 127.0.0.1:40123`.
        settings: The table that goes under `[sources.NAME]` or `[sinks.NAME]`.
        values: For a source, the observable values that its feed holds; for a sink, those that arrived.
        ids: For a sink, the STIX id of each object that arrived, as often as it arrived.
        rows: For a source, how many rows its feed holds.
        requests: How many feed requests the emulator has answered.
        faults: Switches the emulator's faults on or off, and says in words which.
    """

    about: str
    settings: Mapping[str, Any]
    values: Callable[[], Iterable[str]] = _none
    ids: Callable[[], Iterable[str]] = _none
    rows: int = 0
    requests: Callable[[], int] = lambda: 0
    faults: Callable[[bool], str] | None = None


class Demo(Protocol):
    """A part that `tiforge demo` can use.

    Attributes:
        name: What `--source` or `--sinks` calls it.
        side: Which end it is.
    """

    name: str
    side: Literal["source", "sink"]

    def open(self, directory: Path, rows: int) -> AbstractContextManager[DemoPart]:
        """Start the part.

        Args:
            directory: An empty folder that it may write into.
            rows: How large a feed a source should offer.

        Returns:
            A context manager that stops it again.
        """
        ...
