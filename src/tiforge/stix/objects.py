"""STIX 2.1 objects as plain dictionaries, with their properties in the specification's order.

Timestamps are text that `timestamp()` wrote. The builders trust their caller: a source checks what it
reads, once, before it builds. Each names the section of STIX 2.1 that it follows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tiforge.stix.ids import sco_id, stable_id

Object = dict[str, Any]
"""A STIX object as JSON data."""

SPEC_VERSION: Final = "2.1"


def indicator(
    *,
    id: str,
    created: str,
    modified: str,
    created_by_ref: str,
    pattern: str,
    valid_from: str,
    valid_until: str | None = None,
    name: str | None = None,
    description: str | None = None,
    indicator_types: Sequence[str] = (),
    labels: Sequence[str] = (),
    confidence: int | None = None,
    object_marking_refs: Sequence[str] = (),
) -> Object:
    """Build an indicator (section 4.7)."""
    built: Object = {
        "type": "indicator",
        "spec_version": SPEC_VERSION,
        "id": id,
        "created_by_ref": created_by_ref,
        "created": created,
        "modified": modified,
    }
    if name is not None:
        built["name"] = name
    if description is not None:
        built["description"] = description
    if indicator_types:
        built["indicator_types"] = list(indicator_types)
    built["pattern"] = pattern
    built["pattern_type"] = "stix"
    built["pattern_version"] = SPEC_VERSION
    built["valid_from"] = valid_from
    if valid_until is not None:
        built["valid_until"] = valid_until
    return _common(built, labels, confidence, object_marking_refs)


def sighting(
    *,
    id: str,
    created: str,
    modified: str,
    created_by_ref: str,
    sighting_of_ref: str,
    first_seen: str,
    last_seen: str,
    count: int = 1,
    observed_data_refs: Sequence[str] = (),
    where_sighted_refs: Sequence[str] = (),
    confidence: int | None = None,
    object_marking_refs: Sequence[str] = (),
    extensions: Mapping[str, Mapping[str, object]] | None = None,
) -> Object:
    """Build a sighting (section 5.2)."""
    built: Object = {
        "type": "sighting",
        "spec_version": SPEC_VERSION,
        "id": id,
        "created_by_ref": created_by_ref,
        "created": created,
        "modified": modified,
        "first_seen": first_seen,
        "last_seen": last_seen,
        "count": count,
        "sighting_of_ref": sighting_of_ref,
    }
    if observed_data_refs:
        built["observed_data_refs"] = list(observed_data_refs)
    if where_sighted_refs:
        built["where_sighted_refs"] = list(where_sighted_refs)
    return _common(built, (), confidence, object_marking_refs, extensions)


def observed_data(
    *,
    id: str,
    created: str,
    modified: str,
    created_by_ref: str,
    first_observed: str,
    last_observed: str,
    object_refs: Sequence[str],
    number_observed: int = 1,
    object_marking_refs: Sequence[str] = (),
    extensions: Mapping[str, Mapping[str, object]] | None = None,
) -> Object:
    """Build observed data (section 4.14)."""
    built: Object = {
        "type": "observed-data",
        "spec_version": SPEC_VERSION,
        "id": id,
        "created_by_ref": created_by_ref,
        "created": created,
        "modified": modified,
        "first_observed": first_observed,
        "last_observed": last_observed,
        "number_observed": number_observed,
        "object_refs": list(object_refs),
    }
    return _common(built, (), None, object_marking_refs, extensions)


def identity(*, id: str, created: str, name: str, identity_class: str, description: str | None = None) -> Object:
    """Build an identity (section 4.5); `modified` equals `created`."""
    built: Object = {
        "type": "identity",
        "spec_version": SPEC_VERSION,
        "id": id,
        "created": created,
        "modified": created,
        "name": name,
    }
    if description is not None:
        built["description"] = description
    built["identity_class"] = identity_class
    return built


def malware(
    *,
    id: str,
    created: str,
    modified: str,
    created_by_ref: str,
    is_family: bool,
    name: str | None = None,
    malware_types: Sequence[str] = (),
    object_marking_refs: Sequence[str] = (),
) -> Object:
    """Build malware (section 4.11)."""
    built: Object = {
        "type": "malware",
        "spec_version": SPEC_VERSION,
        "id": id,
        "created_by_ref": created_by_ref,
        "created": created,
        "modified": modified,
    }
    if name is not None:
        built["name"] = name
    if malware_types:
        built["malware_types"] = list(malware_types)
    built["is_family"] = is_family
    return _common(built, (), None, object_marking_refs)


def relationship(
    *,
    created: str,
    modified: str,
    created_by_ref: str,
    source_ref: str,
    relationship_type: str,
    target_ref: str,
    object_marking_refs: Sequence[str] = (),
) -> Object:
    """Build a relationship (section 5.1), its id derived from its two ends and its type."""
    built: Object = {
        "type": "relationship",
        "spec_version": SPEC_VERSION,
        "id": stable_id("relationship", source_ref, relationship_type, target_ref),
        "created_by_ref": created_by_ref,
        "created": created,
        "modified": modified,
        "relationship_type": relationship_type,
        "source_ref": source_ref,
        "target_ref": target_ref,
    }
    return _common(built, (), None, object_marking_refs)


def extension_definition(
    *, id: str, created: str, created_by_ref: str, name: str, description: str, schema: str, version: str
) -> Object:
    """Build the definition of a property extension (section 7.3)."""
    return {
        "type": "extension-definition",
        "spec_version": SPEC_VERSION,
        "id": id,
        "created_by_ref": created_by_ref,
        "created": created,
        "modified": created,
        "name": name,
        "description": description,
        "schema": schema,
        "version": version,
        "extension_types": ["property-extension"],
    }


def file(
    *,
    hashes: Mapping[str, str],
    name: str | None = None,
    size: int | None = None,
    mime_type: str | None = None,
    object_marking_refs: Sequence[str] = (),
) -> Object:
    """Build a file (section 6.7). At least one hash or the name must be there."""
    contributing: dict[str, object] = {}
    if hashes:
        contributing["hashes"] = hashes
    if name is not None:
        contributing["name"] = name
    built: Object = {"type": "file", "spec_version": SPEC_VERSION, "id": sco_id("file", contributing)}
    if hashes:
        built["hashes"] = dict(hashes)
    if size is not None:
        built["size"] = size
    if name is not None:
        built["name"] = name
    if mime_type is not None:
        built["mime_type"] = mime_type
    return _common(built, (), None, object_marking_refs)


def ip_address(value: str, *, object_marking_refs: Sequence[str] = ()) -> Object:
    """Build an IPv4 or IPv6 address (sections 6.8 and 6.9), by what the text is.

    Raises:
        ValueError: The text is no address.
    """
    # An IPv4 address written plainly is its own canonical form; the library settles everything else.
    address = ipaddress.ip_address(value)
    return _valued(f"ipv{address.version}-addr", str(address), object_marking_refs)


def email_address(value: str, *, object_marking_refs: Sequence[str] = ()) -> Object:
    """Build an e-mail address (section 6.5)."""
    return _valued("email-addr", value, object_marking_refs)


def domain_name(value: str, *, object_marking_refs: Sequence[str] = ()) -> Object:
    """Build a domain name (section 6.4)."""
    return _valued("domain-name", value, object_marking_refs)


def url(value: str, *, object_marking_refs: Sequence[str] = ()) -> Object:
    """Build a URL (section 6.15)."""
    return _valued("url", value, object_marking_refs)


def _valued(type: str, value: str, markings: Sequence[str]) -> Object:
    built = {
        "type": type,
        "spec_version": SPEC_VERSION,
        "id": sco_id(type, {"value": value}),
        "value": value,
    }
    return _common(built, (), None, markings)


def _common(
    built: Object,
    labels: Sequence[str],
    confidence: int | None,
    markings: Sequence[str],
    extensions: Mapping[str, Mapping[str, object]] | None = None,
) -> Object:
    if labels:
        built["labels"] = list(labels)
    if confidence is not None:
        built["confidence"] = confidence
    if markings:
        built["object_marking_refs"] = list(markings)
    if extensions:
        built["extensions"] = dict(extensions)
    return built
