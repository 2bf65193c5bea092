"""What the engine tells its observers: progress bars, logs, metrics, and plugins that watch.

An event holds names and numbers, and messages that are already redacted.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiforge.source import Progress


@dataclass(frozen=True, slots=True)
class PullStarted:
    """A source is being pulled."""

    source: str


@dataclass(frozen=True, slots=True)
class PageAppended:
    """A page and its cursor are in the log, in one commit.

    Attributes:
        source: The source's name.
        rows: Rows of the feed that the page stands for.
        added: Objects that are new in the log.
        unchanged: Objects that the log already held, or that change nothing.
        set_aside: Pieces that could not be read.
        head: The last `seq` of the log.
        progress: How far the source has come.
    """

    source: str
    rows: int
    added: int
    unchanged: int
    set_aside: int
    head: int
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class BatchDelivered:
    """A sink's offset moved.

    Attributes:
        sink: The sink's name.
        accepted: Objects that the sink accepted.
        rejected: Objects that went to the dead letters.
        passed_over: Objects that the sink does not take.
        offset: The sink's offset now.
        head: The last `seq` of the log.
    """

    sink: str
    accepted: int
    rejected: int
    passed_over: int
    offset: int
    head: int


@dataclass(frozen=True, slots=True)
class Retrying:
    """A call failed for now and will be made again.

    Attributes:
        side: `source` or `sink`.
        name: The instance's name.
        attempt: The attempt that failed, from 1.
        wait: Seconds until the next.
        reason: What happened.
    """

    side: str
    name: str
    attempt: int
    wait: float
    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A pull or a delivery ended.

    Attributes:
        side: `source` or `sink`.
        name: The instance's name.
        outcome: `ok`, `failed`, or `stopped` (told to, before the end).
        message: What went wrong, where something did.
    """

    side: str
    name: str
    outcome: str
    message: str | None = None


Event = PullStarted | PageAppended | BatchDelivered | Retrying | Finished
