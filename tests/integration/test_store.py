"""The store on both databases: order, de-duplication, ageing, positions, dead letters, leases."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab import make_indicator
from tiforge.errors import CursorRefused, LeaseLost, StoreError
from tiforge.record import Record
from tiforge.source import Ageing, Cursor, SetAside
from tiforge.stix import TLP, file, timestamp
from tiforge.store import (
    EVERYTHING,
    Filter,
    Refused,
    Store,
    commit_delivery,
    commit_page,
    deadletters,
    leases,
    log,
    positions,
    rewind,
    schema,
)
from tiforge.store.migrations import upgrade

CURSOR = Cursor({"token": "x"})
BASE = datetime(2026, 1, 1, tzinfo=UTC)


def append(store: Store, source: str, records: list[Record], **options: Any) -> log.Appended:
    lease = leases.acquire(store, f"source/{source}")
    assert lease is not None
    try:
        return commit_page(store, lease, source, records, CURSOR, **options)
    finally:
        leases.release(store, lease)


def everything(store: Store, only: Filter = EVERYTHING) -> list[log.Entry]:
    with store.reading() as connection:
        return log.read(connection, after=0, upto=log.head(connection), only=only, objects=100_000)


def test_append_numbers_without_gaps_and_dates_strictly_increasing(store: Store) -> None:
    """Each entry has the next seq, and a date_added later than the one before."""
    append(store, "a", [make_indicator(n) for n in range(10)])
    append(store, "a", [make_indicator(n) for n in range(5, 20)])
    with store.reading() as connection:
        rows = connection.execute(sqlalchemy.select(schema.log.c.seq, schema.log.c.date_added)).all()
    assert [row.seq for row in rows] == list(range(1, 21))
    assert all(later.date_added > earlier.date_added for earlier, later in pairwise(rows))


def test_date_added_grows_although_the_clock_is_set_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes back an hour gives no two entries the same date_added, nor an earlier one."""
    append(store, "a", [make_indicator(1)])
    real = store.now()
    monkeypatch.setattr(Store, "now", lambda self: real - 3_600_000_000)
    append(store, "b", [make_indicator(2), make_indicator(3)])
    with store.reading() as connection:
        dates = list(connection.execute(sqlalchemy.select(schema.log.c.date_added)).scalars())
    assert dates == sorted(set(dates))


def test_the_same_version_is_held_once_a_source(store: Store) -> None:
    """A record that comes again changes nothing; another version of the object is another entry."""
    one, two = make_indicator(1), make_indicator(1, modified="2026-01-02T00:00:00.000Z")
    assert append(store, "a", [one, one]) == log.Appended(1, 1, 1)
    assert append(store, "a", [one, two, one]) == log.Appended(1, 2, 2)
    assert [entry.record for entry in everything(store)] == [one, two]


def test_an_object_of_two_sources_reaches_each_reader_once(store: Store) -> None:
    """Readers of both sources get it once; readers of either get it."""
    record = make_indicator(1)
    append(store, "a", [record])
    append(store, "b", [record, make_indicator(2)])
    assert len(everything(store)) == 2
    assert len(everything(store, Filter(sources=["a", "b"]))) == 2
    assert [e.record.id for e in everything(store, Filter(sources=["a"]))] == [record.id]
    assert len(everything(store, Filter(sources=["b"]))) == 2


def test_objects_without_modified_are_versioned_by_content(store: Store) -> None:
    """A file seen with another size is another version of the same object."""
    small = Record.built(file(hashes={"MD5": "d" * 32}, size=1))
    large = Record.built(file(hashes={"MD5": "d" * 32}, size=2))
    assert append(store, "a", [small, large, small]).added == 2


