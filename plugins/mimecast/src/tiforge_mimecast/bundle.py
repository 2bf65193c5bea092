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
from typing import IO, Any, Final

import orjson

from tiforge import InvalidObject, Permanent, Record, SetAside, Transient
from tiforge.elements import Element, Elements, Fault, NoBundle
from tiforge.http import excerpt
from tiforge.stix import parse_timestamp, relationship, stable_id, timestamp, upgrade
from tiforge_mimecast.lines import LONGEST
from tiforge_mimecast.objects import IDENTITY_ID, Objects, hash_pattern
from tiforge_mimecast.rows import FUTURE, Recent, shown

_HASH: Final = re.compile(
    r"\[\s*file:hashes\.'?(?:(SHA-?256)'?\s*=\s*'([0-9a-f]{64})|(SHA-?1)'?\s*=\s*'([0-9a-f]{40})"
    r"|(MD5)'?\s*=\s*'([0-9a-f]{32}))'\s*\]",
    re.IGNORECASE,
)
_CHUNK: Final = 128 * 1024
_REMEMBERED: Final = 20_000
"""How many ids of the bundle are remembered for the references to them, which stand beside them."""
_LONGEST_ID: Final = 256
"""Ids are some sixty characters; a longer one is not remembered."""
_WAITING: Final = 2_000
"""How many relationships may wait for their ends."""


def read_bundle(
    body: IO[bytes], objects: Objects, *, where: str, recent: Recent | None = None
) -> Iterator[list[Record] | SetAside]:
    """Read a bundle object by object.

    Args:
        body: The file at its start.
        objects: Builds what the CSV form and this form share.
        where: What it is, as `malware_grid, member feed.stix`.
        recent: Which times are taken; without it, any.

    Yields:
        The records that one object becomes, or what could not be read of it.

    Raises:
        Permanent: The JSON is no bundle.
        Transient: The JSON is damaged or cut short.
    """
    chunks = iter(lambda: body.read(_CHUNK), b"")
    try:
        yield from _Rewriting(objects, where, recent or Recent()).all(Elements(chunks, LONGEST).of_bundle())
    except NoBundle:
        raise Permanent(f"The answer is JSON, but no STIX bundle ({where}).") from None
    except Fault as fault:
        said = excerpt(fault.reason.encode())
        raise Transient(f"The bundle is damaged or cut short ({where}): {said}") from None


class _Rewriting:
    def __init__(self, objects: Objects, where: str, recent: Recent) -> None:
        self._recent = recent
        self._objects = objects
        self._where = where
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._waiting: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._makers: dict[str, Callable[[dict[str, Any]], list[Record]]] = {
            "indicator": self._indicator,
            "malware": self._malware,
        }

    def all(self, found: Iterator[Element]) -> Iterator[list[Record] | SetAside]:
        for element in found:
            number, item = element.number, element.value
            if element.error:
                reason = f"The object cannot be read: {element.error}"
                yield SetAside(shown(element.raw), reason, f"{self._where}, object {number}")
                continue
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
            upgraded = upgrade(item)
            _check_words(upgraded)
            self._check_times(upgraded)
            type = upgraded.get("type")
            if type == "relationship":
                return [self._relationship(upgraded)]
            make = self._makers.get(type, self._other) if isinstance(type, str) else self._other
            return make(upgraded)
        except InvalidObject as error:
            return self._aside(number, item, f"The object cannot be read: {error}")

    def _check_times(self, item: dict[str, Any]) -> None:
        for name in ("created", "modified", "valid_from"):
            text = item.get(name)
            if text is None:
                continue
            if not isinstance(text, str):
                raise InvalidObject(f"Its `{name}` is no text.")
            if timestamp(parse_timestamp(text)) not in self._recent:
                raise InvalidObject(f"{FUTURE[0].upper()}{FUTURE[1:]} (`{name}`).")

    def _known(self, item: dict[str, Any]) -> bool:
        ends = (item.get("source_ref"), item.get("target_ref"))
        return all(not isinstance(end, str) or end in self._ids for end in ends)

    def _lonely(self, number: int, item: dict[str, Any]) -> SetAside:
        return self._aside(number, item, "The relationship's ends are not in the bundle.")

    def _aside(self, number: int, item: Any, reason: str) -> SetAside:
        return SetAside(shown(orjson.dumps(item)), reason, f"{self._where}, object {number}")

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
        if isinstance(original, str) and len(original) <= _LONGEST_ID:
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


def _add(
    built: dict[str, Any], item: dict[str, Any], *, keep: tuple[str, ...], union: tuple[str, ...] = ()
) -> None:
    """Let an object speak for itself where it says more than the defaults that were built for it."""
    for name, value in item.items():
        if name in union and isinstance(value, list):
            built[name] = list(dict.fromkeys([*built.get(name, ()), *value]))
        elif name not in keep:
            built[name] = value
