"""Handover: every object is accepted once or refused, never both, whatever the sink does."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import make_indicator
from tiforge import Batch, Context, Limits, Permanent, Receipt, Rejected, Sink, SinkSettings, Transient
from tiforge.config.model import RetrySettings
from tiforge.engine.emit import Emitter
from tiforge.engine.fault import PluginFault
from tiforge.engine.handover import Handed, Handover
from tiforge.engine.pace import Pace
from tiforge.errors import AuthenticationFailed, InvalidObject
from tiforge.events import Event, Retrying
from tiforge.store import Entry, Refused

RECORDS = [make_indicator(number) for number in range(64)]
SETTINGS = RetrySettings.model_validate({"attempts": 100, "wait_initial": "0s", "wait_max": "60s"})


class Settings(SinkSettings):
    """No settings."""


@dataclass
class Plan:
    """What a sink does with each object, by its place in the log, and at each call."""

    malformed: dict[int, type[Exception]] = field(default_factory=dict)
    rejected: set[int] = field(default_factory=set)
    deferred: dict[int, int] = field(default_factory=dict)
    calls: dict[int, Exception] = field(default_factory=dict)


class Scripted(Sink[Settings]):
    """A sink that follows a plan and counts what it accepted."""

    type = "scripted"
    Settings = Settings

    def __init__(self, plan: Plan) -> None:
        super().__init__(Settings(type="scripted"), Context("scripted"))
        self.plan = plan
        self.accepted: list[int] = []
        self.seen: list[int] = []
        self.batches: list[list[int]] = []

    @property
    def limits(self) -> Limits:
        return Limits()

    async def deliver(self, batch: Batch) -> Receipt:
        number = len(self.batches)
        self.batches.append(list(batch.seqs))
        self.seen += [seq for seq in batch.seqs if seq not in self.seen]
        if number in self.plan.calls:
            raise self.plan.calls[number]
        for seq in batch.seqs:
            if seq in self.plan.malformed:
                raise self.plan.malformed[seq]("malformed")
        rejected, deferred = [], []
        for index, seq in enumerate(batch.seqs):
            if seq in self.plan.rejected:
                rejected.append(Rejected(index, "rejected"))
            elif self.plan.deferred.get(seq, 0):
                self.plan.deferred[seq] -= 1
                deferred.append(index)
            else:
                self.accepted.append(seq)
        return Receipt(rejected, deferred)


def hand(
    sink: Scripted, number: int, settings: RetrySettings = SETTINGS, seen: list[Event] | None = None
) -> list[Refused]:
    entries = [Entry(seq, RECORDS[seq]) for seq in range(number)]
    emit = Emitter([seen.append] if seen is not None else [])
    handed = Handed()
    asyncio.run(Handover("out", sink, settings, emit, Pace(None)).hand(entries, handed))
    return handed.refused


SEQS = st.integers(0, 39)
PLANS = st.builds(
    Plan,
    malformed=st.dictionaries(SEQS, st.sampled_from([Permanent, InvalidObject, KeyError]), max_size=6),
    rejected=st.sets(SEQS, max_size=6),
    calls=st.dictionaries(st.integers(0, 30), st.just(Transient("later")), max_size=10),
)


@given(PLANS, st.integers(1, 40))
def test_poison_and_failures_for_now(plan: Plan, number: int) -> None:
    """Whole batches refused, single objects refused and calls that fail: each object ends in one place."""
    sink = Scripted(plan)
    wanted = {seq for seq in {*plan.malformed, *plan.rejected} if seq < number}
    faults = sum(error is KeyError for seq, error in plan.malformed.items() if seq < number)
    if number > 1 and faults == number:
        with pytest.raises(PluginFault, match="fails on every object"):
            hand(sink, number)
        assert sink.accepted == []
        return
    refused = [each.entry.seq for each in hand(sink, number)]
    assert Counter(refused) == Counter(wanted)
    assert Counter(sink.accepted) == Counter(set(range(number)) - wanted)
    assert sink.seen == list(range(number))
    # What is malformed is alone in the end; nothing accepted is sent again.
    assert all([seq] in sink.batches for seq in plan.malformed if seq < number)
    assert sink.accepted == sorted(sink.accepted)


@given(
    st.dictionaries(SEQS, st.integers(1, 5), max_size=20),
    st.sets(SEQS, max_size=6),
    st.dictionaries(st.integers(0, 30), st.just(Transient("later")), max_size=10),
    st.integers(1, 40),
)
def test_what_is_put_off_comes_again_alone(
    deferred: dict[int, int], rejected: set[int], calls: dict[int, Exception], number: int
) -> None:
    """Objects put off are sent again without the others until they are taken."""
    sink = Scripted(Plan(rejected=rejected, deferred=dict(deferred), calls=calls))
    refused = [each.entry.seq for each in hand(sink, number)]
    wanted = {seq for seq in rejected if seq < number}
    assert Counter(refused) == Counter(wanted)
    assert Counter(sink.accepted) == Counter(set(range(number)) - wanted)
    assert sink.seen == list(range(number))
    asked = Counter(seq for each, batch in enumerate(sink.batches) if each not in calls for seq in batch)
    assert asked == {seq: 1 + (0 if seq in rejected else deferred.get(seq, 0)) for seq in range(number)}


def test_reasons_are_the_sinks_words() -> None:
    """Of one that is refused alone, of one that is named in a receipt, and of a plugin's own error."""
    sink = Scripted(Plan(malformed={1: Permanent, 2: KeyError}, rejected={3}))
    reasons = {each.entry.seq: each.reason for each in hand(sink, 5)}
    assert reasons.keys() == {1, 2, 3}
    assert (reasons[1], reasons[3]) == ("malformed", "rejected")
    assert "KeyError: 'malformed'" in reasons[2]


