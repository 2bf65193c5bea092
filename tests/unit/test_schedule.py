"""Schedules: when a source is due, and how jitter spreads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiforge.schedule import Schedule

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
TEXTS = st.sampled_from(["*/15 * * * *", "0 3 * * *", "0 0 29 2 *", "0 0 1 1 *", "0 9 * * MON-FRI", "59 23 L * *"])
EVERY = st.integers(1, 366 * 86400).map(lambda seconds: f"every {seconds}s")


@given(TEXTS | EVERY, MOMENTS)
def test_the_next_time_is_strictly_later(text: str, moment: datetime) -> None:
    """However long nothing ran, what is due next lies in the future: missed times are one."""
    assert Schedule.parse(text).next_after(moment) > moment


@given(TEXTS, MOMENTS)
def test_times_of_a_cron_expression_follow_one_another(text: str, moment: datetime) -> None:
    """Asking from a moment just before a due time gives that time again: none is stepped over."""
    schedule = Schedule.parse(text)
    due = schedule.next_after(moment)
    assert schedule.next_after(due - timedelta(microseconds=1)) == due
    assert schedule.next_after(due) > due


@given(MOMENTS, st.integers(-12, 14))
def test_cron_expressions_are_in_utc(moment: datetime, hours: int) -> None:
    """The zone of the moment that is asked from does not matter."""
    schedule = Schedule.parse("0 3 * * *")
    due = schedule.next_after(moment.astimezone(timezone(timedelta(hours=hours))))
    assert due == schedule.next_after(moment)
    assert (due.astimezone(UTC).hour, due.minute) == (3, 0)


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("every 15m", timedelta(minutes=15)), ("every 1h30m", timedelta(minutes=90)),
        ("Every 2 D", timedelta(days=2)),
        ("  every   10s  ", timedelta(seconds=10)), ("every 1w", timedelta(weeks=1)),
        ("every 1h 30m", timedelta(minutes=90)), ("*/15 * * * *", None),
    ],
)  # fmt: skip
def test_what_can_be_written(text: str, interval: timedelta | None) -> None:
    """Intervals are written as durations are; anything else is a cron expression of five fields."""
    assert Schedule.parse(text).interval == interval


@pytest.mark.parametrize(
    "text",
    [
        "", "every", "every day", "every 15", "every15m", "every -5m", "every 1.5h", "15m", "@daily", "* * * *",
        "* * * * * *", "61 * * * *", "* 25 * * *", "0 0 30 2 *", "0 0 31 4 *", "nonsense",
        "every " + "9" * 5_000 + "d",
        "every 1m" * 10_000, "every " + "1m " * 10_000 + "x", "\x00", "* * * * \ud800",
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_told_what_to_write(text: str) -> None:
    """A text that is neither is told both ways of writing one."""
    with pytest.raises(ValueError, match=r"\*/15 \* \* \* \*.*every 15m|between every 1s"):
        Schedule.parse(text)


@pytest.mark.parametrize("text", ["every 0s", "every 0h0m", "every 367d", "every 999999999d"])
def test_intervals_have_bounds(text: str) -> None:
    """An interval of nothing would never end; one of years is a slip."""
    with pytest.raises(ValueError, match="between every 1s and every 366d"):
        Schedule.parse(text)


LIMITS = st.timedeltas(timedelta(microseconds=1), timedelta(days=30))


@given(MOMENTS, st.text(), LIMITS)
def test_jitter_lies_below_its_limit_and_is_stable(due: datetime, key: str, limit: timedelta) -> None:
    """A time moves later by less than the limit, and by the same amount each time it is asked for."""
    schedule = Schedule.parse("every 15m")
    moved = schedule.with_jitter(due, key=key, limit=limit)
    assert due <= moved < due + limit
    assert moved == schedule.with_jitter(due, key=key, limit=limit)


def test_no_jitter_moves_nothing() -> None:
    """A limit of zero leaves the time as it is."""
    due = datetime(2026, 1, 1, tzinfo=UTC)
    assert Schedule.parse("every 15m").with_jitter(due, key="a", limit=timedelta(0)) == due


def test_jitter_spreads_instances() -> None:
    """A hundred instances of one schedule do not call in the same second."""
    schedule, due = Schedule.parse("0 * * * *"), datetime(2026, 1, 1, tzinfo=UTC)
    times = {schedule.with_jitter(due, key=f"s{at}", limit=timedelta(minutes=10)) for at in range(100)}
    assert len({time.replace(microsecond=0) for time in times}) > 50
    assert max(times) - min(times) > timedelta(minutes=5)
