from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiforge import Permanent, SetAside, Transient
from tiforge_mimecast.lines import LONGEST, lines_of
from tiforge_mimecast.rows import COLUMNS, Row, read_rows

SHA256 = "0123456789abcdef" * 4
MD5 = "0123456789abcdef" * 2
STAMP = "2026-01-31T12:00:00+0000"


def read(text: str | bytes, **options: Any) -> list[Row | SetAside]:
    raw = text.encode() if isinstance(text, str) else text
    options = {"where": "malware_grid", "accept_cut": lambda place, line: True, **options}
    return list(read_rows(io.BytesIO(raw), **options))


def one(text: str | bytes) -> Row:
    (row,) = read(text)
    assert isinstance(row, Row), row
    return row


def aside(text: str | bytes) -> SetAside:
    (piece,) = read(text)
    assert isinstance(piece, SetAside), piece
    return piece


def test_a_full_row() -> None:
    row = one(
        "Timestamp|FileName|FileMimeType|FileSize|MD5|SHA1|SHA256|"
        "SendingIP|SenderDomain|SenderAddress|RecipientAddress|Verdict\n"
        f"2026-01-31T12:00:00.123Z|a.exe|application/pdf|12|{MD5}|{'a' * 40}|{SHA256}|"
        "192.0.2.1|example.com|a@example.com|b@example.org|bad\n"
    )
    assert row == Row(
        "2026-01-31T12:00:00.123Z", SHA256, "a" * 40, MD5, "a.exe", "application/pdf", "12", "192.0.2.1",
        "example.com", "a@example.com", "b@example.org", (("Verdict", "bad"),),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        f"Timestamp|SHA256\n{STAMP}|{SHA256}",
        f"Timestamp|SHA256\r\n{STAMP}|{SHA256}\r\n",
        f"\ufeffTimestamp|SHA256\n{STAMP}|{SHA256}\n\n\n",
        f"sha256|TIMESTAMP\n{SHA256.upper()}|{STAMP}\n",
        f'"SHA-256"|"timestamp"\n"{SHA256}"|"{STAMP}"\n',
        f" sha_256 | Timestamp \n {SHA256} | {STAMP} \n",
        f"SHA256|MD5|FileName|Timestamp\n{SHA256}|null||{STAMP}",
        f"SHA256|Timestamp\n{SHA256}|2026-01-31T13:00:00+0100",
        f"SHA256|Timestamp\n{SHA256}|2026-01-31T12:00:00Z",
        f"SHA256|Timestamp\n{SHA256}|2026-01-31T12:00:00.000000Z",
    ],
)
def test_forms_of_the_same_row(text: str) -> None:
    assert one(text) == Row("2026-01-31T12:00:00.000Z", SHA256, *[""] * 9)


@pytest.mark.parametrize("text", ["Timestamp|SHA256", "Timestamp|SHA256\n", "\ufeffTimestamp|SHA256\r\n\r\n"])
def test_a_header_alone_is_an_empty_feed(text: str) -> None:
    assert read(text) == []


def test_an_md5_alone_is_enough() -> None:
    assert one(f"MD5|Timestamp\n{MD5}|{STAMP}").md5 == MD5


def test_quoted_pipes_and_quotes() -> None:
    assert one(f'MD5|FileName|Timestamp\n{MD5}|"a|b ""c"".exe"|{STAMP}').name == 'a|b "c".exe'
    assert one(f'MD5|FileName|Timestamp\n{MD5}|a"b".exe|{STAMP}').name == 'a"b".exe'
    assert one(f"MD5|FileName|Timestamp\n{MD5}| a.exe |{STAMP}").name == " a.exe "


def test_unknown_columns_are_kept_under_their_names() -> None:
    row = one(f"Zeta|MD5|Alpha||Timestamp|md5|Alpha|Empty\nz|{MD5}|1|x|{STAMP}|other|2|null")
    assert row.others == (("Alpha", "1"), ("Alpha 2", "2"), ("Zeta", "z"), ("column 4", "x"), ("md5", "other"))