@pytest.mark.parametrize("error", [AuthenticationFailed("no"), Transient("later", retry_after=3600)])
def test_what_stops_a_sink_goes_up_at_once(error: Exception) -> None:
    """Nothing is split, nothing is refused."""
    sink = Scripted(Plan(calls={0: error}))
    with pytest.raises(type(error)):
        hand(sink, 10)
    assert sink.batches == [list(range(10))]


def test_many_objects_that_break_a_plugin_are_its_own_fault() -> None:
    """Eight may be poison; more are not set aside one by one."""
    sink = Scripted(Plan(malformed=dict.fromkeys(range(0, 40, 2), KeyError)))
    with pytest.raises(PluginFault, match="KeyError"):
        hand(sink, 40)


def test_attempts_are_limited_and_told() -> None:
    """A sink that stays away is tried so often, each failure told with its number."""
    seen: list[Event] = []
    settings = SETTINGS.model_copy(update={"attempts": 3})
    sink = Scripted(Plan(calls=dict.fromkeys(range(10), Transient("down"))))
    with pytest.raises(Transient, match="down"):
        hand(sink, 2, settings, seen)
    assert len(sink.batches) == 3
    assert [(e.attempt, e.reason) for e in seen if isinstance(e, Retrying)] == [(1, "down"), (2, "down")]


def test_being_taken_in_parts_is_progress() -> None:
    """An API that takes one object a call is not given up after so many calls."""
    settings = SETTINGS.model_copy(update={"attempts": 2})
    sink = Scripted(Plan(deferred={seq: seq for seq in range(20)}))
    assert hand(sink, 20, settings) == []
    assert sink.accepted == list(range(20))


def test_a_wait_that_a_receipt_asks_for_goes_up_when_it_is_long() -> None:
    """The batch fails with the time to try again."""

    class Busy(Scripted):
        async def deliver(self, batch: Batch) -> Receipt:
            return Receipt(deferred=range(len(batch)), retry_after=7200)

    with pytest.raises(Transient) as caught:
        hand(Busy(Plan()), 3)
    assert caught.value.retry_after == 7200


@pytest.mark.parametrize(
    "receipt", [None, "ok", Receipt([Rejected(3, "x")]), Receipt([Rejected(-1, "x")]), Receipt(deferred=[3])]
)
def test_a_receipt_that_makes_no_sense_is_the_plugins_fault(receipt: Any) -> None:
    """It names the plugin."""

    class Odd(Scripted):
        async def deliver(self, batch: Batch) -> Receipt:
            await super().deliver(batch)
            return receipt  # type: ignore[no-any-return]

    with pytest.raises(PluginFault, match="scripted"):
        hand(Odd(Plan()), 3)


def test_what_is_refused_after_it_was_put_off_is_split_alone() -> None:
    """What an earlier receipt accepted or rejected is not sent again."""

    class Late(Scripted):
        async def deliver(self, batch: Batch) -> Receipt:
            if self.batches and 2 in batch.seqs:
                self.plan.malformed[2] = Permanent
            return await super().deliver(batch)

    sink = Late(Plan(rejected={1}, deferred={2: 1, 3: 1}))
    assert sorted(each.entry.seq for each in hand(sink, 5)) == [1, 2]
    assert sorted(sink.accepted) == [0, 3, 4]


@pytest.mark.parametrize(
    "receipt",
    [Receipt([Rejected(0, "x"), Rejected(0, "y")]), Receipt([Rejected(0, "x")], [0]), Receipt(deferred=[0, 0])],
)
def test_a_receipt_that_names_an_object_twice_is_the_plugins_fault(receipt: Receipt) -> None:
    """It cannot be both rejected and put off, nor either twice."""

    class Odd(Scripted):
        async def deliver(self, batch: Batch) -> Receipt:
            self.batches.append(list(batch.seqs))
            return receipt if len(self.batches) == 1 else Receipt()

    sink = Odd(Plan())
    assert "scripted" in hand(sink, 1)[0].reason
    assert sink.batches == [[0]]
