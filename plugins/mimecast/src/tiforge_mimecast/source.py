"""The source type `mimecast`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar, Self

from pydantic import SecretStr

from tiforge import (
    Ageing,
    ConfigurationError,
    Context,
    Cursor,
    Page,
    Permanent,
    Progress,
    Record,
    SetAside,
    Source,
)
from tiforge.http import Client, connect
from tiforge.source import ErrorClass, SettingsClass
from tiforge_mimecast.auth import Authenticator
from tiforge_mimecast.content import Content
from tiforge_mimecast.failures import TokenRefused
from tiforge_mimecast.feed import Answer, Feed
from tiforge_mimecast.login import Login
from tiforge_mimecast.oauth import OAuth
from tiforge_mimecast.objects import Objects, constants
from tiforge_mimecast.settings import MimecastSettings
from tiforge_mimecast.signing import Keys, Signing
from tiforge_mimecast.window import Window, cursor_of, windows_of

_RECURRING = frozenset({"indicator", "malware", "relationship"})
_SHARED = frozenset({"ipv4-addr", "ipv6-addr", "domain-name", "email-addr"})


class MimecastSource(Source[MimecastSettings]):
    """The threat-intelligence feeds of one Mimecast account."""

    type: ClassVar[str] = "mimecast"
    Settings: ClassVar[SettingsClass] = MimecastSettings

    def __init__(self, settings: MimecastSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._content = Content(Objects(settings), max_expanded=settings.max_expanded, now=context.now)
        self._auth = _authenticator(settings, context)
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        self._client = connect(self.settings.address, self.settings.http)
        return self

    async def __aexit__(self, kind: ErrorClass | None, error: BaseException | None, traceback: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def pull(self, cursor: Cursor | None) -> AsyncIterator[Page]:
        """Yield the feeds from a cursor to now.

        A window that an earlier run left unfinished is finished first, with the end that it had.
        """
        now = self.context.now()
        windows = windows_of(cursor)
        for feed in self.settings.feeds:
            if feed in windows:
                windows[feed].refuse_future(now, feed)
        resumed = any(windows[feed].end for feed in self.settings.feeds if feed in windows)
        reading = _Reading(self, windows)
        # Closed at once where a pull is stopped, not when the garbage collector finds it.
        async with aclosing(reading.round(now, only_open=resumed)) as pages:
            async for page in pages:
                yield page
        # What was left unfinished long ago ends long ago: go on to now. A window that ended within the
        # lag is as fresh as the feed itself.
        if resumed and any(self._is_stale(windows[feed], now) for feed in self.settings.feeds):
            async with aclosing(reading.round(now, only_open=False)) as pages:
                async for page in pages:
                    yield page

    def since(self, moment: datetime) -> Cursor:
        """Return the cursor that reads every configured feed from a moment on."""
        start = min(moment, self.context.now()).replace(microsecond=0)
        feeds = self.settings.feeds
        return replace(cursor_of({feed: Window(start) for feed in feeds}, feeds), read_until=start)

    async def check(self) -> str:
        """Ask each feed for one minute, without moving anything."""
        now = self.context.now()
        window = Window(now - timedelta(minutes=1)).opened(now)
        feed = self.feed
        for name in self.settings.feeds:
            async with feed.fetch(name, window):
                pass
        names = " and ".join(self.settings.feeds)
        return f"{self.settings.address} serves {names} to {feed.account} (API {self.settings.api})"

    @property
    def ageing(self) -> Ageing:
        """Indicators are valid for a time from their last detection.

        Malware and relationships, which the STIX form of the feed repeats with each detection, are no new
        version for that.
        """
        return Ageing(self.settings.valid_for, self.settings.renew_below, _RECURRING)

    @property
    def feed(self) -> Feed:
        """The feed, while the source is open."""
        if self._client is None:
            raise RuntimeError("the source is used outside of `async with`")
        return Feed(self._client, self._auth, self.settings)

    @property
    def content(self) -> Content:
        """What reads answers."""
        return self._content

    def _is_stale(self, window: Window, now: datetime) -> bool:
        return window.until is not None and now - window.until > self.settings.lag


class _Reading:
    """One pull: where each feed stands, and the page that is being filled."""

    def __init__(self, source: MimecastSource, windows: dict[str, Window]) -> None:
        self._source = source
        self._settings = source.settings
        self._windows = windows
        self._done = 0
        self._unsent = _Unsent(constants())

    async def round(self, now: datetime, *, only_open: bool) -> AsyncGenerator[Page, None]:
        """Read each feed's window to its end."""
        windows, first = self._windows, now.replace(microsecond=0) - self._settings.first_window
        for feed in self._settings.feeds:
            window = windows.get(feed)
            if window is None:
                windows[feed] = Window(first).opened(now)
            elif not only_open:
                windows[feed] = window.opened(now)
        for feed in self._settings.feeds:
            restarted = False
            while windows[feed].end is not None:
                try:
                    async with self._source.feed.fetch(feed, windows[feed]) as answer:
                        for page in self._pages(feed, answer):
                            yield page
                except TokenRefused as refused:
                    # The page that the token named is gone. Read from the window's start, nothing is missed,
                    # and the log drops what it has.
                    if restarted:
                        raise Permanent(f"{refused.message} It was given in this very run.") from refused
                    restarted = True
                    windows[feed] = windows[feed].from_start()

    def _pages(self, feed: str, answer: Answer) -> Iterator[Page]:
        # Until the answer is read to its end, the cursor is the one that reads it again.
        for item in self._source.content.items(answer.body, answer.form, feed=feed):
            if self._unsent.rows >= self._settings.page_rows:
                yield self._turn()
            self._unsent.add(item)
        self._windows[feed] = self._windows[feed].advanced(answer.next_token, self._settings.lag)
        yield self._turn()

    def _turn(self) -> Page:
        full, self._unsent = self._unsent, _Unsent([])
        self._done += full.rows
        return Page(
            full.records,
            cursor_of(self._windows, self._settings.feeds),
            full.set_aside,
            full.rows,
            Progress(self._done),
        )


class _Unsent:
    """The page that is being filled."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.set_aside: list[SetAside] = []
        self.rows = 0
        self._shared: set[str] = set()

    def add(self, item: list[Record] | SetAside) -> None:
        """Add what one row became."""
        self.rows += 1
        if isinstance(item, SetAside):
            self.set_aside.append(item)
            return
        for record in item:
            # Senders and domains recur from row to row; once a page is enough.
            if record.type in _SHARED:
                if record.id in self._shared:
                    continue
                self._shared.add(record.id)
            self.records.append(record)


def _authenticator(settings: MimecastSettings, context: Context) -> Authenticator:
    if settings.api == "2.0":
        return OAuth(_text(settings.client_id), _secret(settings.client_secret), context.now)
    keys = Keys(_secret(settings.access_key), _secret(settings.secret_key))
    login = Login(settings.email, settings.password) if settings.email and settings.password else None
    return Signing(_text(settings.app_id), _secret(settings.app_key), keys, login, context.now)


def _text(value: str | None) -> str:
    # The settings are validated; this is for one that was built without.
    if value is None:
        raise ConfigurationError("The credentials of the Mimecast source are incomplete.")
    return value


def _secret(value: SecretStr | None) -> SecretStr:
    if value is None:
        raise ConfigurationError("The credentials of the Mimecast source are incomplete.")
    return value
