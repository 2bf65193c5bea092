"""The source: which files are read, when again, and what becomes of those that are damaged."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from datetime import timedelta

import pytest
import stix2
import zstandard

from tiforge import ConfigurationError, Transient
from tiforge_stix_file import source as source_module

OLD = 3600
V20 = {
    "type": "indicator",
    "id": "indicator--2918217d-30ca-417f-9724-660b1474abac",
    "created": "2024-06-27T15:45:00.001Z",
    "modified": "2024-06-27T15:45:00.001Z",
    "name": "x",
    "labels": ["malicious-activity"],
    "pattern": "[url:value = 'http://example.test/']",
    "valid_from": "2024-06-27T15:45:00.001Z",
}


def bundle(*payloads):
    return b'{"type":"bundle","id":"bundle--x","objects":[' + b",".join(payloads) + b"]}"


def put(reader, name, data, *, age=0):
    path = reader.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    moment = reader.now.timestamp() - age
    os.utime(path, (moment, moment))
    return path


@pytest.fixture
def payloads(record):
    return [record(number).payload for number in range(10)]


def indented(text):
    return json.dumps(json.loads(text), indent=2).encode()


SHAPES = {
    "bundle": bundle,
    "indented bundle": lambda *each: indented(bundle(*each)),
    "id last": lambda *each: b'{"objects":[' + b",".join(each) + b'],"type":"bundle"}',
    "list": lambda *each: b"[" + b",\n".join(each) + b"]",
    "lines": lambda *each: b"\n".join(each) + b"\n",
    "lines without the last end": lambda *each: b"\n".join(each),
    "lines with gaps": lambda *each: b"\r\n\r\n".join(each),
    "indented objects": lambda *each: b"\n".join(map(indented, each)),
    "bundles in lines": lambda *each: bundle(*each[:4]) + b"\n" + bundle() + b"\n" + bundle(*each[4:]),
    "bundles in a list": lambda *each: b"[" + bundle(*each[:4]) + b"," + bundle(*each[4:]) + b"]",
    "byte order mark": lambda *each: b"\xef\xbb\xbf" + bundle(*each),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_every_shape_and_compression(reader, payloads, shape, pack):
    """What the file is, its content says; its name need not."""
    put(reader, "feed.json", pack(SHAPES[shape](*payloads)))
    assert [each.payload for each in reader.pull()] == payloads
    assert reader.set_aside == []


def test_several_members_and_frames(reader, payloads):
    """Compressed files may be put one behind the other, and padded with zeros."""
    put(reader, "a.json.gz", b"".join(gzip.compress(each + b"\n") for each in payloads) + bytes(512))
    assert len(reader.pull()) == 10
    put(reader, "b.json.zst", b"".join(zstandard.compress(each + b"\n") for each in payloads))
    assert len(reader.pull()) == 10


def test_one_object(reader, payloads):
    """A file may be a single object."""
    put(reader, "one.json", indented(payloads[0]))
    assert [each.payload for each in reader.pull()] == payloads[:1]


@pytest.mark.parametrize("text", [b"", b" \n", bundle(), b"[]", b'{"type":"bundle","id":"bundle--x"}'])
def test_nothing_in_a_file_is_nothing(reader, text):
    """An empty file is read once, and reported by nobody."""
    put(reader, "none.json", text)
    assert reader.pull() == []
    assert reader.set_aside == []
    assert len(reader.cursor.state["read"]) == 1


def test_stix_2_0_becomes_2_1(reader):
    """An object of STIX 2.0 comes through as valid STIX 2.1."""
    put(reader, "old.json", json.dumps({"type": "bundle", "spec_version": "2.0", "objects": [V20]}).encode())
    (record,) = reader.pull()
    assert record.object["spec_version"] == "2.1"
    assert stix2.parse(record.object, version="2.1").indicator_types == ["malicious-activity"]


def test_a_file_is_read_once_and_again_when_it_changes(reader, payloads):
    """Name, size and times tell; one that is put in its place with the same size and time is noticed too."""
    path = put(reader, "a.json", bundle(*payloads[:2]))
    assert len(reader.pull()) == 2
    assert reader.pull() == []
    put(reader, "b.json", bundle(payloads[2]))
    assert [each.payload for each in reader.pull()] == [payloads[2]]
    put(reader, "a.json", bundle(*payloads[:3]))
    assert len(reader.pull()) == 3
    status = path.stat()
    other = put(reader, "new", bundle(*payloads[3:6]))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert [each.payload for each in reader.pull()] == payloads[3:6]
    assert reader.pull() == []


def test_the_cursor_forgets_what_is_gone(reader, payloads):
    """It grows with the folder, not with time."""
    for number in range(10):
        path = put(reader, f"{number}.json", bundle(payloads[number]))
        reader.pull()
        path.unlink()
    assert len(reader.cursor.state["read"]) == 1


def test_the_cursor_inside_a_file_reads_it_again(reader, payloads):
    """Until the last page of a file is in the log, the file is not done."""
    put(reader, "a.json", bundle(*payloads), age=10)
    put(reader, "b.json", bundle(*payloads), age=5)

    async def run():
        cursors = []
        async with reader.source(page_objects=4) as source:
            async for page in source.pull(None):
                cursors.append((len(page.records), len(page.cursor.state["read"])))
        return cursors

    assert asyncio.run(run()) == [(4, 0), (4, 0), (4, 1), (4, 1), (4, 1), (0, 2)]


def test_a_pull_that_is_left_early_closes_the_file(reader, payloads):
    """The engine may stop after any page."""
    put(reader, "a.json", bundle(*payloads))

    async def run():
        async with reader.source(page_objects=1) as source:
            pages = source.pull(None)
            await anext(pages)
            await pages.aclose()

    asyncio.run(run())


def test_bad_objects_are_set_aside_and_the_others_go_on(reader, payloads):
    """Each with its place and what is wrong with it."""
    bad = [
        b"5", b"[]", b"null", b"{}", b'{"type":[],"id":{}}', b'{"type":"indicator","id":"indicator--x"}',
        b'{"type":"x","id":"x--1","labels":5}', b'{"type":"x","id":"x--1","spec_version":"3.0"}',
        b'{"type":"x","id":"x--1","spec_version":["2.1"]}', b"{bad}", b'"\xff"', b'{"a":01}', b'"\\ud800"',
        json.dumps({**V20, "confidence": 10**30}).encode(), json.dumps({**V20, "valid_from": "soon"}).encode(),
        json.dumps({**V20, "x": [[[[]]]], "object_marking_refs": {}}).encode(),
    ]  # fmt: skip
    mixed = [payloads[0]]
    for each in bad:
        mixed += [each, payloads[1]]
    put(reader, "mixed.json", bundle(*mixed))
    assert len(reader.pull()) == len(bad) + 1
    assert len(reader.set_aside) == len(bad)
    assert reader.set_aside[0].where == "mixed.json, object 2"
    assert all(each.reason for each in reader.set_aside)
    put(reader, "mixed.json", b"\n".join(mixed))
    assert len(reader.pull()) == len(bad) + 1


@pytest.mark.parametrize("text", [b"hello", b"5", b'"x"', b"\xff\xfe[\x00", b"<xml/>", b"\x00" * 100])
def test_what_is_no_json_is_set_aside_once(reader, payloads, text):
    """With the reason, and without holding up the other files."""
    put(reader, "bad.json", text)
    put(reader, "good.json", bundle(payloads[0]))
    assert len(reader.pull()) == 1
    (bad,) = reader.set_aside
    assert bad.where == "bad.json"
    assert "neither" in bad.reason
    assert reader.pull() == []
    assert reader.set_aside == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_a_file_that_is_being_written(reader, payloads, pack):
    """What is there is read at once, the rest when it is there; nothing is reported as damaged."""
    whole = pack(bundle(*payloads))
    put(reader, "a.json", whole[: len(whole) * 2 // 3], age=5)
    put(reader, "b.json", bundle(payloads[0]), age=1)
    first = reader.pull()
    assert payloads[0] in [each.payload for each in first]
    assert reader.set_aside == []
    put(reader, "a.json", whole)
    assert [each.payload for each in reader.pull()] == payloads
    assert reader.set_aside == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_a_file_that_stays_incomplete(reader, payloads, pack):
    """After `settle` it is damaged: reported once, what was readable taken."""
    whole = pack(bundle(*payloads))
    put(reader, "a.json", whole[: len(whole) - 3], age=5)
    early = reader.pull()
    assert reader.set_aside == []
    reader.now += timedelta(seconds=61)
    assert len(reader.pull()) == len(early)
    (bad,) = reader.set_aside
    assert "breaks off" in bad.reason
    assert reader.pull() == []


def test_damaged_compression(reader, payloads):
    """A checksum that does not fit is reported; garbage behind the end too."""
    data = gzip.compress(bundle(*payloads))
    put(reader, "a.json", data[:-8] + b"\1" * 8, age=OLD)
    put(reader, "b.json", data + b"garbage", age=OLD)
    put(reader, "c.json", zstandard.ZstdCompressor(write_checksum=True).compress(bundle(*payloads))[:-4] + b"1234")
    reader.pull()
    assert sorted(each.where for each in reader.set_aside) == ["a.json", "b.json", "c.json"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_file_that_expands_without_end(reader, payloads, pack):
    """It is refused at the limit, and the others are read."""
    put(reader, "bomb.json", pack(b"[" + b" " * 50_000_000 + b"]"), age=5)
    put(reader, "good.json", bundle(payloads[0]))
    assert len(reader.pull(max_expanded=1_000_000)) == 1
    (bad,) = reader.set_aside
    assert "max_expanded" in bad.reason


@pytest.mark.parametrize(
    "text", [b"[" * 1_000_000, b'{"a":' * 500_000, b"[" + b'{"a":[' * 300_000, b'[{"type":"x","a":' + b"[" * 10**6]
)
def test_nesting_without_end(reader, payloads, text):
    """It is refused before anything is built of it."""
    put(reader, "deep.json", text, age=5)
    put(reader, "good.json", bundle(payloads[0]))
    assert len(reader.pull()) == 1
    (bad,) = reader.set_aside
    assert "nested deeper" in bad.reason


def test_one_object_without_end(reader, payloads):
    """An object beyond `max_object` is set aside; what comes before and after it is read."""
    put(reader, "big.json", bundle(payloads[0], b'{"a":"' + b"x" * 3_000_000 + b'"}', payloads[1]))
    assert len(reader.pull(max_object=1_000_000)) == 2
    (bad,) = reader.set_aside
    assert "max_object" in bad.reason
    assert bad.where == "big.json, object 2"


def test_every_damaged_file_is_a_letter_of_its_own(reader):
    """Several that end alike differ in where they are, and one that is deep or endless names its object."""
    for name in ("a.json", "b.json", "c.json"):
        put(reader, name, b'[{"a":', age=OLD)
        put(reader, f"deep-{name}", b"[5," + b"[" * 2000 + b"]" * 2000 + b"]", age=OLD)
    assert reader.pull() == []
    told = {(each.reason, each.where) for each in reader.set_aside}
    assert len(told) == len(reader.set_aside) == 9
    assert {each.where for each in reader.set_aside} == {
        *("a.json", "b.json", "c.json"),
        *(f"deep-{name}.json, object {number}" for name in "abc" for number in (1, 2)),
    }


def test_what_is_set_aside_is_short(reader):
    """At most some kilobytes of it."""
    put(reader, "big.json", b'[{"a":"' + b"x" * 300_000 + b'"}]')
    reader.pull()
    assert len(reader.set_aside[0].raw) <= 2000


def test_which_files_are_read(reader, payloads, tmp_path):
    """Neither hidden nor unfinished ones, nor other names, nor what a link outside the folder leads to."""
    for name in (".a.json", "a.json.part", "b.json.tmp", "c.json~", "d.txt", "sub/e.json", ".git/f.json"):
        put(reader, name, bundle(payloads[0]))
    outside = tmp_path / "outside.json"
    outside.write_bytes(bundle(payloads[0]))
    (reader.path / "link.json").symlink_to(outside)
    (reader.path / "loop.json").symlink_to("loop.json")
    (reader.path / "dangling.json").symlink_to("nowhere")
    (reader.path / "folder.json").mkdir()
    (reader.path / "linked").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(reader.path / "pipe.json")
    assert reader.pull() == []
    assert len(reader.pull(recursive=True)) == 1
    (reader.path / "inner.json").symlink_to("sub/e.json")
    assert len(reader.pull()) == 1
    assert len(reader.pull(pattern="*.txt")) == 1


def test_hostile_names(reader, payloads):
    """Any name that the system allows is read and reported."""
    for name in (b"a\xff.json", b"new\nline.json", b"\xe2\x80\xae.json", b"\\xff.json", b"a'\"$(x).json"):
        with open(os.fsencode(reader.path) + b"/" + name, "wb") as file:
            file.write(bundle(payloads[0], b"5"))
    assert len(reader.pull()) == 5
    assert len(reader.set_aside) == 5
    assert reader.pull() == []


def test_since_reads_later_files_only(reader, payloads):
    """Older files count as read from then on; one that is put there later is read whatever its age."""
    put(reader, "old.json", bundle(payloads[0]), age=OLD)
    put(reader, "new.json", bundle(payloads[1]), age=5)
    reader.cursor = reader.source().since(reader.now - timedelta(minutes=10))
    assert [each.payload for each in reader.pull()] == [payloads[1]]
    put(reader, "copied.json", bundle(payloads[2]), age=OLD)
    assert [each.payload for each in reader.pull()] == [payloads[2]]


def test_oldest_first(reader, payloads):
    """So that of two versions the later one is last."""
    for number, age in ((0, 10), (1, 30), (2, 20)):
        put(reader, f"{number}.json", bundle(payloads[number]), age=age)
    assert [each.payload for each in reader.pull()] == [payloads[1], payloads[2], payloads[0]]


def test_a_file_that_changes_while_it_is_read_is_read_again(reader, payloads, monkeypatch):
    """What it is now was not what was read."""
    path = put(reader, "a.json", bundle(*payloads))
    opened = source_module.opened

    def changing(target):
        os.utime(path, (1, 1))
        return opened(target)

    with monkeypatch.context() as patch:
        patch.setattr(source_module, "opened", changing)
        assert len(reader.pull()) == 10
    assert len(reader.pull()) == 10
    assert reader.pull() == []


def test_a_disk_error_holds_up_no_other_file(reader, payloads, monkeypatch):
    """The others are read, then the engine is asked to try again."""
    put(reader, "a.json", bundle(payloads[0]), age=10)
    put(reader, "b.json", bundle(payloads[1]), age=5)
    opened = source_module.opened

    def failing(path):
        if path.name == "a.json":
            raise OSError(5, "Input/output error")
        return opened(path)

    with monkeypatch.context() as patch:
        patch.setattr(source_module, "opened", failing)
        with pytest.raises(Transient, match=r"1 of 2 files.*a\.json"):
            reader.pull()
    assert len(reader.cursor.state["read"]) == 1
    assert [each.payload for each in reader.pull()] == [payloads[0]]


def test_files_without_permission_are_set_aside(reader, payloads, monkeypatch):
    """And read when the permission is mended, which changes the file's change time."""
    put(reader, "a.json", bundle(payloads[0]))

    def refusing(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(source_module, "opened", refusing)
        assert reader.pull() == []
        assert "Permission denied" in reader.set_aside[0].reason
    (reader.path / "a.json").chmod(0o600)
    assert len(reader.pull()) == 1


def test_check_counts(reader, payloads):
    """It says how many files there are, and moves nothing."""
    put(reader, "a.json", bundle(payloads[0]))
    assert asyncio.run(reader.source().check()).startswith("1 file matches *.json* in ")


def test_a_folder_that_is_not_there(reader):
    """It is a wrong setting."""
    reader.path.rmdir()
    with pytest.raises(ConfigurationError, match=r"cannot be read.*Set `path`"):
        reader.pull()
    with pytest.raises(ConfigurationError):
        asyncio.run(reader.source().check())


def test_what_the_sink_writes_the_source_reads(reader, folder):
    """There and back."""
    folder.deliver(range(1, 50), compression="zstd")
    folder.path.rename(reader.path / "sub")
    assert len(reader.pull(recursive=True)) == 49
