"""Mode `run`: what is in the files, how they are named, when a new one begins."""

from __future__ import annotations

import asyncio
import os
import stat
from datetime import timedelta

import ijson
import pytest
import stix2
from stix2validator import ValidationOptions, validate_string

from tiforge import Batch, ConfigurationError, Context, Record, Transient
from tiforge_stix_file import durable, tiforge_sinks, tiforge_sources
from tiforge_stix_file.settings import StixFileSinkSettings
from tiforge_stix_file.sink import StixFileSink

FORMATS = pytest.mark.parametrize("format", ["bundle", "jsonl"])
COMPRESSIONS = pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])


@FORMATS
@COMPRESSIONS
def test_every_format_reads_back(folder, objects_in, format, compression):
    """Several batches, through each framing and compression, come back in order."""
    folder.deliver([1, 2], [3], range(4, 50), format=format, compression=compression)
    (path,) = folder.files()
    suffix = {"bundle": ".json", "jsonl": ".jsonl"}[format] + {"none": "", "gzip": ".gz", "zstd": ".zst"}[
        compression
    ]
    assert path.name == f"archive-20260131T120000Z-000000000001{suffix}"
    assert folder.seqs() == list(range(1, 50))
    assert all(stix2.parse(each, version="2.1") for each in objects_in(path))


def test_a_bundle_is_valid_stix(folder):
    """The validator and a streaming reader accept the bundle."""
    folder.deliver([1, 2, 3])
    (path,) = folder.files()
    result = validate_string(path.read_text(), ValidationOptions(version="2.1"))
    assert result.is_valid, result.errors
    assert stix2.parse(path.read_text(), version="2.1").id.startswith("bundle--")
    with path.open("rb") as file:
        assert len(list(ijson.items(file, "objects.item", use_float=True))) == 3


@FORMATS
def test_payloads_are_spliced_as_they_are(folder, record, text_in, format):
    """Bytes that orjson would write otherwise stay: spaces, the order of members, escapes."""
    payload = b'{ "type":"indicator",  "id" : "indicator--x", "name":"\\u00e9\\/" }'

    async def run():
        async with folder.sink(format=format) as sink:
            await sink.deliver(Batch([Record("indicator--x", "indicator", "1", payload)], [1]))

    asyncio.run(run())
    assert payload in text_in(folder.files()[0])


def test_a_line_holds_one_object_whatever_its_white_space(folder, objects_in):
    """A payload with line breaks between its tokens stays on one line."""
    payload = b'{"type":"x",\n"id":"x--1"}'

    async def run():
        async with folder.sink(format="jsonl") as sink:
            await sink.deliver(Batch([Record("x--1", "x", "1", payload)] * 2, [1, 2]))

    asyncio.run(run())
    assert objects_in(folder.files()[0]) == [{"type": "x", "id": "x--1"}] * 2


def test_a_run_without_objects_writes_no_file(folder):
    """Opening and closing leaves no file to read."""
    folder.deliver()
    assert folder.files() == []


def test_a_new_file_begins_at_max_size(folder, record):
    """No file holds more than `max_size` bytes of objects, and no object is lost at the seam."""
    size = len(record(1).payload)
    folder.deliver(*([seq] for seq in range(1, 8)), max_size=2 * size + 1)
    assert [len(path.read_bytes()) < 3 * size for path in folder.files()] == [True] * 4
    assert folder.seqs() == list(range(1, 8))


def test_batches_are_never_larger_than_a_file(folder):
    """The engine is told to make batches that fit."""
    assert folder.sink(max_size=1000).limits.bytes == 1000
    assert folder.sink().limits.bytes == 8 * 1024 * 1024
    assert folder.sink().limits.in_flight == 1


