"""The floor: the same objects under the same ids, with nothing around them.

Reads the CSV, writes each object with orjson, inserts it with raw sqlite3, writes the file. No retry, no
checkpoint, no lease, no check of a value, no bound on memory: what is left out is what tiforge is for.

    python benchmarks/floor.py URL FOLDER
"""

from __future__ import annotations

import sqlite3
import sys
import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from hashlib import sha1
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from fetch import FEED, cells, texts
from orjson import OPT_SORT_KEYS, dumps

SPACE = uuid.UUID("47e1555c-0d20-4cd6-9252-da71e2e7ff12").bytes
SCO = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7").bytes
COLUMNS = (
    "Timestamp", "SHA256", "SHA1", "MD5", "FileName", "FileMimeType", "FileSize",
    "SendingIP", "SenderDomain", "SenderAddress", "RecipientAddress",
)  # fmt: skip
RED = ["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]
CHUNK = 10_000

Object = tuple[str, bytes]


def uuid5(space: bytes, name: bytes) -> str:
    digest = sha1(space + name).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


MIMECAST = f"identity--{uuid5(SPACE, dumps(['identity', 'Mimecast']))}"
EXTENSION = f"extension-definition--{uuid5(SPACE, dumps(['extension-definition', 'mimecast-detection']))}"


@cache
def expiry(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=30)).isoformat()


def objects(base: str) -> Iterator[Object]:
    """Yield the objects of the feed, each once."""
    seen: set[str] = set()
    known: dict[str, str] = {}
    for text in texts(base):
        lines = iter(text.split("\n"))
        header = next(lines).split("|")
        pick = itemgetter(*map(header.index, COLUMNS))
        for line in lines:
            row = cells(line)
            if len(row) != len(header):
                continue
            moment, sha256, sha_1, md5, name, mime, size, ip, domain, sender, recipient = [
                "" if cell == "null" else cell for cell in pick(row)
            ]
            best = sha256 or md5  # the emulator has either, or both and a SHA-1
            if moment[10:11] != "T" or len(best) != (64 if sha256 else 32):
                continue
            moment = f"{moment[:19]}.000Z" if moment.endswith("+0000") else moment

            pattern = f"[file:hashes.{chr(39) + 'SHA-256' + chr(39) if sha256 else 'MD5'} = '{best}']"
            indicator = f"indicator--{uuid5(SPACE, dumps(['indicator', MIMECAST, pattern]))}"
            if indicator not in seen:
                seen.add(indicator)
                yield indicator, dumps({
                    "type": "indicator", "spec_version": "2.1", "id": indicator, "created_by_ref": MIMECAST,
                    "created": moment, "modified": moment, "name": f"Malware file {best}",
                    "description": "A file that Mimecast detected as malicious in e-mail.",
                    "indicator_types": ["malicious-activity"], "pattern": pattern, "pattern_type": "stix",
                    "pattern_version": "2.1", "valid_from": moment,
                    "valid_until": expiry(moment[:10]) + moment[10:], "labels": ["malicious-activity"],
                    "confidence": 100, "object_marking_refs": RED,
                })  # fmt: skip

            named = {"hashes": {"MD5": md5}, "name": name} if name else {"hashes": {"MD5": md5}}
            file = f"file--{uuid5(SCO, dumps(named, option=OPT_SORT_KEYS))}"
            if file not in seen:
                seen.add(file)
                hashes = {"MD5": md5, "SHA-1": sha_1, "SHA-256": sha256} if sha256 else {"MD5": md5}
                built: dict[str, Any] = {"type": "file", "spec_version": "2.1", "id": file, "hashes": hashes}
                if size:
                    built["size"] = int(size)
                if name:
                    built["name"] = name
                if mime:
                    built["mime_type"] = mime
                built["object_marking_refs"] = RED
                yield file, dumps(built)

            refs = [file]
            part = {"extension_type": "property-extension", "feed": FEED, "file_ref": file}
            for value, type, role in (
                (ip, "ipv6-addr" if ":" in ip else "ipv4-addr", "sending_ip_ref"),
                (domain, "domain-name", "sender_domain_ref"),
                (sender, "email-addr", "sender_ref"),
                (recipient, "email-addr", "recipient_ref"),
            ):
                if not value:
                    continue
                id = known.get(value)
                if id is None:
                    known[value] = id = f"{type}--{uuid5(SCO, dumps({'value': value}))}"
                    yield id, dumps({
                        "type": type, "spec_version": "2.1", "id": id, "value": value, "object_marking_refs": RED
                    })  # fmt: skip
                refs.append(id)
                part[role] = id

            said = dumps(["observed-data", MIMECAST, FEED, moment, sha256, sha_1, md5, name, mime, size, ip,
                          domain, sender, recipient])  # fmt: skip
            key = uuid5(SPACE, said)
            data = f"observed-data--{key}"
            yield data, dumps({
                "type": "observed-data", "spec_version": "2.1", "id": data, "created_by_ref": MIMECAST,
                "created": moment, "modified": moment, "first_observed": moment, "last_observed": moment,
                "number_observed": 1, "object_refs": refs, "object_marking_refs": RED,
                "extensions": {EXTENSION: part},
            })  # fmt: skip
            sighting = f"sighting--{key}"
            yield sighting, dumps({
                "type": "sighting", "spec_version": "2.1", "id": sighting, "created_by_ref": MIMECAST,
                "created": moment, "modified": moment, "first_seen": moment, "last_seen": moment, "count": 1,
                "sighting_of_ref": indicator, "observed_data_refs": [data], "where_sighted_refs": [MIMECAST],
                "object_marking_refs": RED,
            })  # fmt: skip


def main(base: str, folder: Path) -> None:
    log = sqlite3.connect(folder / "floor.db", isolation_level=None)
    log.execute("PRAGMA journal_mode = WAL")
    log.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, payload BLOB NOT NULL)")
    found = objects(base)
    while chunk := list(islice(found, CHUNK)):
        log.execute("BEGIN")
        log.executemany("INSERT OR IGNORE INTO log (id, payload) VALUES (?, ?)", chunk)
        log.execute("COMMIT")
    with (folder / "floor.json").open("wb") as out:
        out.write(b'{"type":"bundle","id":"bundle--%s","objects":[\n' % str(uuid.uuid4()).encode())
        payloads = log.execute("SELECT payload FROM log ORDER BY seq")
        written = 0
        while rows := payloads.fetchmany(1000):
            out.write((b",\n" if written else b"") + b",\n".join([payload for (payload,) in rows]))
            written += len(rows)
        out.write(b"\n]}\n")
    print(written)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
