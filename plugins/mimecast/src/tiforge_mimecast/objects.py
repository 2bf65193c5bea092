"""Turn a row of the feed into STIX 2.1 objects.

A row is one detection. It becomes

- an `indicator` for its best hash: SHA-256, else SHA-1, else MD5. It says only what every detection of the
  same hash says, so that a later one changes nothing but its times;
- the cyber-observables of the detection: `file`, `ipv4-addr` or `ipv6-addr`, `domain-name`, `email-addr`;
- `observed-data` that holds them together, with a property extension that says which is which, and
  keeps whatever STIX has no property for;
- a `sighting` of the indicator.

The ids of the last two are derived from the whole row: the same row read again is the same object.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv6Address
from itertools import chain
from typing import Any, Final

from tiforge import Record
from tiforge.stix import equals, extension_definition, identity, parse_timestamp, sco_id, stable_id, timestamp
from tiforge_mimecast.rows import Row
from tiforge_mimecast.settings import MimecastSettings

IDENTITY_ID: Final = stable_id("identity", "Mimecast")
EXTENSION_ID: Final = stable_id("extension-definition", "mimecast-detection")
DESCRIPTION: Final = "A file that Mimecast detected as malicious in e-mail."

_CREATED: Final = "2026-01-01T00:00:00.000Z"
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_SIZE: Final = re.compile(r"[0-9]{1,18}")
_ADDRESS: Final = re.compile(r"[^\s@<>\"(),:;\\\[\]]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.[A-Za-z][A-Za-z0-9-]{{0,62}}")
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_UUID_AT: Final = len("observed-data")
_REMEMBERED: Final = 2048
"""How many observables are kept: senders, domains and recipients recur from row to row."""


def constants() -> list[Record]:
    """Return the objects that all others refer to: Mimecast's identity, and the extension's definition."""
    producer = identity(
        id=IDENTITY_ID,
        created=_CREATED,
        name="Mimecast",
        identity_class="organization",
        description="The producer of the Mimecast threat-intelligence feeds.",
    )
    extension = extension_definition(
        id=EXTENSION_ID,
        created=_CREATED,
        created_by_ref=IDENTITY_ID,
        name="Mimecast detection",
        description=(
            "What a row of the Mimecast threat-intelligence feed says of a detection: the feed, which observable "
            "plays which part, and under `fields` the columns that STIX has no property for."
        ),
        schema="https://www.mimecast.com/tech-connect/documentation/endpoint-reference/threat-intel/get-feed/",
        version="1.0.0",
    )
    return [Record.built(producer), Record.built(extension)]


def hash_pattern(algorithm: str, hash: str) -> tuple[str, str]:
    """Return the pattern of a file's hash, and the name of its indicator.

    Args:
        algorithm: As STIX names it: `SHA-256`, `SHA-1`, `MD5`.
        hash: In lower case.
    """
    path = f"file:hashes.{algorithm}" if algorithm == "MD5" else f"file:hashes.'{algorithm}'"
    return equals(path, hash), f"Malware file {hash}"


_Maker = Callable[[str], Record | None]


class Objects:
    """Builds the objects of one source instance.

    Args:
        settings: Validity, confidence, marking and labels.
    """

    def __init__(self, settings: MimecastSettings) -> None:
        self._valid_for: timedelta = settings.valid_for
        # A feed has a few days only, and 30 days later the clock shows the same time.
        self._whole_days = settings.valid_for % timedelta(days=1) == timedelta(0)
        self._expiry: Callable[[str], str] = lru_cache(64)(self._expiry_day)
        self._markings = [settings.tlp.marking]
        self._claims: dict[str, Any] = {"confidence": settings.confidence}
        if settings.labels:
            self._claims = {"labels": list(settings.labels), **self._claims}
        remember: Callable[[_Maker], _Maker] = lru_cache(_REMEMBERED)
        ip, domain, email = map(remember, (self._make_ip, self._make_domain, self._make_email))
        self._parts: tuple[tuple[str, str, _Maker], ...] = (
            ("SendingIP", "sending_ip_ref", ip),
            ("SenderDomain", "sender_domain_ref", domain),
            ("SenderAddress", "sender_ref", email),
            ("RecipientAddress", "recipient_ref", email),
        )

    def of_row(self, row: Row, feed: str) -> list[Record]:
        """Return the objects of a row, each after those that it refers to.

        Args:
            row: The row.
            feed: The feed that it came from.
        """
        moment, sha256, sha1, md5, name, mime_type, size, ip, domain, sender, recipient, others = row
        fields = dict(others)
        hashes = _hashes(row)
        algorithm = next(reversed(hashes))
        indicates = Record.built(self.indicator(*hash_pattern(algorithm, hashes[algorithm]), moment))
        observed = self._file(row, hashes, fields)
        part: dict[str, Any] = {"extension_type": "property-extension", "feed": feed, "file_ref": observed.id}
        refs = [observed.id]
        records = [indicates, observed]
        for text, (column, role, make) in zip((ip, domain, sender, recipient), self._parts, strict=True):
            if not text:
                continue
            found = make(text)
            if found is None:
                fields[column] = text
                continue
            part[role] = found.id
            if found.id not in refs:
                refs.append(found.id)
                records.append(found)
        if fields:
            part["fields"] = dict(sorted(fields.items()))
        said = (sha256, sha1, md5, name, mime_type, size, ip, domain, sender, recipient)
        data_id = stable_id("observed-data", IDENTITY_ID, feed, moment, *said, *chain.from_iterable(others))
        records.append(self._observed_data(data_id, moment, refs, part))
        records.append(self._sighting(indicates.id, data_id, moment))
        return records

    # What follows writes the shapes of tiforge.stix's builders as literals: six to nine objects a row, a
    # million rows. A test holds them against the builders.

    def _file(self, row: Row, hashes: dict[str, str], fields: dict[str, str]) -> Record:
        contributing: dict[str, Any] = {"hashes": hashes}
        if row.name:
            contributing["name"] = row.name
        built: dict[str, Any] = {
            "type": "file",
            "spec_version": "2.1",
            "id": sco_id("file", contributing),
            "hashes": hashes,
        }
        if row.size:
            if _SIZE.fullmatch(row.size):
                built["size"] = int(row.size)
            else:
                fields["FileSize"] = row.size
        if row.name:
            built["name"] = row.name
        if row.mime_type:
            if _MEDIA_TYPE.fullmatch(row.mime_type):
                built["mime_type"] = row.mime_type
            else:
                fields["FileMimeType"] = row.mime_type
        built["object_marking_refs"] = self._markings
        return Record.built(built)

    def _observed_data(self, id: str, moment: str, refs: list[str], part: dict[str, Any]) -> Record:
        return Record.built({
            "type": "observed-data",
            "spec_version": "2.1",
            "id": id,
            "created_by_ref": IDENTITY_ID,
            "created": moment,
            "modified": moment,
            "first_observed": moment,
            "last_observed": moment,
            "number_observed": 1,
            "object_refs": refs,
            "object_marking_refs": self._markings,
            "extensions": {EXTENSION_ID: part},
        })  # fmt: skip

    def _sighting(self, indicator_id: str, data_id: str, moment: str) -> Record:
        return Record.built({
            "type": "sighting",
            "spec_version": "2.1",
            "id": f"sighting{data_id[_UUID_AT:]}",
            "created_by_ref": IDENTITY_ID,
            "created": moment,
            "modified": moment,
            "first_seen": moment,
            "last_seen": moment,
            "count": 1,
            "sighting_of_ref": indicator_id,
            "observed_data_refs": [data_id],
            "where_sighted_refs": [IDENTITY_ID],
            "object_marking_refs": self._markings,
        })  # fmt: skip

    @property
    def markings(self) -> list[str]:
        """The marking of every object."""
        return list(self._markings)

    def indicator(self, pattern: str, name: str, seen: str) -> dict[str, Any]:
        """Return the indicator of a pattern that was detected at a moment.

        Args:
            pattern: A STIX pattern.
            name: The indicator's name, the same for the same pattern.
            seen: When, as `timestamp` writes it.
        """
        return {
            "type": "indicator",
            "spec_version": "2.1",
            "id": stable_id("indicator", IDENTITY_ID, pattern),
            "created_by_ref": IDENTITY_ID,
            "created": seen,
            "modified": seen,
            "name": name,
            "description": DESCRIPTION,
            "indicator_types": ["malicious-activity"],
            "pattern": pattern,
            "pattern_type": "stix",
            "pattern_version": "2.1",
            "valid_from": seen,
            "valid_until": self.valid_until(seen),
            **self._claims,
            "object_marking_refs": self._markings,
        }

    def valid_until(self, seen: str) -> str:
        """Return when an indicator expires that was detected at a moment, both as `timestamp` writes them."""
        if self._whole_days:
            return self._expiry(seen[:10]) + seen[10:]
        return _later(seen, self._valid_for)

    def _expiry_day(self, day: str) -> str:
        return _later(f"{day}T00:00:00.000Z", self._valid_for)[:10]

    def _make_ip(self, text: str) -> Record | None:
        if _IPV4.fullmatch(text):
            return self._observable("ipv4-addr", text)
        try:
            address = IPv6Address(text)
        except ValueError:
            return None
        # A zone, as in fe80::1%eth0, means something on one machine only, and STIX has no place for it.
        return None if address.scope_id else self._observable("ipv6-addr", str(address))

    def _make_email(self, text: str) -> Record | None:
        return self._observable("email-addr", text) if _ADDRESS.fullmatch(text) else None

    def _make_domain(self, text: str) -> Record | None:
        return self._observable("domain-name", text) if _DOMAIN.fullmatch(text) else None

    def _observable(self, type: str, value: str) -> Record:
        return Record.built({
            "type": type,
            "spec_version": "2.1",
            "id": sco_id(type, {"value": value}),
            "value": value,
            "object_marking_refs": self._markings,
        })  # fmt: skip


def _hashes(row: Row) -> dict[str, str]:
    # From the weakest to the best: the last is the one that an indicator is made of.
    hashes: dict[str, str] = {}
    if row.md5:
        hashes["MD5"] = row.md5
    if row.sha1:
        hashes["SHA-1"] = row.sha1
    if row.sha256:
        hashes["SHA-256"] = row.sha256
    return hashes


def _later(seen: str, length: timedelta) -> str:
    try:
        return timestamp(parse_timestamp(seen) + length)
    except OverflowError:  # a detection in the last days of the year 9999
        return timestamp(datetime.max.replace(tzinfo=UTC))
