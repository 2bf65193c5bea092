from __future__ import annotations

import io
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import stix2

from tiforge import Permanent, Record, SetAside, Transient
from tiforge_mimecast.bundle import read_bundle
from tiforge_mimecast.emulator.rows import triple
from tiforge_mimecast.objects import IDENTITY_ID, Objects, hash_pattern
from tiforge_mimecast.rows import Recent
from tiforge_mimecast.settings import MimecastSettings

SHA256 = "ab" * 32
STAMP = "2026-01-31T12:00:00.144Z"
OBJECTS = Objects(MimecastSettings(type="mimecast", client_id="app", client_secret="marked-secret"))  # type: ignore[arg-type]


def read(objects: Any, **envelope: Any) -> list[list[Record] | SetAside]:
    bundle = {"type": "bundle", "id": "bundle--x", "spec_version": "2.0", **envelope, "objects": objects}
    return list(read_bundle(io.BytesIO(orjson.dumps(bundle)), OBJECTS, where="malware_grid"))


def records(objects: Any) -> list[Record]:
    return [record for item in read(objects) if isinstance(item, list) for record in item]


def pieces(objects: Any) -> list[SetAside]:
    return [item for item in read(objects) if isinstance(item, SetAside)]


def test_a_triple() -> None:
    malware, indicator, link = records(triple("1", SHA256, "a.exe", STAMP))
    assert indicator.payload == Record.built(OBJECTS.indicator(*hash_pattern("SHA-256", SHA256), STAMP)).payload
    assert malware.object["malware_types"] == ["virus"]
    assert malware.object["is_family"] is False
    assert (link.object["source_ref"], link.object["target_ref"]) == (indicator.id, malware.id)
    for record in (malware, indicator, link):
        assert record.object["created_by_ref"] == IDENTITY_ID
        assert record.object["object_marking_refs"] == OBJECTS.markings
        stix2.parse(record.payload, version="2.1")


def test_new_ids_for_the_same_things_collapse() -> None:
    first, second = (records(triple(key, SHA256, "a.exe", STAMP)) for key in ("1", "2"))
    assert [record.payload for record in first] == [record.payload for record in second]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (2, 0, 1)])
def test_the_order_does_not_matter(order: tuple[int, ...]) -> None:
    items = triple("1", SHA256, "a.exe", STAMP)
    assert {record.payload for record in records([items[at] for at in order])} == {
        record.payload for record in records(items)
    }


@pytest.mark.parametrize(
    "pattern",
    [
        f"[file:hashes.'SHA-256' = '{SHA256}']",
        f"[ file:hashes.'SHA-256'='{SHA256.upper()}' ]",
        f"[file:hashes.SHA256 = '{SHA256}']",
    ],
)
def test_spellings_of_one_pattern(pattern: str) -> None:
    (_, indicator, _) = triple("1", SHA256, "a.exe", STAMP)
    (record,) = records([indicator | {"pattern": pattern}])
    assert record.object["pattern"] == f"[file:hashes.'SHA-256' = '{SHA256}']"


def test_other_patterns_and_what_an_object_says_itself() -> None:
    (_, indicator, _) = triple("1", SHA256, "a.exe", STAMP)
    (record,) = records(
        [indicator | {"pattern": "[domain-name:value = 'example.com']", "confidence": 7, "labels": ["x"]}]
    )
    assert record.object["pattern"] == "[domain-name:value = 'example.com']"
    assert record.object["confidence"] == 7
    assert record.object["labels"] == ["malicious-activity", "x"]
    assert record.object["valid_until"] == "2026-03-02T12:00:00.144Z"


def test_numbers() -> None:
    (_, indicator, _) = triple("1", SHA256, "a.exe", STAMP)
    (record,) = records([indicator | {"x_score": 0.5, "x_many": [1, 2.5, {"deep": 2**63 - 1}]}])
    assert record.object["x_score"] == 0.5
    assert record.object["x_many"] == [1, 2.5, {"deep": 2**63 - 1}]


def test_an_empty_bundle() -> None:
    assert read([]) == []


