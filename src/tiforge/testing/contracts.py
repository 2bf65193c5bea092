"""What the contracts of sources and sinks share: sample objects, and a look-out for secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from pydantic import BaseModel, SecretStr

from tiforge.record import Record
from tiforge.stix import (
    domain_name,
    email_address,
    equals,
    file,
    identity,
    indicator,
    ip_address,
    malware,
    observed_data,
    relationship,
    sighting,
    stable_id,
    timestamp,
    url,
)

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_AUTHOR: Final = stable_id("identity", "tiforge.testing")

HOSTILE: Final = (
    "it's \"quoted\" \\ and 'quoted' again",
    "two\nlines\r\nand a\ttab",
    "control \x01\x1b[31m\x7f\x85 characters",
    "left \u202eright\u202c to \u200f left, zero\u200bwidth, line\u2028separator",
    "</script><b>&amp; %00 %27 ${jndi:ldap://x} {{7*7}} ; DROP TABLE records; --",
    "żółć, 日本語, 🦠, e\u0301",
    "=cmd|' /C calc'!A0",
    " leading and trailing ",
    "null",
)
"""Names as they have been seen in feeds, or might be; what a sink stores is to hold them unchanged."""


def sample_indicator(number: int, *, name: str | None = None, version: int = 0, revoked: bool = False) -> Record:
    """Make the indicator of a number, the same for the same arguments always.

    Args:
        number: Which one.
        name: What its `name` is; without one, a plain name with the number.
        version: How many versions came before it.
        revoked: Whether this version revokes it.
    """
    built = _indicator(number, version)
    built["name"] = f"Sample {number}" if name is None else name
    if revoked:
        built["revoked"] = True
    return Record.of(built)


def _indicator(number: int, version: int = 0) -> dict[str, Any]:
    created = _START + timedelta(seconds=number)
    pattern = equals("file:hashes.'SHA-256'", f"{number:064x}")
    return indicator(
        id=stable_id("indicator", _AUTHOR, pattern),
        created=timestamp(created),
        modified=timestamp(created + timedelta(hours=version)),
        created_by_ref=_AUTHOR,
        pattern=pattern,
        valid_from=timestamp(created),
        valid_until="2126-01-01T00:00:00.000Z",  # no sink may take the samples for expired
        indicator_types=["malicious-activity"],
        confidence=80,
    )


def sample_of_each_type(number: int = 0) -> list[Record]:
    """Make one object of each STIX type that tiforge builds; they refer to one another."""
    time, first = timestamp(_START), _indicator(number)
    common: dict[str, Any] = {"created": time, "modified": time, "created_by_ref": _AUTHOR}
    seen = [
        file(hashes={"SHA-256": f"{number:064x}"}, name=f"sample-{number}.exe", size=number),
        ip_address(f"192.0.2.{number % 256}"),
        ip_address(f"2001:db8::{number:x}"),
        email_address(f"sender-{number}@example.com"),
        domain_name(f"host-{number}.example.com"),
        url(f"https://host-{number}.example.com/path?q=1"),
    ]
    family = malware(
        id=stable_id("malware", str(number)), **common, is_family=True, name="Sample", malware_types=["trojan"]
    )
    observed = observed_data(
        id=stable_id("observed-data", str(number)),
        **common,
        first_observed=time,
        last_observed=time,
        object_refs=[each["id"] for each in seen],
    )
    author = identity(id=_AUTHOR, created=time, name="Sample author", identity_class="organization")
    objects = [
        author,
        first,
        family,
        relationship(**common, source_ref=first["id"], relationship_type="indicates", target_ref=family["id"]),
        *seen,
        observed,
        sighting(
            id=stable_id("sighting", str(number)),
            **common,
            sighting_of_ref=first["id"],
            first_seen=time,
            last_seen=time,
            observed_data_refs=[observed["id"]],
        ),
    ]
    return [Record.of(each) for each in objects]


def secrets_of(value: object) -> Iterator[str]:
    """Yield the value of every `SecretStr` in a settings model, however deep."""
    if isinstance(value, SecretStr):
        if value.get_secret_value():
            yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_of(getattr(value, name))
    elif isinstance(value, Mapping):
        yield from secrets_of(list(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for each in value:
            yield from secrets_of(each)


def full_text(error: BaseException) -> str:
    """Return what a traceback would show of an error and its causes, and their `repr`."""
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        texts += (str(seen), repr(seen), *getattr(seen, "__notes__", ()))
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n".join(texts)


def shown_as_json(value: object) -> str:
    """Return JSON data as text in which a secret is written as it is."""
    return orjson.dumps(value).decode()


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect what is logged inside this block, from the lowest level."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    root, collector = logging.getLogger(), Collector(logging.DEBUG)
    level = root.level
    root.addHandler(collector)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(collector)
        root.setLevel(level)


def assert_hidden(secrets: Iterable[str], places: Mapping[str, str]) -> None:
    """Fail where a secret stands in a text, without showing it.

    Args:
        secrets: The values.
        places: Texts, by what they are.
    """
    for secret in secrets:
        written = {secret, shown_as_json(secret)[1:-1], repr(secret)[1:-1]}
        leaks = [place for place, text in places.items() if any(form in text for form in written)]
        if leaks:
            raise AssertionError(f"a secret of the settings shows in: {', '.join(leaks)}")