def test_names_sort_by_age_even_when_the_clock_goes_back(folder):
    """Each file sorts after all that were written before it."""
    names = []
    for hours in (0, -5, 0, 1, -9):
        folder.now += timedelta(hours=hours)
        folder.deliver([len(names) + 1])
        new = {path.name for path in folder.files()} - set(names)
        names.extend(new)
    assert names == sorted(names)
    assert folder.seqs() == [1, 2, 3, 4, 5]


def test_same_content_same_bytes(folder, tmp_path):
    """Two machines that deliver the same write the same file."""
    folder.deliver([1, 2], [3])
    other = type(folder)(tmp_path / "other")
    other.deliver([1], [2, 3])
    assert folder.files()[0].read_bytes() == other.files()[0].read_bytes()


def test_old_files_are_dropped_with_keep(folder):
    """Only the newest stay, and what the sink did not write is left alone."""
    folder.path.mkdir()
    (folder.path / "archive-notes.json").write_text("{}")
    for seq in range(1, 6):
        folder.deliver([seq], keep=2)
    (folder.path / "archive-notes.json").unlink()
    assert folder.seqs() == [4, 5]


def test_files_are_not_for_everyone(folder):
    """Neither the folder nor the files can be read by others."""
    folder.deliver([1])
    assert not stat.S_IMODE(folder.files()[0].stat().st_mode) & 0o007
    assert not stat.S_IMODE(folder.path.stat().st_mode) & 0o007


def test_two_writers_are_refused(folder):
    """A second sink with the same name in the same folder does not start; one with another name does."""

    async def run():
        async with folder.sink():
            with pytest.raises(ConfigurationError, match="Another process"):
                await folder.sink().__aenter__()
            async with folder.sink(name="other"):
                pass
        async with folder.sink():
            pass

    asyncio.run(run())


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "x\n", "a" * 200, "ü"])
def test_a_name_cannot_leave_the_folder(tmp_path, name):
    """A sink whose name is no file name says so; a `name` that is none is no valid setting."""
    with pytest.raises(ConfigurationError, match="name"):
        StixFileSink(StixFileSinkSettings(type="stix_file", path=tmp_path), Context(name))
    with pytest.raises(ValueError):
        StixFileSinkSettings(type="stix_file", path=tmp_path, name=name)


def test_a_path_that_is_a_file_is_a_wrong_setting(folder):
    """The error names the path and says what to do."""
    folder.path.write_text("")
    with pytest.raises(ConfigurationError, match=f"{folder.path}.*Set `path`"):
        folder.deliver([1])
    with pytest.raises(ConfigurationError, match="Set `path`"):
        asyncio.run(folder.sink().check())


def test_a_link_in_place_of_the_lock_is_not_followed(folder, tmp_path):
    """A file elsewhere is neither created nor written."""
    folder.path.mkdir()
    (folder.path / ".archive.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        folder.deliver([1])
    assert not (tmp_path / "elsewhere").exists()


def test_check_writes_nothing_that_stays(folder):
    """It says where the files go, and does not create the folder."""
    said = asyncio.run(folder.sink(compression="gzip").check())
    assert str(folder.path) in said
    assert "archive-<time>-<place in the log>.json.gz" in said
    assert not folder.path.exists()
    folder.path.mkdir()
    asyncio.run(folder.sink().check())
    assert list(folder.path.iterdir()) == []


@pytest.mark.parametrize("number", [28, 122])
def test_a_full_disk_is_transient(folder, number):
    """The error says that space is missing, and asks for nothing to be changed."""
    error = durable.explain(OSError(number, os.strerror(number)), folder.path)
    assert isinstance(error, Transient)
    assert "space" in str(error)


def test_an_empty_batch_is_accepted(folder, batch):
    """There is nothing to write."""

    async def run():
        async with folder.sink() as sink:
            await sink.deliver(batch([]))

    asyncio.run(run())
    assert folder.files() == []


def test_the_plugin_provides_both_ends():
    """The hooks return the classes."""
    assert [each.type for each in tiforge_sinks()] == ["stix_file"]
    assert [each.type for each in tiforge_sources()] == ["stix_file"]
