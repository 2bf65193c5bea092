"""`kill -9` at random moments: nothing is lost, nothing is doubled, the bundle is that of an undisturbed run.

The full measure of it takes a quarter of an hour: TIFORGE_KILLS=40 TIFORGE_KILL_ROWS=20000 pytest tests/chaos
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tiforge.store import Store
from tiforge.store.schema import log

pytest.importorskip("starlette", reason="the emulator needs the extra `emulator`")
KILLS = int(os.environ.get("TIFORGE_KILLS", "4"))
ROWS = int(os.environ.get("TIFORGE_KILL_ROWS", "3000"))
SEED = int(os.environ.get("TIFORGE_KILL_SEED", "0")) or random.randrange(1, 2**31)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]


@dataclass
class Result:
    """What a store and the files of its sinks hold at the end."""

    log: list[tuple[int, str, str]]
    snapshot: bytes
    delivered: list[str]


@pytest.fixture(scope="module")
def feed() -> Iterator[dict[str, Any]]:
    """An emulator with a feed of many answers; its settings."""
    from tiforge.testing.serving import serving
    from tiforge_mimecast.emulator import Emulator, credentials, make_rows

    emulator = Emulator(make_rows(ROWS), page_size=ROWS // 7)
    with serving(emulator.app) as url:
        yield {"base_url": url, "client_id": credentials.CLIENT_ID, "client_secret": credentials.CLIENT_SECRET}


class Site:
    """A folder with a config, a store and two sinks: one file a run, and one current snapshot."""

    def __init__(self, folder: Path, feed: dict[str, Any], store_url: str | None = None) -> None:
        folder.mkdir()
        self.folder = folder
        self.url = store_url or f"sqlite:///{folder}/tiforge.db"
        self.config = folder / "tiforge.toml"
        self.config.write_text(
            f"""
            [store]
            url = "{self.url}"
            [sources.mimecast]
            type = "mimecast"
            base_url = "{feed["base_url"]}"
            client_id = "{feed["client_id"]}"
            client_secret = "{feed["client_secret"]}"
            page_rows = 250
            [sinks.files]
            type = "stix_file"
            path = "files"
            [sinks.current]
            type = "stix_file"
            path = "current"
            mode = "snapshot"
            """,
            encoding="utf-8",
        )

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tiforge", "run", "--config", str(self.config), "--json"]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )

    def finish(self, processes: int) -> None:
        """Run to the end; nothing may have failed."""
        running = [self.start() for _ in range(processes)]
        for process in running:
            out, err = process.communicate(timeout=900)
            # 4: rows that the feed has wrong were set aside, as they should be.
            assert process.returncode in (0, 4), f"exit {process.returncode}: {out.decode()} {err.decode()}"
            outcomes = json.loads(out)["outcomes"]
            assert {each["outcome"] for each in outcomes} <= {"ok", "busy", "waiting"}, outcomes

    def result(self) -> Result:
        with Store.open(self.url) as store, store.reading() as connection:
            rows = connection.execute(select(log.c.seq, log.c.id, log.c.version).order_by(log.c.seq)).all()
        delivered = [
            each["id"]
            for file in sorted(self.folder.glob("files/*.json"))
            for each in json.loads(file.read_bytes())["objects"]
        ]
        (snapshot,) = self.folder.glob("current/*.json")
        return Result([tuple(row) for row in rows], snapshot.read_bytes(), delivered)


def disturb(site: Site, processes: int, seconds: float) -> None:
    """Start a run and kill it after so many seconds."""
    running = [site.start() for _ in range(processes)]
    time.sleep(seconds)
    for process in running:
        process.send_signal(signal.SIGKILL)
    for process in running:
        process.communicate()


def undisturbed(site: Site) -> tuple[Result, float]:
    started = time.monotonic()
    site.finish(1)
    return site.result(), time.monotonic() - started


def compare(found: Result, expected: Result) -> None:
    assert [seq for seq, _, _ in found.log] == list(range(1, len(found.log) + 1))
    versions = [(id, version) for _, id, version in found.log]
    assert len(set(versions)) == len(versions)
    assert found.log == expected.log
    assert found.delivered == expected.delivered
    assert found.snapshot == expected.snapshot


def test_killed_at_random_moments_on_sqlite(feed: dict[str, Any], tmp_path: Path) -> None:
    """After each kill a plain run arrives where an undisturbed one does: log, files and snapshot."""
    expected, length = undisturbed(Site(tmp_path / "calm", feed))
    chance = random.Random(SEED)
    for number in range(KILLS):
        seconds = chance.uniform(0, length)
        print(f"seed {SEED}, kill {number + 1} of {KILLS} after {seconds:.3f} s of {length:.1f}")
        site = Site(tmp_path / f"rough{number}", feed)
        disturb(site, 1, seconds)
        site.finish(1)
        compare(site.result(), expected)


@pytest.mark.postgresql
def test_killed_at_random_moments_on_postgresql_with_two_processes(
    feed: dict[str, Any], tmp_path: Path, make_database: Any
) -> None:
    """The same with two processes at once on the same config, each time."""
    expected, _ = undisturbed(Site(tmp_path / "calm", feed))
    warm = Site(tmp_path / "warm", feed, make_database())
    started = time.monotonic()
    warm.finish(2)
    length = time.monotonic() - started
    compare(warm.result(), expected)
    chance = random.Random(SEED)
    for number in range(KILLS):
        seconds = chance.uniform(0, length)
        print(f"seed {SEED}, kill {number + 1} of {KILLS} after {seconds:.3f} s of {length:.1f}")
        site = Site(tmp_path / f"rough{number}", feed, make_database())
        disturb(site, 2, seconds)
        site.finish(2)
        compare(site.result(), expected)
