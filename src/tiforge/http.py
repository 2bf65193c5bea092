"""The one place that speaks HTTP: clients, time-outs, proxies, TLS, and what a failure means to the engine.

A plugin opens a client with `connect`, sends with `send`, and reads with `spool` or `read`. Network
faults arrive as `Transient`, statuses as the error that `raise_for_status` chooses. TLS is always verified.
Redirects are not followed: a host that is not in the config is never called.
"""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final
from zlib import decompressobj
from zlib import error as zlib_error

import httpx

from tiforge.errors import AuthenticationFailed, ConfigurationError, Permanent, TiforgeError, Transient
from tiforge.secrets import Secret, conceal, redact
from tiforge.settings import Duration, LocalPath, Settings

Client = httpx.AsyncClient
Response = httpx.Response
Auth = httpx.Auth
Request = httpx.Request

_MEMORY: Final = 1024 * 1024
_EXCERPT: Final = 300
_READ: Final = 65536
_GZIP: Final = 31  # what zlib calls a gzip header, a window of 32 KiB and a checksum
_LONGEST_WAIT: Final = 7 * 86400.0
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")


class HttpSettings(Settings):
    """How a plugin reaches its API."""

    proxy: Secret | None = None
    """The proxy, as `http://user:password@proxy.example:3128`. Without it, `HTTPS_PROXY`, `HTTP_PROXY`,
    `ALL_PROXY` and `NO_PROXY` of the environment are obeyed."""
    ca_file: LocalPath | None = None
    """A PEM file with the certificate authorities to trust, beside those of the system."""
    connect_timeout: Duration = "10s"  # type: ignore[assignment]
    """How long to wait for a connection."""
    read_timeout: Duration = "60s"  # type: ignore[assignment]
    """How long to wait for the next bytes of an answer."""


def connect(base_url: str, settings: HttpSettings, *, auth: Auth | None = None) -> Client:
    """Open a client for one API, to be used with `async with`.

    Args:
        base_url: As `https://api.example.com`.
        settings: Proxy, certificate authorities, time-outs.
        auth: Signs each request.

    Returns:
        The client.

    Raises:
        ConfigurationError: The address, the CA file or the proxy cannot be used.
    """
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"The CA file {settings.ca_file} cannot be read: {error}.", hint="Name a PEM file in `ca_file`."
            ) from None
    read = settings.read_timeout.total_seconds()
    timeout = httpx.Timeout(read, connect=settings.connect_timeout.total_seconds())
    try:
        address = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(redact(f"{base_url!r} is no URL: {error}.")) from None
    proxy = settings.proxy.get_secret_value() if settings.proxy else None
    try:
        if proxy is not None:
            # As they stand in an error's text, and in a header that a proxy may echo.
            parts = httpx.URL(proxy)
            pair = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
            for shown in (parts.password, pair):
                conceal(shown, for_good=True)
        return httpx.AsyncClient(
            base_url=address,
            auth=auth,
            verify=context,
            timeout=timeout,
            proxy=proxy,
            follow_redirects=False,
            headers={"User-Agent": "tiforge", "Accept-Encoding": "gzip"},
        )
    except (ValueError, httpx.InvalidURL, ImportError) as error:
        raise ConfigurationError(redact(f"The proxy cannot be used: {error}.")) from None


@asynccontextmanager
async def send(client: Client, method: str, url: str, **options: Any) -> AsyncIterator[Response]:
    """Send a request and hand out the answer, its body not read yet.

    Args:
        client: From `connect`.
        method: As `POST`.
        url: Relative to the client's base.
        **options: `json`, `data`, `content`, `params`, `headers`, as httpx takes them.

    Yields:
        The response, whatever its status.

    Raises:
        Transient: The network failed: no connection, a time-out, a body cut short.
        ConfigurationError: The host's certificate is not trusted, or the URL makes no sense.
    """
    try:
        async with client.stream(method, url, **options) as response:
            yield response
    except httpx.TransportError as error:
        # The text of a LocalProtocolError is the header that cannot be written, credentials and all.
        cause = None if isinstance(error, httpx.LocalProtocolError) else error
        raise _translated(error, client.base_url.host) from cause
    except httpx.InvalidURL as error:
        raise ConfigurationError(redact(f"{url!r} is no URL: {error}.")) from None
    except httpx.DecodingError as error:
        raise Transient(redact(f"{client.base_url.host} could not be read: {error}.")) from error


