"""HTTP over real loopback sockets: what each failure means to the engine, and what never shows."""

from __future__ import annotations

import asyncio
import base64
import gzip
import re
import socket
import ssl
import threading
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tiforge import AuthenticationFailed, ConfigurationError, Permanent, TiforgeError, Transient, conceal
from tiforge import secrets as secrets_module
from tiforge.http import HttpSettings, connect, excerpt, raise_for_status, read, retry_after, send, spool
from tiforge.testing.serving import serving

SECRET = "correct-horse-battery-staple"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_proxy_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own proxies and remembered secrets out of these tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(secrets_module, "_kept", {})
    monkeypatch.setattr(secrets_module, "_recent", {})


@contextmanager
def app(handler: Callable[[Request], Awaitable[Response]]) -> Iterator[str]:
    with serving(Starlette(routes=[Route("/{path:path}", handler, methods=["GET", "POST", "CONNECT"])])) as url:
        yield url


@contextmanager
def answering(answer: bytes, *, hold: bool = False, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve bytes as they are to every connection; `hold` keeps it open after them until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                connection.recv(65536)
                connection.sendall(answer)
                if hold:
                    over.wait()
            except OSError:
                continue  # the client went away, which is what some of these tests are about
            finally:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def fetch(base: str, path: str = "/", *, limit: int = 1024 * 1024, **options: Any) -> tuple[int, bytes]:
    """Fetch a path as a plugin does, and raise what its status means."""
    settings = HttpSettings(**options.pop("http", {}))

    async def run() -> tuple[int, bytes]:
        async with connect(base, settings) as client, send(client, "GET", path, **options) as response:
            body = await read(response, limit=limit)
            raise_for_status(response, body)
            return response.status_code, body

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, ConfigurationError), (302, ConfigurationError), (304, ConfigurationError), (307, ConfigurationError),
        (400, Permanent), (401, AuthenticationFailed), (403, AuthenticationFailed), (404, ConfigurationError),
        (405, ConfigurationError), (408, Transient), (409, Permanent), (413, Permanent), (422, Permanent),
        (425, Transient), (429, Transient), (500, Transient), (502, Transient), (503, Transient), (599, Transient),
    ],
)  # fmt: skip
def test_what_a_status_means(status: int, kind: type[TiforgeError]) -> None:
    """Each status is the error that tells the engine what to do, with host, status and the API's own words."""

    async def handler(request: Request) -> Response:
        return Response(b"" if status == 304 else b"the reason", status)

    with app(handler) as url, pytest.raises(kind, match=rf"127\.0\.0\.1 answered {status}") as caught:
        fetch(url)
    assert type(caught.value) is kind
    assert status == 304 or "the reason" in str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_raises_nothing(status: int) -> None:
    """What is 2xx is handed on."""

    async def handler(request: Request) -> Response:
        return Response(None if status == 204 else b"ok", status)

    with app(handler) as url:
        assert fetch(url)[0] == status


@pytest.mark.parametrize("header", ["120", "120.0"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_travels_with_the_error(status: int, header: str) -> None:
    """The wait that the API asks for reaches the engine."""

    async def handler(request: Request) -> Response:
        return Response(b"", status, headers={"Retry-After": header})

    with app(handler) as url, pytest.raises(Transient) as caught:
        fetch(url)
    assert caught.value.retry_after == 120


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0), ("1.5", 1.5), (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0), ("Thu, 01 Jan 2026 01:00:00 +0100", 0),
        ("Thu, 01 Jan 2026 00:01:00", 60), ("", None), ("soon", None), ("-5", None), ("1.2.3", None), ("²", None),
        ("nan", None), ("inf", None), ("Thu, 99 Foo 2026 00:00:00 GMT", None), ("9" * 400, 604_800),
        ("700000", 604_800),
    ],
)  # fmt: skip
def test_retry_after_in_all_its_forms(header: str, seconds: float | None) -> None:
    """Seconds and dates are read, the past is now, a week is the longest, and anything else is as if not there."""
    assert retry_after({"retry-after": header}, now=NOW) == seconds
    assert retry_after({}, now=NOW) is None


def test_a_redirect_is_never_followed() -> None:
    """A host that is not in the config is not called, and the target is not either."""
    called: list[str] = []

    async def handler(request: Request) -> Response:
        called.append(request.url.path)
        return Response(b"", 302, headers={"Location": "/elsewhere"})

    with app(handler) as url, pytest.raises(ConfigurationError, match="never followed"):
        fetch(url, "/here")
    assert called == ["/here"]


def test_a_body_cut_short_is_transient() -> None:
    """A connection that breaks in the middle of a body is worth another try, not half an answer."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    with answering(head) as url, pytest.raises(Transient, match=r"The connection to 127\.0\.0\.1 broke"):
        fetch(url)


def test_a_chunk_cut_short_is_transient() -> None:
    """Neither is a chunked body taken for whole when its last chunk is missing."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    with answering(head) as url, pytest.raises(Transient, match="broke"):
        fetch(url)