def test_a_column_that_comes_twice_hides_nothing() -> None:
    row = one(f"FileSize|MD5|FileSize|Timestamp|FileSize\n1|{MD5}|2|{STAMP}|3")
    assert (row.size, row.others) == ("1", (("FileSize 2", "2"), ("FileSize 3", "3")))


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (f"{STAMP}|{SHA256}", "2 cells, the header has 3"),
        (f"{STAMP}|{SHA256}|a|b", "4 cells, the header has 3"),
        (f"{STAMP}||a", "no hash"),
        (f"{STAMP}|null|a", "no hash"),
        (f"{STAMP}|{SHA256[1:]}|a", "not 64 hexadecimal digits"),
        (f"{STAMP}|{SHA256[1:]}g|a", "not 64 hexadecimal digits"),
        (f"|{SHA256}|a", "no Timestamp"),
        (f"yesterday|{SHA256}|a", "Timestamp"),
        (f"2026-01-31T12:00:00|{SHA256}|a", "Timestamp"),
        (f"0001-01-01T00:00:00+1400|{SHA256}|a", "Timestamp"),
        (f"9999-12-31T00:00:00Z|{SHA256}|a", "Timestamp"),
        (f'{STAMP}|{SHA256}|"a', "quotes"),
        (f'{STAMP}|{SHA256}|"a"b', "quotes"),
        (f"{STAMP}|{SHA256}|a\0b", "NUL"),
        (f"{STAMP}|{SHA256}|" + "x" * LONGEST, "longer than"),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_an_unreadable_row_spoils_no_other(cells: str, reason: str, last: bool) -> None:
    good = f"{STAMP}|{SHA256}|good"
    found = read("\n".join(["Timestamp|SHA256|FileName", good, cells, *([] if last else [good])]))
    kinds = [type(each) for each in found]
    assert kinds == [Row, SetAside] if last else [Row, SetAside, Row]
    piece = found[1]
    assert isinstance(piece, SetAside)
    assert reason in piece.reason
    assert piece.where == "malware_grid, line 3"
    assert len(piece.raw) <= 2000
    assert piece.raw.startswith(cells[:20].replace("\0", "\\x00"))
    assert "\0" not in piece.raw


def test_bytes_that_are_no_text() -> None:
    piece = aside(b"Timestamp|MD5|FileName\n" + STAMP.encode() + b"|" + MD5.encode() + b"|\xff\xfe")
    assert "not UTF-8" in piece.reason
    assert piece.raw.endswith(r"\xff\xfe")


def test_a_cut_row_is_asked_for_again() -> None:
    text = f"Timestamp|SHA256|FileName\n{STAMP}|{SHA256}|a\n{STAMP}|{SHA256[:7]}"
    with pytest.raises(Transient, match=r"cut short.*line 3"):
        read(text, accept_cut=lambda place, line: False)
    assert len(read(text + "\n", accept_cut=lambda place, line: False)) == 2


@pytest.mark.parametrize(
    "text", ["", "hello", "a|b|c\n1|2|3", "error: something", b"\xff\xfea\0", '"SHA256', "MD5\0|x"]
)
def test_no_feed_is_no_empty_feed(text: str | bytes) -> None:
    with pytest.raises(Permanent):
        read(text)


CELL = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=20)
HASH = st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)


@given(st.permutations(COLUMNS), st.lists(st.tuples(HASH, CELL, CELL, CELL), max_size=8), st.booleans(), st.data())
def test_any_csv_is_read_as_the_csv_module_wrote_it(
    order: list[str], rows: list[tuple[str, str, str, str]], crlf: bool, data: st.DataObject
) -> None:
    written = io.StringIO()
    writer = csv.writer(written, delimiter="|", lineterminator="\r\n" if crlf else "\n")
    writer.writerow([*order, "Extra"])
    for hash, name, sender, extra in rows:
        known = {"SHA256": hash, "Timestamp": STAMP, "FileName": name, "SenderAddress": sender}
        writer.writerow([*(known.get(column, "") for column in order), extra])
    found = read(written.getvalue())
    assert len(found) == len(rows)
    for row, (hash, name, sender, extra) in zip(found, rows, strict=True):
        assert isinstance(row, Row)
        assert row.sha256 == hash.lower()
        assert row.name == ("" if name.strip() in ("", "null", "NULL", "Null") else name)
        assert row.sender == ("" if sender.strip() in ("null", "NULL", "Null") else sender.strip())
        assert row.others in ((("Extra", extra),), ())


@given(st.binary(max_size=400))
def test_no_bytes_stop_the_reader(noise: bytes) -> None:
    text = f"Timestamp|SHA256\n{STAMP}|{SHA256}\n".encode() + noise + f"\n{STAMP}|{SHA256}\n".encode()
    found = read(text)
    assert isinstance(found[0], Row)
    assert isinstance(found[-1], Row)
    kept = [line for line in noise.split(b"\n") if line.removesuffix(b"\r")]
    assert len(found) == len(kept) + 2


@given(
    st.lists(st.binary(max_size=30).filter(lambda raw: b"\n" not in raw and not raw.endswith(b"\r")), max_size=30)
)
def test_lines(raws: list[bytes]) -> None:
    found = [line.raw for line in lines_of(io.BytesIO(b"\n".join(raws) + b"\n"))]
    assert found == (raws or [b""])


@pytest.mark.parametrize("size", [1, 2, 3, 64 * 1024, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, 1_000_000])
def test_lines_of_any_length(size: int) -> None:
    found = list(lines_of(io.BytesIO(b"a\n" + b"x" * size + b"\nlast")))
    assert [line.number for line in found] == [1, 2, 3]
    assert found[1].too_long == (size > LONGEST)
    assert found[1].raw == b"x" * (size if size <= LONGEST else 2048)
    assert [line.ended for line in found] == [True, True, False]
