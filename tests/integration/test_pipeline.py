"""The main job whole: Mimecast's feed over real HTTP, through the log, into STIX bundles."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import stix2
from stix2validator import ValidationOptions, validate_instance

from tests.lab import Lab, laboratory
from tiforge import Batch, Receipt, Rejected, Transient
from tiforge.config import load
from tiforge.engine.emit import Emitter
from tiforge.engine.run import run
from tiforge.engine.work import Engine, Outcome
from tiforge.plugins import Plugins
from tiforge.store import Store, agenda, deadletters, log, positions

pytest.importorskip("starlette", reason="the emulator needs the extra `emulator`")

from tiforge.testing.serving import serving
from tiforge_mimecast.emulator import Emulator, Fault, credentials, make_rows


@dataclass
class Site:
    """A config that reads an emulator, and what came of it."""

    folder: Path
    emulator: Emulator
    url: str
    plugins: Plugins
    extra: str = ""
    source: str = ""
    page_rows: int = 100

    def run(self) -> dict[str, Outcome]:
        """Run everything once, in this process; retries hardly wait."""
        api2 = f'client_id = "{credentials.CLIENT_ID}"\nclient_secret = "{credentials.CLIENT_SECRET}"\n'
        file = self.folder / "tiforge.toml"
        file.write_text(
            f"""
            [retry]
            wait_initial = "1ms"
            wait_max = "20ms"
            attempts = 2
            [sources.mimecast]
            type = "mimecast"
            base_url = "{self.url}"
            page_rows = {self.page_rows}
            {self.source or api2}
            [sinks.bundle]
            type = "stix_file"
            path = "out"
            {self.extra}
            """,
            encoding="utf-8",
        )
        with self.open() as store:
            engine = Engine(load(file, self.plugins, {}), self.plugins, store, Emitter())
            return {each.name: each for each in asyncio.run(run(engine, now=True))}

    def open(self) -> Store:
        return Store.open(f"sqlite:///{self.folder}/tiforge.db")

    def objects(self) -> list[dict[str, Any]]:
        """Return every object of every bundle, in order."""
        files = sorted(self.folder.glob("out/*.json"))
        return [each for file in files for each in json.loads(file.read_bytes())["objects"]]

    def cursor(self) -> dict[str, Any] | None:
        with self.open() as store, store.reading() as connection:
            cursor = positions.cursor(connection, "mimecast")
        return None if cursor is None else {**cursor.state, "read_until": cursor.read_until}


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Make sites, each with an emulator of its own."""
    from contextlib import ExitStack

    # All sites of a test read the same rows: their times are relative to when they were made.
    common = make_rows(600)
    with ExitStack() as stack:

        def make(name: str = "site", *, rows: Any = None, page_size: int = 200, **options: Any) -> Site:
            emulator = Emulator(rows or common, page_size=page_size)
            folder = tmp_path / name
            folder.mkdir()
            url = stack.enter_context(serving(emulator.app))
            return Site(folder, emulator, url, Plugins(), **options)

        yield make


def test_every_row_is_accounted_for_and_every_object_is_valid(make_site: MakeSite) -> None:
    """Each hash once; each row an indicator and a sighting, or set aside; stix2 and the validator agree."""
    rows = make_rows(250)
    site = make_site(rows=rows)
    first = site.run()["mimecast"]
    assert site.run()["mimecast"].counts["added"] == 0
    objects = site.objects()
    types = Counter(each["type"] for each in objects)
    patterns = Counter(each["pattern"] for each in objects if each["type"] == "indicator")
    for hash in rows.hashes():
        assert patterns[f"[file:hashes.'SHA-256' = '{hash}']"] == 1
    with site.open() as store, store.reading() as connection:
        set_aside = deadletters.counted(connection)[("source", "mimecast")]
    assert first.counts["rows"] == 250
    assert types["sighting"] + set_aside == 250
    assert types["sighting"] == types["observed-data"]
    sighted = {each["sighting_of_ref"] for each in objects if each["type"] == "sighting"}
    assert sighted == {each["id"] for each in objects if each["type"] == "indicator"}
    for each in objects:
        stix2.parse(each, version="2.1")
        result = validate_instance(each, ValidationOptions(version="2.1"))
        assert result.is_valid, (each, result.errors)


