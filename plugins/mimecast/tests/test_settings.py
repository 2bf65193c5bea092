from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tiforge_mimecast.settings import MimecastSettings

V2 = {"type": "mimecast", "client_id": "app", "client_secret": "marked-secret-value"}
V1 = {
    "type": "mimecast",
    "api": "1.0",
    "region": "eu",
    "app_id": "app",
    "app_key": "marked-app-key",
    "access_key": "marked-access-key",
    "secret_key": "bWFya2VkLXNlY3JldA==",
}


@pytest.mark.parametrize(
    ("table", "address"),
    [
        (V2, "https://api.services.mimecast.com"),
        (V2 | {"region": "global"}, "https://api.services.mimecast.com"),
        (V2 | {"region": "uk"}, "https://uk-api.services.mimecast.com"),
        (V2 | {"region": "us"}, "https://us-api.services.mimecast.com"),
        (V2 | {"region": "de"}, "https://api.services.mimecast.com"),
        (V2 | {"base_url": "http://127.0.0.1:8080/"}, "http://127.0.0.1:8080"),
        (V2 | {"base_url": "http://[::1]:8080"}, "http://[::1]:8080"),
        (V1, "https://eu-api.mimecast.com"),
        (V1 | {"region": "uspcom"}, "https://uspcom-api.mimecast-pscom-us.com"),
        (V1 | {"region": "offshore"}, "https://je-api.mimecast.com"),
    ],
)
def test_the_address(table: dict[str, Any], address: str) -> None:
    assert MimecastSettings.model_validate(table).address == address


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"type": "mimecast", "client_id": "app"},
            'API 2.0 needs `client_secret`; write client_secret = { env = "MIME',
        ),
        ({"type": "mimecast", "client_secret": "x"}, 'write client_id = "…"'),
        (V2 | {"client_secret": ""}, "needs `client_secret`"),
        (V1 | {"app_key": None}, "API 1.0 needs `app_key`"),
        (V2 | {"access_key": "marked-access-key"}, 'write api = "1.0"'),
        (V1 | {"client_secret": "marked-secret-value"}, 'write api = "2.0"'),
        (V1 | {"email": "a@example.com"}, "both `email` and `password`"),
        (V2 | {"region": "mars"}, "one of: au, ca, de, eu, global, offshore, uk, us, usb, uspcom, za"),
        (V1 | {"region": "uk"}, "no region of API 1.0"),
        (V1 | {"region": None}, "write `region`, one of: eu, de"),
        (V2 | {"region": "uk", "base_url": "https://example.com"}, "not both"),
        (V2 | {"base_url": "http://example.com"}, "must start with https://"),
        (V2 | {"base_url": "ftp://127.0.0.1"}, "must start with https://"),
        (V2 | {"base_url": "https://user:marked-secret-value@example.com"}, "holds no credentials"),
        (V2 | {"base_url": "https://example.com/api"}, "the address alone"),
        (V2 | {"path": "api"}, "from its first slash"),
        (V2 | {"feeds": []}, "at least one feed"),
        (V2 | {"feeds": ["malware"]}, "malware_customer"),
        (V2 | {"lag": "-1h"}, ""),
        (V2 | {"valid_for": "0s"}, "between 1s"),
        (V2 | {"confidence": 101}, "100"),
        (V2 | {"page_rows": 0}, "1"),
        (V2 | {"max_answer": "0"}, ""),
        (V2 | {"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MimecastSettings.model_validate(table)
    assert said in str(caught.value)
    assert "marked-" not in str(caught.value)


def test_secrets_do_not_show() -> None:
    shown = repr(MimecastSettings.model_validate(V1)) + repr(MimecastSettings.model_validate(V2))
    assert "marked-" not in shown
    assert "bWFya2Vk" not in shown


def test_a_feed_is_read_once() -> None:
    twice = MimecastSettings.model_validate(V2 | {"feeds": ["malware_grid", "malware_grid"]})
    assert twice.feeds == ("malware_grid",)
