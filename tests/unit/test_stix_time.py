"""Timestamps: one text for one moment, and nothing but RFC 3339 read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stix2.utils import format_datetime, parse_into_datetime

from tiforge import InvalidObject
from tiforge.stix import from_micros, micros, parse_timestamp, timestamp

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)


@given(MOMENTS)
def test_a_moment_comes_back(moment: datetime) -> None:
    """What is written is read as the same moment, to the microsecond, in UTC."""
    again = parse_timestamp(timestamp(moment))
    assert again == moment
    assert again.tzinfo is UTC


@given(MOMENTS)
def test_stix2_reads_the_same_moment(moment: datetime) -> None:
    """The referee reads what is written as the same moment."""
    assert parse_into_datetime(timestamp(moment)) == moment


@given(MOMENTS, ZONES)
def test_one_moment_has_one_text(moment: datetime, zone: timezone) -> None:
    """The zone that a moment is given in does not show."""
    assert timestamp(moment) == timestamp(moment.astimezone(zone))


@given(MOMENTS)
def test_microseconds_come_back(moment: datetime) -> None:
    """The log's integers stand for the same moment."""
    assert from_micros(micros(moment)) == moment


@given(MOMENTS, MOMENTS)
def test_order_is_kept(one: datetime, two: datetime) -> None:
    """Integers are ordered as the moments are, before and after 1970."""
    assert (micros(one) < micros(two)) == (one < two)


def test_a_whole_second_has_milliseconds() -> None:
    """Milliseconds are always there, microseconds where they are needed."""
    assert timestamp(datetime(2026, 1, 31, 12, tzinfo=UTC)) == "2026-01-31T12:00:00.000Z"
    assert timestamp(datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)) == "2026-01-31T12:00:00.000001Z"
    assert len(format_datetime(datetime(2026, 1, 31, 12, tzinfo=UTC))) == len("2026-01-31T12:00:00Z")


def test_a_naive_moment_is_refused() -> None:
    """A time without a zone is a different moment on each machine."""
    with pytest.raises(ValueError, match="no time zone"):
        timestamp(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.500Z"),
        ("2026-01-31T14:00:00+02:00", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456Z"),
    ],
)
def test_any_offset_and_precision_is_read(text: str, expected: str) -> None:
    """Feeds write offsets and nanoseconds; the moment is the same."""
    assert timestamp(parse_timestamp(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-01-31", "2026-01-31T12:00:00", "20260131T120000Z", "2026-W05-6T12:00:00Z",
        "2026-01-31 12:00:00Z", "2026-01-31t12:00:00Z", "2026-01-31T12Z", "2026-01-31T12:00Z",
        "2026-01-31T12:00:00,5Z", "2026-02-30T00:00:00Z", "2026-01-31T24:00:01Z", "0001-01-01T00:00:00+10:00",
        "９９９９-01-31T12:00:00Z", "2026-01-31T12:00:00Z\n", "\ud800", "9" * 10_000, None, 5, [], {}, b"2026",
        pytest.param(10**5000, id="huge"), float("nan"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: object) -> None:
    """What is no RFC 3339 timestamp is refused with a message that can be printed."""
    with pytest.raises(InvalidObject) as caught:
        parse_timestamp(text)  # type: ignore[arg-type]
    str(caught.value).encode()


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    """Whatever the text, it is a timestamp or an InvalidObject."""
    try:
        moment = parse_timestamp(text)
    except InvalidObject:
        return
    assert moment.tzinfo is UTC
