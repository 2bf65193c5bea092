"""Where Mimecast's APIs are served, by generation and region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Api = Literal["2.0", "1.0"]

GLOBAL: Final = "https://api.services.mimecast.com"
"""API 2.0's one address for all regions, with automatic failover."""

API_1_0: Final[Mapping[str, str]] = {
    "eu": "https://eu-api.mimecast.com",
    "de": "https://de-api.mimecast.com",
    "us": "https://us-api.mimecast.com",
    "usb": "https://usb-api.mimecast.com",
    "uspcom": "https://uspcom-api.mimecast-pscom-us.com",
    "ca": "https://ca-api.mimecast.com",
    "za": "https://za-api.mimecast.com",
    "au": "https://au-api.mimecast.com",
    "offshore": "https://je-api.mimecast.com",
}
"""Source: Mimecast, "Global Base URLs" of API 1.0."""

API_2_0: Final[Mapping[str, str]] = {
    # The two pinned addresses, since June 2025: no failover, the data stays in the region.
    "uk": "https://uk-api.services.mimecast.com",
    "us": "https://us-api.services.mimecast.com",
    # API 2.0 finds the account's region by itself: where none is pinned, the global address serves it.
    **dict.fromkeys(("global", *(name for name in API_1_0 if name != "us")), GLOBAL),
}
"""Source: Mimecast, "API 2.0 base URLs"."""


def base_url(api: Api, region: str | None) -> str:
    """Return the base URL of a region.

    Args:
        api: The API generation.
        region: The region's name; `None` is the global address, which API 2.0 alone has.

    Raises:
        ValueError: The generation has no such region; the message lists those that it has.
    """
    if region is None:
        if api == "2.0":
            return GLOBAL
        raise ValueError(f"API 1.0 has no global address; write `region`, one of: {', '.join(API_1_0)}")
    known = API_2_0 if api == "2.0" else API_1_0
    try:
        return known[region]
    except KeyError:
        raise ValueError(
            f"{region!r} is no region of API {api}; write one of: {', '.join(sorted(known))}"
        ) from None
