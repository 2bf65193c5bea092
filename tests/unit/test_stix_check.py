"""The checks at the edge: each rule, and nothing but InvalidObject for whatever a feed may hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiforge import InvalidObject
from tiforge.stix import check
from tiforge.stix.check import UNVERSIONED

UUID = "47e1555c-0d20-5cd6-9252-da71e2e7ff12"
TIME = "2026-01-01T00:00:00.000Z"
VERSIONED = {"spec_version": "2.1", "created": TIME, "modified": TIME}


def an(type: str, **properties: Any) -> dict[str, Any]:
    return {"type": type, "id": f"{type}--{UUID}", **VERSIONED, **properties}


INDICATOR = an("indicator", pattern="[file:name = 'a']", pattern_type="stix", valid_from=TIME)
GOOD = [
    INDICATOR,
    an("sighting", sighting_of_ref=f"indicator--{UUID}"),
    an("relationship", relationship_type="uses", source_ref=f"a1--{UUID}", target_ref=f"a2--{UUID}"),
    an("observed-data", first_observed=TIME, last_observed=TIME, number_observed=1),
    an("malware", is_family=False),
    an("identity", name="x"),
    an("x-custom"),
    {"type": "file", "id": f"file--{UUID}", "name": "a"},
    {"type": "file", "spec_version": "2.1", "id": f"file--{UUID}", "name": "a"},
    {"type": "marking-definition", "spec_version": "2.1", "id": f"marking-definition--{UUID}", "created": TIME},
    {"type": "x-observable", "id": f"x-observable--{UUID}", "extensions": {"e": {}}},
]


@pytest.mark.parametrize("good", GOOD, ids=lambda each: each["type"])
def test_what_is_valid_passes(good: dict[str, Any]) -> None:
    """Objects of each kind pass: versioned ones, cyber-observables, markings, custom ones."""
    check(good)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"type": None}, "`type`"),
        ({"id": None}, "`id`"),
        ({"id": "indicator--1"}, "UUID"),
        ({"id": f"malware--{UUID}"}, "UUID"),
        ({"id": f"indicator--{UUID.upper()}"}, "UUID"),
        ({"id": f"indicator--{UUID}\n"}, "UUID"),
        ({"spec_version": "2.0"}, "spec_version"),
        ({"spec_version": 2.1}, "spec_version"),
        ({"confidence": 101}, "confidence"),
        ({"confidence": -1}, "confidence"),
        ({"confidence": 50.0}, "confidence"),
        ({"confidence": True}, "confidence"),
        ({"revoked": "false"}, "revoked"),
        ({"revoked": None}, "revoked"),
        ({"object_marking_refs": "marking-definition--x"}, "object_marking_refs"),
        ({"object_marking_refs": [1]}, "object_marking_refs"),
        ({"created": "2026-01-02T00:00:00.000Z"}, "before it was created"),
        ({"modified": "yesterday"}, "yesterday"),
        ({"modified": 5}, "modified"),
        ({"created": None}, "created"),
        ({"pattern": ""}, "`pattern`"),
        ({"pattern": ["x"]}, "`pattern`"),
        ({"pattern_type": None}, "pattern_type"),
        ({"pattern_type": ["stix"]}, "pattern_type"),
        ({"valid_from": None}, "valid_from"),
        ({"valid_from": "2026"}, "2026"),
        ({"valid_until": TIME}, "valid until"),
        ({"valid_until": "soon"}, "soon"),
    ],
)
def test_each_rule_names_what_is_wrong(change: dict[str, Any], named: str) -> None:
    """A property that breaks a rule is named in the message."""
    with pytest.raises(InvalidObject, match=named):
        check({**INDICATOR, **change})


@pytest.mark.parametrize("good", GOOD[:6], ids=lambda each: each["type"])
def test_what_is_required_is_missed(good: dict[str, Any]) -> None:
    """Without any one of its properties an object of a known type is refused."""
    for name in good:
        with pytest.raises(InvalidObject):
            check({key: value for key, value in good.items() if key != name})


def test_a_stix_2_0_object_is_told_apart() -> None:
    """An object without `spec_version` is one of STIX 2.0, and the message says how to turn it into 2.1."""
    with pytest.raises(InvalidObject, match=r"STIX 2\.0.*upgrade"):
        check({key: value for key, value in INDICATOR.items() if key != "spec_version"})


def test_a_bundle_is_an_envelope() -> None:
    """A bundle is not an object of the log; its objects are."""
    with pytest.raises(InvalidObject, match="envelope"):
        check({"type": "bundle", "id": f"bundle--{UUID}", "objects": []})


def test_a_validity_of_a_custom_type_is_a_time() -> None:
    """The log reads `valid_until` of every object, so it is a timestamp wherever it stands."""
    with pytest.raises(InvalidObject, match="soon"):
        check(an("x-custom", valid_until="soon"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PROPERTIES = sorted({name for good in GOOD for name in good} | {
    "confidence", "revoked", "object_marking_refs", "valid_until", "extensions", "labels", "x_more",
})  # fmt: skip


@given(st.sampled_from(GOOD), st.dictionaries(st.sampled_from(PROPERTIES), ANYTHING, max_size=3))
def test_nothing_but_an_invalid_object_is_raised(good: dict[str, Any], broken: dict[str, Any]) -> None:
    """Whatever stands in any property, the object passes or is refused with a message that can be printed."""
    try:
        check({**good, **broken})
    except InvalidObject as error:
        str(error).encode()


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("good", GOOD, ids=lambda each: each["type"])
def test_values_that_cannot_even_be_shown(good: dict[str, Any], name: str) -> None:
    """A list nested beyond the interpreter's limit and a number of 5,000 digits are refused like any other."""
    nested: list[Any] = []
    for _ in range(5_000):
        nested = [nested]
    for value in (nested, {"a": nested}, 10**5_000):
        try:
            check({**good, name: value})
        except InvalidObject as error:
            str(error).encode()


@given(st.dictionaries(st.text() | st.sampled_from(PROPERTIES), ANYTHING))
def test_any_dictionary_is_refused_alike(candidate: dict[str, Any]) -> None:
    """A dictionary that has nothing of STIX is refused, and nothing else is raised."""
    with pytest.raises(InvalidObject):
        check(candidate)


def test_the_unversioned_types_are_those_of_stix2() -> None:
    """The types without `modified` are the referee's cyber-observables, and markings."""
    from stix2.registry import STIX2_OBJ_MAPS

    assert set(STIX2_OBJ_MAPS["2.1"]["observables"]) | {"marking-definition"} == UNVERSIONED