def test_filters(store: Store) -> None:
    """Type, confidence floor, TLP ceiling and age leave out what they should, and only that."""
    sure = make_indicator(1, confidence=90, object_marking_refs=[TLP.RED.marking])
    vague = make_indicator(2, confidence=10, object_marking_refs=[TLP.GREEN.marking])
    plain = make_indicator(3, modified="2026-02-01T00:00:00.000Z")
    other = Record.built(file(hashes={"MD5": "d" * 32}))
    append(store, "a", [sure, vague, plain, other])
    month = int(datetime(2026, 1, 15, tzinfo=UTC).timestamp() * 1_000_000)

    def ids(only: Filter) -> set[str]:
        return {entry.record.id for entry in everything(store, only)}

    assert ids(Filter(types=["file"])) == {other.id}
    assert ids(Filter(min_confidence=50)) == {sure.id, plain.id, other.id}
    assert ids(Filter(max_tlp=TLP.AMBER)) == {vague.id, plain.id, other.id}
    assert ids(Filter(modified_since=month)) == {plain.id, other.id}
    assert ids(Filter(types=["indicator", "file"]).taking({"file", "sighting"})) == {other.id}


def test_reading_stops_at_a_number_of_bytes_but_never_at_nothing(store: Store) -> None:
    """A batch ends before the limit is passed; an entry larger than the limit comes alone."""
    records = [make_indicator(n) for n in range(5)]
    append(store, "a", records)
    size = len(records[0].payload)
    with store.reading() as connection:
        two = log.read(connection, after=0, upto=5, only=EVERYTHING, objects=100, bytes=2 * size + 1)
        one = log.read(connection, after=0, upto=5, only=EVERYTHING, objects=100, bytes=1)
    assert (len(two), len(one)) == (2, 1)


def detected(moment: datetime, **changes: Any) -> Record:
    """Return what a source makes of a detection: valid for 30 days from then."""
    at, until = timestamp(moment), timestamp(moment + timedelta(days=30))
    return make_indicator(1, modified=at, created=at, valid_from=at, valid_until=until, **changes)


def test_a_detection_renews_an_indicator_only_when_its_validity_runs_low(store: Store) -> None:
    """More than half left: nothing. Less: a new version that keeps `created` and `valid_from`."""
    ageing = Ageing(timedelta(days=30), renew_below=0.5)
    first = detected(BASE)
    assert append(store, "a", [first], ageing=ageing).added == 1
    assert append(store, "a", [detected(BASE + timedelta(days=14))], ageing=ageing).added == 0
    assert append(store, "a", [detected(BASE + timedelta(days=16))], ageing=ageing).added == 1
    assert append(store, "a", [detected(BASE + timedelta(days=2))], ageing=ageing).added == 0
    latest = everything(store)[-1].record.object
    assert latest["created"] == latest["valid_from"] == timestamp(BASE)
    assert latest["modified"] == timestamp(BASE + timedelta(days=16))
    assert latest["valid_until"] == timestamp(BASE + timedelta(days=46))


def test_a_detection_with_other_content_is_a_new_version_at_once(store: Store) -> None:
    """A changed confidence does not wait for the validity to run low."""
    ageing = Ageing(timedelta(days=30))
    append(store, "a", [detected(BASE, confidence=50)], ageing=ageing)
    assert append(store, "a", [detected(BASE + timedelta(days=1), confidence=60)], ageing=ageing).added == 1


def test_a_revoked_indicator_stays_revoked(store: Store) -> None:
    """A detection after the revocation makes no new version: revocation is final."""
    ageing = Ageing(timedelta(days=30))
    append(store, "a", [detected(BASE), detected(BASE + timedelta(days=1), revoked=True)], ageing=ageing)
    assert append(store, "a", [detected(BASE + timedelta(days=29))], ageing=ageing).added == 0


def test_two_regions_share_one_line_of_versions(store: Store) -> None:
    """What a second source detects later is the first one's version, so `created` never differs."""
    ageing = Ageing(timedelta(days=30))
    append(store, "eu", [detected(BASE)], ageing=ageing)
    append(store, "us", [detected(BASE + timedelta(days=3))], ageing=ageing)
    of_us = everything(store, Filter(sources=["us"]))
    assert [entry.record for entry in of_us] == [detected(BASE)]
    assert len(everything(store)) == 1


def test_two_sources_that_differ_do_not_make_versions_of_each_others(store: Store) -> None:
    """Each counts by what it said itself: a busy hash does not flap between two confidences."""
    ageing = Ageing(timedelta(days=30))
    for day in range(10):
        append(store, "sure", [detected(BASE + timedelta(days=day), confidence=90)], ageing=ageing)
        append(store, "vague", [detected(BASE + timedelta(days=day, hours=1), confidence=10)], ageing=ageing)
    assert len(everything(store)) == 2


