"""The settings of `type = "mimecast"`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from tiforge import Duration, Secret, Size, SourceSettings, TlpLevel
from tiforge.http import HttpSettings
from tiforge.stix import TLP
from tiforge_mimecast.regions import Api, base_url

FeedName = Literal["malware_grid", "malware_customer"]

_CREDENTIALS: Final = {
    "2.0": ("client_id", "client_secret"),
    "1.0": ("app_id", "app_key", "access_key", "secret_key"),
}
_OTHERS: Final = {
    "2.0": ("app_id", "app_key", "access_key", "secret_key", "email", "password"),
    "1.0": ("client_id", "client_secret"),
}


class MimecastSettings(SourceSettings):
    """The settings of one Mimecast account and region."""

    # What was written may be a secret: a validation error never repeats it.
    model_config = ConfigDict(hide_input_in_errors=True)

    asked: ClassVar[tuple[str, ...]] = ("region", "client_id", "client_secret", "feeds")

    api: Api = "2.0"
    """The generation of the API that the credentials belong to: `2.0` (OAuth) or `1.0` (signed requests)."""
    region: str | None = None
    """The region: API 2.0 knows `global` (the default), `uk` and `us`, which are pinned, and accepts those
    of API 1.0, which it serves from the global address; API 1.0 needs one of `eu`, `de`, `us`, `usb`,
    `uspcom`, `ca`, `za`, `au`, `offshore`."""
    base_url: str | None = None
    """The address of the API, instead of a region, as `https://api.services.mimecast.com`."""

    client_id: str | None = None
    """API 2.0: the client id of the application."""
    client_secret: Secret | None = None
    """API 2.0: the client secret of the application."""

    app_id: str | None = None
    """API 1.0: the application id."""
    app_key: Secret | None = None
    """API 1.0: the application key."""
    access_key: Secret | None = None
    """API 1.0: the access key of the service user."""
    secret_key: Secret | None = None
    """API 1.0: the secret key of the service user, in base64 as Mimecast shows it."""
    email: str | None = None
    """API 1.0: the service user's address. With `password`, expired keys are renewed by logging in."""
    password: Secret | None = None
    """API 1.0: the service user's password."""

    feeds: tuple[FeedName, ...] = ("malware_grid",)
    """The feeds to read: `malware_grid` (the region's) and `malware_customer` (the account's own)."""
    file_type: Literal["csv", "stix"] = "csv"
    """The form to ask for. `csv` says more: file, sender and recipient, not only the hash."""
    compress: bool = True
    """Whether to ask for zip archives."""
    path: str = "/api/ttp/threat-intel/get-feed"
    """The path of the feed below the base address."""

    first_window: Duration = timedelta(days=3)
    """How far back the first run reads."""
    lag: Duration = timedelta(hours=1)
    """How much each window overlaps the one before it, for rows that Mimecast publishes late."""
    valid_for: Duration = timedelta(days=30)
    """How long an indicator is valid after a detection."""
    renew_below: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The share of `valid_for` below which a later detection extends the validity."""
    confidence: Annotated[int, Field(ge=0, le=100)] = 100
    """The confidence of each indicator, 0 to 100."""
    tlp: TlpLevel = TLP.RED
    """How far the feed's objects may be passed on."""
    labels: tuple[str, ...] = ("malicious-activity",)
    """The labels of each indicator."""

    max_answer: Size = "512MiB"  # type: ignore[assignment]
    """The largest answer to accept. Where the connection compresses it, what it unpacks to counts."""
    max_expanded: Size = "2GiB"  # type: ignore[assignment]
    """The most that one zip archive may expand to."""
    page_rows: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """How many rows are committed at once."""
    http: HttpSettings = HttpSettings()
    """Proxy, certificate authorities and time-outs."""

    @field_validator("feeds")
    @classmethod
    def _each_once(cls, feeds: Sequence[FeedName]) -> tuple[FeedName, ...]:
        if not feeds:
            raise ValueError('name at least one feed, as feeds = ["malware_grid"]')
        return tuple(dict.fromkeys(feeds))

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if not path.startswith("/") or "?" in path or "#" in path:
            raise ValueError("write the path alone, from its first slash, as /api/ttp/threat-intel/get-feed")
        return path

    @field_validator("base_url")
    @classmethod
    def _safe(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise ValueError("an address holds no credentials; they have settings of their own")
        if not parts.hostname or parts.query or parts.fragment or parts.path.strip("/"):
            raise ValueError("write the address alone, as https://api.services.mimecast.com")
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
            raise ValueError("the address must start with https://; http:// is for this machine only")
        return url.rstrip("/")

    @field_validator("first_window", "valid_for")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if not timedelta(0) < value <= timedelta(days=3650):
            raise ValueError("write a duration between 1s and 3650d")
        return value

    @field_validator("lag")
    @classmethod
    def _not_negative(cls, value: timedelta) -> timedelta:
        if not timedelta(0) <= value <= timedelta(days=3650):
            raise ValueError("write a duration between 0s and 3650d")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in _CREDENTIALS[self.api] if not _given(getattr(self, name))]
        if missing:
            raise ValueError(f"API {self.api} needs {_named(missing)}; {_how_to(missing)}")
        foreign = [name for name in _OTHERS[self.api] if getattr(self, name) is not None]
        if foreign:
            other = "1.0" if self.api == "2.0" else "2.0"
            raise ValueError(f'{_named(foreign)} belong to API {other}; remove them, or write api = "{other}"')
        if _given(self.email) != _given(self.password):
            raise ValueError("write both `email` and `password`, which renew expired keys, or neither")
        if self.region is not None and self.base_url is not None:
            raise ValueError("write `region` or `base_url`, not both")
        if self.base_url is None:
            base_url(self.api, self.region)
        return self

    @property
    def address(self) -> str:
        """The base URL that is called."""
        return self.base_url or base_url(self.api, self.region)


def _given(value: Any) -> bool:
    text = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return bool(text)


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _how_to(missing: Sequence[str]) -> str:
    secrets = [name for name in missing if name not in ("client_id", "app_id")]
    name = (secrets or missing)[0]
    if not secrets:
        return f'write {name} = "…"'
    return f'write {name} = {{ env = "MIMECAST_{name.upper()}" }}'


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
