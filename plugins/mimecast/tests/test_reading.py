from __future__ import annotations

import asyncio
import io
import tracemalloc
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tiforge import ConfigurationError, Cursor, Page, Permanent, Record, SetAside, Transient
from tiforge_mimecast.emulator import Ending, Fault, GivenRows
from tiforge_mimecast.sniff import Form
from tiforge_mimecast.window import Trail, Window

if TYPE_CHECKING:
    from conftest import Bench

Values = Callable[[list[Page]], set[str]]


@pytest.mark.parametrize("ending", Ending)
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("file_type", ["csv", "stix"])
@pytest.mark.parametrize("api", ["2.0", "1.0"])
def test_everything_is_read(
    bench: Bench, values: Values, ending: Ending, compress: bool, file_type: str, api: str
) -> None:
    emulator = bench.start(500, ending=ending, members=3)
    pages = bench.pull(compress=compress, file_type=file_type, api=api)
    assert values(pages) == set(emulator.rows["malware_grid"].hashes())
    window = pages[-1].cursor.state["feeds"]["malware_grid"]
    assert window == {"start": "2026-02-01T11:00:00Z", "until": "2026-02-01T12:00:00Z"}
    assert pages[-1].cursor.read_until == bench.now
    assert all(page.rows <= 30 for page in pages)
    assert emulator.requests <= 7


@pytest.mark.parametrize("ending", Ending)
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101])
def test_small_feeds(bench: Bench, values: Values, ending: Ending, count: int) -> None:
    rows = GivenRows(b"Timestamp|SHA256", [
        (bench.now - timedelta(hours=1), b"2026-02-01T11:00:00+0000|%064x" % number) for number in range(count)
    ])  # fmt: skip
    emulator = bench.start(rows, ending=ending)
    pages = bench.pull()
    assert len(values(pages)) == count
    assert "end" not in pages[-1].cursor.state["feeds"]["malware_grid"]
    assert emulator.requests <= 3


def test_a_token_that_never_changes_ends_the_chain(bench: Bench) -> None:
    emulator = bench.start(500)
    emulator.stuck = True
    bench.pull()
    assert emulator.requests == 2


@pytest.mark.parametrize("length", [1, 2, 32, 33, 100, 1000])
def test_any_circle_of_tokens_is_noticed(length: int) -> None:
    window: Window = Window(datetime.min).opened(datetime.max)
    asked = 0
    while window.end is not None:
        window = window.advanced(f"lead {asked}" if asked < 7 else f"token {asked % length}", timedelta(0))
        asked += 1
        assert len(window.trail.recent) <= 32
    assert asked <= 8 + length if length <= 32 else asked <= 3 * (length + 8)


def test_a_long_chain_is_no_circle() -> None:
    trail = Trail()
    for number in range(5000):
        assert f"token {number}" not in trail
        trail = trail.followed_by(f"token {number}")


@pytest.mark.parametrize("file_type", ["csv", "stix"])
def test_resume_after_every_page(bench: Bench, file_type: str) -> None:
    emulator = bench.start(500)
    whole = bench.pull(file_type=file_type)
    everything = _contents(whole)
    first_ends = {asked["end"] for asked in emulator.asked}
    for boundary in range(1, len(whole), 1 if file_type == "csv" else 7):
        stored = Cursor(orjson.loads(orjson.dumps(whole[boundary - 1].cursor.state)))
        # Later than the window's end, though within the lag.
        bench.now += timedelta(seconds=1)
        emulator.asked.clear()
        rest = bench.pull(stored, file_type=file_type)
        assert _contents(whole[:boundary]) | _contents(rest) == everything
        assert {asked["end"] for asked in emulator.asked} == first_ends


def test_a_cursor_moves_only_with_the_last_page_of_an_answer(bench: Bench) -> None:
    bench.start(250)
    pages = bench.pull()
    tokens = [page.cursor.state["feeds"]["malware_grid"].get("token") for page in pages]
    # 100 rows in pages of 30 are four pages; the first three still read the first answer.
    assert tokens[:3] == [None, None, None]
    assert tokens[3] is not None
    assert tokens[3] == tokens[6] != tokens[7]


def test_an_old_unfinished_window_is_finished_and_followed_by_a_new_one(bench: Bench) -> None:
    emulator = bench.start(500)
    stopped = bench.pull(stop_after=4)
    first_end = emulator.asked[0]["end"]
    bench.now += timedelta(days=2)
    emulator.asked.clear()
    pages = bench.pull(stopped[-1].cursor)
    ends = list(dict.fromkeys(asked["end"] for asked in emulator.asked))
    assert ends == [first_end, "2026-02-03T12:00:00+0000"]
    assert pages[-1].cursor.read_until == bench.now


def test_the_next_window_overlaps_the_last(bench: Bench) -> None:
    emulator = bench.start(100)
    first = bench.pull(lag="2h")
    assert emulator.asked[0]["start"] == "2026-01-29T12:00:00+0000"
    bench.now += timedelta(minutes=15)
    bench.pull(first[-1].cursor, lag="2h")
    assert emulator.asked[-1]["start"] == "2026-02-01T10:00:00+0000"
    assert emulator.asked[-1]["end"] == "2026-02-01T12:15:00+0000"


