"""The floor: the same job with nothing around it.

Reads the CSV, writes each object with orjson, inserts it with raw sqlite3, writes the file. No retry, no
checkpoint, no lease, no batch, no check of anything: what is left out is what tiforge is for.

    python benchmarks/floor.py URL FOLDER
"""

from __future__ import annotations

import re
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from fetch import rows

SPACE = uuid.UUID("47e1555c-0d20-4cd6-9252-da71e2e7ff12")
SCO = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
MIMECAST = "identity--" + str(uuid.uuid5(SPACE, "Mimecast"))
RED = ["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]
HASHES = {"MD5": "MD5", "SHA1": "SHA-1", "SHA256": "SHA-256"}
NAMED = {"SendingIP", "SenderDomain", "SenderAddress", "RecipientAddress"}


def derived(type: str, *parts: str) -> str:
    return f"{type}--{uuid.uuid5(SPACE, '|'.join(parts))}"


def observed(type: str, contributing: dict[str, Any], **more: Any) -> dict[str, Any]:
    id = uuid.uuid5(SCO, orjson.dumps(contributing, option=orjson.OPT_SORT_KEYS).decode())
    return {"type": type, "spec_version": "2.1", "id": f"{type}--{id}", **contributing, **more,
            "object_marking_refs": RED}  # fmt: skip


def objects(row: dict[str, str]) -> Iterator[dict[str, Any]]:
    row = {key: value for key, value in row.items() if key and value and value != "null"}
    moment = datetime.fromisoformat(row["Timestamp"])
    seen = moment.isoformat(timespec="milliseconds")[:23] + "Z"
    until = (moment + timedelta(days=30)).isoformat(timespec="milliseconds")[:23] + "Z"
    hashes = {name: row[column].lower() for column, name in HASHES.items() if column in row}
    name, value = list(hashes.items())[-1]
    path = name if name == "MD5" else f"'{name}'"
    pattern = f"[file:hashes.{path} = '{value}']"
    common = {"created_by_ref": MIMECAST, "created": seen, "modified": seen}
    indicator = {
        "type": "indicator", "spec_version": "2.1", "id": derived("indicator", MIMECAST, pattern), **common,
        "name": f"Malware file {value}", "description": "A file that Mimecast detected as malicious in e-mail.",
        "indicator_types": ["malicious-activity"], "pattern": pattern, "pattern_type": "stix",
        "pattern_version": "2.1", "valid_from": seen, "valid_until": until, "labels": ["malicious-activity"],
        "confidence": 100, "object_marking_refs": RED,
    }  # fmt: skip
    parts: dict[str, Any] = {"hashes": hashes}
    if "FileName" in row:
        parts["name"] = row["FileName"]
    more = {"size": int(row["FileSize"])} if row.get("FileSize", "").isdigit() else {}
    if "FileMimeType" in row:
        more["mime_type"] = row["FileMimeType"]
    found = [observed("file", parts, **more)]
    if ip := row.get("SendingIP"):
        found.append(observed("ipv6-addr" if ":" in ip else "ipv4-addr", {"value": ip}))
    if domain := row.get("SenderDomain"):
        found.append(observed("domain-name", {"value": domain}))
    found += [
        observed("email-addr", {"value": row[key]}) for key in ("SenderAddress", "RecipientAddress") if key in row
    ]
    data = {
        "type": "observed-data", "spec_version": "2.1", "id": derived("observed-data", *row.values()), **common,
        "first_observed": seen, "last_observed": seen, "number_observed": 1,
        "object_refs": [each["id"] for each in found], "object_marking_refs": RED,
        "extensions": {"extension-definition--" + str(SPACE): {
            "extension_type": "property-extension", "feed": "malware_grid", "file_ref": found[0]["id"]}},
    }  # fmt: skip
    sighting = {
        "type": "sighting", "spec_version": "2.1", "id": "sighting" + data["id"][13:], **common,
        "first_seen": seen, "last_seen": seen, "count": 1, "sighting_of_ref": indicator["id"],
        "observed_data_refs": [data["id"]], "where_sighted_refs": [MIMECAST], "object_marking_refs": RED,
    }  # fmt: skip
    yield from (indicator, *found, data, sighting)


def main(base: str, folder: Path) -> None:
    log = sqlite3.connect(folder / "floor.db")
    log.execute("PRAGMA journal_mode = WAL")
    log.execute("CREATE TABLE log (id TEXT PRIMARY KEY, payload BLOB NOT NULL)")
    hexadecimal = re.compile(r"[0-9A-Fa-f]{32,64}")
    for row in rows(base):
        best = row.get("SHA256") or row.get("SHA1") or row.get("MD5") or ""
        if None in row or not hexadecimal.fullmatch(best) or not row.get("Timestamp", "").startswith("2"):
            continue
        try:
            for each in objects(row):
                log.execute("INSERT OR IGNORE INTO log VALUES (?, ?)", (each["id"], orjson.dumps(each)))
        except ValueError:
            continue
    log.commit()
    with (folder / "floor.json").open("wb") as out:
        out.write(b'{"type":"bundle","id":"bundle--%s","objects":[' % str(uuid.uuid4()).encode())
        for number, (payload,) in enumerate(log.execute("SELECT payload FROM log ORDER BY rowid")):
            out.write((b",\n" if number else b"\n") + payload)
        out.write(b"\n]}\n")
    print(log.execute("SELECT count(*) FROM log").fetchone()[0])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
