"""A laboratory: a source and sinks that a test steers, and records to send through them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from tiforge import (
    Batch,
    Cursor,
    Limits,
    Page,
    Receipt,
    Record,
    SetAside,
    Sink,
    SinkSettings,
    Source,
    SourceSettings,
    Transform,
    TransformSettings,
    hookimpl,
)
from tiforge.stix import equals, indicator, stable_id

IDENTITY = "identity--00000000-0000-4000-8000-000000000000"


def make_indicator(number: int, *, modified: str = "2026-01-01T00:00:00.000Z", **changes: Any) -> Record:
    """Return a record of an indicator that is the same for the same arguments."""
    pattern = equals("file:hashes.MD5", f"{number:032x}")
    built = indicator(
        id=stable_id("indicator", IDENTITY, pattern),
        created="2026-01-01T00:00:00.000Z",
        modified=modified,
        created_by_ref=IDENTITY,
        pattern=pattern,
        valid_from="2026-01-01T00:00:00.000Z",
    )
    return Record.built({**built, **changes})


class LabSourceSettings(SourceSettings):
    """Settings of a source that yields what a test put into the laboratory."""


class LabTransformSettings(TransformSettings):
    """Settings of a transform that does what a test put into the laboratory."""


class LabSinkSettings(SinkSettings):
    """Settings of a sink that keeps what it gets in the laboratory."""


@dataclass
class Lab:
    """What the laboratory's sources yield and its sinks got; behaviours that a test sets."""

    pages: dict[str, list[list[Any]]] = field(default_factory=dict)
    before_page: Callable[[str, int], None] = lambda name, number: None
    set_aside: dict[int, SetAside] = field(default_factory=dict)
    pulls: list[tuple[str, Cursor | None]] = field(default_factory=list)
    got: dict[str, list[Record]] = field(default_factory=dict)
    batches: dict[str, list[Batch]] = field(default_factory=dict)
    published: dict[str, list[list[Record]]] = field(default_factory=dict)
    on_deliver: Callable[[str, Batch], Receipt | None] = lambda name, batch: None
    on_transform: Callable[[str, Record], Record | None] = lambda name, record: record
    limits: Limits = field(default_factory=Limits)
    read_until: Callable[[], datetime | None] = lambda: datetime.now(UTC)


def laboratory(lab: Lab) -> ModuleType:
    """Return a plugin module whose source and sinks are steered by a test."""

    class LabSource(Source[LabSourceSettings]):
        type = "lab"
        Settings = LabSourceSettings

        async def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
            name = self.context.name
            lab.pulls.append((name, cursor))
            start = 0 if cursor is None else int(cursor.state["next"])
            for number, records in enumerate(lab.pages.get(name, [])):
                if number < start:
                    continue
                lab.before_page(name, number)
                aside = [lab.set_aside[number]] if number in lab.set_aside else []
                cursor = Cursor({"next": number + 1}, lab.read_until())
                yield Page(records, cursor, aside, rows=len(records))

        def since(self, moment: datetime) -> Cursor:
            return Cursor({"next": 0}, moment)

    class LabSink(Sink[LabSinkSettings]):
        type = "lab"
        Settings = LabSinkSettings

        @property
        def limits(self) -> Limits:
            return lab.limits

        async def deliver(self, batch: Batch) -> Receipt:
            name = self.context.name
            lab.batches.setdefault(name, []).append(batch)
            receipt = lab.on_deliver(name, batch) or Receipt()
            out = {each.index for each in receipt.rejected} | set(receipt.deferred)
            kept = [record for index, record in enumerate(batch.records) if index not in out]
            lab.got.setdefault(name, []).extend(kept)
            return receipt

    class LabBoard(Sink[LabSinkSettings]):
        type = "board"
        Settings = LabSinkSettings

        @property
        def publishes(self) -> bool:
            return True

        async def publish(self, records: AsyncIterator[Record]) -> None:
            lab.published.setdefault(self.context.name, []).append([record async for record in records])

    class LabTransform(Transform[LabTransformSettings]):
        type = "lab"
        Settings = LabTransformSettings

        def apply(self, record: Record) -> Record | None:
            return lab.on_transform(self.context.name, record)

    module = ModuleType("tiforge_lab")
    module.tiforge_api_version = 1  # type: ignore[attr-defined]

    def tiforge_sources() -> list[Any]:
        return [LabSource]

    def tiforge_sinks() -> list[Any]:
        return [LabSink, LabBoard]

    def tiforge_transforms() -> list[Any]:
        return [LabTransform]

    module.tiforge_transforms = hookimpl(tiforge_transforms)  # type: ignore[attr-defined]
    module.tiforge_sources = hookimpl(tiforge_sources)  # type: ignore[attr-defined]
    module.tiforge_sinks = hookimpl(tiforge_sinks)  # type: ignore[attr-defined]
    return module