def test_a_clock_that_goes_back_asks_for_nothing(bench: Bench) -> None:
    emulator = bench.start(100)
    first = bench.pull(lag="0s")
    requests = emulator.requests
    bench.now -= timedelta(minutes=4)
    assert bench.pull(first[-1].cursor, lag="0s") == []
    assert emulator.requests == requests


def test_a_cursor_in_the_future_is_told(bench: Bench) -> None:
    """Written while the clock was ahead; until then nothing would be read, and all would seem well."""
    emulator = bench.start(100)
    ahead = bench.source().since(bench.now)
    bench.now -= timedelta(days=300)
    requests = emulator.requests
    with pytest.raises(ConfigurationError, match=r"lies in the future: it is at 2026-02-01.*backfill.*--reset"):
        bench.pull(ahead)
    assert emulator.requests == requests
    # The place of a feed that is no longer read does not matter.
    bench.pull(ahead, feeds=["malware_customer"])


def test_a_row_in_the_future_is_set_aside(bench: Bench) -> None:
    """Else the indicator would be frozen: later detections would pass for older ones."""
    bench.start(1)
    content = bench.source().content
    hash = "ab" * 32
    for stamp, taken in (
        ("2026-02-02T12:00:00Z", True),
        ("2026-02-02T12:00:01Z", False),
        ("2126-01-01T00:00:00Z", False),
    ):
        text = f"Timestamp|SHA256\n{stamp}|{hash}\n".encode()
        (item,) = content.items(io.BytesIO(text), Form.TEXT, feed="malware_grid")
        assert isinstance(item, list) is taken
        if isinstance(item, SetAside):
            assert "more than a day in the future" in item.reason


def test_several_feeds_in_one_source(bench: Bench) -> None:
    emulator = bench.start(130)
    both = {"feeds": ["malware_grid", "malware_customer"]}
    pages = bench.pull(**both)
    assert sum(page.rows for page in pages) == 260
    assert {asked["feedType"] for asked in emulator.asked} == set(both["feeds"])
    assert len({asked["end"] for asked in emulator.asked}) == 1
    # Nothing is complete for both before the last page.
    assert [page.cursor.read_until for page in pages if page.cursor.read_until] == [bench.now]
    for boundary in range(1, len(pages)):
        rest = bench.pull(pages[boundary - 1].cursor, **both)
        assert _contents(pages[:boundary]) | _contents(rest) == _contents(pages)


def test_a_feed_that_is_done_is_not_read_again_when_another_fails(bench: Bench) -> None:
    emulator = bench.start(150)
    emulator.inject(Fault.NONE, Fault.NONE, Fault.SERVER_ERROR)
    _, errors = bench.persist(feeds=["malware_grid", "malware_customer"])
    assert len(errors) == 1
    assert [asked["feedType"] for asked in emulator.asked].count("malware_grid") == 2


def test_a_feed_that_is_no_longer_configured_keeps_its_place(bench: Bench) -> None:
    bench.start(50)
    pages = bench.pull(feeds=["malware_grid", "malware_customer"])
    bench.now += timedelta(hours=1)
    again = bench.pull(pages[-1].cursor, feeds=["malware_grid"])
    state = again[-1].cursor.state["feeds"]
    assert state["malware_customer"] == pages[-1].cursor.state["feeds"]["malware_customer"]
    assert again[-1].cursor.read_until == bench.now


def test_page_tokens_that_the_server_forgot(bench: Bench) -> None:
    emulator = bench.start(500)
    stopped = bench.pull(stop_after=6)
    emulator.forget_page_tokens()
    rest = bench.pull(stopped[-1].cursor)
    assert sum(page.rows for page in rest) == 500
    assert rest[-1].cursor.read_until == bench.now


def test_a_server_that_never_takes_its_tokens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = bench.start(500)
    monkeypatch.setattr(emulator, "_make_token", lambda feed, first, last: f"nonsense {first}")
    with pytest.raises(Permanent, match="in this very run"):
        bench.pull()
    assert emulator.requests == 4


def test_since(bench: Bench) -> None:
    emulator = bench.start(500)
    cursor = bench.source().since(bench.now - timedelta(days=5))
    bench.pull(cursor)
    assert emulator.asked[0]["start"] == "2026-01-27T12:00:00+0000"
    future = bench.source().since(bench.now + timedelta(days=5))
    assert future.read_until == bench.now
    assert bench.pull(future) == []


@pytest.mark.parametrize(
    "state", [{"feeds": 1}, {}, {"feeds": {"malware_grid": {}}}, {"feeds": {"malware_grid": {"start": "x"}}}]
)
def test_a_foreign_cursor(bench: Bench, state: dict[str, Any]) -> None:
    bench.start()
    with pytest.raises(Permanent, match="tiforge backfill"):
        bench.pull(Cursor(state))


