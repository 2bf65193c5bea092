"""API 2.0: OAuth 2.0 client credentials.

Source: Mimecast, "API 2.0 authentication": a form POST to `/oauth/token` with `client_id`,
`client_secret` and `grant_type=client_credentials`; the answer is `access_token` and `expires_in`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from pydantic import SecretStr

from tiforge import AuthenticationFailed, TiforgeError, Transient, conceal
from tiforge.http import Client, read, send
from tiforge_mimecast.failures import PERMISSION, Refusal, error_of, refusal

_PATH: Final = "/oauth/token"
_EARLY: Final = timedelta(seconds=60)
_USUAL: Final = 1800
"""Seconds a token lives where the answer does not say."""


class OAuth:
    """Signs requests with a bearer token, which is reused until a minute before it expires.

    Args:
        client_id: The application's client id.
        client_secret: Its secret.
        now: The clock.
    """

    def __init__(self, client_id: str, client_secret: SecretStr, now: Callable[[], datetime]) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._now = now
        self._token: SecretStr | None = None
        self._renew_at = now()
        self._proven = False

    @property
    def account(self) -> str:
        """The client id."""
        return f"client {self._client_id}"

    async def headers(self, client: Client, path: str) -> Mapping[str, str]:
        """Return the `Authorization` header, with a new token where the old one is about to expire."""
        token = self._token
        if token is None or self._now() >= self._renew_at:
            token = await self._fetch(client)
        return {"Authorization": f"Bearer {token.get_secret_value()}"}

    def accepted(self) -> None:
        """Note that the token works."""
        self._proven = True

    async def refused(self, client: Client, refusal: Refusal) -> TiforgeError:
        """Forget a token that used to work; one that never worked is a matter of permissions."""
        had_worked = self._proven
        self._token, self._proven = None, False
        if had_worked and refusal.status == 401:
            return Transient(f"{refusal.told}. The access token has ended before its time.", retry_after=0)
        return AuthenticationFailed(f"{refusal.told}, to a new access token.", hint=PERMISSION)

    async def _fetch(self, client: Client) -> SecretStr:
        form = {
            "client_id": self._client_id,
            "client_secret": self._client_secret.get_secret_value(),
            "grant_type": "client_credentials",
        }
        asked_at = self._now()
        async with send(client, "POST", _PATH, data=form, headers={"Accept": "application/json"}) as response:
            answer = refusal(client.base_url.host, response.status_code, response.headers, await read(response))
        if answer.status in (400, 401, 403):
            raise AuthenticationFailed(
                f"{answer.told}, to the request for an access token.",
                hint="Check `client_id` and `client_secret`, and that they were made for API 2.0.",
            )
        if answer.status != 200:
            raise error_of(answer)
        token, lifetime = _token_in(answer)
        self._token, self._proven = token, False
        # A token that lives less than two minutes is used for half of its life.
        self._renew_at = asked_at + max(lifetime - _EARLY, lifetime / 2)
        return token


def _token_in(answer: Refusal) -> tuple[SecretStr, timedelta]:
    try:
        data: Any = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        data = None
    token = data.get("access_token") if isinstance(data, Mapping) else None
    # The answer is not quoted here: it may hold half a token.
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise Transient(f"{answer.host} answered the request for an access token with something else.")
    seconds = data.get("expires_in")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < 10**7:
        seconds = _USUAL
    return conceal(token), timedelta(seconds=seconds)
