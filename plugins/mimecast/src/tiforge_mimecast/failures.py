"""What Mimecast's failures mean to the engine.

Mimecast reports failures by status and also under HTTP 200, in two shapes: API 1.0 and the feed write
`fail[].errors[].code/.message`, API 2.0's gateway writes `fail[].code/.message`.

Source: Mimecast, "Response Codes" and "Get Threat Intel Feed" of the API documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from tiforge import AuthenticationFailed, ConfigurationError, Permanent, TiforgeError, Transient
from tiforge.http import excerpt, retry_after

_NO_RESULT: Final = "err_threat_intel_feed_no_result_found"
_NO_RESULT_TEXTS: Final = ("No results found for threat intel feed", "Unable to compress feeds")
_LONGEST_WAIT: Final = 86400.0  # a longer one is no count of milliseconds, but something else

PERMISSION: Final = (
    "The application's role must allow “Services | Gateway | Tracking | Read”, and Threat Intel must be "
    "enabled for the account."
)

# A gateway writes its own words under HTTP 200; these are the ones that stand for a status.
_MEANS: Final = (
    (re.compile(r"rate.?limit|too.?many|quota|throttl", re.IGNORECASE), 429),
    (re.compile(r"unauthori[sz]ed|authenticat|credential|access_key", re.IGNORECASE), 401),
    (re.compile(r"forbidden|permission|access.?denied", re.IGNORECASE), 403),
    (re.compile(r"internal|unavailable|timeout|timed.?out|temporar|server.?error", re.IGNORECASE), 500),
)


class TokenRefused(Permanent):
    """The feed does not take the page token that was sent; the window must be read from its start."""


class Failure(NamedTuple):
    """One entry of `fail`.

    Attributes:
        code: As `err_threat_intel_feed_no_result_found`; may be empty.
        message: In words; may be empty.
    """

    code: str
    message: str

    @property
    def says_nothing_found(self) -> bool:
        """Whether this is how the feed says that a window or a page is empty."""
        return self.code == _NO_RESULT or any(text in self.message for text in _NO_RESULT_TEXTS)

    def __str__(self) -> str:
        return excerpt(" ".join(part for part in (self.code, self.message) if part).encode())


class Refusal(NamedTuple):
    """An answer that is no feed.

    Attributes:
        host: Who answered.
        status: What it means: the status, and of a failure under HTTP 200 the one that its body stands for.
        headers: The response's headers.
        failures: What `fail` lists.
        body: The answer's start.
        sent_as: The status of HTTP itself.
    """

    host: str
    status: int
    headers: Mapping[str, str]
    failures: tuple[Failure, ...]
    body: bytes
    sent_as: int

    @property
    def told(self) -> str:
        """What happened, for a message, without the full stop."""
        why = "; ".join(str(failure) for failure in self.failures) or excerpt(self.body)
        return f"{self.host} answered {self.sent_as}" + (f": {why.rstrip('.')}" if why else "")


def failures_in(data: Any) -> tuple[Failure, ...]:
    """Return what a JSON answer's `fail` lists, in either shape; empty where there is none."""
    entries = data.get("fail") if isinstance(data, Mapping) else None
    return tuple(_flat(entries)) if isinstance(entries, list) else ()


def _flat(entries: list[Any]) -> Iterator[Failure]:
    for entry in entries:
        if not isinstance(entry, Mapping):
            yield Failure("", str(entry))
            continue
        errors = entry.get("errors")
        for error in errors if isinstance(errors, list) and errors else [entry]:
            if isinstance(error, Mapping):
                yield Failure(str(error.get("code") or ""), str(error.get("message") or ""))
            else:
                yield Failure("", str(error))


def refusal(host: str, status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Read an answer that is no feed.

    Args:
        host: Who answered.
        status: The HTTP status.
        headers: The response's headers.
        body: The body, or its start.
    """
    try:
        data = orjson.loads(body) if body.lstrip()[:1] == b"{" else None
    except orjson.JSONDecodeError:
        data = None
    found = failures_in(data)
    means = _meant(data, found) if status == 200 and found else status
    return Refusal(host, means, headers, found, body, status)


def _meant(data: Any, found: tuple[Failure, ...]) -> int:
    meta = data.get("meta")
    stated = meta.get("status") if isinstance(meta, Mapping) else None
    if isinstance(stated, int) and 400 <= stated <= 599:
        return stated
    for words, status in _MEANS:
        if any(words.search(failure.code) for failure in found):
            return status
    return 400


def wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a 429 asks to wait, or `None` where it does not say.

    `X-RateLimit-Reset` counts milliseconds until at least one request is allowed again; `Retry-After` is
    read too, and the longer one is obeyed.
    """
    asked = retry_after(headers)
    reset = headers.get("x-ratelimit-reset", "").strip()
    if reset.isascii() and reset.isdigit() and (seconds := int(reset[:18]) / 1000) <= _LONGEST_WAIT:
        return seconds if asked is None else max(asked, seconds)
    return asked


def error_of(refused: Refusal, *, token_sent: bool = False) -> TiforgeError:
    """Choose the error that a refusal means to the engine.

    Args:
        refused: The refusal; what 401 and 418 mean is the authenticator's to say first.
        token_sent: Whether the request carried a page token, which may be what was refused.

    Returns:
        The error, to be raised.
    """
    status, told = refused.status, refused.told
    if status == 429:
        return Transient(f"{told}. The request quota is used up.", retry_after=wait(refused.headers))
    if status in (408, 425) or status >= 500:
        return Transient(f"{told}.", retry_after=wait(refused.headers))
    if status in (401, 403, 418):
        return AuthenticationFailed(f"{told}.", hint=PERMISSION)
    if 300 <= status < 400:
        return ConfigurationError(
            f"{told}, a redirect, which is never followed.", hint="Write the final address into `base_url`."
        )
    if status in (404, 405):
        return ConfigurationError(f"{told}.", hint="Check `region`, `base_url` and `path`.")
    if token_sent:
        return TokenRefused(
            f"{told}.", hint="The page token has expired. `tiforge backfill NAME --since 1d --reset` starts anew."
        )
    return Permanent(f"{told}.")
