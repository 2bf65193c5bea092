"""Fetch the feed as a short script would: the standard library, one answer after the other."""

from __future__ import annotations

import csv
import io
import json
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator

# The emulator's own, and no secret.
CLIENT = {"client_id": "emulator-client-id", "client_secret": "emulator-only-client-secret"}
NEXT = "x-mc-threat-feed-next-token"
FEED = "malware_grid"


def texts(base: str) -> Iterator[str]:
    """Yield the text of each answer, header first."""
    form = urllib.parse.urlencode({**CLIENT, "grant_type": "client_credentials"}).encode()
    with urllib.request.urlopen(f"{base}/oauth/token", form) as answer:
        bearer = json.load(answer)["access_token"]
    token: str | None = None
    asked = {"feedType": FEED, "fileType": "csv", "compress": True, "start": "2020-01-01T00:00:00+0000"}
    while True:
        request = urllib.request.Request(
            f"{base}/api/ttp/threat-intel/get-feed",
            json.dumps({"data": [asked | ({"token": token} if token else {})]}).encode(),
            {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            body, token = answer.read(), answer.headers.get(NEXT)
        if not body.startswith(b"PK"):
            return
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for name in archive.namelist():
                yield archive.read(name).decode()
        if not token:
            return


def cells(line: str) -> list[str]:
    """Return the cells of one line; none where its quotes are wrong.

    Lines are read one by one: given the whole text, the `csv` module would take a quote that is never closed
    to swallow the rows that follow.
    """
    if '"' not in line:
        return line.split("|")
    try:
        found: list[str] = next(csv.reader([line], delimiter="|", strict=True))
    except csv.Error:
        return []
    return found