@pytest.mark.parametrize("answer", [b"", b"\x00\x01\x02 nonsense\r\n\r\n", b"HTTP/1.1 OK 200\r\n\r\n"])
def test_what_is_no_http_is_transient(answer: bytes) -> None:
    """A server that closes at once or speaks nonsense is down for now."""
    with answering(answer) as url, pytest.raises(Transient):
        fetch(url)


def test_no_connection_is_transient() -> None:
    """A port that nobody listens on says which host cannot be reached."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Transient, match=r"127\.0\.0\.1 cannot be reached"):
        fetch(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"])
def test_silence_is_transient(answer: bytes) -> None:
    """A server that stops answering, before the head or in the body, is given up after the read time-out."""
    with (
        answering(answer, hold=True) as url,
        pytest.raises(Transient, match=r"127\.0\.0\.1 did not answer in time"),
    ):
        fetch(url, http={"read_timeout": "100ms"})


def test_a_body_at_the_limit_is_read_and_one_beyond_is_not() -> None:
    """A body may be as large as the limit, and not a byte larger."""

    async def handler(request: Request) -> Response:
        return Response(b"x" * 100_000)

    with app(handler) as url:
        assert len(fetch(url, limit=100_000)[1]) == 100_000
        with pytest.raises(Permanent, match="more than 99,999 bytes"):
            fetch(url, limit=99_999)


def test_a_large_body_goes_to_disk() -> None:
    """What is spooled can be read from its beginning, whatever its size."""

    async def handler(request: Request) -> Response:
        return Response(bytes(range(256)) * 12_000)

    async def run(url: str) -> None:
        async with connect(url, HttpSettings()) as client, send(client, "GET", "/") as response:
            with await spool(response, limit=10_000_000) as body:
                assert body.read() == bytes(range(256)) * 12_000

    with app(handler) as url:
        asyncio.run(run(url))


def test_a_compressed_bomb_is_bounded() -> None:
    """A small body that unpacks to 100 MB is refused after the limit, without unpacking it whole."""
    bomb = gzip.compress(b"\0" * 100_000_000, 6)

    async def handler(request: Request) -> Response:
        return Response(bomb, headers={"Content-Encoding": "gzip"})

    with app(handler) as url:
        tracemalloc.start()
        try:
            with pytest.raises(Permanent, match="more than"):
                fetch(url, limit=1_000_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 10_000_000


@given(st.binary(max_size=200_000), st.integers(1, 300_000))
@settings(max_examples=30)
def test_a_compressed_body_is_unpacked_whole(content: bytes, repeat: int) -> None:
    """Whatever its size, in one gzip member or several, and however the network cuts it."""
    content = content * 3 + b"a" * repeat
    packed = gzip.compress(content[:70_000]) + gzip.compress(content[70_000:])

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(packed), 1_000):
            yield packed[at : at + 1_000]

    response = httpx.Response(
        200, headers={"content-encoding": "gzip"}, content=pieces(), request=httpx.Request("GET", "http://x")
    )
    assert asyncio.run(read(response, limit=10**7)) == content


def test_an_empty_body_is_whole_whatever_its_coding() -> None:
    """A refusal without a body may still name the coding that a body would have had."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"
    with answering(head) as url:
        assert fetch(url) == (200, b"")


