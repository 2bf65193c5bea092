"""The checks that every object from outside passes before it enters the log.

They are the rules that sinks and the log depend on; `tiforge validate` holds a file against the whole
specification.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tiforge.errors import InvalidObject, quoted
from tiforge.stix.time import parse_timestamp

_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_ID: Final = re.compile(rf"[a-z][a-z0-9-]{{1,248}}[a-z0-9]--{_UUID}")

UNVERSIONED: Final = frozenset({
    "artifact", "autonomous-system", "directory", "domain-name", "email-addr", "email-message", "file",
    "ipv4-addr", "ipv6-addr", "mac-addr", "mutex", "network-traffic", "process", "software", "url",
    "user-account", "windows-registry-key", "x509-certificate", "marking-definition",
})  # fmt: skip
"""Types that carry no `modified`: the cyber-observables of section 6, and markings (section 7.2)."""

_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "indicator": ("pattern", "pattern_type", "valid_from"),
    "sighting": ("sighting_of_ref",),
    "relationship": ("relationship_type", "source_ref", "target_ref"),
    "observed-data": ("first_observed", "last_observed", "number_observed"),
    "malware": ("is_family",),
    "identity": ("name",),
}


def check(candidate: Mapping[str, Any]) -> None:
    """Hold one object against the rules of STIX 2.1 that the log and the sinks depend on.

    Args:
        candidate: A STIX 2.1 object as JSON data.

    Raises:
        InvalidObject: Names the property and what is wrong with it.
    """
    type, id = candidate.get("type"), candidate.get("id")
    if not isinstance(type, str) or not isinstance(id, str):
        raise InvalidObject("The object has no `type` or no `id`.")
    if type == "bundle":
        raise InvalidObject("A bundle is an envelope, not an object; its objects are what the log holds.")
    if not _ID.fullmatch(id) or not id.startswith(f"{type}--"):
        raise InvalidObject(f"The id {quoted(id, 120)} is not the type {quoted(type)}, two hyphens and a UUID.")
    _check_common(candidate, id)
    if "modified" in candidate or "created" in candidate:
        _check_versioned(candidate, id)
        if type not in UNVERSIONED:
            _check_current(candidate, id)
    elif type not in UNVERSIONED and not candidate.get("extensions"):
        raise InvalidObject(f"{id} has no `created` and no `modified`.")
    for name in _REQUIRED.get(type, ()):
        if candidate.get(name) in (None, ""):
            raise InvalidObject(f"{id} has no `{name}`, which an object of type {type} must have.")
    if type == "indicator":
        _check_indicator(candidate, id)


def _check_current(candidate: Mapping[str, Any], id: str) -> None:
    if "modified" not in candidate:
        raise InvalidObject(f"{id} has no `modified`.")
    if "spec_version" not in candidate:
        raise InvalidObject(
            f"{id} has no `spec_version`: it is a STIX 2.0 object.",
            hint="`tiforge.stix.upgrade` turns it into 2.1.",
        )


def _check_common(candidate: Mapping[str, Any], id: str) -> None:
    if candidate.get("spec_version", "2.1") != "2.1":
        raise InvalidObject(f"{id} has the `spec_version` {quoted(candidate['spec_version'])}, not '2.1'.")
    confidence = candidate.get("confidence")
    whole = isinstance(confidence, int) and not isinstance(confidence, bool)
    if confidence is not None and not (whole and 0 <= confidence <= 100):
        raise InvalidObject(f"{id} has a `confidence` {quoted(confidence)}; it must be a whole number, 0 to 100.")
    if not isinstance(candidate.get("revoked", False), bool):
        raise InvalidObject(f"{id} has a `revoked` that is neither true nor false.")
    markings = candidate.get("object_marking_refs", [])
    if not isinstance(markings, list) or not all(isinstance(mark, str) for mark in markings):
        raise InvalidObject(f"{id} has `object_marking_refs` that are no list of ids.")
    if candidate.get("valid_until") is not None:
        parse_timestamp(candidate["valid_until"])


def _check_versioned(candidate: Mapping[str, Any], id: str) -> None:
    created = candidate.get("created")
    modified = candidate.get("modified", created)
    if not isinstance(created, str) or not isinstance(modified, str):
        raise InvalidObject(f"{id} has no `created` or no `modified` that is a timestamp.")
    if parse_timestamp(modified) < parse_timestamp(created):
        raise InvalidObject(f"{id} was modified ({modified}) before it was created ({created}).")


def _check_indicator(candidate: Mapping[str, Any], id: str) -> None:
    if not isinstance(candidate["pattern"], str):
        raise InvalidObject(f"{id} has a `pattern` that is no text.")
    if not isinstance(candidate["pattern_type"], str):
        raise InvalidObject(f"{id} has a `pattern_type` that is no text.")
    valid_from = parse_timestamp(candidate["valid_from"])
    valid_until = candidate.get("valid_until")
    if valid_until is not None and parse_timestamp(valid_until) <= valid_from:
        raise InvalidObject(f"{id} is valid until {valid_until}, not after it is valid from.")