@pytest.mark.parametrize(
    "broken",
    [
        1,
        None,
        {},
        {"type": "indicator"},
        {"type": "indicator", "pattern": 7, "created": STAMP},
        {"type": "indicator", "pattern": "[x:y = 'z']", "created": "yesterday"},
        {"type": "malware", "id": "malware--x", "name": "a", "labels": 3, "created": STAMP},
        {"type": "malware", "name": "a", "labels": ["virus"]},
        {"type": "relationship"},
        {
            "type": "relationship",
            "source_ref": "indicator--x",
            "relationship_type": "indicates",
            "target_ref": "malware--x",
        },
        {"type": ["list"]},
        {"type": "note", "id": "nonsense"},
        {"type": "indicator", "pattern": "[x:y = 'z']", "created": STAMP, "valid_from": STAMP, "size": 2**70},
        {"type": "indicator", "pattern": "[x:y = 'z']", "created": STAMP, "labels": [{}]},
    ],
)
def test_a_broken_object_spoils_no_other(broken: Any) -> None:
    good = triple("1", SHA256, "a.exe", STAMP)
    text = b'{"type":"bundle","objects":[' + json.dumps(broken).encode() + b"," + orjson.dumps(good)[1:-1] + b"]}"
    found = list(read_bundle(io.BytesIO(text), OBJECTS, where="malware_grid"))
    assert [type(item) for item in found].count(SetAside) == 1
    piece = next(item for item in found if isinstance(item, SetAside))
    assert piece.where == "malware_grid, object 1"
    assert len(found) == 4


@pytest.mark.parametrize("cut", [2, 40, 100, 700, -1, -2])
def test_a_cut_bundle_may_be_whole_the_next_time(cut: int) -> None:
    text = orjson.dumps({"type": "bundle", "objects": triple("1", SHA256, "a.exe", STAMP)})
    with pytest.raises(Transient, match="cut short"):
        list(read_bundle(io.BytesIO(text[:cut]), OBJECTS, where="malware_grid"))


@pytest.mark.parametrize("data", [{"type": "report"}, {"a": 1}, [], [1], "x"])
def test_json_that_is_no_bundle(data: Any) -> None:
    with pytest.raises(Permanent, match="no STIX bundle"):
        list(read_bundle(io.BytesIO(orjson.dumps(data)), OBJECTS, where="malware_grid"))


def test_a_byte_order_mark() -> None:
    text = b"\xef\xbb\xbf" + orjson.dumps({"type": "bundle", "objects": triple("1", SHA256, "a.exe", STAMP)})
    assert len(list(read_bundle(io.BytesIO(text), OBJECTS, where="malware_grid"))) == 3


DEEP = b"[" * 2000 + b"]" * 2000


@pytest.mark.parametrize(
    "extra",
    [
        b'"x":' + DEEP,
        b'"x":1e99999999999999999999',
        b'"x":"\\ud800"',
        b'"x":"\xff"',
        b'"x":NaN',
        b'"x":"' + b"y" * 10**6 + b'"',
        b'"x":' + b"[" * 50 * 2**20 + b"]" * 50 * 2**20,
    ],
    ids=["deep", "huge number", "surrogate", "no UTF-8", "NaN", "long", "very deep"],
)
def test_a_hostile_object_costs_itself_alone(extra: bytes) -> None:
    good = triple("1", SHA256, "a.exe", STAMP)
    bad = orjson.dumps(good[1])[:-1] + b"," + extra + b"}"
    text = io.BytesIO(b'{"type":"bundle","objects":[' + bad + b"," + orjson.dumps(good)[1:-1] + b"]}")
    tracemalloc.start()
    try:
        found = list(read_bundle(text, OBJECTS, where="malware_grid"))
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert [type(item) for item in found] == [SetAside, list, list, list]
    assert isinstance(found[0], SetAside)
    assert found[0].where == "malware_grid, object 1"
    assert found[0].reason.startswith("The object cannot be read: ")


@pytest.mark.parametrize("data", [5, "x", [5], {}, DEEP.decode(), None])
@pytest.mark.parametrize("name", ["id", "type", "created", "modified", "valid_from", "pattern", "labels", "name"])
def test_any_value_anywhere_is_set_aside_or_taken(name: str, data: Any) -> None:
    for each in triple("1", SHA256, "a.exe", STAMP):
        assert len(read([each | {name: data}])) == 1


def test_an_object_in_the_future_is_set_aside() -> None:
    now = datetime(2026, 2, 1, 12, tzinfo=UTC)
    items = triple("1", SHA256, "a.exe", "2026-02-02T12:00:00.000Z") + triple(
        "2", "cd" * 32, "b.exe", "2126-01-01T00:00:00Z"
    )
    text = orjson.dumps({"type": "bundle", "objects": items})
    found = list(read_bundle(io.BytesIO(text), OBJECTS, where="malware_grid", recent=Recent(now)))
    assert sum(isinstance(item, list) for item in found) == 3
    assert all(
        "a day in the future" in item.reason or "ends" in item.reason
        for item in found
        if isinstance(item, SetAside)
    )
