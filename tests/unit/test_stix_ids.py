"""Identifiers: the specification's for cyber-observables, tiforge's own for everything else."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import stix2
from hypothesis import given
from hypothesis import strategies as st

from tiforge.stix import NAMESPACE, file, sco_id, stable_id

# What JSON can carry: any text but lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
HASHES = st.fixed_dictionaries(
    {},
    optional={
        "MD5": st.text("0123456789abcdef", min_size=32, max_size=32),
        "SHA-1": st.text("0123456789abcdef", min_size=40, max_size=40),
        "SHA-256": st.text("0123456789abcdef", min_size=64, max_size=64),
        "SHA-512": st.text("0123456789abcdef", min_size=128, max_size=128),
        "SHA3-256": st.text("0123456789abcdef", min_size=64, max_size=64),
    },
)


@given(hashes=HASHES, name=st.none() | TEXT)
def test_file_ids_are_those_of_stix2(hashes: dict[str, str], name: str | None) -> None:
    """A file has the id that the referee computes, whatever its hashes and its name hold."""
    given_properties: dict[str, Any] = {key: value for key, value in (("hashes", hashes), ("name", name)) if value}
    if not given_properties:
        return
    assert file(hashes=hashes, name=name)["id"] == stix2.File(**given_properties).id


@given(value=TEXT)
@pytest.mark.parametrize(
    ("type", "referee"),
    [("email-addr", stix2.EmailAddress), ("domain-name", stix2.DomainName), ("url", stix2.URL)],
)
def test_value_ids_are_those_of_stix2(type: str, referee: Any, value: str) -> None:
    """An observable that is one value has the id that the referee computes."""
    assert sco_id(type, {"value": value}) == referee(value=value).id


@given(address=st.ip_addresses())
def test_address_ids_are_those_of_stix2(address: Any) -> None:
    """An IP address has the id that the referee computes."""
    referee = stix2.IPv4Address if address.version == 4 else stix2.IPv6Address
    assert sco_id(f"ipv{address.version}-addr", {"value": str(address)}) == referee(value=str(address)).id


def test_hashes_that_the_specification_does_not_prefer() -> None:
    """Where none of the preferred hashes is there, the first by name decides, in any order of writing."""
    one = sco_id("file", {"hashes": {"TLSH": "t", "SSDEEP": "s"}})
    assert one == sco_id("file", {"hashes": {"SSDEEP": "s", "TLSH": "t"}})
    assert one == sco_id("file", {"hashes": {"SSDEEP": "s"}})


@pytest.mark.parametrize(
    ("type", "parts", "expected"),
    [
        ("indicator", ("a", "b"), "indicator--{}"),
        ("identity", ("Mimecast",), "identity--{}"),
        ("sighting", (), "sighting--{}"),
        ("indicator", ("żółć", '"\\'), "indicator--{}"),
    ],
)
def test_stable_ids_are_version_5_under_the_namespace(type: str, parts: tuple[str, ...], expected: str) -> None:
    """An id is the UUIDv5 of the compact JSON list of type and parts, as the standard library computes it."""
    name = json.dumps([type, *parts], ensure_ascii=False, separators=(",", ":"))
    assert stable_id(type, *parts) == expected.format(uuid.uuid5(NAMESPACE, name))


def test_ids_of_releases_before_stay() -> None:
    """These were given out; a change of any would make every indicator in every SIEM a second one."""
    assert str(NAMESPACE) == "47e1555c-0d20-4cd6-9252-da71e2e7ff12"
    assert stable_id("indicator", "a", "b") == "indicator--bf9d295b-d1bd-54c7-8162-bcf4e45f5d45"
    assert stable_id("identity", "Mimecast") == "identity--77c999c5-c4cd-5ddb-98d3-5039515a38f9"


@given(st.lists(TEXT, max_size=4), st.lists(TEXT, max_size=4))
def test_other_parts_are_another_id(one: list[str], two: list[str]) -> None:
    """Different parts, also the same text split elsewhere, have different ids; the same have the same."""
    assert (stable_id("indicator", *one) == stable_id("indicator", *two)) == (one == two)


def test_the_split_of_parts_matters() -> None:
    """Parts are not run together."""
    ids = {
        stable_id("x", *parts)
        for parts in (
            ("ab", "c"),
            ("a", "bc"),
            ("abc",),
            ("abc", ""),
            ("", "abc"),
            ('a","b', "c"),
            ("a", "b", "c"),
        )
    }
    assert len(ids) == 7


@given(st.lists(TEXT))
def test_every_stable_id_is_a_valid_uuid(parts: list[str]) -> None:
    """Version and variant are those of RFC 9562 version 5."""
    made = uuid.UUID(stable_id("indicator", *parts).removeprefix("indicator--"))
    assert made.version == 5
    assert made.variant == uuid.RFC_4122
