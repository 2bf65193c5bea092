"""Standard output whose reader may leave, as with `tiforge log export | head`: nobody is told, nothing breaks."""

from __future__ import annotations

import io
import os
import sys


class _Raw(io.RawIOBase):
    """A descriptor that takes everything; what nobody reads any more goes nowhere."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.left = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        if self.left:
            return view.nbytes
        try:
            return os.write(self._descriptor, view)
        except BrokenPipeError:
            self.left = True
            return view.nbytes
        except OSError:
            self.left = True  # a full disk is told once
            raise


_raw: _Raw | None = None


def install() -> None:
    """Put it in the place of `sys.stdout`."""
    global _raw
    before = sys.stdout
    if before is None:  # closed by who started this
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lasts
        return
    try:
        _raw = _Raw(before.fileno())
    except (AttributeError, OSError, ValueError):
        return  # not a descriptor's
    before.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_raw), encoding=before.encoding, errors="backslashreplace", line_buffering=_raw.isatty()
    )


def reader_left() -> bool:
    """Say whether nobody reads standard output any more."""
    return _raw is not None and _raw.left
