"""The builders: what they build passes the referees, and holds what it was given."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import stix2
from stix2validator import ValidationOptions, validate_instance

from tiforge import Record
from tiforge.stix import (
    TLP,
    domain_name,
    email_address,
    equals,
    extension_definition,
    file,
    identity,
    indicator,
    ip_address,
    malware,
    observed_data,
    relationship,
    sighting,
    stable_id,
    timestamp,
    url,
)

TIME = timestamp(datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=UTC))
LATER = timestamp(datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC))
AUTHOR = stable_id("identity", "tests")
RED = [TLP.RED.marking]
COMMON: dict[str, Any] = {"created": TIME, "modified": LATER, "created_by_ref": AUTHOR, "object_marking_refs": RED}
EXTENSION = stable_id("extension-definition", "tests")
EXTRA = {EXTENSION: {"extension_type": "property-extension", "row": 7}}
INDICATOR = stable_id("indicator", "tests")
HOSTILE = 'it\'s "q" \\ \n \u202e żółć 🦠'

FILE = file(hashes={"SHA-256": "a" * 64, "MD5": "b" * 32}, name=HOSTILE, size=0, mime_type="text/plain")
OBSERVED = observed_data(
    id=stable_id("observed-data", "t"),
    **COMMON,
    first_observed=TIME,
    last_observed=LATER,
    object_refs=[FILE["id"]],
    extensions=EXTRA,
)

BUILT: dict[str, dict[str, Any]] = {
    "indicator, all": indicator(
        id=INDICATOR,
        **COMMON,
        pattern=equals("file:name", HOSTILE),
        valid_from=TIME,
        valid_until=LATER,
        name=HOSTILE,
        description=HOSTILE,
        indicator_types=["malicious-activity"],
        labels=["one"],
        confidence=0,
    ),
    "indicator, least": indicator(
        id=INDICATOR,
        created=TIME,
        modified=TIME,
        created_by_ref=AUTHOR,
        pattern="[url:value = 'x']",
        valid_from=TIME,
    ),
    "sighting, all": sighting(
        id=stable_id("sighting", "t"),
        **COMMON,
        sighting_of_ref=INDICATOR,
        first_seen=TIME,
        last_seen=LATER,
        count=3,
        observed_data_refs=[OBSERVED["id"]],
        where_sighted_refs=[AUTHOR],
        confidence=100,
        extensions=EXTRA,
    ),
    "observed data": OBSERVED,
    "identity": identity(id=AUTHOR, created=TIME, name="T", identity_class="organization", description=HOSTILE),
    "malware": malware(
        id=stable_id("malware", "t"), **COMMON, is_family=True, name=HOSTILE, malware_types=["trojan"]
    ),
    "malware, least": malware(
        id=stable_id("malware", "t"), created=TIME, modified=TIME, created_by_ref=AUTHOR, is_family=False
    ),
    "relationship": relationship(
        **COMMON, source_ref=INDICATOR, relationship_type="indicates", target_ref=stable_id("malware", "t")
    ),
    "extension definition": extension_definition(
        id=EXTENSION,
        created=TIME,
        created_by_ref=AUTHOR,
        name="Row",
        description="A row.",
        schema="https://example.com/row.json",
        version="1.0.0",
    ),
    "file": FILE,
    "file, name alone": file(hashes={}, name="a.exe", object_marking_refs=RED),
    "IPv4": ip_address("192.0.2.7", object_marking_refs=RED),
    "IPv6": ip_address("2001:db8::1"),
    "e-mail": email_address("a@example.com", object_marking_refs=RED),
    "domain": domain_name("example.com", object_marking_refs=RED),
    "URL": url("https://example.com/?a=1", object_marking_refs=RED),
}

each = pytest.mark.parametrize("built", BUILT.values(), ids=BUILT.keys())


@each
def test_stix2_accepts_what_is_built(built: dict[str, Any]) -> None:
    """The `stix2` library parses each object, and writes the same data again."""
    parsed = stix2.parse(json.dumps(built), allow_custom=True, version="2.1")
    assert json.loads(parsed.serialize()) == built


@each
def test_the_validator_accepts_what_is_built(built: dict[str, Any]) -> None:
    """The OASIS validator finds no error in any object."""
    result = validate_instance(built, ValidationOptions(version="2.1"))
    assert result.is_valid, result.errors


@each
def test_the_checks_accept_what_is_built(built: dict[str, Any]) -> None:
    """What a builder makes passes tiforge's own checks, and is the same record as if it were trusted."""
    assert Record.of(built) == Record.built(built)


def test_a_zero_is_not_left_out() -> None:
    """A confidence or a size of zero says something else than none."""
    assert BUILT["indicator, all"]["confidence"] == 0
    assert FILE["size"] == 0


def test_what_is_not_given_is_not_there() -> None:
    """STIX forbids empty lists and null; properties that are not given are left out."""
    for built in BUILT.values():
        assert None not in built.values()
        assert [] not in built.values()
        assert {} not in built.values()


@pytest.mark.parametrize("text", ["", "example.com", "256.1.1.1", "1.2.3", "192.0.2.1/24", "::g", "0300.0.2.1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """A text that is no address, or an ambiguous one, does not become an observable."""
    with pytest.raises(ValueError):
        ip_address(text)


def test_an_address_has_one_spelling() -> None:
    """Two spellings of an IPv6 address are one object."""
    assert ip_address("2001:DB8:0:0:0:0:0:1") == ip_address("2001:db8::1")


def test_a_relationship_is_known_by_its_ends() -> None:
    """The same ends and type are the same relationship, whenever it is made; the other way round is another."""
    ends = {"source_ref": INDICATOR, "target_ref": AUTHOR, "relationship_type": "related-to"}
    one = relationship(created=TIME, modified=TIME, created_by_ref=AUTHOR, **ends)
    two = relationship(created=LATER, modified=LATER, created_by_ref=AUTHOR, **ends)
    turned = {**ends, "source_ref": AUTHOR, "target_ref": INDICATOR}
    three = relationship(created=TIME, modified=TIME, created_by_ref=AUTHOR, **turned)
    assert one["id"] == two["id"] != three["id"]
