from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import stix2
import stix2validator
from hypothesis import given
from hypothesis import strategies as st

from tiforge import Page, Record
from tiforge.stix import (
    check,
    domain_name,
    email_address,
    file,
    indicator,
    ip_address,
    observed_data,
    parse_timestamp,
    sighting,
    stable_id,
)
from tiforge_mimecast.emulator import make_rows
from tiforge_mimecast.emulator.files import csv_file
from tiforge_mimecast.objects import DESCRIPTION, EXTENSION_ID, IDENTITY_ID, Objects, constants
from tiforge_mimecast.rows import Row, read_rows
from tiforge_mimecast.settings import MimecastSettings

if TYPE_CHECKING:
    from conftest import Bench

SHA256, SHA1, MD5 = "ab" * 32, "cd" * 20, "ef" * 16
SEEN = "2026-01-31T12:00:00.000Z"
RED = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
ROW = Row(
    SEEN, SHA256, SHA1, MD5, "a b.pdf", "application/pdf", "12", "192.0.2.7", "example.com",
    "a@example.com", "b@example.org", (("Verdict", "bad"),),
)  # fmt: skip


def objects(**changes: Any) -> Objects:
    table = {"type": "mimecast", "client_id": "app", "client_secret": "marked-secret"}
    return Objects(MimecastSettings.model_validate(table | changes))


def by_type(records: list[Record]) -> dict[str, dict[str, Any]]:
    return {record.type: record.object for record in records}


def test_the_shapes_are_those_of_the_builders() -> None:
    found = objects().of_row(ROW, "malware_grid")
    pattern = f"[file:hashes.'SHA-256' = '{SHA256}']"
    times = {"created": SEEN, "modified": SEEN, "created_by_ref": IDENTITY_ID}
    marked: dict[str, Any] = {"object_marking_refs": [RED]}
    indicates = indicator(
        id=stable_id("indicator", IDENTITY_ID, pattern),
        **times,
        pattern=pattern,
        valid_from=SEEN,
        valid_until="2026-03-02T12:00:00.000Z",
        name=f"Malware file {SHA256}",
        description=DESCRIPTION,
        indicator_types=["malicious-activity"],
        labels=["malicious-activity"],
        confidence=100,
        **marked,
    )
    observables = [
        file(
            hashes={"MD5": MD5, "SHA-1": SHA1, "SHA-256": SHA256},
            name="a b.pdf",
            size=12,
            mime_type="application/pdf",
            **marked,
        ),
        ip_address("192.0.2.7", **marked),
        domain_name("example.com", **marked),
        email_address("a@example.com", **marked),
        email_address("b@example.org", **marked),
    ]
    refs = [each["id"] for each in observables]
    data_id = found[-2].id
    data = observed_data(
        id=data_id,
        **times,
        first_observed=SEEN,
        last_observed=SEEN,
        object_refs=refs,
        **marked,
        extensions={
            EXTENSION_ID: {
                "extension_type": "property-extension",
                "feed": "malware_grid",
                "file_ref": refs[0],
                "sending_ip_ref": refs[1],
                "sender_domain_ref": refs[2],
                "sender_ref": refs[3],
                "recipient_ref": refs[4],
                "fields": {"Verdict": "bad"},
            }
        },
    )
    seen = sighting(
        id=data_id.replace("observed-data", "sighting"),
        **times,
        sighting_of_ref=indicates["id"],
        first_seen=SEEN,
        last_seen=SEEN,
        observed_data_refs=[data_id],
        where_sighted_refs=[IDENTITY_ID],
        **marked,
    )
    assert [record.payload for record in found] == [
        orjson.dumps(each) for each in (indicates, *observables, data, seen)
    ]


@pytest.mark.filterwarnings("ignore")  # stix2validator's own dependencies warn
def test_the_referees_accept_everything(bench: Bench, records: Callable[[list[Page]], list[Record]]) -> None:
    bench.start(300, page_size=300)
    kinds: dict[str, int] = {}
    options = stix2validator.ValidationOptions(version="2.1", strict=False)
    for record in records(bench.pull()):
        kinds[record.type] = kinds.get(record.type, 0) + 1
        if kinds[record.type] > 60:
            continue
        check(record.object)
        stix2.parse(record.payload, version="2.1")
        result = stix2validator.validate_instance(record.object, options)
        assert result.is_valid, (record.object, result.errors)
    assert kinds.keys() == {
        "identity", "extension-definition", "indicator", "sighting", "observed-data", "file", "ipv4-addr",
        "ipv6-addr", "domain-name", "email-addr",
    }  # fmt: skip


def test_what_fits_nowhere_is_kept_as_text() -> None:
    row = ROW._replace(
        mime_type="no media type",
        size="12 kB",
        sending_ip="localhost",
        sender_domain="-",
        sender="<>",
        recipient="me",
    )
    data = by_type(objects().of_row(row, "malware_customer"))["observed-data"]
    assert data["extensions"][EXTENSION_ID] == {
        "extension_type": "property-extension",
        "feed": "malware_customer",
        "file_ref": data["object_refs"][0],
        "fields": {
            "FileMimeType": "no media type",
            "FileSize": "12 kB",
            "RecipientAddress": "me",
            "SenderAddress": "<>",
            "SenderDomain": "-",
            "SendingIP": "localhost",
            "Verdict": "bad",
        },
    }


