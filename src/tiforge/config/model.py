"""The settings of tiforge itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tiforge.secrets import Secret, conceal
from tiforge.settings import Duration, Settings


def _plain(value: Any) -> Any:
    """Let a URL without a password be shown."""
    harmless = isinstance(value, str) and "@" not in value and "pass" not in value.lower()
    return SecretStr(value) if harmless else value


def _guarded(value: SecretStr) -> SecretStr:
    """Keep the password inside a URL out of every output, alone too."""
    try:
        url = make_url(value.get_secret_value())
    except (ArgumentError, ValueError):
        # The text is not told: what makes it no URL may be a password with an @ or a : in it.
        raise ValueError(_NO_URL) from None
    if "@" in (url.host or ""):
        raise ValueError(_NO_URL)
    for password in (url.password, *(text for key, text in url.query.items() if "pass" in key.lower())):
        if isinstance(password, str) and password:
            conceal(password, for_good=True)
    return value


_NO_URL = (
    "is no URL; write sqlite:///tiforge.db or postgresql://user:password@host/name, and in a password %40 for @, "
    "%3A for : and %2F for /"
)


class StoreSettings(Settings):
    """Where the log is kept."""

    url: Annotated[Secret, BeforeValidator(_plain), AfterValidator(_guarded)] = SecretStr("sqlite:///tiforge.db")
    """`sqlite:///tiforge.db`, a relative path starting from the folder of the config, or
    `postgresql://user:password@host/name`."""


class RetrySettings(Settings):
    """How failed calls are repeated. One place for all sources and sinks."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 6
    """How often a call is made before its source or sink is left for later."""
    wait_initial: Duration = "1s"  # type: ignore[assignment]
    """The longest wait before the second attempt; it doubles with each, and the actual wait is drawn below it."""
    wait_max: Duration = "60s"  # type: ignore[assignment]
    """The longest wait between two attempts. When the remote API asks for more, no worker waits: the time
    of the next attempt is stored."""
    give_up_after: Duration = "10m"  # type: ignore[assignment]
    """How long one call is repeated before its source or sink is left for later."""
    call_timeout: Duration = "15m"  # type: ignore[assignment]
    """How long a plugin may take over one page or one batch."""


class LoggingSettings(Settings):
    """What tiforge says while it works."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe messages to show."""
    format: Literal["auto", "console", "json"] = "auto"
    """`console` for people, `json` for machines; `auto` is `console` on a terminal."""


class ServeSettings(Settings):
    """How `tiforge serve` behaves."""

    poll: Duration = "5s"  # type: ignore[assignment]
    """How often to look for what other processes added to the log."""
    grace: Duration = "30s"  # type: ignore[assignment]
    """How long a page or a batch may take to finish after SIGTERM."""
