"""The engine over both databases: pull and deliver, failures, isolation of sinks, the laws of delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.lab import Lab, make_indicator
from tiforge import (
    AuthenticationFailed,
    Batch,
    Cursor,
    Limits,
    Page,
    Permanent,
    Receipt,
    Record,
    Rejected,
    SetAside,
    Transient,
)
from tiforge.engine.holding import holding
from tiforge.engine.run import backfill, run
from tiforge.engine.status import status
from tiforge.engine.work import Engine, Outcome
from tiforge.store import agenda, deadletters, leases, log, positions, schema

MakeEngine = Callable[[str], Engine]

ONE = '[sources.feed]\ntype = "lab"\n[sinks.out]\ntype = "lab"\n'
THREE = ONE + '[sinks.picky]\ntype = "lab"\n[sinks.down]\ntype = "lab"\n'


def go(engine: Engine, **options: Any) -> dict[str, Outcome]:
    return {each.name: each for each in asyncio.run(run(engine, **options))}


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def letters(engine: Engine, owner: str) -> list[deadletters.DeadLetter]:
    with engine.store.reading() as connection:
        return deadletters.listed(connection, owner=owner)


def offset(engine: Engine, sink: str) -> int:
    with engine.store.reading() as connection:
        return positions.offset(connection, sink)


def test_a_feed_arrives_once_in_order(lab: Lab, make_engine: MakeEngine) -> None:
    """Every object of every page reaches the sink once; a second run moves nothing."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(p * 10, p * 10 + 10)] for p in range(5)]
    engine = make_engine(ONE)
    first = go(engine)
    assert first["feed"].counts | {"pages": 5} == first["feed"].counts
    assert ids(lab.got["out"]) == [make_indicator(n).id for n in range(50)]
    second = go(make_engine(ONE))
    assert (second["feed"].counts["added"], second["out"].counts["accepted"]) == (0, 0)
    assert len(lab.got["out"]) == 50


def test_a_batch_leaves_while_the_source_is_still_being_pulled(lab: Lab, make_engine: MakeEngine) -> None:
    """The first page is delivered before the last is asked for."""
    lab.pages["feed"] = [[make_indicator(n)] for n in range(3)]
    engine = make_engine(ONE)
    delivered_at: list[int] = []
    delivered = asyncio.Event()
    lab.on_deliver = lambda name, batch: delivered.set()

    original = engine.plugins.sources["lab"].pull

    async def pull(self: Any, cursor: Any) -> Any:
        number = 0
        async for page in original(self, cursor):
            if number == 2:
                await asyncio.wait_for(delivered.wait(), 20)
                delivered_at.append(len(lab.got["out"]))
            number += 1
            yield page

    engine.plugins.sources["lab"].pull = pull  # type: ignore[method-assign, assignment]
    go(engine)
    assert delivered_at[0] >= 1
    assert len(lab.got["out"]) == 3


