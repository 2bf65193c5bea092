"""The record: what it is made of, what it refuses, and what it says of itself."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
import stix2
from hypothesis import given
from hypothesis import strategies as st

from tiforge import InvalidObject, Record
from tiforge.stix import TLP, micros, parse_timestamp

ID = "indicator--47e1555c-0d20-5cd6-9252-da71e2e7ff12"
TIME = "2026-01-01T00:00:00.000Z"
BASE: dict[str, Any] = {
    "type": "indicator",
    "spec_version": "2.1",
    "id": ID,
    "created": TIME,
    "modified": TIME,
    "pattern": "[file:name = 'a']",
    "pattern_type": "stix",
    "valid_from": TIME,
}
FILE = {"type": "file", "id": "file--47e1555c-0d20-5cd6-9252-da71e2e7ff12", "name": "a"}


def test_each_form_is_the_same_record() -> None:
    """Data, text, bytes and a record of one object are equal records."""
    text = json.dumps(BASE)
    of_data = Record.of(BASE)
    for form in (text, text.encode(), bytearray(text.encode()), memoryview(text.encode()), of_data):
        made = Record.of(form)  # type: ignore[arg-type]
        assert made == of_data
        assert hash(made) == hash(of_data)
    assert Record.of(of_data) is of_data


def test_a_stix2_object_is_taken() -> None:
    """An object of the `stix2` library becomes a record with the same content."""
    made = stix2.Indicator(id=ID, created=TIME, modified=TIME, pattern=BASE["pattern"], pattern_type="stix")
    record = Record.of(made)
    assert (record.id, record.type, record.version) == (ID, "indicator", TIME)
    assert record.object == json.loads(made.serialize())


def test_a_stix2_object_of_2_0_is_refused() -> None:
    """An object of STIX 2.0 is not taken for one of 2.1."""
    with pytest.raises(InvalidObject, match="upgrade"):
        Record.of(stix2.v20.Identity(name="a", identity_class="organization"))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


class Serializes:
    def serialize(self) -> str:
        raise RuntimeError("not one of stix2's")


REFUSED: list[Any] = [
    None, 5, 1.5, True, [], (), set(), object(), "", "[]", "null", "5", "nonsense", b"", b"\xff\xfe", "\ud800",
        "{}", {}, {1: 2}, '{"a": 1e400}', '{"a": NaN}', b"[" * 100_000, b'{"a":' * 100_000, Serializes(),
        stix2.Indicator, {**BASE, 5: "key"}, {**BASE, "x": "\ud800"}, {**BASE, "\ud800": "x"},
        {**BASE, "x": float("nan")}, {**BASE, "x": [{"y": float("-inf")}]}, {**BASE, "x": object()},
        {**BASE, "x": b"bytes"}, {**BASE, "x": {1, 2}}, {**BASE, "x": parse_timestamp(TIME)},
        {**BASE, "modified": parse_timestamp(TIME)}, {**BASE, "x": nested(5_000)},
        json.dumps(BASE)[:-1] + ', "x": ' + '{"a":' * 600 + "1" + "}" * 601,
]  # fmt: skip


# By position, since some of them cannot be shown.
@pytest.mark.parametrize("candidate", REFUSED, ids=[str(at) for at in range(len(REFUSED))])
def test_anything_else_is_refused(candidate: Any) -> None:
    """What is no STIX object, or cannot be written as JSON, is an InvalidObject and nothing else."""
    with pytest.raises(InvalidObject) as caught:
        Record.of(candidate)
    str(caught.value).encode()


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**5_000], ids=["2^64", "-2^63 - 1", "10^5000"])
def test_numbers_beyond_64_bits_are_refused(number: int) -> None:
    """A number that JSON readers would round is refused rather than changed."""
    with pytest.raises(InvalidObject):
        Record.of({**BASE, "x": number})


def test_a_null_is_not_a_nan() -> None:
    """Null in a foreign property is passed on as it came."""
    assert Record.of({**BASE, "x": None, "y": "null"}).object["x"] is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from([*BASE, "confidence", "revoked", "valid_until", "x"]), ANYTHING, max_size=3)
)
def test_a_record_can_always_be_read(broken: dict[str, Any]) -> None:
    """What became a record has facets, observables, a version and bytes that say the same as its object."""
    try:
        record = Record.of({**BASE, **broken})
    except InvalidObject:
        return
    assert record.facets.modified is not None
    assert orjson.loads(record.payload) == record.object
    with suppress(InvalidObject):  # a pattern is parsed when its observables are asked for
        assert isinstance(record.observables, tuple)


@given(ANYTHING, ANYTHING)
def test_custom_objects_can_be_read_too(pattern: Any, valid_until: Any) -> None:
    """A custom type may use the names of an indicator's properties for other things."""
    custom = {**BASE, "type": "x-rule", "id": ID.replace("indicator", "x-rule")}
    try:
        record = Record.of({**custom, "pattern": pattern, "pattern_type": "sigma", "valid_until": valid_until})
    except InvalidObject:
        return
    assert record.observables == ()
    assert record.facets.modified is not None


