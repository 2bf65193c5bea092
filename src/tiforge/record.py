"""The record: one version of one STIX 2.1 object, as the bytes that travel from source to sink."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Self

import orjson

from tiforge.errors import InvalidObject
from tiforge.stix.check import check
from tiforge.stix.pattern import Observable, observables
from tiforge.stix.time import micros, parse_timestamp, timestamp
from tiforge.stix.tlp import TLP

_bare = object.__new__
_put = object.__setattr__  # what a frozen class sets its own attributes with


class Facets(NamedTuple):
    """What the log and the sinks' filters need to know of a record without parsing it again.

    Times are microseconds since 1970-01-01 UTC; `None` stands for a property that is not there.
    """

    modified: int | None
    valid_until: int | None
    revoked: bool
    confidence: int | None
    tlp: int | None


class _Slots:
    """What a record is while it is being made: the same layout, not frozen yet, at a third of the cost."""

    __slots__ = ("_facets", "_object", "_observables", "id", "payload", "type", "version")

    id: str
    type: str
    version: str
    payload: bytes
    _object: dict[str, Any] | None
    _facets: Facets | None
    _observables: tuple[Observable, ...] | None


class Record(_Slots):
    """One version of one STIX 2.1 object.

    Attributes:
        id: The STIX id.
        type: The STIX type.
        version: STIX `modified`, or a digest of the content where an object has none.
        payload: The object as UTF-8 JSON. It is spliced as it is into bundles and envelopes.
    """

    __slots__ = ()

    def __new__(cls, id: str, type: str, version: str, payload: bytes, data: dict[str, Any] | None = None) -> Self:
        """Make a record, frozen."""
        made: Any = _bare(_Slots)
        made.id = id
        made.type = type
        made.version = version
        made.payload = payload
        made._object = data
        made._facets = made._observables = None
        made.__class__ = cls  # from here on it is frozen
        return made  # type: ignore[no-any-return]

    @classmethod
    def of(cls, candidate: Mapping[str, Any] | bytes | Record) -> Record:
        """Make a record of an object from outside, checked.

        Args:
            candidate: JSON data, JSON text, a `stix2` object, or a record (returned as it is).

        Returns:
            The record.

        Raises:
            InvalidObject: It is not valid STIX 2.1.
        """
        if isinstance(candidate, Record):
            return candidate
        data: Any = candidate
        try:
            if isinstance(candidate, Mapping):
                data = candidate.serialize() if hasattr(candidate, "serialize") else _as_json(candidate)
            if isinstance(data, bytes | bytearray | memoryview | str):
                data = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise InvalidObject(f"The object is not JSON: {error}.") from None
        if not isinstance(data, dict):
            raise InvalidObject("A STIX object is a JSON object, with members in braces.")
        check(data)
        try:
            return cls.built(data)
        except TypeError as error:  # nested deeper than orjson writes
            raise InvalidObject(f"{data['id']} cannot be written as JSON: {error}.") from None

    @classmethod
    def built(cls, data: dict[str, Any]) -> Self:
        """Make a record of an object that the builders of `tiforge.stix` made; it is not checked again.

        Args:
            data: The object. The record keeps it: do not change it afterwards.

        Returns:
            The record.
        """
        payload = orjson.dumps(data)
        modified = data.get("modified")
        version = _canonical(modified) if modified else blake2b(payload, digest_size=16).hexdigest()
        return cls(data["id"], data["type"], version, payload, data)

    # functools.cached_property takes a lock at each first use (Python 3.11), which a page feels.

    @property
    def object(self) -> dict[str, Any]:
        """The object as JSON data, parsed when first asked for. Do not change it."""
        if self._object is None:
            _put(self, "_object", orjson.loads(self.payload))
        return self._object  # type: ignore[return-value]

    @property
    def observables(self) -> tuple[Observable, ...]:
        """What the object's pattern looks for; empty where it has none, or one that is not STIX's.

        Raises:
            InvalidObject: The pattern does not parse.
        """
        if self._observables is None:
            pattern = self.object.get("pattern")
            is_stix = self.object.get("pattern_type", "stix") == "stix"
            _put(self, "_observables", observables(pattern) if is_stix and isinstance(pattern, str) else ())
        return self._observables  # type: ignore[return-value]

    @property
    def facets(self) -> Facets:
        """What filters need, read once from the object."""
        if self._facets is None:
            _put(self, "_facets", self._read_facets())
        return self._facets  # type: ignore[return-value]

    def _read_facets(self) -> Facets:
        data = self.object
        modified, valid_until = data.get("modified"), data.get("valid_until")
        markings = data.get("object_marking_refs")
        return Facets(
            _micros(modified) if modified else None,
            _micros(valid_until) if valid_until else None,
            data.get("revoked", False),
            data.get("confidence"),
            TLP.strictest(markings) if markings else None,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a record is frozen; `{name}` cannot be set")

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return (self.id, self.version, self.payload) == (other.id, other.version, other.payload)

    def __hash__(self) -> int:
        return hash((self.id, self.version))

    def __repr__(self) -> str:
        return f"<Record {self.id} {self.version}>"


# A time is text in STIX; orjson would write a `datetime`, but not as STIX does.
_PLAIN: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def _as_json(candidate: Mapping[str, Any]) -> bytes:
    try:
        text = orjson.dumps(dict(candidate), option=_PLAIN)
        if b"null" in text:  # what orjson makes of a NaN; the standard library says so
            json.dumps(candidate, allow_nan=False, default=dict)
    except (TypeError, ValueError) as error:  # foreign types, text that is no UTF-8, numbers beyond 64 bits
        raise InvalidObject(f"The object cannot be written as JSON: {error}.") from None
    return text


def _canonical(modified: str) -> str:
    # Written by `timestamp()` already, as nearly all are: nothing to do.
    if len(modified) == 24 and modified[19] == "." and modified[23] == "Z":
        return modified
    return timestamp(parse_timestamp(modified))


@lru_cache(1024)
def _micros(text: str) -> int:
    # The objects of one detection share its time.
    return micros(parse_timestamp(text))
