"""Patterns: written so that the grammar reads the value back, and read alike by both ways of reading."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stix2patterns.v21.pattern import Pattern
from stix2patterns.validator import run_validator

from tiforge import InvalidObject
from tiforge.stix import equals, observables
from tiforge.stix import pattern as module

VALUES = st.text(st.characters(exclude_categories=["Cs"])) | st.text("'\\\n\t []()=", max_size=12)
PATHS = st.sampled_from([
    "file:name", "file:hashes.'SHA-256'", "file:hashes.MD5", "ipv4-addr:value", "url:value", "x-custom:a.b.'c d'",
    "email-message:from_ref.value", "windows-registry-key:key",
])  # fmt: skip
BLANKS = st.sampled_from(["", " ", "\n", " \t "])
COMPARISONS = st.tuples(PATHS, VALUES)


def by_grammar(pattern: str) -> set[tuple[str, str]]:
    return {(found.path, found.value) for found in module._by_grammar(pattern)}


@given(PATHS, VALUES)
def test_any_text_comes_back(path: str, value: str) -> None:
    """Whatever a value holds, the pattern looks for exactly that, and the grammar says so too."""
    pattern = equals(path, value)
    assert observables(pattern) == ((path, value),)
    assert by_grammar(pattern) == {(path, value)}


@given(VALUES)
def test_the_validator_accepts_what_is_written(value: str) -> None:
    """The OASIS pattern validator finds nothing wrong with any value."""
    assert run_validator(equals("file:name", value), stix_version="2.1") == []


@given(st.lists(COMPARISONS, min_size=1, max_size=4), st.data())
def test_lists_are_read_alike_by_both_ways(comparisons: list[tuple[str, str]], data: st.DataObject) -> None:
    """A list of comparisons gives the same to the regular expression and to the grammar, however it is spaced."""

    def blank() -> str:
        return data.draw(BLANKS)

    text = ""
    for at, (path, value) in enumerate(comparisons):
        inner = equals(path, value)[1:-1].removeprefix(path).removeprefix(" = ")
        joint = f"{blank()} {data.draw(st.sampled_from(['OR', 'AND']))} {blank()}" if at else ""
        text += f"{joint}{path}{blank()}={blank()}{inner}"
    pattern = f"[{blank()}{text}{blank()}]"
    try:
        expected = by_grammar(pattern)
    except InvalidObject:  # AND joins comparisons of one object type alone
        assert len({path.split(":")[0] for path, _ in comparisons}) > 1
        return
    assert set(observables(pattern)) == expected == set(comparisons)


PIECES = st.lists(
    st.sampled_from([
        "[", "]", "(", ")", "file:name", "ipv4-addr:value", "file:hashes.'SHA-256'", "=", "!=", "==", "<", " ",
        "\n", "'a'", "'it\\'s'", "'", "\\", "OR", "AND", "NOT", "FOLLOWEDBY", "IN", "LIKE", "EXISTS", ",", "5",
        "true", "t'2026-01-01T00:00:00Z'", "WITHIN", "SECONDS", "REPEATS", "TIMES", "\u00a0", "/*", "*/", "x",
    ]),
    max_size=14,
).map("".join)  # fmt: skip


@given(PIECES)
def test_nonsense_is_an_invalid_object_for_both(pattern: str) -> None:
    """What the grammar refuses, the quick way does not read either; nothing but InvalidObject is raised."""
    try:
        expected: Any = by_grammar(pattern)
    except InvalidObject:
        expected = None
    try:
        found: Any = set(observables(pattern))
    except InvalidObject:
        found = None
    assert found == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[file:name = 'a' OR file:name = 'b']", [("file:name", "a"), ("file:name", "b")]),
        ("[file:name = 'a' AND file:size = 5]", [("file:name", "a"), ("file:size", "5")]),
        ("[file:name = 'a'] FOLLOWEDBY [url:value = 'b']", [("file:name", "a"), ("url:value", "b")]),
        ("([file:name = 'a'] OR [file:name = 'b']) WITHIN 5 SECONDS", [("file:name", "a"), ("file:name", "b")]),
        ("[file:name IN ('a', 'b, c', 'it\\'s (d)')]", [
            ("file:name", "a"), ("file:name", "b, c"), ("file:name", "it's (d)"),
        ]),
        ("[file:size IN (1, -2, 3)]", [("file:size", "1"), ("file:size", "-2"), ("file:size", "3")]),
        ("[file:name == 'a']", [("file:name", "a")]),
        ("[file:name = 'a' OR file:name = 'a']", [("file:name", "a")]),
        ("[file:hashes.MD5 = 'a' OR file:hashes.'MD5' = 'a']", [("file:hashes.MD5", "a")]),
        ("[file:hashes.'SHA-256' = 'a']", [("file:hashes.'SHA-256'", "a")]),
        ("[file:extensions.'a.b'.c = 'a']", [("file:extensions.'a.b'.c", "a")]),
        ("[file:x.'it\\'s' = 'a']", [("file:x.'it\\'s'", "a")]),
        ("[file:created = t'2026-01-01T00:00:00Z']", [("file:created", "2026-01-01T00:00:00Z")]),
        ("[artifact:payload_bin = b'YQ==']", [("artifact:payload_bin", "YQ==")]),
        ("[x-a:b = h'00ff']", [("x-a:b", "00ff")]),
        ("[file:is_x = true]", [("file:is_x", "true")]),
        ("[windows-registry-key:values[0].name = 'a']", [("windows-registry-key:values[0].name", "a")]),
        ("[process:x_refs[*].value = 'a']", [("process:x_refs[*].value", "a")]),
        ("[file:name = '']", [("file:name", "")]),
        ("[file:name = 'a' /* why */]", [("file:name", "a")]),
    ],
)  # fmt: skip
def test_what_is_looked_for(pattern: str, expected: list[tuple[str, str]]) -> None:
    """Every equality is reported, with one spelling of its path and its value as the object would hold it."""
    assert list(observables(pattern)) == expected


@pytest.mark.parametrize(
    "comparison",
    [
        "file:name != 'a'", "file:name <> 'a'", "file:name NOT = 'a'", "file:name NOT != 'a'",
        "file:name NOT IN ('a', 'b')", "file:name LIKE 'a%'", "file:name NOT LIKE 'a'", "file:name MATCHES '^a$'",
        "file:size > 5", "file:size <= 5", "ipv4-addr:value ISSUBSET '192.0.2.0/24'",
        "ipv4-addr:value ISSUPERSET '192.0.2.0/24'", "EXISTS file:name",
    ],
)  # fmt: skip
def test_what_names_no_single_value_is_left_out(comparison: str) -> None:
    """A negation, a range or a wildcard is no observable: what it excludes must never be blocked."""
    type = "ipv4-addr:value" if "ipv4" in comparison else "file:name"
    assert observables(f"[{comparison}]") == ()
    assert observables(f"[{type} = 'x' AND {comparison}]") == ((type, "x"),)


@pytest.mark.parametrize(
    "pattern",
    ["", " ", "nonsense", "[]", "[file:name]", "[file:name = 'a'", "file:name = 'a'", "[file:name = a]",
     "[file:name = 'a\\b']", "[file:name = 'a\\']", "[NOT file:name = 'a']", "[file:name = 'a'] [file:name = 'b']",
     "\x00",
     "[file:name = \"a\"]", "[file:name = '\x00", "[1file:name = 'a']", "[file:name = 'a' or file:name = 'b']"],
)  # fmt: skip
def test_what_does_not_parse_is_refused(pattern: str) -> None:
    """A pattern outside the grammar is an InvalidObject whose message can be printed."""
    with pytest.raises(InvalidObject, match="does not parse") as caught:
        observables(pattern)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "pattern",
    [
        "[" + "(" * 20_000,
        "[" + "(" * 5_000 + "file:name = 'a'" + ")" * 5_000 + "]",
        "[file:name = 'a'" + " OR file:name != 'a'" * 3_000 + "]",
    ],
    ids=["unclosed", "nested", "long"],
)
def test_depth_is_an_invalid_object(pattern: str) -> None:
    """A pattern that is nested or chained without measure is refused; the interpreter's limit does not escape."""
    with pytest.raises(InvalidObject):
        observables(pattern)


