"""The same job on the `stix2` library, as a plain script does it: fetch, build, serialize, write.

There is no log: what was seen is kept in memory, and the file is written at the end.

    python benchmarks/with_stix2.py URL FILE
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import stix2
from fetch import FEED, cells, texts

SPACE = uuid.UUID("47e1555c-0d20-4cd6-9252-da71e2e7ff12")
HASHES = {"MD5": "MD5", "SHA1": "SHA-1", "SHA256": "SHA-256"}
RED = stix2.TLP_RED


def stable_id(type: str, *parts: str) -> str:
    return f"{type}--{uuid.uuid5(SPACE, orjson.dumps([type, *parts]).decode())}"


MIMECAST = stable_id("identity", "Mimecast")
EXTENSION = stable_id("extension-definition", "mimecast-detection")
SAID = (
    "SHA256", "SHA1", "MD5", "FileName", "FileMimeType", "FileSize",
    "SendingIP", "SenderDomain", "SenderAddress", "RecipientAddress",
)  # fmt: skip


def ip(value: str) -> stix2.IPv4Address | stix2.IPv6Address:
    kind = stix2.IPv6Address if ":" in value else stix2.IPv4Address
    return kind(value=value, object_marking_refs=RED)


def domain(value: str) -> stix2.DomainName:
    return stix2.DomainName(value=value, object_marking_refs=RED)


def email(value: str) -> stix2.EmailAddress:
    return stix2.EmailAddress(value=value, object_marking_refs=RED)


PARTS = (
    ("SendingIP", "sending_ip_ref", ip),
    ("SenderDomain", "sender_domain_ref", domain),
    ("SenderAddress", "sender_ref", email),
    ("RecipientAddress", "recipient_ref", email),
)


def objects(row: dict[str, str]) -> Iterator[object]:
    moment = datetime.fromisoformat(row["Timestamp"])
    hashes = {name: row[column] for column, name in HASHES.items() if row[column]}
    name, value = list(hashes.items())[-1]
    pattern = f"[file:hashes.{name if name == 'MD5' else repr(name)} = '{value}']"
    indicator = stix2.Indicator(
        id=stable_id("indicator", MIMECAST, pattern),
        created_by_ref=MIMECAST,
        created=moment,
        modified=moment,
        name=f"Malware file {value}",
        description="A file that Mimecast detected as malicious in e-mail.",
        indicator_types=["malicious-activity"],
        pattern=pattern,
        pattern_type="stix",
        valid_from=moment,
        valid_until=moment + timedelta(days=30),
        labels=["malicious-activity"],
        confidence=100,
        object_marking_refs=RED,
    )
    yield indicator
    file = stix2.File(
        hashes=hashes,
        name=row["FileName"] or None,
        size=int(row["FileSize"]) if row["FileSize"] else None,
        mime_type=row["FileMimeType"] or None,
        object_marking_refs=RED,
    )
    yield file
    refs = [file.id]
    part = {"extension_type": "property-extension", "feed": FEED, "file_ref": file.id}
    for column, role, make in PARTS:
        if row[column]:
            found = make(row[column])
            yield found
            refs.append(found.id)
            part[role] = found.id
    stamp = stix2.utils.format_datetime(indicator.created)
    data = stix2.ObservedData(
        id=stable_id("observed-data", MIMECAST, FEED, stamp, *(row[column] for column in SAID)),
        created_by_ref=MIMECAST,
        created=moment,
        modified=moment,
        first_observed=moment,
        last_observed=moment,
        number_observed=1,
        object_refs=refs,
        object_marking_refs=RED,
        extensions={EXTENSION: part},
    )
    yield data
    yield stix2.Sighting(
        id="sighting" + data.id[len("observed-data") :],
        created_by_ref=MIMECAST,
        created=moment,
        modified=moment,
        first_seen=moment,
        last_seen=moment,
        count=1,
        sighting_of_ref=indicator.id,
        observed_data_refs=[data.id],
        where_sighted_refs=[MIMECAST],
        object_marking_refs=RED,
    )


def rows(base: str) -> Iterator[dict[str, str]]:
    for text in texts(base):
        header, *lines = text.split("\n")
        names = header.split("|")
        for line in lines:
            found = cells(line)
            if len(found) == len(names):
                yield {name: "" if cell == "null" else cell for name, cell in zip(names, found, strict=True)}


def main(base: str, path: Path) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    seen: set[str] = set()
    count = 0
    with path.open("w") as out:
        out.write(f'{{"type": "bundle", "id": "bundle--{uuid.uuid4()}", "objects": [\n')
        for row in rows(base):
            count += 1
            try:
                found = list(objects(row))
            except (ValueError, stix2.exceptions.STIXError):
                continue
            for each in found:
                if each.id not in seen:
                    out.write((",\n" if seen else "") + each.serialize())
                    seen.add(each.id)
        out.write("\n]}\n")
    told = {
        "objects": len(seen),
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "startup_cpu": cpu,
    }
    print(orjson.dumps(told).decode())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
