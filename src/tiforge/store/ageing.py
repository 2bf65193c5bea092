"""What a later detection of an indicator does to the version that the log holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from tiforge.record import Record
from tiforge.source import Ageing
from tiforge.stix.time import from_micros

_BY_TIME: Final = frozenset({"created", "modified", "valid_from", "valid_until"})


def aged(current: Record, detected: Record, ageing: Ageing) -> Record:
    """Return the version that holds after a detection.

    Args:
        current: The latest version in the log.
        detected: What the source made of the detection, as if it were the first.
        ageing: How the source's indicators age.

    Returns:
        `current` itself where the detection changes nothing: it says the same and more than the set share
        of the validity is left, or it is older, or the indicator was revoked, which is final (STIX 2.1
        section 3.6). Else the new version: `created` and `valid_from` stay, as a version must keep them.
    """
    if current.facets.revoked or (detected.facets.modified or 0) <= (current.facets.modified or 0):
        return current
    before, after = current.object, detected.object
    if _content(before) == _content(after) and not _running_out(current, detected, ageing):
        return current
    kept = {key: before[key] for key in ("created", "valid_from") if key in before}
    return Record.built(after | kept)


def _content(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in _BY_TIME}


def _running_out(current: Record, detected: Record, ageing: Ageing) -> bool:
    until, at = current.facets.valid_until, detected.facets.modified
    if until is None or at is None:
        return False
    left: timedelta = from_micros(until) - from_micros(at)
    return left < ageing.valid_for * ageing.renew_below
