"""Tell by its first bytes what a body is; Mimecast's `Content-Type` does not say it reliably."""

from __future__ import annotations

from enum import Enum
from typing import IO, Final

_BOM: Final = b"\xef\xbb\xbf"
_START: Final = 4096


class Form(Enum):
    """What a body, or a member of an archive, is."""

    EMPTY = "empty"
    ZIP = "a zip archive"
    JSON = "JSON"
    TEXT = "text"
    MARKUP = "an HTML or XML page"


def sniff(body: IO[bytes]) -> Form:
    """Read the start of a body and rewind it.

    Args:
        body: A file at its start.
    """
    start = body.read(_START)
    body.seek(0)
    return form_of(start)


def form_of(start: bytes) -> Form:
    """Say what begins with these bytes."""
    # An archive without members begins with the record that ends it.
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Form.ZIP
    text = start.removeprefix(_BOM).lstrip(b" \t\r\n")
    if not text:
        return Form.EMPTY
    return {b"{": Form.JSON, b"[": Form.JSON, b"<": Form.MARKUP}.get(text[:1], Form.TEXT)
