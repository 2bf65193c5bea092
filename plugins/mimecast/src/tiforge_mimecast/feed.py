"""One request for the feed, and what came back.

Source: Mimecast, "Get Threat Intel Feed": POST `{"data": [{feedType, fileType, compress, start, end,
token}]}`; the answer is a file, and the header `x-mc-threat-feed-next-token` names the page after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, Final

import orjson

from tiforge import Permanent, Transient
from tiforge.http import Client, excerpt, send, spool
from tiforge_mimecast.auth import Authenticator
from tiforge_mimecast.failures import Refusal, error_of, refusal
from tiforge_mimecast.settings import MimecastSettings
from tiforge_mimecast.sniff import Form, sniff
from tiforge_mimecast.window import Window

NEXT_TOKEN: Final = "x-mc-threat-feed-next-token"  # noqa: S105 - the name of a header
_ENVELOPE: Final = 64 * 1024
"""Failures are some hundred bytes; a larger body is a feed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the feed sent.

    Attributes:
        body: The file, rewound; closed by `fetch`.
        form: What it is: never `MARKUP`.
        next_token: The token that came with it; `None` where there was none, and after the last page.
    """

    body: IO[bytes]
    form: Form
    next_token: str | None


class Feed:
    """Asks for the pages of the feeds.

    Args:
        client: Opened with the base URL.
        auth: Signs the requests.
        settings: The settings.
    """

    def __init__(self, client: Client, auth: Authenticator, settings: MimecastSettings) -> None:
        self._client = client
        self._auth = auth
        self._settings = settings

    @property
    def account(self) -> str:
        """As whom the feed is read."""
        return self._auth.account

    @asynccontextmanager
    async def fetch(self, name: str, window: Window) -> AsyncIterator[Answer]:
        """Ask for one page of a window.

        Args:
            name: The feed, as `malware_grid`.
            window: An open window.

        Yields:
            The answer. Its `form` is `EMPTY` where the feed says that there is nothing (more).

        Raises:
            TokenRefused: The page token is not taken (any more).
            TiforgeError: As `failures.error_of` and the authenticator choose.
        """
        path = self._settings.path
        headers = {
            **await self._auth.headers(self._client, path),
            "Accept": "application/json, application/octet-stream",
        }
        asked = {"data": [self._question(name, window)]}
        async with send(self._client, "POST", path, json=asked, headers=headers) as response:
            status, host = response.status_code, self._client.base_url.host
            if status == 200 and "json" not in response.headers.get("content-type", ""):
                # A file was begun, so the credentials are good, even should the connection break now.
                self._auth.accepted()
            limit = self._settings.max_answer if status == 200 else max(_ENVELOPE, 1024 * 1024)
            body = await spool(response, limit=limit)
        with body:
            form = sniff(body) if status == 200 else Form.EMPTY
            said = refusal(
                host, status, response.headers, body.read(_ENVELOPE) if _may_refuse(status, form) else b""
            )
            body.seek(0)
            if status != 200 or said.failures:
                if not (said.failures and all(failure.says_nothing_found for failure in said.failures)):
                    await self._raise(said, token_sent=window.token is not None)
                form = Form.EMPTY
            self._auth.accepted()
            _refuse_strangers(said, form)
            token = response.headers.get(NEXT_TOKEN, "").strip() or None
            yield Answer(body, form, None if form is Form.EMPTY else token)

    def _question(self, name: str, window: Window) -> dict[str, Any]:
        if window.end is None:
            raise ValueError("the window is not open")
        asked: dict[str, Any] = {
            "feedType": name,
            "fileType": self._settings.file_type,
            "compress": self._settings.compress,
            "start": _offset_time(window.start),
            "end": _offset_time(window.end),
        }
        if window.token is not None:
            asked["token"] = window.token
        return asked

    async def _raise(self, said: Refusal, *, token_sent: bool) -> None:
        if said.status in (401, 418):
            raise await self._auth.refused(self._client, said)
        raise error_of(said, token_sent=token_sent)


def _may_refuse(status: int, form: Form) -> bool:
    return status != 200 or form in (Form.JSON, Form.MARKUP)


def _refuse_strangers(said: Refusal, form: Form) -> None:
    # Whatever is neither a feed nor a failure must not pass for the end of the feed.
    if form is Form.MARKUP:
        raise Transient(f"{said.host} answered with a web page instead of a feed: {excerpt(said.body)}.")
    if form is Form.JSON and len(said.body) < _ENVELOPE:
        try:
            data = orjson.loads(said.body.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError:
            return  # cut short, or a bundle with a fault in it: the reader says where
        if not (isinstance(data, dict) and ("objects" in data or data.get("type") == "bundle")):
            raise Permanent(
                f"{said.host} answered with JSON that is neither a feed nor a failure: {excerpt(said.body)}."
            )


def _offset_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