def test_one_sink_that_is_down_and_one_that_refuses_hold_back_nobody(lab: Lab, make_engine: MakeEngine) -> None:
    """The healthy sink has everything, the picky one all but what it refuses, the third catches up later."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(p * 100, p * 100 + 100)] for p in range(5)]
    lab.limits = Limits(objects=37)
    bad = {make_indicator(n).id for n in range(0, 500, 50)}

    def behave(name: str, batch: Batch) -> Receipt | None:
        if name == "down":
            raise Transient("the service is down")
        if name == "picky":
            wrong = [i for i, record in enumerate(batch.records) if record.id in bad]
            return Receipt(rejected=[Rejected(i, "refused: every 50th") for i in wrong])
        return None

    lab.on_deliver = behave
    engine = make_engine(THREE)
    outcomes = go(engine)
    every = [make_indicator(n).id for n in range(500)]
    assert ids(lab.got["out"]) == every
    assert ids(lab.got["picky"]) == [id for id in every if id not in bad]
    assert {letter.object_id for letter in letters(engine, "picky")} == bad
    assert {letter.reason for letter in letters(engine, "picky")} == {"refused: every 50th"}
    assert outcomes["down"].outcome == "failed"
    assert "the service is down" in str(outcomes["down"].message)
    assert (offset(engine, "down"), "down" in lab.got) == (0, False)

    lab.on_deliver = lambda name, batch: None
    again = go(make_engine(THREE))
    assert again["down"].outcome == "ok"
    assert ids(lab.got["down"]) == every
    assert len(lab.got["out"]) == 500
    # The feed was read from its end, not from its start.
    assert [cursor.state["next"] if cursor else 0 for _, cursor in lab.pulls] == [0, 5]


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_refused_batch_is_split_until_the_poison_is_alone(
    lab: Lab, make_engine: MakeEngine, in_flight: int
) -> None:
    """Whole batches are refused because of single objects; only these become dead letters."""
    lab.limits = Limits(objects=16, in_flight=in_flight)
    lab.pages["feed"] = [[make_indicator(n) for n in range(100)]]
    poison = {make_indicator(n).id for n in (0, 17, 18, 99)}

    def behave(_: str, batch: Batch) -> None:
        if any(record.id in poison for record in batch.records):
            raise Permanent(f"malformed object among {len(batch)}")

    lab.on_deliver = behave
    engine = make_engine(ONE)
    outcomes = go(engine)
    assert outcomes["out"].outcome == "ok"
    assert sorted(ids(lab.got["out"])) == sorted({make_indicator(n).id for n in range(100)} - poison)
    assert {letter.object_id for letter in letters(engine, "out")} == poison
    assert {letter.reason for letter in letters(engine, "out")} == {"malformed object among 1"}
    assert offset(engine, "out") == 100


def test_deferred_objects_are_delivered_again_and_the_others_are_not(lab: Lab, make_engine: MakeEngine) -> None:
    """What an API put off comes again, alone, until it is taken."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(10)]]
    lab.on_deliver = lambda name, batch: Receipt(deferred=[0, 1]) if len(batch) > 2 else None
    outcomes = go(make_engine(ONE))
    assert outcomes["out"].outcome == "ok"
    assert [len(batch) for batch in lab.batches["out"]] == [10, 2]
    assert sorted(ids(lab.got["out"])) == sorted(make_indicator(n).id for n in range(10))


def test_a_transient_failure_is_repeated_and_a_page_counts_as_progress(lab: Lab, make_engine: MakeEngine) -> None:
    """Each page may fail as often as is allowed; the source goes on from the last cursor in the store."""
    lab.pages["feed"] = [[make_indicator(n)] for n in range(6)]
    failures: dict[int, int] = {}

    def stumble(_: str, number: int) -> None:
        failures[number] = failures.get(number, 0) + 1
        if failures[number] <= 2:
            raise Transient("reset by peer")

    lab.before_page = stumble
    outcomes = go(make_engine(ONE))
    assert outcomes["feed"].outcome == "ok"
    assert len(lab.got["out"]) == 6
    starts = [cursor.state["next"] if cursor else 0 for _, cursor in lab.pulls]
    assert starts == sorted(starts)


def test_a_wait_that_the_api_asks_for_is_stored_and_kept(lab: Lab, make_engine: MakeEngine) -> None:
    """No worker sits out an hour: the time is stored, and even `--now` keeps it."""
    lab.pages["feed"] = [[make_indicator(1)]]

    def refuse(name: str, batch: Batch) -> None:
        raise Transient("429", retry_after=3600)

    lab.on_deliver = refuse
    engine = make_engine(ONE)
    assert go(engine)["out"].outcome == "failed"
    assert len(lab.batches["out"]) == 1
    outcome = go(make_engine(ONE), now=True)["out"]
    assert (outcome.outcome, len(lab.batches["out"])) == ("waiting", 1)
    assert "asked to wait until" in str(outcome.message)


