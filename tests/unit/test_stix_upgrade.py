"""Upgrading: each type of STIX 2.0 becomes what both referees accept as 2.1, and loses nothing."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
import stix2
from hypothesis import given
from hypothesis import strategies as st
from stix2validator import ValidationOptions, validate_instance

from tiforge import Record
from tiforge.stix import upgrade

TIME, LATER = "2017-05-31T21:32:29.203Z", "2018-05-31T21:32:29.203Z"
UUID = "47e1555c-0d20-4cd6-9252-da71e2e7ff12"


def old(type: str, **properties: Any) -> dict[str, Any]:
    return {"type": type, "id": f"{type}--{UUID}", "created": TIME, "modified": LATER, **properties}


OLD = [
    old("indicator", labels=["malicious-activity"], pattern="[file:name = 'a']", valid_from=TIME),
    old("malware", name="x", labels=["trojan"], kill_chain_phases=[{"kill_chain_name": "k", "phase_name": "p"}]),
    old("report", name="x", labels=["indicator"], published=TIME, object_refs=[f"indicator--{UUID}"]),
    old("threat-actor", name="x", labels=["crime-syndicate"], roles=["agent"], goals=["money"]),
    old("tool", name="x", labels=["remote-access"], tool_version="1"),
    old("identity", name="x", identity_class="organization", labels=["isp"]),
    old("identity", name="x", identity_class="individual"),
    old("campaign", name="x", first_seen=TIME),
    old("course-of-action", name="x", description="y"),
    old("attack-pattern", name="x", external_references=[{"source_name": "capec", "external_id": "CAPEC-1"}]),
    old("intrusion-set", name="x", aliases=["y"]),
    old("vulnerability", name="CVE-2017-0144"),
    old(
        "observed-data",
        first_observed=TIME,
        last_observed=LATER,
        number_observed=2,
        objects={
            "0": {"type": "file", "name": "a.exe", "hashes": {"MD5": "a" * 32}, "parent_directory_ref": "1"},
            "1": {"type": "directory", "path": "/tmp"},
            "2": {"type": "ipv4-addr", "value": "192.0.2.7", "resolves_to_refs": ["3"]},
            "3": {"type": "mac-addr", "value": "d2:fb:49:24:37:18"},
            "4": {"type": "process", "pid": 7, "created": TIME, "binary_ref": "0", "child_refs": ["5"]},
            "5": {"type": "process", "pid": 8},
            "6": {"type": "windows-registry-key", "key": "k", "modified": TIME},
            "7": {"type": "user-account", "user_id": "u", "password_last_changed": TIME},
            "8": {
                "type": "file",
                "name": "a.zip",
                "created": TIME,
                "extensions": {"archive-ext": {"contains_refs": ["0"]}},
            },
            "9": {
                "type": "email-message",
                "is_multipart": True,
                "from_ref": "10",
                "body_multipart": [
                    {"body_raw_ref": "0", "content_type": "application/x"},
                ],
            },
            "10": {"type": "email-addr", "value": "a@example.com"},
        },
    ),
    old("sighting", sighting_of_ref=f"indicator--{UUID}", count=3, first_seen=TIME, last_seen=LATER),
    old(
        "relationship",
        relationship_type="indicates",
        source_ref=f"indicator--{UUID}",
        target_ref=f"malware--{UUID}",
    ),
]
each = pytest.mark.parametrize("candidate", OLD, ids=[f"{at}-{one['type']}" for at, one in enumerate(OLD)])


@each
def test_it_was_valid_before(candidate: dict[str, Any]) -> None:
    """What the other tests upgrade is valid STIX 2.0, by the `stix2` library."""
    stix2.parse(json.dumps(candidate), version="2.0")


# Observed data keeps its objects inside, as one object becomes one object; 2.1 still allows that.
@pytest.mark.filterwarnings("ignore:The 'objects' property of observed-data is deprecated")
@each
def test_stix2_accepts_what_it_becomes(candidate: dict[str, Any]) -> None:
    """The `stix2` library parses the upgraded object as 2.1."""
    parsed = stix2.parse(json.dumps(upgrade(candidate)), version="2.1")
    assert parsed.spec_version == "2.1"


@each
def test_the_validator_accepts_what_it_becomes(candidate: dict[str, Any]) -> None:
    """The OASIS validator finds no error in the upgraded object."""
    result = validate_instance(upgrade(candidate), ValidationOptions(version="2.1"))
    assert result.is_valid, result.errors


@each
def test_it_becomes_a_record(candidate: dict[str, Any]) -> None:
    """The upgraded object passes the checks at the edge; the old one does not."""
    assert Record.of(upgrade(candidate)).id == candidate["id"]


@each
def test_nothing_is_lost(candidate: dict[str, Any]) -> None:
    """Every property that was there is there still, unchanged, and the old object is left as it was."""
    before = deepcopy(candidate)
    upgraded = upgrade(candidate)
    assert candidate == before
    for name, value in candidate.items():
        if name != "objects":
            assert upgraded[name] == value


def test_observables_are_known_by_ids() -> None:
    """What 2.0 numbered has an id in 2.1, the same each time, and is referred to by it wherever it is."""
    observed = next(one for one in OLD if one["type"] == "observed-data")
    upgraded = upgrade(observed)["objects"]
    assert upgraded == upgrade(deepcopy(observed))["objects"]
    assert all(each["id"] == key for key, each in upgraded.items())
    ids = dict(zip(observed["objects"], upgraded, strict=True))
    objects = {key: upgraded[id] for key, id in ids.items()}
    assert objects["0"]["parent_directory_ref"] == ids["1"]
    assert objects["2"]["resolves_to_refs"] == [ids["3"]]
    assert objects["4"]["image_ref"] == ids["0"]
    assert objects["8"]["extensions"]["archive-ext"]["contains_refs"] == [ids["0"]]
    assert objects["9"]["body_multipart"][0]["body_raw_ref"] == ids["0"]


def test_times_of_observables_have_the_names_of_2_1() -> None:
    """Properties that 2.1 renamed keep their values under the new names."""
    observed = next(one for one in OLD if one["type"] == "observed-data")
    objects = dict(zip(observed["objects"], upgrade(observed)["objects"].values(), strict=True))
    assert (objects["8"]["ctime"], objects["4"]["created_time"]) == (TIME, TIME)
    assert (objects["6"]["modified_time"], objects["7"]["credential_last_changed"]) == (TIME, TIME)
    assert "created" not in objects["8"]


@each
def test_upgrading_twice_is_upgrading_once(candidate: dict[str, Any]) -> None:
    """An object of 2.1 comes back as it is."""
    once = upgrade(candidate)
    assert upgrade(once) == once
    assert upgrade(once) is not once


@pytest.mark.parametrize(
    ("type", "property"),
    [
        ("indicator", "indicator_types"),
        ("malware", "malware_types"),
        ("report", "report_types"),
        ("threat-actor", "threat_actor_types"),
        ("tool", "tool_types"),
    ],
)
def test_labels_become_the_open_vocabulary(type: str, property: str) -> None:
    """What 2.0 kept in `labels` is where 2.1 looks for it."""
    candidate = next(one for one in OLD if one["type"] == type)
    assert upgrade(candidate)[property] == candidate["labels"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@given(
    st.sampled_from(OLD),
    st.dictionaries(st.sampled_from(["type", "labels", "created", "objects", "spec_version"]), ANYTHING),
)
def test_no_shape_of_object_stops_it(candidate: dict[str, Any], broken: dict[str, Any]) -> None:
    """Whatever a feed holds, upgrading returns an object for the checks to judge."""
    assert upgrade({**candidate, **broken})["spec_version"] == "2.1"