@pytest.mark.parametrize(
    ("text", "type", "value"),
    [
        ("192.0.2.7", "ipv4-addr", "192.0.2.7"),
        ("2001:DB8::0007", "ipv6-addr", "2001:db8::7"),
        ("192.0.2.07", None, None),
        ("192.0.2.256", None, None),
        ("192.0.2.7/24", None, None),
        ("fe80::1%eth0", None, None),
        ("192.0.2.7\n", None, None),
    ],
)
def test_addresses(text: str, type: str | None, value: str | None) -> None:
    found = by_type(objects().of_row(ROW._replace(sending_ip=text), "malware_grid"))
    kinds = {kind: each["value"] for kind, each in found.items() if kind.startswith("ip")}
    assert kinds == ({type: value} if type else {})


@pytest.mark.parametrize(
    ("row", "pattern"),
    [
        (ROW, f"[file:hashes.'SHA-256' = '{SHA256}']"),
        (ROW._replace(sha256=""), f"[file:hashes.'SHA-1' = '{SHA1}']"),
        (ROW._replace(sha256="", sha1=""), f"[file:hashes.MD5 = '{MD5}']"),
    ],
)
def test_the_best_hash_makes_the_indicator(row: Row, pattern: str) -> None:
    found = by_type(objects().of_row(row, "malware_grid"))["indicator"]
    assert found["pattern"] == pattern
    assert found["id"] == stable_id("indicator", IDENTITY_ID, pattern)


def test_a_later_detection_changes_nothing_but_times() -> None:
    later = ROW._replace(seen="2026-02-01T00:00:00.000Z", name="other.exe", sender="c@example.net", others=())
    first, second = (by_type(objects().of_row(row, "malware_grid"))["indicator"] for row in (ROW, later))
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"created", "modified", "valid_from", "valid_until"}


def test_each_feed_and_each_row_is_a_detection_of_its_own() -> None:
    rows = [ROW, ROW._replace(name="b"), ROW._replace(others=()), ROW._replace(others=(("Verdict", "x"),))]
    ids = [objects().of_row(row, feed)[-1].id for row in rows for feed in ("malware_grid", "malware_customer")]
    assert len(set(ids)) == len(ids)
    assert objects().of_row(ROW, "malware_grid")[-1] == objects().of_row(ROW, "malware_grid")[-1]


def test_the_order_of_columns_does_not_matter() -> None:
    head, cells = "Timestamp|MD5|Beta|Alpha", f"2026-01-31T12:00:00+0000|{MD5.upper()}|2|1"
    turned = "|".join(reversed(head.split("|"))) + "\n" + "|".join(reversed(cells.split("|")))
    assert [_bytes(f"{head}\n{cells}")] == [_bytes(turned)]


def _bytes(text: str) -> list[bytes]:
    (row,) = read_rows(io.BytesIO(text.encode()), where="x", accept_cut=lambda place, line: True)
    assert isinstance(row, Row)
    return [record.payload for record in objects().of_row(row, "malware_grid")]


@pytest.mark.parametrize("valid_for", ["1h", "30d", "36h", "500ms"])
@pytest.mark.parametrize(
    "seen", [SEEN, "2026-01-31T23:59:59.999999Z", "8999-12-31T23:59:59.999Z", "0001-01-01T00:00:00.000Z"]
)
def test_validity_counts_from_the_detection(valid_for: str, seen: str) -> None:
    made = objects(valid_for=valid_for)
    length = {
        "1h": timedelta(hours=1),
        "30d": timedelta(30),
        "36h": timedelta(1.5),
        "500ms": timedelta(seconds=0.5),
    }
    assert parse_timestamp(made.valid_until(seen)) - parse_timestamp(seen) == length[valid_for]


def test_the_settings_reach_the_objects() -> None:
    made = objects(confidence=40, tlp="amber+strict", labels=["a", "b"], valid_for="1d")
    found = by_type(made.of_row(ROW, "malware_grid"))
    assert (found["indicator"]["confidence"], found["indicator"]["labels"]) == (40, ["a", "b"])
    assert len({tuple(each["object_marking_refs"]) for each in found.values()}) == 1
    assert "labels" not in by_type(objects(labels=[]).of_row(ROW, "malware_grid"))["indicator"]


def test_bytes_do_not_depend_on_the_machine() -> None:
    # A digest over a fixed feed: it changes only when what the log holds would change.
    rows = make_rows(50, 7, end=datetime(2026, 1, 1, tzinfo=UTC))
    made, digest = objects(), sha256()
    for record in constants():
        digest.update(record.payload)
    for row in read_rows(io.BytesIO(csv_file(rows, 0, 50)), where="x", accept_cut=lambda place, line: True):
        assert isinstance(row, Row)
        for record in made.of_row(row, "malware_grid"):
            digest.update(record.payload)
    assert digest.hexdigest() == "c5dbf56406ca55a562fcf68a4a9435fb395824f18ddc6ae1987708fc4d82dd39"


TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)


@given(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT)
def test_no_text_makes_an_invalid_object(
    name: str, kind: str, size: str, ip: str, domain: str, a: str, b: str
) -> None:
    row = Row(SEEN, SHA256, "", MD5, name, kind, size, ip, domain, a, b, (("Note", name),) if name else ())
    found = objects().of_row(row, "malware_grid")
    for record in found:
        check(record.object)
        stix2.parse(record.payload, version="2.1")
    text = b" ".join(record.payload for record in found)
    for said in (name, kind, ip, domain, a, b):
        assert orjson.dumps(said)[1:-1] in text or ":" in said
