"""API 1.0: log in to renew an expired access key and secret key.

Source: Mimecast, "Authentication: application with a user interface", "Refresh Binding": a POST to
`/api/login/login` with `Authorization: Basic-Cloud base64(email:password)`, the application's headers, and
the user name and the expired access key in the body; the answer's `data` holds the new pair.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import orjson
from pydantic import SecretStr

from tiforge import AuthenticationFailed, Transient, conceal
from tiforge.http import Client, read, send
from tiforge_mimecast.failures import error_of, refusal

_PATH: Final = "/api/login/login"


class Login:
    """Renews a binding with a user's address and password. What it gets is kept in memory only.

    Args:
        email: The service user's address.
        password: The service user's password.
    """

    def __init__(self, email: str, password: SecretStr) -> None:
        self._email = email
        self._password = password

    async def renew(
        self, client: Client, *, app_id: str, expired: SecretStr, date: str
    ) -> tuple[SecretStr, SecretStr]:
        """Return a new access key and secret key.

        Args:
            client: The client.
            app_id: The application id.
            expired: The access key that has expired; naming it renews that binding instead of adding one,
                of which Mimecast allows a user only a few.
            date: The `x-mc-date` header.

        Raises:
            AuthenticationFailed: The address or the password is refused.
            Transient: Mimecast does not answer as documented.
        """
        pair = f"{self._email}:{self._password.get_secret_value()}".encode()
        credentials = conceal(b64encode(pair).decode())
        headers = {
            "Authorization": f"Basic-Cloud {credentials.get_secret_value()}",
            "Accept": "application/json",
            "x-mc-app-id": app_id,
            "x-mc-date": date,
            "x-mc-req-id": str(uuid4()),
        }
        body = {"data": [{"userName": self._email, "accessKey": expired.get_secret_value()}]}
        async with send(client, "POST", _PATH, json=body, headers=headers) as response:
            answer = refusal(client.base_url.host, response.status_code, response.headers, await read(response))
        if answer.status in (400, 401, 403, 418) or (answer.status == 200 and answer.failures):
            raise AuthenticationFailed(
                f"{answer.told}, to the login that renews the keys.",
                hint="Check `email` and `password`; the service user must log in with a Mimecast cloud password.",
            )
        if answer.status != 200:
            raise error_of(answer)
        return _keys_in(answer.host, answer.body)


def _keys_in(host: str, body: bytes) -> tuple[SecretStr, SecretStr]:
    try:
        data: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        data = None
    entries = data.get("data") if isinstance(data, Mapping) else None
    entry = entries[0] if isinstance(entries, list) and entries else None
    keys = entry if isinstance(entry, Mapping) else {}
    return _key(host, keys.get("accessKey")), _key(host, keys.get("secretKey"))


def _key(host: str, key: Any) -> SecretStr:
    # The answer is not quoted here: it may hold a key.
    if not isinstance(key, str) or not key.isascii() or not key.isprintable() or not key:
        raise Transient(f"{host} answered the login that renews the keys with something else.")
    return conceal(key)