@pytest.mark.parametrize(
    "text",
    [
        "[file:name =" + " " * 200_000,
        "[file:name = '" + "a" * 200_000,
        "[file:name = '" + "\\" * 200_001,
        "[file:name = '" + "\\'" * 100_000,
        "[file:" + "a." * 100_000,
        "[file:" + "a.'b'." * 50_000,
        "[a" + "-" * 200_000,
        "[file:name = 'a'" + " OR file:name = 'a'" * 20_000,
        "[file:name = 'a'" + "  AND  file:name = 'a' " * 20_000 + "x]",
        "[" + " " * 200_000 + "x",
    ],
    ids=["blanks", "open", "slashes", "quotes", "path", "quoted path", "type", "or", "and", "lead"],
)
def test_a_hostile_pattern_costs_its_length_only(text: str) -> None:
    """The expressions settle each choice at once: what takes seconds to refuse would stop the whole feed.

    A backtracking expression would need longer than the test's own limit for any of these.
    """
    assert module._ONE.fullmatch(text) is None
    assert module._MANY.fullmatch(text) is None


def test_a_long_list_is_read_quickly_by_the_expression() -> None:
    """A list longer than the grammar's recursion allows is still read, since the expression does not recurse."""
    pattern = "[" + " OR ".join(f"file:name = '{number}'" for number in range(5_000)) + "]"
    assert [found.value for found in observables(pattern)] == [str(number) for number in range(5_000)]


def test_the_referee_reports_negation_as_tiforge_expects() -> None:
    """What tiforge relies on: the inspector's operator holds the `NOT`."""
    ((_, operator, _),) = Pattern("[file:name NOT = 'a']").inspect().comparisons["file"]
    assert operator == "NOT ="