@given(ANYTHING)
def test_pattern_of_any_kind(pattern: Any) -> None:
    """A pattern that is no text names no observables."""
    custom = {**BASE, "type": "x-rule", "id": ID.replace("indicator", "x-rule"), "pattern": pattern}
    try:
        assert isinstance(Record.of(custom).observables, tuple)
    except InvalidObject:
        return


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives(text: str) -> None:
    """A name goes in and comes out as the same characters."""
    assert orjson.loads(Record.of({**BASE, "name": text}).payload)["name"] == text


@pytest.mark.parametrize(
    "text",
    [
        TIME, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.0Z", "2026-01-01T00:00:00.000000Z",
        "2026-01-01T02:00:00+02:00", "2025-12-31T19:00:00.000-05:00", "2026-01-01T00:00:00.0000004Z",
    ],
)  # fmt: skip
def test_one_instant_is_one_version(text: str) -> None:
    """However a feed spells `modified`, the same instant is the same version."""
    record = Record.of({**BASE, "created": "2020-01-01T00:00:00Z", "modified": text})
    assert record.version == TIME
    assert record.facets.modified == micros(parse_timestamp(TIME))


def test_versions_are_ordered_as_their_instants() -> None:
    """A later instant is another version."""
    later = Record.of({**BASE, "modified": "2026-01-01T00:00:00.001Z"})
    assert later.version > Record.of(BASE).version
    assert later != Record.of(BASE)


def test_what_has_no_modified_is_known_by_its_content() -> None:
    """A cyber-observable's version is a digest: the same content the same, another content another."""
    assert Record.of(FILE).version == Record.of(dict(FILE)).version
    assert Record.of(FILE).version != Record.of({**FILE, "size": 1}).version
    assert Record.of(FILE).facets.modified is None


def test_a_record_is_frozen() -> None:
    """Nothing of a record can be set, added or deleted by name."""
    record = Record.of(BASE)
    for name in ("id", "payload", "_object", "other"):
        with pytest.raises(AttributeError, match="frozen"):
            setattr(record, name, "x")


def test_the_object_is_read_from_the_bytes() -> None:
    """A record from the store has no object until it is asked for one, and reads it once."""
    made = Record.of(BASE)
    stored = Record(made.id, made.type, made.version, made.payload)
    assert stored.object == BASE
    assert stored.object is stored.object
    assert stored.facets is stored.facets
    assert stored.observables is stored.observables


def test_facets_of_a_bare_object() -> None:
    """What is not there is `None`, or not revoked."""
    facets = Record.of(FILE).facets
    assert facets == (None, None, False, None, None)


def test_facets_of_a_full_object() -> None:
    """Times are microseconds, the marking is the strictest of the Traffic Light Protocol."""
    facets = Record.of(
        {
            **BASE,
            "valid_until": "2026-02-01T00:00:00Z",
            "revoked": True,
            "confidence": 0,
            "object_marking_refs": [TLP.GREEN.marking, "marking-definition--x", TLP.AMBER.marking],
        }
    ).facets
    assert facets.valid_until == micros(parse_timestamp("2026-02-01T00:00:00Z"))
    assert facets.revoked is True
    assert facets.confidence == 0
    assert facets.tlp == TLP.AMBER


def test_only_stix_patterns_name_observables() -> None:
    """A pattern in another language is not read as STIX."""
    assert Record.of(BASE).observables == (("file:name", "a"),)
    assert Record.of({**BASE, "pattern": "rule x { condition: true }", "pattern_type": "yara"}).observables == ()


def test_what_is_shown_is_short() -> None:
    """A record's `repr` names it, and not its content."""
    assert repr(Record.of(BASE)) == f"<Record {ID} {TIME}>"
    assert Record.of(BASE) != BASE
