"""Mode `snapshot`: one file, always whole."""

from __future__ import annotations

import asyncio
import json

import pytest
import stix2
from stix2validator import ValidationOptions, validate_string

from tiforge import Transient
from tiforge_stix_file import durable


@pytest.mark.parametrize("format", ["bundle", "jsonl"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_snapshot_replaces_the_one_before(folder, record, objects_in, format, compression):
    """The file has one name, and holds what it was last given."""
    folder.publish(map(record, range(5000)), format=format, compression=compression)
    folder.publish(map(record, range(3000)), format=format, compression=compression)
    (path,) = folder.files()
    assert path.name.startswith("archive.json")
    assert folder.seqs() == list(range(3000))
    assert [path.name for path in folder.path.iterdir() if path.name.endswith(".part")] == []


def test_a_snapshot_is_valid_stix(folder, record, producer):
    """The validator accepts it, and so does stix2."""
    folder.publish([producer, record(1)])
    text = folder.files()[0].read_text()
    assert validate_string(text, ValidationOptions(version="2.1")).is_valid
    assert len(stix2.parse(text, version="2.1").objects) == 2


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_an_empty_snapshot_says_so(folder, record, text_in, compression):
    """When everything has expired the old indicators must not stay; the bundle then has no list at all."""
    folder.publish([record(1)], compression=compression)
    folder.publish([], compression=compression)
    text = text_in(folder.files()[0])
    bundle = json.loads(text)
    assert set(bundle) == {"type", "id"}
    assert validate_string(text.decode(), ValidationOptions(version="2.1")).is_valid
    folder.publish([], format="jsonl")
    assert (folder.path / "archive.jsonl").read_bytes() == b""


def test_same_content_same_bytes(folder, record):
    """The bundle's id depends on what it holds."""
    folder.publish(map(record, range(10)))
    first = folder.files()[0].read_bytes()
    folder.publish(map(record, range(11)))
    second = folder.files()[0].read_bytes()
    folder.publish(map(record, range(10)))
    assert folder.files()[0].read_bytes() == first
    assert json.loads(first)["id"] != json.loads(second)["id"]


def test_what_fails_leaves_the_old_one(folder, record):
    """An error while the records come, or a full disk, changes nothing."""
    folder.publish([record(1)])

    def broken():
        yield record(2)
        raise RuntimeError("the store is gone")

    with pytest.raises(RuntimeError):
        folder.publish(broken())
    with pytest.MonkeyPatch.context() as patch:

        def full(*_):
            raise OSError(28, "No space left on device")

        patch.setattr(durable.os, "fsync", full)
        with pytest.raises(Transient, match="space"):
            folder.publish([record(2)])
    assert folder.seqs() == [1]
    assert [path.name for path in folder.path.iterdir()].count(".archive.json.part") == 0


def test_what_a_crash_left_is_overwritten(folder, record):
    """A part file from a process that was killed does not stop the next one."""
    folder.path.mkdir()
    (folder.path / ".archive.json.part").write_text("half")
    folder.publish([record(1)])
    assert folder.seqs() == [1]


def test_each_mode_takes_only_its_own(folder, batch):
    """The engine asks `publishes` before it calls."""
    assert folder.sink(mode="snapshot").publishes
    assert not folder.sink().publishes

    async def none():
        return
        yield

    async def wrong_calls():
        async with folder.sink(mode="snapshot") as sink:
            with pytest.raises(NotImplementedError):
                await sink.deliver(batch([1]))
        async with folder.sink() as sink:
            with pytest.raises(NotImplementedError):
                await sink.publish(none())

    asyncio.run(wrong_calls())
