"""What a sink plugin is: declared limits, and `deliver`, which says what was rejected and why."""

from __future__ import annotations

from abc import ABC
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, ClassVar, Generic, Self, TypeVar

from pydantic import Field

from tiforge.context import Context
from tiforge.record import Record
from tiforge.settings import Duration, Settings, TlpLevel


class SinkSettings(Settings):
    """The settings that every sink has; a plugin's own model derives from it."""

    asked: ClassVar[tuple[str, ...]] = ()
    """Settings that `tiforge init` asks for although they have a default."""

    type: str
    """The sink type, as `tiforge plugins list` names it."""
    sources: tuple[str, ...] | None = None
    """The sources whose objects this sink takes, by name; without it, all."""
    types: tuple[str, ...] | None = None
    """The STIX types that this sink takes, as `["indicator", "sighting"]`; without it, all that the API takes."""
    min_confidence: Annotated[int, Field(ge=0, le=100)] | None = None
    """Objects with a confidence below this, 0 to 100, are passed over; objects without one are taken."""
    max_tlp: TlpLevel | None = None
    """Objects marked more strictly than this are passed over; unmarked ones are taken."""
    max_age: Duration | None = None
    """Objects last modified longer ago than this, when they are read, are passed over."""
    transforms: tuple[str, ...] = ()
    """The `[transforms.NAME]` that each object goes through on its way to this sink, in order."""
    enabled: bool = True
    """Whether anything is delivered to this sink; its place in the log is kept."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sink's API takes. The engine builds batches and paces requests by it.

    Attributes:
        objects: Objects in one batch, at most.
        bytes: Bytes of the payloads of one batch, at most. An object that is larger goes alone.
        in_flight: Batches under way at the same time, at most.
        requests_per_minute: Calls of `deliver` in any sliding minute, at most; `None` for no limit.
        types: The STIX types that the API accepts; `None` for all.

    Raises:
        ValueError: A limit is below 1.
    """

    objects: int = 1000
    bytes: int = 4 * 1024 * 1024
    in_flight: int = 1
    requests_per_minute: int | None = None
    types: frozenset[str] | None = None

    def __post_init__(self) -> None:
        limits = (self.objects, self.bytes, self.in_flight, self.requests_per_minute)
        if any(limit is not None and limit < 1 for limit in limits):
            raise ValueError(f"a limit of a sink is at least 1: {self}")


@dataclass(frozen=True, slots=True)
class Batch:
    """Records on their way to a sink, in the order of the log.

    Attributes:
        records: The records.
        seqs: The place of each record in the log.
        round: A word that stays the same while the sink reads on, and is a new one whenever something is to
            be delivered again on purpose: after `tiforge replay`, for dead letters that are retried, from
            another store. Within one round places only grow, but after a crash the last batches come again:
            a sink whose API has no upsert can keep the round and the last place beside what it wrote, and
            pass over what is not behind that place in the same round.
    """

    records: Sequence[Record]
    seqs: Sequence[int]
    round: str = ""

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An object that the sink will never accept.

    Attributes:
        index: Its place in the batch, from 0.
        reason: The API's own words, for the operator.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch. What is neither rejected nor deferred has been accepted, durably.

    Attributes:
        rejected: What will never be accepted. The engine puts it into the dead letters.
        deferred: Places, from 0, of what the API did not take for now. The engine delivers it again.
        retry_after: Seconds to wait before that; `None` leaves it to the engine.
    """

    rejected: Sequence[Rejected] = ()
    deferred: Sequence[int] = ()
    retry_after: float | None = None


ACCEPTED = Receipt()
"""The receipt of a batch that was accepted whole."""

# Inside the classes `type` is the plugin's type name, so what is meant of Python's is named here.
SettingsClass = type[SinkSettings]
ErrorClass = type[BaseException]

S = TypeVar("S", bound=SinkSettings)


class Sink(ABC, Generic[S]):
    """A reader of the log that pushes what it reads to somewhere else.

    One instance serves one `[sinks.NAME]`. It is opened with `async with` when there is something to
    deliver and closed when that is delivered. A subclass implements `deliver`, or `publish` where it writes
    the whole current state each time; `publishes` says which.

    Delivery is at least once: after a crash the last batches come again, with the same ids and places.

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

    @property
    def limits(self) -> Limits:
        """What the API takes."""
        return Limits()

    @property
    def publishes(self) -> bool:
        """Whether this sink takes the whole current state (`publish`) rather than what is new (`deliver`)."""
        return False

    async def deliver(self, batch: Batch) -> Receipt:
        """Hand a batch over. When this returns, what was accepted is durable at the other end.

        Args:
            batch: Within `limits`.

        Returns:
            What was rejected, object by object, and what is to be delivered again.

        Raises:
            Transient: Nothing of the batch was accepted for now; the engine waits and tries again.
            Permanent: The batch is refused as a whole; the engine splits it until what is at fault is alone.
            AuthenticationFailed: The credentials are refused; the engine stops this sink.
            ConfigurationError: A setting names something that is not there; the engine stops this sink.
        """
        raise NotImplementedError(f"{self.type} takes no batches")

    async def publish(self, records: AsyncIterator[Record]) -> None:
        """Replace what was published by the current state.

        Args:
            records: The latest version of every object that is neither revoked nor expired, in the order of
                the log, streamed.

        Raises:
            TiforgeError: As for `deliver`; what was published before stays as it was.
        """
        raise NotImplementedError(f"{self.type} publishes no snapshots")

    async def check(self) -> str:
        """Try credentials and reachability without moving anything.

        Returns:
            One line for the operator: what was reached, as whom.

        Raises:
            TiforgeError: What is wrong and what to do.
        """
        return "nothing to check"
