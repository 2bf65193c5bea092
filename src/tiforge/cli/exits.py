"""The exit codes of `tiforge`. They are part of what scripts rely on; `docs/reference/cli.md` lists them."""

from enum import IntEnum


class Exit(IntEnum):
    """What an exit code means."""

    OK = 0
    """Everything was done, and nothing needs attention."""
    FAILED = 1
    """Nothing of what was asked was done."""
    USAGE = 2
    """The command line is wrong."""
    CONFIG = 3
    """The config is wrong; each problem is named with its line."""
    PARTIAL = 4
    """A part failed or was stopped, or something was set aside; the rest was done."""
    BUG = 70
    """A fault of tiforge itself."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C, or by SIGTERM before it could finish in time. What was accepted is kept."""
