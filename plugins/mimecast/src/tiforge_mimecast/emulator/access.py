"""Who may call the emulator: OAuth tokens for API 2.0, signatures for API 1.0."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from typing import Final
from uuid import UUID

from tiforge_mimecast.emulator import credentials

_SKEW: Final = timedelta(minutes=15)
_REMEMBERED: Final = 10_000


class Denied(Exception):
    """A request is not let through.

    Args:
        status: The status.
        code: As API 1.0 names it.
        message: In words.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Tokens:
    """The access tokens that are good.

    Args:
        lifetime: Seconds.
        now: The clock.
    """

    def __init__(self, lifetime: int, now: Callable[[], datetime]) -> None:
        self.lifetime = lifetime
        self._now = now
        self._good: dict[str, datetime] = {}
        self._used: set[str] = set()
        self._count = 0

    def issue(self) -> str:
        """Return a new token."""
        self._count += 1
        token = f"emulator-access-token-{self._count}"
        self._good[token] = self._now() + timedelta(seconds=self.lifetime)
        return token

    def check(self, authorization: str) -> None:
        """Let a request through, or raise `Denied`."""
        token = authorization.removeprefix("Bearer ")
        if token == authorization or token not in self._good:
            raise Denied(401, "invalid_access_token", "Access Token Invalid.")
        if self._now() >= self._good[token]:
            raise Denied(401, "token_expired", "Access Token Expired.")
        self._used.add(token)

    def was_used(self, authorization: str) -> bool:
        """Return whether a request with this token was let through before."""
        return authorization.removeprefix("Bearer ") in self._used

    def revoke_all(self) -> None:
        """End every token before its time."""
        self._good.clear()
        self._used.clear()


class Bindings:
    """The access keys that are good, and the signatures made with them.

    Args:
        now: The clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._secrets = {credentials.ACCESS_KEY: credentials.SECRET_KEY}
        self._expired: set[str] = set()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._count = 0

    def check(self, headers: Mapping[str, str], path: str) -> None:
        """Let a signed request through, or raise `Denied`."""
        self._check_envelope(headers)
        realm, _, pair = headers.get("authorization", "").partition(" ")
        access, _, signed = pair.partition(":")
        secret = self._secrets.get(access)
        if realm != "MC" or secret is None:
            raise Denied(401, "err_xdk_invalid_access_key", "The access key is not known.")
        text = f"{headers['x-mc-date']}:{headers['x-mc-req-id']}:{path}:{credentials.APP_KEY}"
        expected = b64encode(hmac.digest(b64decode(secret), text.encode(), sha1)).decode()
        if not hmac.compare_digest(expected, signed):
            raise Denied(401, "err_xdk_invalid_signature", "The signature does not match.")
        if access in self._expired:
            raise Denied(418, "err_xdk_binding_expired", "The binding has expired.")

    def login(self, headers: Mapping[str, str], user: object, access: object) -> tuple[str, str]:
        """Renew a binding, or raise `Denied`."""
        self._check_envelope(headers)
        pair = b64encode(f"{credentials.EMAIL}:{credentials.PASSWORD}".encode()).decode()
        if headers.get("authorization") != f"Basic-Cloud {pair}" or user != credentials.EMAIL:
            raise Denied(401, "err_xdk_invalid_credentials", "The user name or the password is wrong.")
        if access is not None and access not in self._secrets:
            raise Denied(401, "err_xdk_invalid_access_key", "The access key is not known.")
        self._count += 1
        new = f"emulator-only-renewed-access-key-{self._count}"
        self._secrets[new] = b64encode(f"emulator-only-renewed-secret-key-{self._count}".encode()).decode()
        return new, self._secrets[new]

    def expire_all(self) -> None:
        """Let every access key that there is expire."""
        self._expired.update(self._secrets)

    def _check_envelope(self, headers: Mapping[str, str]) -> None:
        if headers.get("x-mc-app-id") != credentials.APP_ID:
            raise Denied(401, "err_xdk_invalid_app_id", "The application id is not known.")
        try:
            date = datetime.strptime(headers.get("x-mc-date", ""), "%a, %d %b %Y %H:%M:%S UTC").replace(tzinfo=UTC)
            request_id = str(UUID(headers.get("x-mc-req-id", "")))
        except ValueError:
            raise Denied(400, "err_xdk_invalid_header", "x-mc-date or x-mc-req-id is malformed.") from None
        if abs(date - self._now()) > _SKEW:
            raise Denied(401, "err_xdk_invalid_date", "The request's date is more than 15 minutes off.")
        if request_id in self._seen:
            raise Denied(409, "err_xdk_replayed_request", "The request id was used before.")
        self._seen[request_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