def test_refused_credentials_are_not_repeated_and_set_nothing_aside(lab: Lab, make_engine: MakeEngine) -> None:
    """One call, an error that says what to do, the offset where it was."""
    lab.pages["feed"] = [[make_indicator(1)]]

    def refuse(name: str, batch: Batch) -> None:
        raise AuthenticationFailed("the key has expired.", hint="Make a new one.")

    lab.on_deliver = refuse
    engine = make_engine(ONE)
    outcome = go(engine)["out"]
    assert (outcome.outcome, outcome.message) == ("failed", "the key has expired. Make a new one.")
    assert (len(lab.batches["out"]), letters(engine, "out"), offset(engine, "out")) == (1, [], 0)


def test_an_object_that_breaks_the_plugin_is_set_aside_alone(lab: Lab, make_engine: MakeEngine) -> None:
    """An error of the plugin's own on one object does not stop the others."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(20)]]

    def stumble(_: str, batch: Batch) -> None:
        if any(record.id == make_indicator(7).id for record in batch.records):
            raise KeyError("observable")

    lab.on_deliver = stumble
    engine = make_engine(ONE)
    assert go(engine)["out"].outcome == "ok"
    assert len(lab.got["out"]) == 19
    (letter,) = letters(engine, "out")
    assert letter.object_id == make_indicator(7).id
    assert "KeyError" in letter.reason


def test_a_plugin_that_breaks_on_everything_sets_nothing_aside(lab: Lab, make_engine: MakeEngine) -> None:
    """A broken plugin is a failure of the sink: its place stays, and all comes when it is mended."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(20)]]

    def stumble(_: str, batch: Batch) -> None:
        raise ZeroDivisionError("oops")

    lab.on_deliver = stumble
    engine = make_engine(ONE)
    outcome = go(engine)["out"]
    assert (outcome.outcome, letters(engine, "out"), offset(engine, "out")) == ("failed", [], 0)
    assert "ZeroDivisionError" in str(outcome.message)
    lab.on_deliver = lambda name, batch: None
    go(make_engine(ONE))
    assert len(lab.got["out"]) == 20