def test_the_feed_is_asked_for_once_whatever_the_sinks_do(
    make_site: MakeSite, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sink is down, one refuses every 50th object, one is healthy; the emulator counts the requests."""
    from importlib.metadata import EntryPoint, entry_points

    monkeypatch.setitem(sys.modules, "tiforge_lab", laboratory(lab))
    site = make_site(extra='[sinks.down]\ntype = "lab"\n[sinks.picky]\ntype = "lab"\n')
    site.plugins = Plugins([*entry_points(group="tiforge"), EntryPoint("lab", "tiforge_lab", "tiforge")])
    seen = 0
    refused: set[str] = set()

    def behave(name: str, batch: Batch) -> Receipt | None:
        nonlocal seen
        if name == "down":
            raise Transient("no route to the service")
        bad = [index for index in range(len(batch)) if (seen + index) % 50 == 0]
        seen += len(batch)
        refused.update(batch.records[index].id for index in bad)
        return Receipt([Rejected(index, "schema mismatch") for index in bad])

    lab.on_deliver = behave
    outcomes = site.run()
    requests = site.emulator.requests
    assert requests == 3
    assert (outcomes["bundle"].outcome, outcomes["picky"].outcome, outcomes["down"].outcome) == (
        "ok",
        "ok",
        "failed",
    )
    every = [each["id"] for each in site.objects()]
    assert [record.id for record in lab.got["picky"]] == [id for id in every if id not in refused]
    with site.open() as store, store.reading() as connection:
        letters = deadletters.listed(connection, owner="picky")
    assert {letter.object_id for letter in letters} == refused
    assert {letter.reason for letter in letters} == {"schema mismatch"}
    assert not lab.got.get("down")

    lab.on_deliver = lambda name, batch: None
    again = site.run()
    assert again["down"].outcome == "ok"
    assert [record.id for record in lab.got["down"]] == every
    # The second run asks for what is new since, in one request; nothing of the first window again.
    asked = list(site.emulator.asked)[requests:]
    assert len(asked) == 1
    assert asked[0]["start"] > site.emulator.asked[0]["start"]


SEEN = {
    Fault.RATE_LIMITED: "429",
    Fault.RATE_LIMITED_BARE: "429",
    Fault.SERVER_ERROR: "500",
    Fault.CUT_SHORT: "broke",
    Fault.CUT_CSV: "",
    Fault.ZIP_BOMB: "GiB|expand|larger|bytes",
    Fault.HTML: "HTML|html",
    Fault.BARE_JSON: "JSON",
    Fault.FORBIDDEN: "403",
    Fault.FAIL_IN_200: "fail",
}


@pytest.mark.parametrize("fault", SEEN, ids=lambda fault: fault.name)
def test_a_fault_moves_no_cursor_past_unread_data_and_the_next_run_recovers(
    make_site: MakeSite, fault: Fault
) -> None:
    """The second answer is wrong again and again: the run fails in words, and the next one has everything."""
    calm = make_site("calm")
    calm.run()
    site = make_site("rough")
    if fault is Fault.CUT_CSV:
        site.source = (
            f'client_id = "{credentials.CLIENT_ID}"\nclient_secret = "{credentials.CLIENT_SECRET}"\n'
            "compress = false\n"
        )
    site.emulator.inject(Fault.NONE, *[fault] * (1 if fault is Fault.CUT_CSV else 10))
    outcome = site.run()["mimecast"]
    cursor = site.cursor()
    if outcome.outcome == "failed":
        assert outcome.message is not None
        assert re.search(SEEN[fault], outcome.message), outcome.message
        assert "Traceback" not in outcome.message
        assert cursor is not None
        # The first answer is in the log, and the cursor names the page after it; no window is done.
        assert cursor["read_until"] is None or cursor["read_until"] < datetime.now(UTC)
        assert cursor["feeds"]["malware_grid"]["token"]
        with site.open() as store, store.reading() as connection:
            assert 0 < log.head(connection) < len(calm.objects())
    else:
        assert fault is Fault.CUT_CSV  # one more try reads it whole
    site.emulator.clear_faults()
    with site.open() as store, store.writing() as connection:
        # The time that a rate limit asked to wait has passed.
        agenda.put_standing(connection, "source", "mimecast", retry_at=None)
    assert site.run()["mimecast"].outcome == "ok"
    assert [each["id"] for each in site.objects()] == [each["id"] for each in calm.objects()]


@pytest.mark.parametrize("fault", [Fault.EVIL_MEMBER, Fault.EXPIRED_TOKEN, Fault.SERVER_ERROR, Fault.CUT_SHORT])
def test_a_fault_that_passes_is_not_felt(make_site: MakeSite, fault: Fault) -> None:
    """One fault in the middle: the same run goes on from the last page in the log and has everything."""
    calm = make_site("calm")
    calm.run()
    site = make_site("rough")
    site.emulator.inject(Fault.NONE, fault)
    assert site.run()["mimecast"].outcome == "ok"
    assert [each["id"] for each in site.objects()] == [each["id"] for each in calm.objects()]
    assert not list(site.folder.parent.glob("**/x"))


def test_a_token_that_never_changes_ends_the_chain(make_site: MakeSite) -> None:
    """The same page is not read for ever; what was read is kept, and the next run reads on."""
    site = make_site()
    site.emulator.stuck = True
    assert site.run()["mimecast"].outcome == "ok"
    assert site.emulator.requests == 2
    site.emulator.stuck = False
    assert site.run()["mimecast"].outcome == "ok"


def test_an_expired_binding_is_told_or_renewed(make_site: MakeSite) -> None:
    """418: with e-mail and password the keys are renewed; without, the operator reads what to do."""
    calm = make_site("calm")
    calm.run()
    keys = (
        f'api = "1.0"\napp_id = "{credentials.APP_ID}"\napp_key = "{credentials.APP_KEY}"\n'
        f'access_key = "{credentials.ACCESS_KEY}"\nsecret_key = "{credentials.SECRET_KEY}"\n'
    )
    site = make_site("told", source=keys)
    site.emulator.inject(Fault.NONE, Fault.KEY_EXPIRED)
    outcome = site.run()["mimecast"]
    assert outcome.outcome == "failed"
    assert "418" in str(outcome.message)
    assert "Never Expires" in str(outcome.message)
    renewing = make_site(
        "renewed", source=f'{keys}email = "{credentials.EMAIL}"\npassword = "{credentials.PASSWORD}"\n'
    )
    renewing.emulator.inject(Fault.NONE, Fault.KEY_EXPIRED)
    assert renewing.run()["mimecast"].outcome == "ok"
    assert renewing.emulator.logins == 1
    assert [each["id"] for each in renewing.objects()] == [each["id"] for each in calm.objects()]


PEAK = """
import resource, sys
from tiforge.cli import main
try:
    main()
except SystemExit:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def peak(site: Site) -> int:
    """Return the peak memory of a run in a process of its own, in KiB."""
    site.run()  # writes the config; the store is made anew below
    for file in site.folder.glob("tiforge.db*"):
        file.unlink()
    command = [sys.executable, "-c", PEAK, "run", "--now", "--json", "--config", str(site.folder / "tiforge.toml")]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ})
    outcomes = json.loads(done.stdout)["outcomes"]
    assert {each["outcome"] for each in outcomes} == {"ok"}, outcomes
    return int(done.stderr.split()[-1])


def test_memory_does_not_grow_with_the_feed(make_site: MakeSite) -> None:
    """Fifteen times the rows need no more than 40 MiB more."""
    small, large = (
        make_site(str(count), rows=make_rows(count), page_size=5000, page_rows=1000) for count in (2_000, 30_000)
    )
    assert peak(large) - peak(small) <= 40 * 1024


def test_a_feed_of_given_hashes_arrives_whole(make_site: MakeSite) -> None:
    """The emulator serves a list of hashes; each is in the bundle once."""
    hashes = [f"{number:064x}" for number in range(500)]
    site = make_site(rows=make_rows(0, hashes=hashes))
    assert site.run()["mimecast"].outcome == "ok"
    found = Counter(each["pattern"].split("'")[3] for each in site.objects() if each["type"] == "indicator")
    assert found == Counter(hashes)
