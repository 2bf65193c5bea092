from __future__ import annotations

from typing import Any

import orjson
import pytest

from tiforge import AuthenticationFailed, ConfigurationError, Permanent, TiforgeError, Transient
from tiforge_mimecast.failures import TokenRefused, error_of, failures_in, refusal, wait


def fail_1(code: str, message: str = "") -> dict[str, Any]:
    return {
        "meta": {"status": 200},
        "data": [],
        "fail": [{"key": {}, "errors": [{"code": code, "message": message}]}],
    }


def fail_2(code: str, message: str = "") -> dict[str, Any]:
    return {"fail": [{"code": code, "message": message}]}


@pytest.mark.parametrize(
    ("status", "data", "kind"),
    [
        (200, fail_1("err_threat_intel_feed_failed"), Permanent),
        (200, fail_1("err_internal_error"), Transient),
        (200, fail_2("rate_limit_exceeded"), Transient),
        (200, fail_2("unauthorized"), AuthenticationFailed),
        (200, fail_2("access_denied"), AuthenticationFailed),
        (200, fail_1("x") | {"meta": {"status": 503}}, Transient),
        (200, fail_1("x") | {"meta": {"status": 403}}, AuthenticationFailed),
        (400, fail_1("x"), Permanent),
        (403, fail_1("x"), AuthenticationFailed),
        (404, {}, ConfigurationError),
        (302, {}, ConfigurationError),
        (409, {}, Permanent),
        (418, {}, AuthenticationFailed),
        (429, {}, Transient),
        (500, {}, Transient),
        (502, {}, Transient),
        (509, {}, Transient),
    ],
)
def test_what_a_failure_means(status: int, data: dict[str, Any], kind: type[TiforgeError]) -> None:
    refused = refusal("api.example.com", status, {}, orjson.dumps(data))
    assert type(error_of(refused)) is kind
    assert f"answered {status}" in refused.told
    if kind is Permanent:
        assert type(error_of(refused, token_sent=True)) is TokenRefused


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x-ratelimit-reset": "1500"}, 1.5),
        ({"x-ratelimit-reset": "0"}, 0),
        ({"x-ratelimit-reset": "1500", "retry-after": "1"}, 1.5),
        ({"x-ratelimit-reset": "1500", "retry-after": "3"}, 3),
        ({"retry-after": "3"}, 3),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-reset": "-5"}, None),
        ({"x-ratelimit-reset": "²"}, None),
        ({"x-ratelimit-reset": "1769947200000"}, None),
        ({"x-ratelimit-reset": "9" * 400, "retry-after": "3"}, 3),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert wait(headers) == seconds


@pytest.mark.parametrize(
    ("data", "nothing_found"),
    [
        (fail_1("err_threat_intel_feed_no_result_found"), [True]),
        (fail_1("", "No results found for threat intel feed."), [True]),
        (fail_2("", "Unable to compress feeds."), [True]),
        (fail_1("other"), [False]),
        ({"fail": ["text", {}, {"errors": ["text"]}]}, [False, False, False]),
        ({"fail": {}}, []),
        ([], []),
        (None, []),
    ],
)
def test_both_shapes(data: Any, nothing_found: list[bool]) -> None:
    assert [failure.says_nothing_found for failure in failures_in(data)] == nothing_found


def test_what_was_said_is_one_safe_line() -> None:
    told = refusal("api.example.com", 500, {}, b"<h1>\r\n\x1b[31mdown</h1>" + b"x" * 5000).told
    assert told.isprintable()
    assert len(told) < 400
