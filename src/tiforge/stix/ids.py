"""Identifiers that are the same on every machine, in every run.

STIX 2.1 section 2.9: object identifiers are `type--UUID`. For cyber-observables the specification gives
the namespace and the contributing properties, so that any producer arrives at the same id; for everything
else tiforge derives a UUIDv5 under a namespace of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha1
from typing import Final
from uuid import UUID

import orjson

NAMESPACE: Final = UUID("47e1555c-0d20-4cd6-9252-da71e2e7ff12")
"""The namespace of every identifier that tiforge derives. It never changes."""

SCO_NAMESPACE: Final = UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
"""The namespace that STIX 2.1 section 2.9 gives for cyber-observables."""

_HASH_ORDER: Final = ("MD5", "SHA-1", "SHA-256", "SHA-512")
_NAMESPACE_BYTES: Final = NAMESPACE.bytes
_SCO_NAMESPACE_BYTES: Final = SCO_NAMESPACE.bytes


_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _uuid5(namespace: bytes, name: bytes) -> str:
    # uuid.uuid5 builds a UUID object for the same 16 bytes; a feed's row needs six of them.
    digest = sha1(namespace + name, usedforsecurity=False).hexdigest()
    variant = _VARIANT[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def stable_id(type: str, *parts: str) -> str:
    """Derive the id of an object from what makes it that object.

    Args:
        type: The STIX type, as `indicator`.
        *parts: What identifies it: for an indicator the id of its source's identity and the pattern.

    Returns:
        `type--UUIDv5`, the same for the same arguments always.
    """
    return f"{type}--{_uuid5(_NAMESPACE_BYTES, orjson.dumps([type, *parts]))}"


def sco_id(type: str, contributing: Mapping[str, object]) -> str:
    """Derive the id of a cyber-observable as STIX 2.1 section 2.9 says.

    Args:
        type: The STIX type, as `file`.
        contributing: The object's ID contributing properties that are present. Of `hashes` the one that
            the specification prefers is taken (MD5, SHA-1, SHA-256, SHA-512, else the first by name).

    Returns:
        `type--UUIDv5` over the RFC 8785 form of the properties.
    """
    hashes = contributing.get("hashes")
    if isinstance(hashes, Mapping):
        chosen = next((name for name in _HASH_ORDER if name in hashes), None) or min(hashes)
        contributing = {**contributing, "hashes": {chosen: hashes[chosen]}}
    # For strings and integers, sorted compact JSON in UTF-8 is the RFC 8785 form (ASCII property names).
    return f"{type}--{_uuid5(_SCO_NAMESPACE_BYTES, orjson.dumps(contributing, option=orjson.OPT_SORT_KEYS))}"
