"""Read the feed's STIX form: one STIX 2.0 bundle of indicator, malware and relationship triples.

Mimecast's ids are random, and the same hash recurs with new ones. Here each object gets the id that its
content makes, so that repeats collapse, and an indicator has the id and the content that the CSV form gives
it. References are rewritten alike.

Source: Mimecast, "Get Threat Intel Feed", `fileType` `stix`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import IO, Any, Final

import ijson
import orjson

from tiforge import InvalidObject, Permanent, Record, SetAside, Transient
from tiforge.http import excerpt
from tiforge.stix import parse_timestamp, relationship, stable_id, timestamp, upgrade
from tiforge_mimecast.objects import IDENTITY_ID, Objects, hash_pattern
from tiforge_mimecast.rows import shown

_HASH: Final = re.compile(
    r"\[\s*file:hashes\.'?(?:(SHA-?256)'?\s*=\s*'([0-9a-f]{64})|(SHA-?1)'?\s*=\s*'([0-9a-f]{40})"
    r"|(MD5)'?\s*=\s*'([0-9a-f]{32}))'\s*\]",
    re.IGNORECASE,
)
_REMEMBERED: Final = 20_000
"""How many ids of the bundle are remembered for the references to them, which stand beside them."""
_WAITING: Final = 2_000
"""How many relationships may wait for their ends."""


def read_bundle(body: IO[bytes], objects: Objects, *, where: str) -> Iterator[list[Record] | SetAside]:
    """Read a bundle object by object.

    Args:
        body: The file at its start.
        objects: Builds what the CSV form and this form share.
        where: What it is, as `malware_grid, member feed.stix`.

    Yields:
        The records that one object becomes, or what could not be read of it.

    Raises:
        Permanent: The JSON is no bundle.
        Transient: The JSON is damaged or cut short.
    """
    try:
        _check_bundle(body, where)
        # Numbers come as int and Decimal: `use_float` would stop at an integer beyond 64 bits, and with it
        # the whole feed, for the sake of one object.
        yield from _Rewriting(objects, where).all(ijson.items(_text(body), "objects.item"))
    except ijson.JSONError as error:
        raise Transient(f"The bundle is damaged or cut short ({where}): {excerpt(str(error).encode())}.") from None


def _text(body: IO[bytes]) -> IO[bytes]:
    body.seek(0)
    if body.read(3) != b"\xef\xbb\xbf":
        body.seek(0)
    return body


def _check_bundle(body: IO[bytes], where: str) -> None:
    for prefix, event, value in ijson.parse(_text(body)):
        if (prefix, event) == ("type", "string"):
            if value != "bundle":
                break
            return
        if prefix == "objects" and event == "start_array":
            return
        if prefix == "" and event not in ("start_map", "map_key"):
            break
    raise Permanent(f"The answer is JSON, but no STIX bundle ({where}).")


class _Rewriting:
    def __init__(self, objects: Objects, where: str) -> None:
        self._objects = objects
        self._where = where
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._waiting: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._makers: dict[str, Callable[[dict[str, Any]], list[Record]]] = {
            "indicator": self._indicator,
            "malware": self._malware,
        }

    def all(self, found: Iterator[Any]) -> Iterator[list[Record] | SetAside]:
        for number, item in enumerate(found, 1):
            if isinstance(item, dict) and item.get("type") == "relationship" and not self._known(item):
                self._waiting[number] = item
                if len(self._waiting) > _WAITING:
                    yield self._lonely(*self._waiting.popitem(last=False))
                continue
            yield self._one(number, item)
        while self._waiting:
            number, item = self._waiting.popitem(last=False)
            yield self._one(number, item) if self._known(item) else self._lonely(number, item)

    def _one(self, number: int, item: Any) -> list[Record] | SetAside:
        try:
            if not isinstance(item, dict):
                raise InvalidObject("It is no object.")
            upgraded = upgrade(_plain(item))
            _check_words(upgraded)
            type = upgraded.get("type")
            if type == "relationship":
                return [self._relationship(upgraded)]
            make = self._makers.get(type, self._other) if isinstance(type, str) else self._other
            return make(upgraded)
        except InvalidObject as error:
            return self._aside(number, item, f"The object cannot be read: {error}")

    def _known(self, item: dict[str, Any]) -> bool:
        ends = (item.get("source_ref"), item.get("target_ref"))
        return all(not isinstance(end, str) or end in self._ids for end in ends)

    def _lonely(self, number: int, item: dict[str, Any]) -> SetAside:
        return self._aside(number, item, "The relationship's ends are not in the bundle.")

    def _aside(self, number: int, item: Any, reason: str) -> SetAside:
        try:
            raw = orjson.dumps(item)
        except TypeError:  # a number that is no 64-bit integer, text that is no UTF-8
            raw = repr(item).encode("utf-8", "backslashreplace")
        return SetAside(shown(raw), reason, f"{self._where}, object {number}")

    def _indicator(self, item: dict[str, Any]) -> list[Record]:
        original, pattern = item.get("id"), item.get("pattern")
        if not isinstance(pattern, str):
            raise InvalidObject("The indicator has no pattern.")
        seen = timestamp(parse_timestamp(item.get("valid_from") or item.get("created") or ""))
        name = "Malicious activity"
        if match := _HASH.fullmatch(pattern.strip()):
            algorithm, hash = next(
                (name, match[group].lower())
                for name, group in (("SHA-256", 2), ("SHA-1", 4), ("MD5", 6))
                if match[group]
            )
            pattern, name = hash_pattern(algorithm, hash)
        built = self._objects.indicator(pattern, name, seen)
        _add(built, item, keep=("id", "created_by_ref", "pattern"), union=("labels", "indicator_types"))
        return self._recorded(original, built)

    def _malware(self, item: dict[str, Any]) -> list[Record]:
        original = item.get("id")
        name, kinds = item.get("name"), item.get("malware_types") or []
        # A name is all that the feed says of it: what has the same name and kind is the same.
        built = {**item, "id": stable_id("malware", IDENTITY_ID, str(name or ""), *sorted(kinds))}
        built.setdefault("created_by_ref", IDENTITY_ID)
        built.setdefault("object_marking_refs", list(self._objects.markings))
        return self._recorded(original, built)

    def _relationship(self, item: dict[str, Any]) -> Record:
        source, kind, target = (item.get(name) for name in ("source_ref", "relationship_type", "target_ref"))
        if not (isinstance(source, str) and isinstance(kind, str) and isinstance(target, str)):
            raise InvalidObject("The relationship lacks its type or one of its ends.")
        created = item.get("created")
        if not isinstance(created, str):
            raise InvalidObject("The relationship has no `created`.")
        built = relationship(
            created=created,
            modified=item.get("modified") or created,
            created_by_ref=IDENTITY_ID,
            source_ref=self._ids.get(source, source),
            relationship_type=kind,
            target_ref=self._ids.get(target, target),
            object_marking_refs=self._objects.markings,
        )
        _add(built, item, keep=("id", "created_by_ref", "source_ref", "target_ref"))
        return Record.of(built)

    def _other(self, item: dict[str, Any]) -> list[Record]:
        return self._recorded(item.get("id"), item)

    def _recorded(self, original: Any, built: dict[str, Any]) -> list[Record]:
        record = Record.of(built)
        if isinstance(original, str):
            self._ids[original] = record.id
            self._ids.move_to_end(original)
            if len(self._ids) > _REMEMBERED:
                self._ids.popitem(last=False)
        return [record]


def _check_words(item: dict[str, Any]) -> None:
    for name in ("labels", "indicator_types", "malware_types"):
        words = item.get(name, [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InvalidObject(f"Its `{name}` are no list of words.")


def _plain(value: Any) -> Any:
    """Return JSON data with its Decimals as floats."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: each if isinstance(each, str) else _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [each if isinstance(each, str) else _plain(each) for each in value]
    return value


def _add(
    built: dict[str, Any], item: dict[str, Any], *, keep: tuple[str, ...], union: tuple[str, ...] = ()
) -> None:
    """Let an object speak for itself where it says more than the defaults that were built for it."""
    for name, value in item.items():
        if name in union and isinstance(value, list):
            built[name] = list(dict.fromkeys([*built.get(name, ()), *value]))
        elif name not in keep:
            built[name] = value