@pytest.mark.parametrize("receipt", ["nonsense", Receipt(rejected=[Rejected(99, "x")]), Receipt(deferred=[-1])])
def test_nonsense_for_a_receipt_is_a_fault_of_the_plugin(lab: Lab, make_engine: MakeEngine, receipt: Any) -> None:
    """The sink fails by name; nothing counts as delivered."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(2)]]
    lab.on_deliver = lambda name, batch: receipt
    engine = make_engine(ONE)
    if isinstance(receipt, str):
        engine.plugins.sinks["lab"].deliver = _returning(receipt)  # type: ignore[method-assign]
    outcome = go(engine)["out"]
    assert (outcome.outcome, offset(engine, "out")) == ("failed", 0)


def _returning(value: Any) -> Any:
    async def deliver(self: Any, batch: Batch) -> Any:
        return value

    return deliver


def test_what_is_no_valid_stix_is_set_aside_and_the_page_goes_on(lab: Lab, make_engine: MakeEngine) -> None:
    """Foreign objects are checked; rows that the source could not read are kept with their place."""
    import stix2

    foreign = stix2.Identity(name="Acme", identity_class="organization")
    lab.pages["feed"] = [[{"type": "indicator"}, b"{", make_indicator(1), foreign, make_indicator(2).object]]
    lab.set_aside[0] = SetAside("a|b", "has no hash", "line 2")
    engine = make_engine(ONE)
    outcome = go(engine)["feed"]
    assert (outcome.counts["added"], outcome.counts["set_aside"]) == (3, 3)
    assert ids(lab.got["out"]) == [make_indicator(1).id, foreign.id, make_indicator(2).id]
    assert {letter.place for letter in letters(engine, "feed")} == {"line 2", "the page"}


def test_a_cursor_in_the_future_stops_the_source_and_keeps_the_old_one(lab: Lab, make_engine: MakeEngine) -> None:
    """Nothing of the page is written; the error says that the clock may be wrong."""
    lab.pages["feed"] = [[make_indicator(1)], [make_indicator(2)]]
    moments = iter([datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)])
    lab.read_until = lambda: next(moments)
    engine = make_engine(ONE)
    outcome = go(engine)["feed"]
    assert outcome.outcome == "failed"
    assert "in the future" in str(outcome.message)
    with engine.store.reading() as connection:
        cursor = positions.cursor(connection, "feed")
        assert log.head(connection) == 1
    assert cursor is not None
    assert cursor.state == {"next": 1}


def test_transforms_change_and_drop_and_one_that_fails_sets_its_object_aside(
    lab: Lab, make_engine: MakeEngine
) -> None:
    """In the order that the sink names; the log keeps what came; the sink goes on past what breaks a step."""

    def step(name: str, record: Record) -> Record | None:
        number = int(record.object["pattern"].split("'")[1], 16)
        if name == "drop":
            return None if number % 10 == 0 else record
        if number == 7:
            raise KeyError("pattern")
        return Record.built({**record.object, "labels": ["seen"]})

    lab.on_transform = step
    lab.pages["feed"] = [[make_indicator(n) for n in range(20)]]
    steps = '[transforms.drop]\ntype = "lab"\n[transforms.label]\ntype = "lab"\n'
    engine = make_engine(steps + ONE + 'transforms = ["drop", "label"]\n')
    counts = go(engine)["out"].counts
    assert (counts["accepted"], counts["passed_over"], counts["rejected"]) == (17, 2, 1)
    assert all(record.object["labels"] == ["seen"] for record in lab.got["out"])
    (letter,) = letters(engine, "out")
    assert letter.object_id == make_indicator(7).id
    assert "The transform label failed with KeyError" in letter.reason
    assert offset(engine, "out") == 20


def test_filters_decide_what_a_sink_gets(lab: Lab, make_engine: MakeEngine) -> None:
    """What a sink does not take is passed over and counted; its place moves all the same."""
    lab.pages["feed"] = [[make_indicator(n, confidence=n) for n in range(100)]]
    engine = make_engine(ONE + "min_confidence = 60\n")
    outcome = go(engine)["out"]
    assert (outcome.counts["accepted"], outcome.counts["passed_over"]) == (40, 60)
    assert offset(engine, "out") == 100


def test_a_sink_takes_the_sources_that_it_names(lab: Lab, make_engine: MakeEngine) -> None:
    """An object that both sources give reaches a reader of both once, and a reader of one."""
    lab.pages = {
        "feed": [[make_indicator(1), make_indicator(2)]],
        "other": [[make_indicator(2), make_indicator(3)]],
    }
    go(make_engine(ONE + '[sources.other]\ntype = "lab"\n[sinks.some]\ntype = "lab"\nsources = ["other"]\n'))
    assert sorted(ids(lab.got["out"])) == sorted(make_indicator(n).id for n in (1, 2, 3))
    assert sorted(ids(lab.got["some"])) == sorted(make_indicator(n).id for n in (2, 3))


def test_dead_letters_are_delivered_again_when_asked(lab: Lab, make_engine: MakeEngine) -> None:
    """A retry comes before anything new; what is refused again stays, with one more attempt."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(4)]]
    refused = {make_indicator(1).id, make_indicator(2).id}

    def behave(_: str, batch: Batch) -> Receipt:
        return Receipt([Rejected(i, "no") for i, record in enumerate(batch.records) if record.id in refused])

    lab.on_deliver = behave
    engine = make_engine(ONE)
    go(engine)
    refused.remove(make_indicator(1).id)
    with engine.store.writing() as connection:
        deadletters.mark_for_retry(connection, "out")
    go(make_engine(ONE))
    assert [(letter.object_id, letter.attempts, letter.retry) for letter in letters(engine, "out")] == [
        (make_indicator(2).id, 2, False)
    ]
    assert sorted(ids(lab.got["out"])) == sorted(make_indicator(n).id for n in (0, 1, 3))


