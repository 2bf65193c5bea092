"""When a source is due: cron expressions and intervals, with jitter, missed times coalesced."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Self

from cronsim import CronSim, CronSimError

_EVERY = re.compile(r"every\s+((?:\d{1,9}\s*[smhdw]\s*)+)", re.IGNORECASE)
_PART = re.compile(r"(\d+)\s*([smhdw])", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Schedule:
    """A cron expression in UTC, or an interval.

    Attributes:
        text: As it was written.
        interval: The interval, or `None` for a cron expression.
    """

    text: str
    interval: timedelta | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a schedule.

        Args:
            text: `*/15 * * * *` (five fields, UTC), or `every` and a duration as `15m` or `1h30m`.

        Returns:
            The schedule.

        Raises:
            ValueError: It is neither.
        """
        text = text.strip()
        if match := _EVERY.fullmatch(text):
            seconds = sum(int(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(match[1]))
            if not 1 <= seconds <= 366 * 86400:
                raise ValueError(f"{text!r} must lie between every 1s and every 366d")
            return cls(text, timedelta(seconds=seconds))
        try:
            if len(text.split()) == 6:  # with seconds first, which CronSim would take
                raise CronSimError("Wrong number of fields")
            CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(
                f"{text!r} is no schedule ({error}); write five cron fields as '*/15 * * * *', or 'every 15m'"
            ) from None
        return cls(text, None)

    def next_after(self, moment: datetime) -> datetime:
        """Return the first due time after a moment.

        Times that passed while nothing ran are coalesced: the next is always in the future of `moment`.
        """
        if self.interval is not None:
            return moment + self.interval
        return next(CronSim(self.text, moment.astimezone(UTC)))

    def with_jitter(self, due: datetime, *, key: str, limit: timedelta) -> datetime:
        """Move a due time later by an amount that is stable for a key and a time, below a limit.

        Many instances with the same schedule then do not call the vendor in the same second, and a
        restart arrives at the same time again.
        """
        seed = blake2b(f"{key}@{due.isoformat()}".encode(), digest_size=8).digest()
        # In whole numbers: a fraction as a float rounds up to the limit itself.
        return due + timedelta(microseconds=(limit // _MICROSECOND) * int.from_bytes(seed) >> 64)
