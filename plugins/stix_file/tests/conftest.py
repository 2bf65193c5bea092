"""What the tests of the plugin share: objects, clocks, and a sink driven as the engine drives it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tiforge import Batch, Context, Record
from tiforge.stix import equals, identity, indicator, stable_id
from tiforge_stix_file.settings import StixFileSinkSettings, StixFileSourceSettings
from tiforge_stix_file.sink import StixFileSink
from tiforge_stix_file.source import StixFileSource

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
STAMP = "2026-01-31T12:00:00.000Z"


def make_record(number: int, **more: Any) -> Record:
    pattern = equals("file:hashes.'SHA-256'", f"{number:064x}")
    producer = stable_id("identity", "tests")
    id = stable_id("indicator", producer, pattern)
    built = indicator(
        id=id,
        created=STAMP,
        modified=STAMP,
        created_by_ref=producer,
        pattern=pattern,
        valid_from=STAMP,
        indicator_types=["malicious-activity"],
    )
    return Record.built({**built, **more})


def make_identity() -> Record:
    return Record.built(
        identity(id=stable_id("identity", "tests"), created=STAMP, name="Tests", identity_class="organization")
    )


def make_batch(seqs: Iterable[int], round: str = "first") -> Batch:
    places = list(seqs)
    return Batch([make_record(seq) for seq in places], places, round)


def read_text(path: Path) -> bytes:
    """Expand a file with the reference tools of its format."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return reader.read()
    return data


def read_objects(path: Path) -> list[dict[str, Any]]:
    text = read_text(path)
    if ".jsonl" in path.name:
        assert not text or text.endswith(b"\n")
        return [json.loads(line) for line in text.splitlines()]
    bundle = json.loads(text)
    assert bundle["type"] == "bundle"
    assert bundle["id"].startswith("bundle--")
    assert bundle.get("objects") != []
    return bundle.get("objects", [])


class Folder:
    """A sink's folder, and the engine's part in short."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW

    def sink(self, **settings: Any) -> StixFileSink:
        chosen = StixFileSinkSettings(type="stix_file", path=self.path, **settings)
        return StixFileSink(chosen, Context("archive", now=lambda: self.now))

    def deliver(self, *batches: Iterable[int], round: str = "first", **settings: Any) -> None:
        """Deliver batches of one round in one run that ends in good order."""

        async def run() -> None:
            async with self.sink(**settings) as sink:
                for seqs in batches:
                    receipt = await sink.deliver(make_batch(seqs, round))
                    assert not receipt.rejected

        asyncio.run(run())

    def publish(self, records: Iterable[Record], **settings: Any) -> None:
        async def stream() -> Any:
            for record in records:
                yield record

        async def run() -> None:
            async with self.sink(mode="snapshot", **settings) as sink:
                await sink.publish(stream())

        asyncio.run(run())

    def files(self) -> list[Path]:
        return sorted(path for path in self.path.iterdir() if not path.name.startswith("."))

    def seqs(self) -> list[int]:
        """Return the numbers of the indicators in all files, in the order of the files."""
        return [
            int(each["pattern"].split("'")[3], 16)
            for path in self.files()
            for each in read_objects(path)
            if each["type"] == "indicator"
        ]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


@pytest.fixture
def record() -> Callable[..., Record]:
    return make_record


@pytest.fixture
def producer() -> Record:
    return make_identity()


@pytest.fixture
def batch() -> Callable[..., Batch]:
    return make_batch


@pytest.fixture
def objects_in() -> Callable[[Path], list[dict[str, Any]]]:
    return read_objects


@pytest.fixture
def text_in() -> Callable[[Path], bytes]:
    return read_text


class Reader:
    """A source over a folder, pulled as the engine pulls it, with its cursor stored as JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = datetime.now(UTC)
        self.cursor: Any = None
        self.set_aside: list[Any] = []

    def source(self, **settings: Any) -> StixFileSource:
        chosen = StixFileSourceSettings(type="stix_file", path=self.path, **settings)
        return StixFileSource(chosen, Context("reports", now=lambda: self.now))

    def pull(self, **settings: Any) -> list[Record]:
        from tiforge import Cursor

        records: list[Record] = []
        self.set_aside = []

        async def run() -> None:
            async with self.source(**settings) as source:
                async for page in source.pull(self.cursor):
                    assert len(page.records) <= settings.get("page_objects", 1000)
                    records.extend(page.records)
                    self.set_aside.extend(page.set_aside)
                    self.cursor = Cursor(json.loads(json.dumps(dict(page.cursor.state))), page.cursor.read_until)

        asyncio.run(run())
        return records


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    path = tmp_path / "in"
    path.mkdir()
    return Reader(path)
