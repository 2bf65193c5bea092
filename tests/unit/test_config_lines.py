"""Where each key of a TOML document stands."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiforge.config.lines import Path, lines_of

BARE = re.compile(r"[A-Za-z0-9_-]+")
KEYS = st.one_of(
    st.text("abcXYZ019_-", min_size=1, max_size=6),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=5),
)
COMMENTS = st.sampled_from(["", "# [not.a.table]", '# key = "value"', "#", '   # """', "\t# \u2028 x = 1"])
INLINE = st.sampled_from(["", "  # a comment", ' # x = "y"', "\t#"])
SCALARS = st.sampled_from(
    [
        "1",
        "true",
        '"text # no comment"',
        "'literal [x]'",
        '"a\\"b"',
        "2026-01-01T00:00:00Z",
        "[1, 2]",
        '"\u2028 \u0085 in text"',
        '""',
    ]
)
LONG = st.sampled_from(
    [
        '"""\nfirst\n[not.a.table]\nkey = 1\n"""',
        "'''\n# no comment\n\nx = \"\"\"\n'''",
        "[\n  1, # one\n  2,\n\n]",
        '[\n  "a = 1",\n  """\n  [x]\n  """,\n]',
        '"""one \\\n    line"""',
    ]
)


def written(key: str) -> str:
    return key if BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass
class Document:
    """A document in the making, and the line of each of its keys."""

    lines: list[str] = field(default_factory=list)
    where: dict[Path, int] = field(default_factory=dict)

    def add(self, text: str) -> int:
        at = len(self.lines) + 1
        self.lines += text.split("\n")
        return at

    def note(self, path: Path, line: int, above: int = 0) -> None:
        for depth in range(above + 1, len(path) + 1):
            self.where.setdefault(path[:depth], line)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    made = Document()

    def fill(table: Path) -> None:
        for name in draw(st.lists(KEYS, max_size=4, unique=True)):
            for comment in draw(st.lists(COMMENTS, max_size=2)):
                made.add(comment)
            path = (*table, name, *draw(st.lists(KEYS, max_size=2)))
            key = ".".join(map(written, path[len(table) :]))
            kind = draw(st.sampled_from(["scalar", "long", "inline"]))
            if kind == "inline":
                inner = draw(st.lists(KEYS, min_size=1, max_size=3, unique=True))
                pairs = ", ".join(f"{written(each)} = {draw(SCALARS)}" for each in inner)
                line = made.add(f"{key} = {{ {pairs} }}")
                for each in inner:
                    made.note((*path, each), line, len(table))
            else:
                value = draw(SCALARS) + draw(INLINE) if kind == "scalar" else draw(LONG)
                line = made.add(f"{draw(st.sampled_from(['', '  ']))}{key} = {value}")
                made.note(path, line, len(table))

    fill(())
    top = {path[0] for path in made.where}
    for name in draw(st.lists(KEYS.filter(lambda key: key not in top), max_size=4, unique=True)):
        path = (name, *draw(st.lists(KEYS, max_size=2)))
        header = " . ".join(map(written, path))
        opening, closing = ("[[", "]]") if draw(st.booleans()) else ("[", "]")
        made.note(path, made.add(f"{opening}{header}{closing}{draw(INLINE)}"))
        fill(path)
    return made


@given(documents(), st.booleans(), st.booleans())
def test_each_key_stands_on_its_line(made: Document, windows: bool, ends: bool) -> None:
    """Whatever the document holds, the line is that of the statement, as an editor counts."""
    text = ("\r\n" if windows else "\n").join(made.lines) + ("\n" if ends else "")
    tomllib.loads(text)  # what was generated is TOML
    found = lines_of(text)
    assert found == made.where


def test_a_second_table_of_an_array_and_a_reopened_table_keep_the_first_line() -> None:
    """A key that stands twice is found where it stands first."""
    text = "[[a]]\nx = 1\n[[a]]\nx = 2\ny = 3\n[b.c]\n[b]\nd = 1\n"
    assert lines_of(text) == {
        ("a",): 1,
        ("a", "x"): 2,
        ("a", "y"): 5,
        ("b",): 6,
        ("b", "c"): 6,
        ("b", "d"): 8,
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "\r\n"])
def test_nothing_is_found_in_nothing(text: str) -> None:
    """An empty document has no keys."""
    assert lines_of(text) == {}