FAULTS = [
    (Fault.RATE_LIMITED, Transient, 0.25, "quota"),
    (Fault.RATE_LIMITED_BARE, Transient, None, "429"),
    (Fault.SERVER_ERROR, Transient, None, "500"),
    (Fault.CUT_SHORT, Transient, None, "broke"),
    (Fault.CUT_CSV, Transient, None, "cut short"),
    (Fault.ZIP_BOMB, Permanent, None, "10,737,418,240 bytes"),
    (Fault.HTML, Transient, None, "web page"),
    (Fault.BARE_JSON, Permanent, None, "neither a feed nor a failure"),
    (Fault.FAIL_IN_200, Permanent, None, "err_threat_intel_feed_failed"),
]


@pytest.mark.parametrize(("fault", "kind", "wait", "said"), FAULTS)
@pytest.mark.parametrize("file_type", ["csv", "stix"])
@pytest.mark.parametrize("compress", [True, False])
def test_a_fault_moves_no_cursor(
    bench: Bench,
    fault: Fault,
    kind: type[Exception],
    wait: float | None,
    said: str,
    file_type: str,
    compress: bool,
) -> None:
    form: dict[str, Any] = {"file_type": file_type, "compress": compress}
    emulator = bench.start(500)
    whole = _contents(bench.pull(**form))
    emulator.inject(Fault.NONE, fault)
    found: list[Page] = []

    async def go() -> None:
        async with bench.source(**form) as source:
            async for page in source.pull(None):
                found.append(page)

    if fault is Fault.FAIL_IN_200:  # taken for a refusal of the token: the window starts over, in the same run
        asyncio.run(go())
        assert _contents(found) == whole
        return
    with pytest.raises(kind, match=said) as caught:
        asyncio.run(go())
    assert getattr(caught.value, "retry_after", None) == wait
    assert "end" in found[-1].cursor.state["feeds"]["malware_grid"]
    assert found[-1].cursor.read_until is None
    rest = bench.pull(found[-1].cursor, **form)
    assert _contents(found) | _contents(rest) == whole


def test_a_failure_without_a_token_needs_someone_to_look(bench: Bench) -> None:
    bench.start().inject(Fault.FAIL_IN_200)
    with pytest.raises(Permanent, match="The feed cannot be made"):
        bench.pull()


def test_a_mix_of_faults_loses_nothing(bench: Bench, values: Values) -> None:
    emulator = bench.start(500)
    emulator.inject(*(fault for fault, kind, _, _ in FAULTS if kind is Transient and fault is not Fault.CUT_CSV))
    pages, errors = bench.persist()
    assert len(errors) == 5
    assert values(pages) == set(emulator.rows["malware_grid"].hashes())


def test_a_slow_answer(bench: Bench) -> None:
    bench.start().inject(Fault.SLOW)
    with pytest.raises(Transient, match="did not answer in time"):
        bench.pull(http={"read_timeout": "200ms"})


def test_nobody_listens(bench: Bench) -> None:
    bench.start()
    with pytest.raises(Transient, match="cannot be reached"):
        bench.pull(base_url="http://127.0.0.1:1")


def test_a_wrong_path(bench: Bench) -> None:
    bench.start()
    with pytest.raises(ConfigurationError, match="`path`"):
        bench.pull(path="/api/ttp/threatintel/get-feed")


def test_an_answer_that_is_too_large(bench: Bench) -> None:
    bench.start()
    with pytest.raises(Permanent, match="more than 1,000 bytes"):
        bench.pull(max_answer=1000)


def test_a_members_name_is_no_path(bench: Bench, set_aside: Callable[[list[Page]], list[SetAside]]) -> None:
    emulator = bench.start(500)
    emulator.inject(*[Fault.EVIL_MEMBER] * 5)
    pages = bench.pull()
    assert sum(page.rows for page in pages) == 500
    found = set_aside(pages)
    assert found
    assert all("member ../../x, line " in each.where for each in found)


def test_a_quota_is_waited_for(bench: Bench) -> None:
    bench.start(500, quota=2)
    with pytest.raises(Transient) as caught:
        bench.pull()
    assert caught.value.retry_after == 60


def test_requests_are_json(bench: Bench) -> None:
    emulator = bench.start(150)
    bench.pull()
    first, second = emulator.asked
    assert first == {
        "feedType": "malware_grid",
        "fileType": "csv",
        "compress": True,
        "start": "2026-01-29T12:00:00+0000",
        "end": "2026-02-01T12:00:00+0000",
    }
    assert second == first | {"token": second["token"]}


def test_memory_does_not_grow_with_the_feed(bench: Bench) -> None:
    def peak(count: int) -> int:
        bench.start(count, page_size=1000)

        async def go() -> None:
            async with bench.source(page_rows=200) as source:
                async for _ in source.pull(None):
                    pass

        asyncio.run(go())
        bench.emulator._files.clear()
        tracemalloc.start()
        try:
            asyncio.run(go())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(2_000), peak(8_000)
    assert large < small * 1.6


def _contents(pages: list[Page]) -> set[tuple[str, bytes] | str]:
    records = {(record.id, record.payload) for page in pages for record in map(Record.of, page.records)}
    return {*records, *(each.raw for page in pages for each in page.set_aside)}
