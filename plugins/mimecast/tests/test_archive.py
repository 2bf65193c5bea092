from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from typing import Any

import pytest

from tiforge import Permanent, Record, SetAside, Transient
from tiforge_mimecast.content import Content
from tiforge_mimecast.emulator.files import zip_bomb, zipped
from tiforge_mimecast.objects import Objects
from tiforge_mimecast.settings import MimecastSettings
from tiforge_mimecast.sniff import Form, sniff

SETTINGS = MimecastSettings(type="mimecast", client_id="app", client_secret="marked-secret")  # type: ignore[arg-type]
ROWS = b"Timestamp|MD5\n" + b"\n".join(b"2026-01-31T12:00:00Z|%032x" % number for number in range(500))


def read(body: bytes, **limits: Any) -> list[list[Record] | SetAside]:
    content = Content(Objects(SETTINGS), **{"max_expanded": 1 << 30, **limits})
    file = io.BytesIO(body)
    return list(content.items(file, sniff(file), feed="malware_grid"))


def test_every_member_is_read() -> None:
    found = read(zipped([("a.csv", ROWS), ("deep/../b.csv", ROWS), ("empty.csv", b"")]))
    assert len(found) == 1000


def test_an_archive_without_members_is_empty() -> None:
    assert read(zipped([])) == []


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    body = zip_bomb()
    assert len(body) < 12 << 20
    with zipfile.ZipFile(io.BytesIO(body)) as archive:  # it is a real one
        assert sum(entry.file_size for entry in archive.infolist()) == 10 << 30
        with archive.open(archive.infolist()[3]) as member:
            assert member.read(1 << 20) == bytes(1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(Permanent, match=r"10,737,418,240 bytes.*max_expanded"):
            read(body)
        with pytest.raises(Permanent, match="zip bomb"):
            read(body, max_expanded=1 << 40)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_member_cannot_expand_beyond_what_it_declares() -> None:
    body = bytearray(zipped([("a.csv", ROWS)]))
    at = body.index(b"PK\x01\x02")
    struct.pack_into("<L", body, at + 24, 100)
    with pytest.raises(Transient, match="damaged"):
        read(bytes(body))


def test_a_small_bomb_is_told_by_its_ratio() -> None:
    with pytest.raises(Permanent, match="-fold"):
        read(zip_bomb(1))


def test_an_encrypted_member() -> None:
    body = bytearray(zipped([("a.csv", ROWS)]))
    body[6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(Permanent, match=r"a\.csv is encrypted"):
        read(bytes(body))


def test_an_unknown_method() -> None:
    body = bytearray(zipped([("a.csv", ROWS)]))
    body[8] = body[body.index(b"PK\x01\x02") + 10] = 97
    with pytest.raises(Permanent, match="cannot be read"):
        read(bytes(body))


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.5, 0.9, 0.999])
def test_a_cut_archive_may_be_whole_the_next_time(share: float) -> None:
    body = zipped([("a.csv", ROWS)])
    with pytest.raises(Transient):
        read(body[: max(4, int(len(body) * share))])


@pytest.mark.parametrize("at", [30, 60, 500, -30, -60])
def test_a_damaged_archive(at: int) -> None:
    body = bytearray(zipped([("a.csv", ROWS)]))
    for offset in range(8):
        body[at + offset if at > 0 else len(body) + at + offset] ^= 0xFF
    with pytest.raises((Transient, Permanent)):
        read(bytes(body))


def test_too_many_members() -> None:
    with pytest.raises(Permanent, match="10,001 members"):
        read(zipped([(f"{number}", b"") for number in range(10_001)]))


def test_a_huge_table_of_contents_is_not_loaded() -> None:
    body = bytearray(zipped([("a.csv", ROWS)]))
    struct.pack_into("<L", body, body.index(b"PK\x05\x06") + 12, 1 << 31)
    with pytest.raises(Permanent, match="table of contents is 2,147,483,648 bytes"):
        read(bytes(body))


def test_a_strange_member_beside_a_feed_is_set_aside() -> None:
    found = read(zipped([("a.html", b"<html>x</html>"), ("a.csv", ROWS), ("nested.zip", zipped([("b", ROWS)]))]))
    pieces = [each for each in found if isinstance(each, SetAside)]
    assert [piece.where for piece in pieces] == ["malware_grid, member a.html", "malware_grid, member nested.zip"]
    assert len(found) == 502


def test_strange_members_alone_are_no_empty_feed() -> None:
    with pytest.raises(Permanent, match="No member"):
        read(zipped([("a.html", b"<html>x</html>")]))


def test_a_members_name_is_shown_safely() -> None:
    (piece,) = read(zipped([("../../x\n\x1b[31m\u202e", b"Timestamp|MD5\nx|y")]))
    assert isinstance(piece, SetAside)
    assert piece.where.isprintable()
    assert "../../x" in piece.where


def test_a_body_that_is_cut_twice_at_the_same_place_is_like_that() -> None:
    content = Content(Objects(SETTINGS), max_expanded=1)

    def once(body: bytes) -> list[list[Record] | SetAside]:
        return list(content.items(io.BytesIO(body), Form.TEXT, feed="malware_grid"))

    with pytest.raises(Transient):
        once(ROWS[:-50])
    with pytest.raises(Transient):
        once(ROWS[:-60])
    assert isinstance(once(ROWS[:-60])[-1], SetAside)


@pytest.mark.parametrize(
    ("start", "form"),
    [
        (b"", Form.EMPTY),
        (b"\xef\xbb\xbf \r\n", Form.EMPTY),
        (b"PK\x03\x04", Form.ZIP),
        (b"PK\x05\x06", Form.ZIP),
        (b'\xef\xbb\xbf{"a":1}', Form.JSON),
        (b" <!DOCTYPE html>", Form.MARKUP),
        (b"Timestamp|SHA256", Form.TEXT),
    ],
)
def test_sniff(start: bytes, form: Form) -> None:
    file = io.BytesIO(start)
    assert sniff(file) is form
    assert file.tell() == 0