def test_a_compressed_body_cut_short_is_transient() -> None:
    """Half a gzip stream that ends where the connection does is not taken for whole."""
    packed = gzip.compress(bytes(range(256)) * 100)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    with answering(head + packed[: len(packed) // 2]) as url, pytest.raises(Transient, match="cut short"):
        fetch(url)


@pytest.mark.parametrize("coding", ["gzip, gzip", "deflate,gzip", "br", "zstd"])
def test_a_bomb_inside_a_bomb_is_refused(coding: str) -> None:
    """Codings upon codings multiply, and only gzip was asked for."""

    async def handler(request: Request) -> Response:
        return Response(gzip.compress(gzip.compress(b"x")), headers={"Content-Encoding": coding})

    with app(handler) as url, pytest.raises(Permanent, match="not gzip"):
        fetch(url)


def test_what_does_not_unpack_is_transient() -> None:
    """A body that is not what its coding says was damaged on the way."""

    async def handler(request: Request) -> Response:
        return Response(b"no gzip", headers={"Content-Encoding": "gzip"})

    with app(handler) as url, pytest.raises(Transient, match="does not unpack"):
        fetch(url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that only those trust who are given it, with its key, in one file."""
    x509 = pytest.importorskip("cryptography.x509", reason="makes the certificate")
    from ipaddress import ip_address

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *plain) + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def test_a_certificate_that_is_not_trusted_is_for_the_operator(tls: ssl.SSLContext) -> None:
    """TLS is always verified; the message says what to do where a proxy inspects it."""
    with answering(OK, tls=tls) as url, pytest.raises(ConfigurationError, match="is not trusted") as caught:
        fetch(url)
    assert "ca_file" in str(caught.value)


def test_an_authority_can_be_named(tls: ssl.SSLContext, certificate: Path) -> None:
    """With the authority's file the same host is trusted."""
    with answering(OK, tls=tls) as url:
        assert fetch(url, http={"ca_file": certificate}) == (200, b"ok")


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_an_authority_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """A CA file that is missing or holds none is a mistake in the config."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="CA file"):
        connect("https://example.invalid", HttpSettings(ca_file=path))


def test_plain_http_where_tls_was_expected_is_transient() -> None:
    """A handshake that fails for another reason than trust may work later."""
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url, pytest.raises(Transient):
        fetch(url.replace("http:", "https:"))


def test_the_proxy_of_the_settings_is_used() -> None:
    """Requests go to the proxy with its credentials, and the address behind it is the one asked for."""
    seen: list[tuple[str, str]] = []

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        seen.append((scope["raw_path"].decode(), headers.get(b"proxy-authorization", b"").decode()))
        await Response(b"through the proxy")(scope, receive, send)

    with serving(proxy) as url:
        address = url.replace("http://", f"http://user:{SECRET}@")
        assert fetch("http://api.invalid", "/x", http={"proxy": address}) == (200, b"through the proxy")
    assert seen[0][0].startswith("http://api.invalid/x")
    assert base64.b64decode(seen[0][1].removeprefix("Basic ")).decode() == f"user:{SECRET}"


def test_a_proxy_that_refuses_is_transient_and_shows_no_password() -> None:
    """What a proxy answers to CONNECT is told without its credentials."""
    head = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with answering(head) as url, pytest.raises(Transient, match="proxy on the way to") as caught:
        fetch("https://api.invalid", http={"proxy": url.replace("http://", f"http://user:{SECRET}@")})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("proxy", [f"ftp://user:{SECRET}@proxy", f"http://user:{SECRET}@[::1", "socks5://proxy"])
def test_a_proxy_that_makes_no_sense(proxy: str) -> None:
    """A proxy of an unknown kind is a mistake in the config, told without its password."""
    with pytest.raises(ConfigurationError, match="proxy") as caught:
        connect("https://example.invalid", HttpSettings(proxy=proxy))  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("base", ["example.invalid", "ftp://example.invalid", ""])
def test_an_address_without_a_scheme(base: str) -> None:
    """An address that is not HTTP is a mistake in the config."""
    with pytest.raises(ConfigurationError, match="https://"):
        fetch(base)


def test_addresses_that_make_no_sense() -> None:
    """An address that does not parse is a mistake in the config, as a base and as a path."""
    with pytest.raises(ConfigurationError, match="is no URL"):
        connect("http://[::1", HttpSettings())
    with pytest.raises(ConfigurationError, match="is no URL"):
        fetch("http://127.0.0.1:1", "http://[::1")


def test_credentials_that_cannot_be_sent_are_not_shown() -> None:
    """A token with a line break is a mistake in the config; neither the error nor its causes hold it."""
    with answering(OK) as url, pytest.raises(ConfigurationError, match="line break") as caught:
        fetch(url, headers={"Authorization": f"Bearer {SECRET}\nX"})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_excerpt_is_one_safe_line() -> None:
    """Terminal escapes, line breaks and marks of direction are gone, and the length is bounded."""
    shown = excerpt("a\x1b[31m\r\nb\x00c\u202ed\u200be\x9b2J".encode() + b"\xff")
    assert re.search(r"[\x00-\x1f\x7f-\x9f\u200b\u202e]", shown) is None
    assert shown.startswith("a [31m b c d e")
    assert len(excerpt(b"x" * 5_000)) == 301
    assert excerpt(b"") == ""


@pytest.mark.parametrize("before", [0, 290, 1_100, 1_190, 1_199])
@pytest.mark.parametrize("repeat", [1, 60])
def test_an_excerpt_holds_no_secret(before: int, repeat: int) -> None:
    """A secret that an API echoes is taken out before the text is cut, wherever the cut falls."""
    value = SECRET * repeat
    conceal(value)
    shown = excerpt(b" " * before + value.encode() + b" after")
    assert "correct" not in shown
    assert "horse" not in shown


def test_a_status_text_is_safe_too() -> None:
    """What raise_for_status tells of a body is an excerpt."""
    conceal(SECRET)
    response = httpx.Response(500, request=httpx.Request("GET", f"https://api.invalid/?key={SECRET}"))
    with pytest.raises(Transient) as caught:
        raise_for_status(response, f"\x1b]0;{SECRET}\x07 no".encode())
    assert SECRET not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_settings_have_sound_defaults() -> None:
    """Without a table the time-outs are those that the docs name, and no secret shows."""
    settings = HttpSettings(proxy=f"http://u:{SECRET}@p")  # type: ignore[arg-type]
    assert (settings.connect_timeout, settings.read_timeout) == (timedelta(seconds=10), timedelta(seconds=60))
    assert SECRET not in repr(settings)