def test_a_snapshot_holds_the_current_state_and_is_published_when_it_changes(
    lab: Lab, make_engine: MakeEngine
) -> None:
    """Once a run, when everything is pulled; not again where nothing changed; again when something ran out."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    until = soon.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    lab.pages["feed"] = [[make_indicator(1), make_indicator(2, valid_until=until)], [make_indicator(3)]]
    toml = '[sources.feed]\ntype = "lab"\n[sinks.board]\ntype = "board"\n'
    engine = make_engine(toml)
    assert go(engine)["board"].counts["accepted"] == 3
    go(make_engine(toml))
    assert [len(records) for records in lab.published["board"]] == [3]
    later = engine.store.now() + 2 * 3_600_000_000
    engine.store.now = lambda: later  # type: ignore[method-assign]
    go(engine)
    assert [len(records) for records in lab.published["board"]] == [3, 2]


def test_a_source_is_pulled_when_it_is_due(lab: Lab, make_engine: MakeEngine) -> None:
    """A schedule that is not due yet is waited for, unless the run is told otherwise."""
    lab.pages["feed"] = [[make_indicator(1)]]
    toml = '[sources.feed]\ntype = "lab"\nschedule = "every 1h"\n'
    assert go(make_engine(toml))["feed"].outcome == "ok"
    waiting = go(make_engine(toml))["feed"]
    assert (waiting.outcome, len(lab.pulls)) == ("waiting", 1)
    assert "due at" in str(waiting.message)
    assert go(make_engine(toml), now=True)["feed"].outcome == "ok"
    tightened = toml.replace("every 1h", "every 1s")
    engine = make_engine(tightened)
    due = engine.due_at("feed")
    assert due is not None
    assert due - datetime.now(UTC) < timedelta(seconds=2)


def test_a_backfill_leaves_the_cursor_of_the_schedule_alone(lab: Lab, make_engine: MakeEngine) -> None:
    """It reads from its own start, adds what was missed, doubles nothing, and is forgotten when done."""
    lab.pages["feed"] = [[make_indicator(1)], [make_indicator(2)]]
    engine = make_engine(ONE)
    go(engine)
    lab.pages["feed"][0].append(make_indicator(9))
    since = datetime(2026, 1, 1, tzinfo=UTC)
    outcomes = {each.name: each for each in asyncio.run(backfill(make_engine(ONE), "feed", since))}
    assert (outcomes["feed"].counts["added"], outcomes["feed"].counts["unchanged"]) == (1, 2)
    assert ids(lab.got["out"]) == [make_indicator(n).id for n in (1, 2, 9)]
    again = {each.name: each for each in asyncio.run(backfill(make_engine(ONE), "feed", since))}
    assert again["feed"].counts["pages"] == 2
    with engine.store.reading() as connection:
        cursor = positions.cursor(connection, "feed")
    assert cursor is not None
    assert cursor.state == {"next": 2}


def test_what_another_process_holds_is_left_to_it(lab: Lab, make_engine: MakeEngine) -> None:
    """A source under another's lease is busy, which is no failure."""
    lab.pages["feed"] = [[make_indicator(1)]]
    engine = make_engine(ONE)
    lease = leases.acquire(engine.store, "source/feed")
    assert lease is not None
    assert go(engine)["feed"].outcome == "busy"
    leases.release(engine.store, lease)
    assert go(engine)["feed"].outcome == "ok"


def test_a_process_that_lost_its_lease_writes_nothing_more(lab: Lab, make_engine: MakeEngine) -> None:
    """Paused past its lease: its page is refused, the other's work is not called a failure."""
    lab.pages["feed"] = [[make_indicator(1)], [make_indicator(2)]]
    engine = make_engine(ONE)

    def pause(_: str, number: int) -> None:
        if number == 1:
            with engine.store.writing() as connection:
                connection.execute(schema.lease.update().values(expires_at=0))
            assert leases.acquire(engine.store, "source/feed") is not None

    lab.before_page = pause
    assert go(engine)["feed"].outcome == "busy"
    with engine.store.reading() as connection:
        assert log.head(connection) == 1
        assert agenda.standing(connection, "source", "feed").failures == 0


