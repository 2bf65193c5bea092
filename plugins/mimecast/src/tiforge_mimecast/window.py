"""The cursor: for each feed the window that is being read, and how far.

As JSON data:

```json
{"feeds": {"malware_grid": {
    "start": "2026-01-31T11:00:00Z", "end": "2026-01-31T12:00:00Z", "until": "2026-01-31T11:15:00Z",
    "token": "…", "trail": {"recent": ["…"], "mark": "…", "count": 3}}}}
```

`end` is there while a window is being read; without it the next window begins at `start`. `until` is
the moment up to which the feed is complete in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from tiforge import ConfigurationError, Cursor, InvalidObject, Permanent
from tiforge.stix import parse_timestamp

_RECENT: Final = 32
_AHEAD: Final = timedelta(minutes=5)
"""By how much the clocks of two machines may differ."""
RESET: Final = "Set a new one with `tiforge backfill NAME --since 1d --reset`."


@dataclass(frozen=True, slots=True)
class Trail:
    """The page tokens of one chain, in bounded memory: enough to notice any that comes back.

    A token among the last 32 is noticed at once. A longer circle is noticed within three times its length,
    as in Brent's algorithm, by one mark that is moved whenever the count of tokens is a power of two.

    Attributes:
        recent: Digests of the last tokens, oldest first.
        mark: The digest that is kept longer.
        count: How many tokens the chain has had.
    """

    recent: tuple[str, ...] = ()
    mark: str = ""
    count: int = 0

    def __contains__(self, token: str) -> bool:
        digest = _digest(token)
        return digest == self.mark or digest in self.recent

    def followed_by(self, token: str) -> Trail:
        """Return the trail with one more token."""
        digest, count = _digest(token), self.count + 1
        moved = count & (count - 1) == 0
        return Trail((*self.recent, digest)[-_RECENT:], digest if moved else self.mark, count)


def _digest(token: str) -> str:
    return blake2b(token.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Window:
    """Where one feed stands.

    Attributes:
        start: Where the window begins that is being read, or that comes next.
        end: Where it ends; fixed before its first request, `None` between two windows.
        until: The moment up to which the feed is complete in the log; `None` before the first window is.
        token: The page token that the next request sends; `None` reads the window's first page.
        trail: The tokens of this chain.
    """

    start: datetime
    end: datetime | None = None
    until: datetime | None = None
    token: str | None = None
    trail: Trail = Trail()

    def refuse_future(self, now: datetime, feed: str) -> None:
        """Fail where the window lies in the future: nothing would be read until then.

        Raises:
            ConfigurationError: It does, or the clock went back.
        """
        last = max(moment for moment in (self.start, self.end, self.until) if moment is not None)
        if last > now + _AHEAD:
            raise ConfigurationError(
                f"The stored cursor of {feed} lies in the future: it is at {_text(last)}, and the clock of this "
                f"machine at {_text(now)}.",
                hint=f"If the clock is wrong, set it. If not: {RESET[0].lower()}{RESET[1:]}",
            )

    def opened(self, now: datetime) -> Window:
        """Return the window with its end fixed; unchanged where it is open, or would be empty."""
        end = now.replace(microsecond=0)
        return self if self.end is not None or end <= self.start else replace(self, end=end)

    def advanced(self, next_token: str | None, lag: timedelta) -> Window:
        """Return the window after an answer was read whole.

        Args:
            next_token: The token that came with the answer. None, an empty one, and one that this chain
                has seen before end the chain.
            lag: How much the next window overlaps this one.
        """
        if next_token and next_token not in self.trail:
            return replace(self, token=next_token, trail=self.trail.followed_by(next_token))
        if self.end is None:
            raise ValueError("the window is not open")
        return Window(max(self.start, self.end - lag), until=self.end)

    def from_start(self) -> Window:
        """Return the same window, to be read from its first page again."""
        return replace(self, token=None, trail=Trail())


def windows_of(cursor: Cursor | None) -> dict[str, Window]:
    """Read a cursor.

    Raises:
        Permanent: It is none of this source's.
    """
    if cursor is None:
        return {}
    try:
        return {str(feed): _window(state) for feed, state in cursor.state["feeds"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, InvalidObject) as error:
        raise Permanent(
            f"The stored cursor is no cursor of a Mimecast source ({type(error).__name__}: {error}).",
            hint=RESET,
        ) from None


def cursor_of(windows: Mapping[str, Window], feeds: Iterable[str]) -> Cursor:
    """Write a cursor.

    Args:
        windows: All feeds that have ever been read; those no longer configured keep their place.
        feeds: The configured ones: `read_until` is what all of them have reached.
    """
    reached = [windows[feed].until if feed in windows else None for feed in feeds]
    complete = [moment for moment in reached if moment is not None]
    read_until = min(complete) if complete and len(complete) == len(reached) else None
    return Cursor({"feeds": {feed: _state(window) for feed, window in windows.items()}}, read_until)


def _window(state: Mapping[str, Any]) -> Window:
    trail = state.get("trail", {})
    token = state.get("token")
    if token is not None and not isinstance(token, str):
        raise TypeError("the token is no text")
    return Window(
        parse_timestamp(state["start"]),
        parse_timestamp(state["end"]) if "end" in state else None,
        parse_timestamp(state["until"]) if "until" in state else None,
        token,
        Trail(tuple(trail.get("recent", ())), trail.get("mark", ""), int(trail.get("count", 0))),
    )


def _state(window: Window) -> dict[str, Any]:
    state: dict[str, Any] = {"start": _text(window.start)}
    if window.end is not None:
        state["end"] = _text(window.end)
    if window.until is not None:
        state["until"] = _text(window.until)
    if window.token is not None:
        trail = window.trail
        state["token"] = window.token
        state["trail"] = {"recent": list(trail.recent), "mark": trail.mark, "count": trail.count}
    return state


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