def test_an_object_is_not_lost_to_a_filter_because_another_source_marked_it_otherwise(store: Store) -> None:
    """The first entry with a version does not count for a reader that does not take it."""
    append(store, "red", [make_indicator(1, object_marking_refs=[TLP.RED.marking])])
    append(store, "green", [make_indicator(1, object_marking_refs=[TLP.GREEN.marking])])
    assert [e.seq for e in everything(store, Filter(max_tlp=TLP.GREEN))] == [2]
    assert [e.seq for e in everything(store)] == [1]


def test_reading_holds_few_large_payloads(store: Store) -> None:
    """A limit in bytes bounds what is fetched, not only what is returned."""
    import tracemalloc

    append(store, "a", [make_indicator(n, description="x" * 2**20) for n in range(200)])
    tracemalloc.start()
    with store.reading() as connection:
        entries = log.read(connection, after=0, upto=200, only=EVERYTHING, objects=1000, bytes=4 * 2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(entries) == 3
    assert peak < 150 * 2**20


@given(days=st.lists(st.integers(0, 200), min_size=1, max_size=30))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_do_not_matter_to_what_the_log_holds(days: list[int], tmp_path: Path) -> None:
    """However detections are cut into pages, and with pages read twice, the versions are the same."""
    ageing = Ageing(timedelta(days=30))
    records = [detected(BASE + timedelta(days=day)) for day in days]
    with Store.open(f"sqlite:///{tmp_path}/whole{len(list(tmp_path.iterdir()))}.db") as whole:
        append(whole, "a", records, ageing=ageing)
        expected = [entry.record for entry in everything(whole)]
    with Store.open(f"sqlite:///{tmp_path}/cut{len(list(tmp_path.iterdir()))}.db") as cut:
        for record in records:
            append(cut, "a", [record], ageing=ageing)
            append(cut, "a", [record], ageing=ageing)
        assert [entry.record for entry in everything(cut)] == expected


def current(store: Store, only: Filter = EVERYTHING, now: datetime = BASE) -> list[str]:
    with store.reading() as connection:
        head, at = log.head(connection), int(now.timestamp() * 1_000_000)
        found, after = [], 0
        while after is not None:
            # A stretch of two entries: no stretch may hide or repeat what another holds.
            entries, after = log.current(connection, after=after, upto=head, only=only, objects=2, now=at)
            found += entries
    return [f"{entry.record.id} {entry.record.version}" for entry in found]


def test_current_holds_the_latest_version_that_is_neither_revoked_nor_expired(store: Store) -> None:
    """Late older versions, revocations and expiry are seen through."""
    newer = make_indicator(1, modified="2026-01-05T00:00:00.000Z")
    older = make_indicator(1, modified="2026-01-02T00:00:00.000Z")
    gone = make_indicator(2, modified="2026-01-05T00:00:00.000Z", revoked=True)
    short = make_indicator(3, valid_until="2026-01-10T00:00:00.000Z")
    append(store, "a", [make_indicator(1), newer, older, make_indicator(2), gone, short])
    assert current(store) == [f"{newer.id} {newer.version}", f"{short.id} {short.version}"]
    assert current(store, now=BASE + timedelta(days=20)) == [f"{newer.id} {newer.version}"]


def test_current_knows_the_latest_of_objects_without_modified(store: Store) -> None:
    """A version that another source gives again later does not hide the newer one."""
    small = Record.built(file(hashes={"MD5": "d" * 32}, size=1))
    large = Record.built(file(hashes={"MD5": "d" * 32}, size=2))
    append(store, "a", [small, large])
    append(store, "b", [small])
    assert current(store) == [f"{large.id} {large.version}"]
    assert current(store, Filter(sources=["a", "b"])) == [f"{large.id} {large.version}"]


def test_current_of_one_source_does_not_look_at_others(store: Store) -> None:
    """A newer version from a source that the reader does not take does not hide the older one."""
    append(store, "a", [make_indicator(1)])
    append(store, "b", [make_indicator(1, modified="2026-01-05T00:00:00.000Z")])
    assert len(current(store)) == 1
    assert current(store, Filter(sources=["a"])) == [f"{make_indicator(1).id} 2026-01-01T00:00:00.000Z"]


def test_an_empty_cursor_and_one_in_the_future_write_nothing(store: Store) -> None:
    """The page is refused whole and the stored cursor stays."""
    lease = leases.acquire(store, "source/a")
    assert lease is not None
    commit_page(store, lease, "a", [make_indicator(1)], CURSOR)
    future = Cursor({"token": "y"}, datetime.now(UTC) + timedelta(hours=1))
    for wrong in (Cursor({}), future):
        with pytest.raises(CursorRefused, match="stays"):
            commit_page(store, lease, "a", [make_indicator(2)], wrong)
    with store.reading() as connection:
        assert positions.cursor(connection, "a") == CURSOR
    assert len(everything(store)) == 1


def test_a_page_is_written_whole_or_not_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """When storing the cursor fails, the page is not in the log either (law 1)."""

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(positions, "put_cursor", broken)
    with pytest.raises(OSError, match="no space"):
        append(store, "a", [make_indicator(1)])
    assert everything(store) == []
    with store.reading() as connection:
        assert log.head(connection) == 0


def test_pieces_set_aside_are_kept_once_however_often_they_are_read(store: Store) -> None:
    """The overlap of two windows reads the same broken row again; it stays one letter."""
    piece = SetAside("a|b\x00|\udcff", "has no hash", "line 3")
    append(store, "a", [], set_aside=[piece])
    append(store, "a", [], set_aside=[piece, SetAside("c", "has no hash", "line 4")])
    append(store, "a", [], set_aside=[SetAside("", "cannot be opened", name) for name in ("x.json", "y.json")])
    with store.reading() as connection:
        letters = deadletters.listed(connection, owner="a")
    assert [(letter.attempts, letter.place) for letter in letters] == [
        (2, "line 3"), (1, "line 4"), (1, "x.json"), (1, "y.json")
    ]  # fmt: skip


def test_refused_entries_wait_for_a_retry_and_go_when_delivered(store: Store) -> None:
    """list, retry and drop see the same letters."""
    append(store, "a", [make_indicator(n) for n in range(3)])
    entries = everything(store)
    lease = leases.acquire(store, "sink/s")
    assert lease is not None
    commit_delivery(store, lease, "s", 3, [Refused(entries[0], "bad"), Refused(entries[2], "worse")])
    with store.writing() as connection:
        assert deadletters.counted(connection) == {("sink", "s"): 2}
        first = deadletters.listed(connection, owner="s")[0]
        assert (first.object_id, first.reason, first.seq) == (entries[0].record.id, "bad", 1)
        assert deadletters.mark_for_retry(connection, "s", [first.id]) == 1
        assert deadletters.to_retry(connection, "s", 10) == [1]
        deadletters.delivered(connection, "s", [1])
        assert deadletters.drop(connection, "sink", "s") == 1
        assert positions.offset(connection, "s") == 3


def test_a_rewound_sink_forgets_what_it_refused_from_there_on(store: Store) -> None:
    """What comes again is judged again; what lies before stays set aside."""
    append(store, "a", [make_indicator(n) for n in range(3)])
    entries = everything(store)
    lease = leases.acquire(store, "sink/s")
    assert lease is not None
    commit_delivery(store, lease, "s", 3, [Refused(entries[0], "bad"), Refused(entries[2], "worse")])
    with store.reading() as connection:
        before = positions.round_of(connection, "s")
    assert rewind(store, lease, "s", 1) == (1, 3)
    # Never forward: that would step over what the sink does not have.
    assert rewind(store, lease, "s", 3) == (1, 3)
    with store.reading() as connection:
        assert [letter.reason for letter in deadletters.listed(connection, owner="s")] == ["bad"]
        assert positions.offset(connection, "s") == 1
        assert positions.round_of(connection, "s") != before


def test_a_store_is_its_owners_alone(tmp_path: Path) -> None:
    """What is in the log may be marked TLP:RED: nobody else on the machine reads it."""
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        append(store, "a", [make_indicator(1)])
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_a_lease_has_one_holder_and_fences_the_one_before(store: Store) -> None:
    """A process that was paused past its lease cannot commit over the one that took its place."""
    held = leases.acquire(store, "sink/s", ttl=0)
    assert held is not None
    taken = leases.acquire(store, "sink/s")
    assert taken is not None
    assert taken.token > held.token
    assert leases.acquire(store, "sink/s") is None
    with pytest.raises(LeaseLost):
        commit_delivery(store, held, "s", 99)
    leases.release(store, held)
    assert leases.acquire(store, "sink/s") is None
    commit_delivery(store, taken, "s", 1)
    leases.release(store, taken)
    again = leases.acquire(store, "sink/s")
    assert again is not None
    assert again.token > taken.token


def test_a_reader_steps_over_no_entry_of_two_appenders(store_url: str) -> None:
    """While two connections append, their commits held up, a reader sees every seq, in order."""
    pages = 2500 if store_url.startswith("postgresql") else 250
    stop = threading.Event()
    seen: list[int] = []
    with Store.open(store_url) as store:

        def write(source: str, base: int) -> None:
            with Store.open(store_url) as mine:
                lease = leases.acquire(mine, f"source/{source}")
                assert lease is not None
                for page in range(pages):
                    records = [make_indicator(base + page)]
                    with mine.writing() as connection:
                        log.append(connection, source, records, now=mine.now())
                        # The seq is taken; the other appender gets every chance to commit before this one.
                        if page % 7 == 0:
                            threading.Event().wait(0.002)

        def read() -> None:
            after = 0
            with Store.open(store_url) as mine:
                while True:
                    last = stop.is_set()
                    with mine.reading() as connection:
                        head = log.head(connection)
                        entries = log.read(connection, after=after, upto=head, only=EVERYTHING, objects=500)
                    seen.extend(entry.seq for entry in entries)
                    after = entries[-1].seq if entries else after
                    if last and after == head:
                        return
                    stop.wait(0.01)

        writers = [threading.Thread(target=write, args=(name, base)) for name, base in (("a", 0), ("b", 10**9))]
        reader = threading.Thread(target=read)
        reader.start()
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        stop.set()
        reader.join()
        with store.reading() as connection:
            assert log.head(connection) == 2 * pages
    assert seen == list(range(1, 2 * pages + 1))


@pytest.mark.postgresql
def test_a_later_appender_waits_for_the_commit_of_the_earlier_one(postgresql_url: str) -> None:
    """On PostgreSQL a second appender cannot commit before the first, so no smaller seq turns up later."""
    order: list[str] = []
    with Store.open(postgresql_url) as one, Store.open(postgresql_url) as two:
        started = threading.Event()

        def second() -> None:
            started.set()
            with two.writing() as connection:
                log.append(connection, "b", [make_indicator(2)], now=two.now())
            order.append("second")

        with one.writing() as connection:
            log.append(connection, "a", [make_indicator(1)], now=one.now())
            thread = threading.Thread(target=second)
            thread.start()
            started.wait()
            # It is blocked on the head's row: what it would have committed is not visible to anyone.
            with one.reading() as reader:
                assert log.head(reader) == 0
            order.append("first")
        thread.join()
        assert order == ["first", "second"]
        assert [(e.seq, e.record.id) for e in everything(one)] == [
            (1, make_indicator(1).id),
            (2, make_indicator(2).id),
        ]


def test_migrations_build_the_tables_that_the_code_knows(store_url: str) -> None:
    """A store built by the migrations from nothing has no difference from the metadata."""
    url = store_url.replace("postgresql://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        upgrade(connection, "base")
        difference = compare_metadata(MigrationContext.configure(connection), schema.metadata)
        revision = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
    engine.dispose()
    assert difference == []
    assert revision == schema.REVISION
    with Store.open(store_url) as store:
        append(store, "a", [make_indicator(1)])


def test_a_store_of_a_newer_version_is_refused(store_url: str) -> None:
    """The message says that a newer tiforge wrote it; nothing is changed."""
    with Store.open(store_url) as store, store.writing() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer tiforge"):
        Store.open(store_url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://x/y", "no store"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite:////nowhere/at/all.db", "does not exist"),
        ("postgresql://nobody:hunter22@127.0.0.1:1/x?connect_timeout=2", "failed"),
    ],
)
def test_a_store_that_cannot_be_opened_says_why(url: str, told: str) -> None:
    """The error names what is wrong, and never the password."""
    with pytest.raises(StoreError, match=told) as caught:
        Store.open(url)
    assert "hunter22" not in str(caught.value)