def _translated(error: httpx.TransportError, host: str) -> TiforgeError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigurationError(
                f"The certificate of {host} is not trusted: {cause.verify_message}.",
                hint="Where a proxy inspects TLS, name its authority in `http.ca_file`.",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.UnsupportedProtocol):
        return ConfigurationError(f"The URL of {host or 'the API'} must start with https:// or http://.")
    if isinstance(error, httpx.LocalProtocolError):
        return ConfigurationError(
            f"The request to {host} cannot be written as HTTP.",
            hint="Look for a line break or another control character in the credentials.",
        )
    if isinstance(error, httpx.ProxyError):
        return Transient(redact(f"The proxy on the way to {host} refused: {error}."))
    if isinstance(error, httpx.TimeoutException):
        what = "connect" if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout) else "answer"
        return Transient(f"{host} did not {what} in time.")
    if isinstance(error, httpx.ConnectError):
        return Transient(redact(f"{host} cannot be reached: {error}."))
    return Transient(redact(f"The connection to {host} broke: {error}."))


async def spool(response: Response, *, limit: int) -> IO[bytes]:
    """Read a body into a temporary file (in memory below 1 MiB), rewound, so that its size costs no memory.

    Args:
        response: From `send`.
        limit: Bytes at most, as decoded.

    Returns:
        The file; close it.

    Raises:
        Permanent: The body is larger than the limit, or compressed in another way than gzip.
        Transient: The body is damaged or cut short.
    """
    body: IO[bytes] = SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        size = 0
        async for chunk in _decoded(response):
            size += len(chunk)
            if size > limit:
                raise Permanent(
                    f"{response.url.host} sent more than {limit:,} bytes in one answer.",
                    hint="Raise the limit in the settings if that is expected.",
                )
            body.write(chunk)
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return body


async def _decoded(response: Response) -> AsyncIterator[bytes]:
    """Yield a body in small pieces; httpx would unpack each chunk whole, a thousandfold where it is a bomb."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise Permanent(f"{response.url.host} sent an answer compressed as {excerpt(coding.encode())}, not gzip.")
    unpack = decompressobj(_GZIP) if coding.endswith("gzip") else None
    begun = False
    async for chunk in response.aiter_raw():
        if unpack is None:
            yield chunk
            continue
        begun = begun or bool(chunk)
        try:
            more = bool(chunk)
            while more:
                if unpack.eof:  # gzip allows one member after another
                    unpack = decompressobj(_GZIP)
                piece = unpack.decompress(chunk, _READ)
                yield piece
                chunk = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
                more = bool(chunk) or (len(piece) == _READ and not unpack.eof)
        except zlib_error as error:
            raise Transient(f"{response.url.host} sent a body that does not unpack: {error}.") from None
    if unpack is not None and begun and not unpack.eof:
        raise Transient(f"{response.url.host} sent a body that was cut short.")


async def read(response: Response, *, limit: int = _MEMORY) -> bytes:
    """Read a small body into memory.

    Raises:
        Permanent: The body is larger than the limit, in bytes.
    """
    with await spool(response, limit=limit) as body:
        return body.read()


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return the seconds that `Retry-After` asks for (RFC 9110 section 10.2.3), a week at most, or `None`.

    Args:
        headers: The response's headers.
        now: The time to count from where the header is a date.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value) if value.replace(".", "", 1).isdigit() else _until(value, now)
    except (TypeError, ValueError):
        return None
    return min(max(0.0, seconds), _LONGEST_WAIT)


def _until(value: str, now: datetime | None) -> float:
    moment = parsedate_to_datetime(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - (now or datetime.now(UTC))).total_seconds()


def raise_for_status(response: Response, body: bytes = b"") -> None:
    """Raise the error that a status means to the engine; return where it is 2xx.

    Args:
        response: The response.
        body: Its body, of which an excerpt goes into the message.

    Raises:
        Transient: 408, 425, 429 and 5xx, with the `Retry-After` of the headers.
        AuthenticationFailed: 401 and 403.
        ConfigurationError: 404, 405, and redirects, which are never followed.
        Permanent: Any other.
    """
    status = response.status_code
    if 200 <= status < 300:
        return
    told = f"{response.url.host} answered {status} {response.reason_phrase}".rstrip()
    if body:
        told += f": {excerpt(body)}"
    if status in (408, 425, 429) or status >= 500:
        raise Transient(f"{told}.", retry_after=retry_after(response.headers))
    if status in (401, 403):
        raise AuthenticationFailed(f"{told}.", hint="Check the credentials and their permissions.")
    if 300 <= status < 400:
        raise ConfigurationError(
            f"{told}, a redirect, which is never followed.", hint="Write the final address into the config."
        )
    if status in (404, 405):
        raise ConfigurationError(f"{told}.", hint="Check the address in the config.")
    raise Permanent(f"{told}.")


def excerpt(body: bytes) -> str:
    """Return the start of a remote text as one safe line: no control characters, no secrets, no length."""
    # Redacted before it is cut: a token that the cut goes through would not be recognised.
    text = redact(body[:_READ].decode("utf-8", "replace"))
    text = redact(_UNSEEN.sub(" ", text).strip())
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