def test_failures_in_a_row_are_waited_out_longer_and_longer(lab: Lab, make_engine: MakeEngine) -> None:
    """The circuit opens: each failure doubles the time until the daemon tries again; success closes it."""
    lab.pages["feed"] = [[make_indicator(1)]]

    def fail(name: str, batch: Batch) -> None:
        raise Transient("down")

    lab.on_deliver = fail
    waits = []
    for _ in range(3):
        engine = make_engine(ONE)
        go(engine)
        with engine.store.reading() as connection:
            standing = agenda.standing(connection, "sink", "out")
        assert standing.retry_at is not None
        assert standing.last_error_at is not None
        waits.append((standing.retry_at - standing.last_error_at) // 60_000_000)
    assert waits == [1, 2, 4]
    seen = status(engine.config, engine.store)
    assert (seen.sinks[0].failures, seen.sinks[0].last_error, seen.sinks[0].lag) == (3, "down", 1)
    lab.on_deliver = lambda name, batch: None
    go(make_engine(ONE))
    assert status(engine.config, engine.store).sinks[0].failures == 0


def test_a_source_without_aclose_and_errors_in_open_are_told_by_name(lab: Lab, make_engine: MakeEngine) -> None:
    """An exception of a plugin's own in opening is a failure of that source alone."""
    lab.pages = {"feed": [[make_indicator(1)]], "broken": []}
    engine = make_engine(ONE + '[sources.broken]\ntype = "lab"\n')
    original = engine.source

    def source(name: str) -> Any:
        made = original(name)
        if name == "broken":

            async def enter(self: Any) -> None:
                raise RuntimeError("no socket")

            made.__class__ = type("Broken", (made.__class__,), {"__aenter__": enter})
        return made

    engine.source = source  # type: ignore[method-assign]
    outcomes = go(engine)
    assert outcomes["broken"].outcome == "failed"
    assert "RuntimeError: no socket" in str(outcomes["broken"].message)
    assert (outcomes["feed"].outcome, len(lab.got["out"])) == ("ok", 1)


def test_a_page_whose_end_is_broken_does_not_start_the_retries_again(lab: Lab, make_engine: MakeEngine) -> None:
    """The first part of it comes again with every attempt; only a cursor that moves is progress."""
    engine = make_engine(ONE)
    pulls = 0

    async def pull(self: Any, cursor: Cursor | None) -> Any:
        nonlocal pulls
        pulls += 1
        yield Page([make_indicator(1)], Cursor({"token": "same"}), rows=1)
        raise Transient("the archive is damaged")

    engine.plugins.sources["lab"].pull = pull  # type: ignore[method-assign, assignment]
    assert go(engine)["feed"].outcome == "failed"
    assert pulls <= 4


def test_a_run_that_is_stopped_is_no_success(lab: Lab, make_engine: MakeEngine) -> None:
    """It goes on at the next run, however far away the schedule's next time is."""
    lab.pages["feed"] = [[make_indicator(n)] for n in range(5)]
    toml = ONE.replace("[sinks.out]", 'schedule = "every 1d"\n[sinks.out]')
    engine = make_engine(toml)
    lab.before_page = lambda name, number: engine.flow.stop() if number == 2 else None
    assert go(engine)["feed"].outcome == "stopped"
    with engine.store.reading() as connection:
        standing = agenda.standing(connection, "source", "feed")
    assert (standing.due_at, standing.last_success_at) == (None, None)
    lab.before_page = lambda name, number: None
    assert go(make_engine(toml))["feed"].outcome == "ok"
    assert len(lab.got["out"]) == 5


@pytest.mark.parametrize("asked", [float("inf"), float("nan"), 1e15, -5.0])
def test_a_wait_that_makes_no_sense_harms_nobody(lab: Lab, make_engine: MakeEngine, asked: float) -> None:
    """A plugin may say anything; the run ends, and the wait is a week at most."""
    lab.pages["feed"] = [[make_indicator(1)]]

    def refuse(name: str, batch: Batch) -> None:
        raise Transient("later", retry_after=asked)

    lab.on_deliver = refuse
    engine = make_engine(ONE)
    assert go(engine)["out"].outcome == "failed"
    with engine.store.reading() as connection:
        standing = agenda.standing(connection, "sink", "out")
    assert standing.retry_at is not None
    assert standing.retry_at <= engine.store.now() + 8 * 86_400_000_000


def test_a_wait_stored_while_the_clock_was_ahead_is_forgotten(lab: Lab, make_engine: MakeEngine) -> None:
    """A time further away than any wait is none."""
    lab.pages["feed"] = [[make_indicator(1)]]
    engine = make_engine(ONE)
    with engine.store.writing() as connection:
        far = engine.store.now() + 365 * 86_400_000_000
        agenda.put_standing(connection, "sink", "out", retry_at=far, told=True)
    assert go(engine)["out"].outcome == "ok"


def test_a_snapshot_leaves_out_what_a_transform_fails_on(lab: Lab, make_engine: MakeEngine) -> None:
    """One object does not keep the board from being published; it is set aside with the reason."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(5)]]

    def step(_: str, record: Record) -> Record:
        if record.id == make_indicator(3).id:
            raise ValueError("no")
        return record

    lab.on_transform = step
    steps = '[transforms.t]\ntype = "lab"\n[sources.feed]\ntype = "lab"\n'
    engine = make_engine(steps + '[sinks.board]\ntype = "board"\ntransforms = ["t"]\n')
    assert go(engine)["board"].outcome == "ok"
    assert len(lab.published["board"][0]) == 4
    assert [letter.object_id for letter in letters(engine, "board")] == [make_indicator(3).id]


def test_what_runs_out_while_a_snapshot_is_published_is_noticed(lab: Lab, make_engine: MakeEngine) -> None:
    """What counts is the time whose state was published, not when publishing ended."""
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    lab.pages["feed"] = [[make_indicator(1), make_indicator(2, valid_until=until)]]
    toml = '[sources.feed]\ntype = "lab"\n[sinks.board]\ntype = "board"\n'
    engine = make_engine(toml)
    real = engine.store.now
    original = engine.plugins.sinks["board"].publish

    async def publish(self: Any, records: Any) -> None:
        await original(self, records)
        engine.store.now = lambda: real() + 2 * 3_600_000_000  # type: ignore[method-assign]

    engine.plugins.sinks["board"].publish = publish  # type: ignore[method-assign]
    go(engine)
    go(engine)
    assert [len(records) for records in lab.published["board"]] == [2, 1]


def test_letters_that_are_retried_keep_to_the_limits_and_come_in_a_round_of_their_own(
    lab: Lab, make_engine: MakeEngine
) -> None:
    """Batches by bytes as ever, behind what is new, and not to be taken for what was owed."""
    size = len(make_indicator(0).payload)
    lab.limits = Limits(bytes=3 * size)
    lab.pages["feed"] = [[make_indicator(n) for n in range(10)]]
    lab.on_deliver = lambda name, batch: Receipt([Rejected(i, "no") for i in range(1, len(batch))])
    engine = make_engine(ONE)
    go(engine)
    before = {batch.round for batch in lab.batches["out"]}
    with engine.store.writing() as connection:
        marked = deadletters.mark_for_retry(connection, "out")
    lab.on_deliver = lambda name, batch: None
    lab.batches.clear()
    assert go(make_engine(ONE))["out"].counts["accepted"] == marked
    assert all(sum(len(r.payload) for r in batch.records) <= 3 * size for batch in lab.batches["out"])
    assert len(before) == 1
    assert before.isdisjoint({batch.round for batch in lab.batches["out"]})
    assert letters(engine, "out") == []


def test_the_pace_of_a_sink_outlives_a_delivery(lab: Lab, make_engine: MakeEngine) -> None:
    """Deliveries that follow one another share the limit on requests in a minute."""
    lab.limits = Limits(requests_per_minute=1000)
    engine = make_engine(ONE)
    lab.pages["feed"] = [[make_indicator(1)]]

    async def twice() -> None:
        await run(engine)
        lab.pages["feed"].append([make_indicator(2)])
        await run(engine)

    asyncio.run(twice())
    first = engine._paces["out"]
    assert len(first._gone) == 2


def test_work_whose_lease_is_lost_is_ended(
    lab: Lab, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow publication is cancelled when another process takes over, so that it cannot come last."""
    lab.pages["feed"] = [[make_indicator(1)]]
    engine = make_engine('[sources.feed]\ntype = "lab"\n[sinks.board]\ntype = "board"\n')
    calls: list[str] = []

    async def publish(self: Any, records: Any) -> None:
        calls.append("begun")
        if len(calls) == 1:
            with engine.store.writing() as connection:
                connection.execute(schema.lease.update().values(token=99, expires_at=0))
            await asyncio.sleep(60)
        calls.append("ended")

    engine.plugins.sinks["board"].publish = publish  # type: ignore[method-assign]
    monkeypatch.setattr(holding.__wrapped__, "__kwdefaults__", {"ttl": 0.3})  # type: ignore[attr-defined]
    assert go(engine)["board"].outcome == "ok"
    assert calls == ["begun", "begun", "ended"]


def test_a_sink_that_refuses_everything_does_not_empty_the_log_into_the_dead_letters(
    lab: Lab, make_engine: MakeEngine
) -> None:
    """After some objects refused one by one and none accepted it is the sink that is at fault."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(1000)]]

    def refuse(name: str, batch: Batch) -> None:
        raise Permanent("no such table")

    lab.on_deliver = refuse
    engine = make_engine(ONE)
    outcome = go(engine)["out"]
    assert (outcome.outcome, letters(engine, "out"), offset(engine, "out")) == ("failed", [], 0)
    assert "has accepted none of 32 objects: no such table" in str(outcome.message)
    assert len(lab.batches["out"]) < 100


def test_what_a_split_batch_delivered_before_a_quota_ends_is_not_sent_again(
    lab: Lab, make_engine: MakeEngine
) -> None:
    """A poison object and a small quota: every run gets further."""
    lab.pages["feed"] = [[make_indicator(n) for n in range(64)]]
    calls = 0

    def behave(name: str, batch: Batch) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise Transient("quota", retry_after=0.0)
        if any(record.id == make_indicator(60).id for record in batch.records):
            raise Permanent("poison")

    lab.on_deliver = behave
    places = []
    for _ in range(8):
        calls = 0
        engine = make_engine(ONE)
        go(engine, now=True)
        places.append(offset(engine, "out"))
    assert places == sorted(places)
    assert places[-1] == 64
    assert [letter.object_id for letter in letters(engine, "out")] == [make_indicator(60).id]
    assert len(ids(lab.got["out"])) == len(set(ids(lab.got["out"]))) == 63


def test_limits_below_one_are_refused() -> None:
    """A sink that takes no objects at all is a fault of its plugin."""
    for wrong in ({"objects": 0}, {"bytes": 0}, {"in_flight": 0}, {"requests_per_minute": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            Limits(**wrong)  # type: ignore[arg-type]


def test_a_cursor_stored_while_the_clock_was_ahead_is_told(lab: Lab, make_engine: MakeEngine) -> None:
    """It is not "ok" until then: the operator reads how to go on, and a reset does."""
    lab.pages["feed"] = [[make_indicator(1)], [make_indicator(2)]]
    engine = make_engine(ONE)
    real = engine.store.now
    engine.store.now = lambda: real() + 30 * 86_400_000_000  # type: ignore[method-assign]
    lab.read_until = lambda: datetime.now(UTC) + timedelta(days=30)
    go(engine)
    engine.store.now = real  # type: ignore[method-assign]
    outcome = go(engine, now=True)["feed"]
    assert outcome.outcome == "failed"
    assert "--reset" in str(outcome.message)
    lab.read_until = lambda: datetime.now(UTC)
    done = asyncio.run(backfill(engine, "feed", datetime(2026, 1, 1, tzinfo=UTC), reset=True))
    assert done[0].outcome == "ok"
    assert go(engine, now=True)["feed"].outcome == "ok"
