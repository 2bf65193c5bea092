from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tiforge import AuthenticationFailed, ConfigurationError, Context, Transient
from tiforge_mimecast.emulator import Fault, credentials
from tiforge_mimecast.signing import mc_date, signature
from tiforge_mimecast.source import MimecastSource

if TYPE_CHECKING:
    from conftest import Bench

LOGIN = {"email": credentials.EMAIL, "password": credentials.PASSWORD}
SECRETS = (
    credentials.CLIENT_SECRET,
    credentials.APP_KEY,
    credentials.ACCESS_KEY,
    credentials.SECRET_KEY,
    credentials.PASSWORD,
    "emulator-access-token",
    "emulator-only-renewed",
)


def assert_no_secret(*shown: object) -> None:
    text = " ".join(f"{each!s} {each!r}" for each in shown)
    for secret in SECRETS:
        assert secret not in text


def test_one_token_serves_many_requests(bench: Bench) -> None:
    emulator = bench.start(500)
    bench.pull()
    assert (emulator.requests, emulator.token_requests) == (5, 1)


def test_a_token_is_renewed_a_minute_before_it_ends(bench: Bench) -> None:
    emulator = bench.start(500, token_lifetime=600)

    async def go() -> None:
        async with bench.source() as source:
            for passed, tokens in ((0, 1), (539, 1), (1, 2)):
                bench.now += timedelta(seconds=passed)
                await source.check()
                assert emulator.token_requests == tokens

    asyncio.run(go())


def test_a_token_that_ends_early_is_replaced(bench: Bench) -> None:
    emulator = bench.start(500)
    emulator.inject(Fault.NONE, Fault.EXPIRED_TOKEN)
    pages, errors = bench.persist()
    assert [error.retry_after for error in errors if isinstance(error, Transient)] == [0]
    assert emulator.token_requests == 2
    assert sum(page.rows for page in pages) == 500
    assert_no_secret(*errors, *(page.cursor for page in pages))


def test_a_new_token_that_is_refused_needs_the_operator(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = bench.start(500)
    monkeypatch.setattr(emulator.tokens, "issue", lambda: "emulator-access-token-that-is-not-good")
    with pytest.raises(AuthenticationFailed, match=r"Tracking \| Read") as caught:
        bench.pull()
    assert_no_secret(caught.value)


def test_a_wrong_client_secret(bench: Bench) -> None:
    bench.start()
    with pytest.raises(AuthenticationFailed, match="Check `client_id` and `client_secret`") as caught:
        bench.pull(client_secret="wrong-but-marked-secret")
    assert "wrong-but-marked" not in str(caught.value)


@pytest.mark.parametrize("fault", [Fault.FORBIDDEN])
def test_a_missing_permission(bench: Bench, fault: Fault) -> None:
    bench.start().inject(fault)
    with pytest.raises(AuthenticationFailed, match=r"Services \| Gateway \| Tracking \| Read"):
        bench.pull()


def test_the_documented_signature() -> None:
    date = mc_date(datetime(2015, 11, 24, 12, 50, 11, tzinfo=UTC))
    assert date == "Tue, 24 Nov 2015 12:50:11 UTC"
    signed = signature("c2VjcmV0", "key", date=date, request_id="8578FCFC", path="/api/x")
    # As `openssl dgst -sha1 -hmac secret -binary | base64` signs it.
    assert signed == "9akNExTsEAGC6AicmFKt2WULI4g="
    with pytest.raises(ConfigurationError, match="not base64"):
        signature("not base64!", "key", date=date, request_id="x", path="/")


def test_signed_requests(bench: Bench) -> None:
    emulator = bench.start(500)
    pages = bench.pull(api="1.0")
    assert sum(page.rows for page in pages) == 500
    assert emulator.token_requests == 0
    assert_no_secret(*(page.cursor for page in pages), bench.source(api="1.0").settings)


@pytest.mark.parametrize("name", ["app_id", "app_key", "access_key", "secret_key"])
def test_wrong_keys(bench: Bench, name: str) -> None:
    bench.now = datetime.now(UTC)
    bench.start()
    with pytest.raises(AuthenticationFailed, match=f"`{name}`") as caught:
        bench.pull(**{"api": "1.0", name: "d3JvbmctYnV0LW1hcmtlZA=="})
    assert_no_secret(caught.value)


def test_a_wrong_clock_is_noticed_and_corrected(bench: Bench) -> None:
    bench.now = datetime.now(UTC)
    bench.start()
    ahead = bench.now + timedelta(hours=1)
    source = MimecastSource(bench.settings(api="1.0"), Context("mimecast", now=lambda: ahead))

    async def go() -> str:
        async with source:
            with pytest.raises(Transient, match="s ahead; requests are now signed") as caught:
                await source.check()
            assert caught.value.retry_after == 0
            return await source.check()

    assert "application emulator-app-id" in asyncio.run(go())


def test_an_expired_key_without_a_password_needs_the_operator(bench: Bench) -> None:
    bench.start().inject(Fault.KEY_EXPIRED)
    with pytest.raises(AuthenticationFailed, match="Never Expires"):
        bench.pull(api="1.0")


def test_an_expired_key_is_renewed(bench: Bench) -> None:
    emulator = bench.start(500)
    emulator.inject(Fault.NONE, Fault.KEY_EXPIRED)
    pages, errors = bench.persist(api="1.0", **LOGIN)
    assert [error.retry_after for error in errors if isinstance(error, Transient)] == [0]
    assert emulator.logins == 1
    assert sum(page.rows for page in pages) == 500
    assert_no_secret(*errors, *(page.cursor for page in pages))


def test_keys_that_expire_at_once_end_the_renewing(bench: Bench) -> None:
    emulator = bench.start(500)
    emulator.inject(Fault.KEY_EXPIRED, Fault.KEY_EXPIRED)
    with pytest.raises(AuthenticationFailed, match="just renewed"):
        bench.persist(api="1.0", **LOGIN)


def test_a_wrong_password(bench: Bench) -> None:
    bench.start().inject(Fault.KEY_EXPIRED)
    with pytest.raises(AuthenticationFailed, match="Check `email` and `password`") as caught:
        bench.pull(api="1.0", **(LOGIN | {"password": "wrong-but-marked"}))
    assert "wrong-but-marked" not in str(caught.value)


def test_check_says_what_it_reached(bench: Bench) -> None:
    emulator = bench.start()

    async def check(**changes: Any) -> str:
        async with bench.source(**changes) as source:
            return await source.check()

    told = asyncio.run(check(feeds=["malware_grid", "malware_customer"]))
    assert told == f"{bench.url} serves malware_grid and malware_customer to client emulator-client-id (API 2.0)"
    asked = emulator.asked[0]
    assert datetime.fromisoformat(asked["end"]) - datetime.fromisoformat(asked["start"]) == timedelta(minutes=1)
