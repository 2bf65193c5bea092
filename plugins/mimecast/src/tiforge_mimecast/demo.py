"""The Mimecast end of `tiforge demo`: the emulator, and the settings to read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from tiforge import DemoPart

_ANSWERS: Final = 8


class MimecastDemo:
    """Runs the emulator on a free port of this machine."""

    name: str = "mimecast"
    side: Literal["source", "sink"] = "source"

    @contextmanager
    def open(self, directory: Path, rows: int) -> Iterator[DemoPart]:
        """Start the emulator.

        Args:
            directory: Not needed; the emulator writes nothing.
            rows: How many rows the feed holds.
        """
        from tiforge.testing.serving import serving
        from tiforge_mimecast.emulator import Emulator, Fault, credentials, make_rows

        feed = make_rows(rows)
        # Some answers for any size of feed, so that there is a boundary to fail at.
        emulator = Emulator(feed, page_size=max(1, min(5000, -(-rows // _ANSWERS))))
        mix = (Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.CUT_SHORT, Fault.EXPIRED_TOKEN)

        def faults(on: bool) -> str:
            emulator.clear_faults()
            if not on:
                return "Mimecast answers without faults"
            emulator.inject(*mix)
            return "Mimecast will answer with " + ", ".join(fault.value for fault in mix)

        with serving(emulator.app) as url:
            yield DemoPart(
                about=f"Mimecast emulator on {url.removeprefix('http://')}, {rows:,} rows",
                settings={
                    "type": "mimecast",
                    "api": "2.0",
                    "base_url": url,
                    "client_id": credentials.CLIENT_ID,
                    "client_secret": credentials.CLIENT_SECRET,
                    "feeds": ["malware_grid"],
                },
                values=feed.hashes,
                rows=rows,
                requests=lambda: emulator.requests,
                faults=faults,
            )
