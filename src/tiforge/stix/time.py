"""Timestamps: STIX's text form, `datetime`, and the integer microseconds that the log is ordered by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tiforge.errors import InvalidObject, quoted

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def timestamp(moment: datetime) -> str:
    """Write a moment as STIX 2.1 section 3.2 wants it: RFC 3339, UTC, `Z`.

    Args:
        moment: An aware `datetime` of any zone.

    Returns:
        Milliseconds where that is exact, else microseconds: `2026-01-31T12:00:00.000Z`.

    Raises:
        ValueError: The `datetime` is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    utc = moment.astimezone(UTC)
    exact = utc.microsecond % 1000 == 0
    return utc.isoformat(timespec="milliseconds" if exact else "microseconds")[:-6] + "Z"


def parse_timestamp(text: str) -> datetime:
    """Read an RFC 3339 timestamp.

    Args:
        text: As `2026-01-31T12:00:00Z`, with any offset and any precision (cut to microseconds).

    Returns:
        An aware `datetime` in UTC.

    Raises:
        InvalidObject: The text is not a timestamp, or has no offset.
    """
    try:
        moment = datetime.fromisoformat(text)
        # `fromisoformat` also takes ISO 8601's weeks, its compact form and any letter between date and time.
        if text[4:17:3] != "--T::" or "," in text:
            raise ValueError
    except (TypeError, ValueError):
        raise InvalidObject(f"The value {quoted(text)} is not an RFC 3339 timestamp.") from None
    if moment.tzinfo is None:
        raise InvalidObject(f"The timestamp {quoted(text)} has no time zone.")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidObject(f"The timestamp {quoted(text)} lies outside the calendar.") from None


def micros(moment: datetime) -> int:
    """Return the microseconds from 1970-01-01 UTC to an aware `datetime`."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """Return the UTC `datetime` that many microseconds after 1970-01-01."""
    return _EPOCH + timedelta(microseconds=value)
