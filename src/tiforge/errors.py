"""The errors that a plugin raises, named for what the engine does about them.

```text
TiforgeError
├── ConfigurationError     the operator must change a setting; not retried
├── AuthenticationFailed   credentials are refused; not retried, nothing is set aside
├── Transient              the same call may succeed later; retried with backoff
├── Permanent              the same call will never succeed; a refused batch is split
├── InvalidObject          one object is not valid STIX 2.1; it is set aside
├── CursorRefused          a cursor is empty or lies in the future; the stored one stays
├── LeaseLost              another process has taken over; this one stops at once
└── StoreError             the store cannot be opened, read or written
```

Every message is written for the person who runs tiforge: what happened, to what, what to do. It never
holds a secret.
"""

from __future__ import annotations

from math import isnan
from typing import Any, Final


def quoted(value: Any, limit: int = 60) -> str:
    """Return a foreign value as it may stand in a message: short, escaped, whatever it is.

    Args:
        value: Anything that came from outside.
        limit: Characters of text at most.

    Returns:
        Text and small numbers in Python's own form; of the rest the kind, since the `repr` of a list that
        is nested a thousand times, or of a number of a million digits, raises.
    """
    if isinstance(value, str):
        return repr(value) if len(value) <= limit else f"{value[:limit]!r}…"
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 64 else "a number beyond 64 bits"
    return f"of type {type(value).__name__}"


LONGEST_WAIT: Final = 7 * 86400.0
"""The longest wait, in seconds, that a remote API can ask for."""


class TiforgeError(Exception):
    """The root of all errors that tiforge raises on purpose.

    Args:
        message: What happened, to what, in one sentence.
        hint: What to do about it, in one sentence.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class ConfigurationError(TiforgeError):
    """A setting is wrong, or a remote API says that what it names does not exist."""


class AuthenticationFailed(TiforgeError):
    """A remote API refuses the credentials, or they lack a permission."""


class Transient(TiforgeError):
    """The call failed for now: a rate limit, an outage, a broken connection.

    Args:
        message: What happened.
        retry_after: Seconds that the remote API asks to wait; `None` leaves the wait to the engine. What is
            no number is `None`, and nobody is made to wait longer than a week.
        hint: What to do about it.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        unknown = retry_after is None or isnan(retry_after)
        self.retry_after = None if unknown else min(max(0.0, retry_after or 0.0), LONGEST_WAIT)


class Permanent(TiforgeError):
    """The remote API will refuse this call however often it is made."""


class InvalidObject(TiforgeError):
    """An object is not valid STIX 2.1."""


class CursorRefused(TiforgeError):
    """A source offered a cursor that is empty or lies in the future."""


class LeaseLost(TiforgeError):
    """Another process holds the lease now; what this one was about to commit is refused."""


class StoreError(TiforgeError):
    """The store cannot be opened, read or written."""
