"""What a source plugin is: settings, a connection, and pages of records with the cursor that follows each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from tiforge.context import Context
from tiforge.record import Record
from tiforge.settings import Duration, Settings, When


class SourceSettings(Settings):
    """The settings that every source has; a plugin's own model derives from it."""

    asked: ClassVar[tuple[str, ...]] = ()
    """Settings that `tiforge init` asks for although they have a default."""

    type: str
    """The source type, as `tiforge plugins list` names it."""
    schedule: When | None = None
    """When to pull: a cron expression in UTC (`*/15 * * * *`) or an interval (`every 15m`). Without one the
    source is due at every `tiforge run`, and `tiforge serve` pulls it every 15 minutes."""
    jitter: Duration = timedelta(0)
    """Up to this much later than scheduled, so that many instances do not call in the same second."""
    enabled: bool = True
    """Whether the source is pulled at all."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a source goes on. The engine stores it with the page before it, in one transaction.

    Attributes:
        state: The source's own notes as JSON data. It never holds a secret.
        read_until: The moment up to which the feed has been read. The engine refuses a cursor that lies in
            the future, since what is published until then would be skipped.
    """

    state: Mapping[str, Any]
    read_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A piece of a feed that could not be read.

    Attributes:
        raw: The piece as it came, at most some kilobytes of text.
        reason: What is wrong with it, for the operator.
        where: Where it stood, as `malware_grid, member feed.csv, line 17`.
    """

    raw: str
    reason: str
    where: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull has come, for people to look at.

    Attributes:
        done: What has been read so far, in `unit`.
        total: What there is to read, where the source knows it.
        unit: As `rows` or `objects`.
    """

    done: int
    total: int | None = None
    unit: str = "rows"


@dataclass(frozen=True, slots=True)
class Page:
    """What a source yields.

    Attributes:
        records: Records in the order of the feed. STIX 2.1 JSON data, JSON text and `stix2` objects are
            accepted too, and checked; one that is invalid is set aside.
        cursor: Where to go on when this page is in the log. While a remote page is being split into several
            of these, it is the cursor that reads that remote page again.
        set_aside: Pieces of the feed that could not be read.
        rows: How many rows, lines or objects of the feed this page stands for.
        progress: How far the pull has come.
    """

    records: Sequence[Record | Mapping[str, Any] | bytes]
    cursor: Cursor
    set_aside: Sequence[SetAside] = ()
    rows: int = 0
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Ageing:
    """How a source's indicators grow old, and when a new detection renews one.

    An indicator is valid for `valid_for` from its last detection. A new version that only extends its
    validity is made when less than `renew_below` of `valid_for` is left, so that a busy indicator does not
    flood the sinks.

    Attributes:
        valid_for: How long an indicator is valid after a detection.
        renew_below: The share of `valid_for`, 0 to 1, below which a detection extends the validity.
        types: The STIX types that age this way.
    """

    valid_for: timedelta
    renew_below: float = 0.5
    types: frozenset[str] = frozenset({"indicator"})


# Inside the classes `type` is the plugin's type name, so what is meant of Python's is named here.
SettingsClass = type[SourceSettings]
ErrorClass = type[BaseException]

S = TypeVar("S", bound=SourceSettings)


class Source(ABC, Generic[S]):
    """A feed. One instance serves one `[sources.NAME]`, inside `async with`.

    A subclass names its `type` and its `Settings`, and yields pages. It raises the errors of
    `tiforge.errors`; it never sleeps, retries or loops on an error, since the engine does that: after a
    `Transient` it calls `pull` again with the cursor of the last page that is in the log.

    Args:
        settings: The validated settings.
        context: The instance's name and clock.
    """

    type: ClassVar[str]
    Settings: ClassVar[SettingsClass]

    def __init__(self, settings: S, context: Context) -> None:
        self.settings = settings
        self.context = context

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: ErrorClass | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    @abstractmethod
    def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
        """Yield the feed from a cursor to now, page by page as it arrives.

        Args:
            cursor: The cursor of the last page in the log; `None` on the first run.

        Yields:
            Pages. The end of the window is fixed before the first request.

        Raises:
            Transient: Worth another try, from the last cursor.
            AuthenticationFailed: The credentials are refused.
            ConfigurationError: A setting names something that is not there.
            Permanent: The feed answers with something that no retry will mend.
        """

    @abstractmethod
    def since(self, moment: datetime) -> Cursor:
        """Return the cursor that reads the feed from a moment on, for `tiforge backfill`."""

    async def check(self) -> str:
        """Try credentials and reachability without moving anything.

        Returns:
            One line for the operator: what was reached, as whom.

        Raises:
            TiforgeError: What is wrong and what to do.
        """
        return "nothing to check"

    @property
    def ageing(self) -> Ageing | None:
        """How this source's indicators age; `None` takes each object's times as they are."""
        return None
