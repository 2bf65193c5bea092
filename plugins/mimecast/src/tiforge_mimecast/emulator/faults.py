"""What can go wrong, on demand."""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """A fault of one feed request. A list of them is consumed one a request."""

    NONE = "no fault"
    RATE_LIMITED = "429 with rate headers"
    RATE_LIMITED_BARE = "429 without rate headers"
    SERVER_ERROR = "500"
    CUT_SHORT = "a body that is cut short"
    CUT_CSV = "a body that is cut short without HTTP noticing"
    ZIP_BOMB = "a zip archive that expands to 10 GiB"
    EVIL_MEMBER = "a zip member named ../../x"
    HTML = "an HTML error page under 200"
    BARE_JSON = "JSON without `fail` under 200"
    EXPIRED_TOKEN = "an access token that ends before its time"  # noqa: S105 - prose
    KEY_EXPIRED = "418: the access key has expired"
    SLOW = "no answer in time"
    FORBIDDEN = "403"
    FAIL_IN_200 = "a failure under 200"
