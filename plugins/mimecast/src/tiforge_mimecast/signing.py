"""API 1.0: requests signed with HMAC-SHA1, and the renewal of expired keys.

Source: Mimecast, "Authorization" of the API 1.0 documentation: the signature is
`base64(HMAC-SHA1(base64decode(secretKey), "{x-mc-date}:{x-mc-req-id}:{path}:{appKey}"))`. Each request has
a date and a request id of its own.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha1
from typing import Final, NamedTuple
from uuid import uuid4

from pydantic import SecretStr

from tiforge import AuthenticationFailed, ConfigurationError, TiforgeError, Transient
from tiforge.http import Client
from tiforge_mimecast.failures import PERMISSION, Refusal
from tiforge_mimecast.login import Login

_SKEW: Final = timedelta(seconds=60)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Keys(NamedTuple):
    """A binding: what a service user signs with."""

    access: SecretStr
    secret: SecretStr


def mc_date(moment: datetime) -> str:
    """Write a moment as `x-mc-date` wants it: `Tue, 24 Nov 2015 12:50:11 UTC`, in English everywhere."""
    utc = moment.astimezone(UTC)
    return f"{_DAYS[utc.weekday()]}, {utc:%d} {_MONTHS[utc.month - 1]} {utc:%Y %H:%M:%S} UTC"


def signature(secret_key: str, app_key: str, *, date: str, request_id: str, path: str) -> str:
    """Return the signature of a request.

    Args:
        secret_key: In base64.
        app_key: The application key.
        date: The `x-mc-date` header.
        request_id: The `x-mc-req-id` header.
        path: The request's path, without host and query.

    Raises:
        ConfigurationError: The secret key is not base64.
    """
    try:
        key = b64decode(secret_key, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            "The `secret_key` is not base64.", hint="Copy it whole, as Mimecast shows it, with its last `=` signs."
        ) from None
    return b64encode(hmac.digest(key, f"{date}:{request_id}:{path}:{app_key}".encode(), sha1)).decode()


class Signing:
    """Signs requests with a binding of access key and secret key.

    Args:
        app_id: The application id.
        app_key: The application key.
        keys: The binding.
        login: Renews an expired binding; without it an operator must.
        now: The clock.
    """

    def __init__(
        self,
        app_id: str,
        app_key: SecretStr,
        keys: Keys,
        login: Login | None,
        now: Callable[[], datetime],
    ) -> None:
        self._app_id = app_id
        self._app_key = app_key
        self._keys = keys
        self._login = login
        self._now = now
        self._skew = timedelta(0)
        self._unproven_renewal = False

    @property
    def account(self) -> str:
        """The application id."""
        return f"application {self._app_id}"

    async def headers(self, client: Client, path: str) -> Mapping[str, str]:
        """Return the five headers of a signed request, new for each."""
        date, request_id = mc_date(self._now() + self._skew), str(uuid4())
        signed = signature(
            self._keys.secret.get_secret_value(),
            self._app_key.get_secret_value(),
            date=date,
            request_id=request_id,
            path=path,
        )
        return {
            "Authorization": f"MC {self._keys.access.get_secret_value()}:{signed}",
            "x-mc-app-id": self._app_id,
            "x-mc-date": date,
            "x-mc-req-id": request_id,
        }

    def accepted(self) -> None:
        """Note that the binding works."""
        self._unproven_renewal = False

    async def refused(self, client: Client, refusal: Refusal) -> TiforgeError:
        """Renew a binding that has expired, or follow the server's clock where this machine's is wrong."""
        if refusal.status == 418:
            return await self._expired(client, refusal)
        skew = _server_skew(refusal.headers, self._now())
        if skew is not None and abs(skew - self._skew) > _SKEW:
            self._skew = skew
            seconds = round(-skew.total_seconds())
            off = f"{abs(seconds)} s {'ahead' if seconds > 0 else 'behind'}"
            return Transient(
                f"{refusal.told}. This machine's clock is {off}; requests are now signed with the server's.",
                retry_after=0,
                hint="Set the clock of this machine.",
            )
        return AuthenticationFailed(
            f"{refusal.told}.",
            hint=f"Check `app_id`, `app_key`, `access_key`, `secret_key` and `region`. {PERMISSION}",
        )

    async def _expired(self, client: Client, refusal: Refusal) -> TiforgeError:
        hint = (
            "Make new keys in Mimecast, and set the Authentication Cache TTL of the service user's "
            "Authentication Profile to “Never Expires”."
        )
        if self._login is None:
            return AuthenticationFailed(
                f"{refusal.told}. The access key has expired.",
                hint=f"{hint} With `email` and `password` set, tiforge renews them by itself.",
            )
        if self._unproven_renewal:
            return AuthenticationFailed(f"{refusal.told}. Keys that were just renewed have expired.", hint=hint)
        date = mc_date(self._now() + self._skew)
        access, secret = await self._login.renew(client, app_id=self._app_id, expired=self._keys.access, date=date)
        self._keys, self._unproven_renewal = Keys(access, secret), True
        return Transient(f"{refusal.told}. The access key had expired and was renewed.", retry_after=0)


def _server_skew(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    stated = headers.get("date")
    if not stated:
        return None
    try:
        moment = parsedate_to_datetime(stated)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment - now
