"""What every sink promises the engine, as tests to inherit.

```python
import pytest
from tiforge.testing import SinkContract, SinkUnderTest


class TestAcmeSink(SinkContract):
    @pytest.fixture
    def sink(self, acme_siem):  # an emulator, or a folder
        return SinkUnderTest(
            make=lambda: AcmeSink(acme_siem.settings, Context("acme")),
            stored=acme_siem.payloads,
        )
```
"""

# ruff: noqa: S101 - these are tests, and pytest rewrites their assertions

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson
import pytest

from tiforge.errors import TiforgeError
from tiforge.record import Record
from tiforge.sink import Batch, Sink, SinkSettings
from tiforge.testing.contracts import (
    HOSTILE,
    assert_hidden,
    full_text,
    logged,
    sample_indicator,
    sample_of_each_type,
    secrets_of,
)

Stored = bytes | str | Mapping[str, Any]
_DEFERRALS = 10
_ROUND = "first"
_LARGEST = 5000


@dataclass(frozen=True)
class SinkUnderTest:
    """A sink, and what its author knows about the other end.

    Attributes:
        make: Returns a new instance each time, on the same destination, which is empty when a test begins.
        stored: Returns what is at the other end now, each object as often as it is there: its JSON as
            `bytes`, where it is to be there byte for byte; its data as a mapping, where the content is to be the
            same; or only its STIX id as text, where the API keeps no more that can be compared.
        upserts: Whether a batch that comes again is once in effect. A sink whose API has no upsert says
            `False`, and says so in its docs.
        keeps_versions: Whether the other end holds each version of an object, as a log does, rather than the
            latest.
        sample: Makes the object of a number, from 0, where indicators are not what the sink takes.
        longest_text: How many characters of text in one property the API takes, at most.
        broken: Returns an instance whose other end cannot be reached or refuses it; without one, what its
            errors say is not tested.
    """

    make: Callable[[], Sink[Any]]
    stored: Callable[[], Iterable[Stored]]
    upserts: bool = True
    keeps_versions: bool = False
    sample: Callable[[int], Record] = sample_indicator
    longest_text: int = 100_000
    broken: Callable[[], Sink[Any]] | None = None


async def _each(records: Iterable[Record]) -> AsyncIterator[Record]:
    for record in records:
        yield record


def _in_batches(
    sink: Sink[Any], records: Sequence[Record], first: int, most: int, round: str = _ROUND
) -> list[Batch]:
    """Cut records as the engine does: within the sink's limits, an object that is too large alone."""
    limits, batches = sink.limits, [Batch([], [], round)]
    for seq, record in enumerate(records, first):
        held = batches[-1]
        size = sum(len(each.payload) for each in held.records) + len(record.payload)
        if held.records and (len(held) >= min(limits.objects, most) or size > limits.bytes):
            batches.append(Batch([], [], round))
        batches[-1] = Batch([*batches[-1].records, record], [*batches[-1].seqs, seq], round)
    return [batch for batch in batches if len(batch)]


async def _deliver(sink: Sink[Any], batch: Batch, deferrals: int = _DEFERRALS) -> None:
    """Deliver a batch; fail on what is refused, and deliver again what is deferred."""
    receipt = await sink.deliver(batch)
    for rejected in receipt.rejected:
        assert 0 <= rejected.index < len(batch), f"the receipt rejects place {rejected.index} of {len(batch)}"
        record = batch.records[rejected.index]
        raise AssertionError(f"a valid object was rejected: {record!r}: {rejected.reason}")
    outside = [place for place in receipt.deferred if not 0 <= place < len(batch)]
    assert not outside, f"the receipt defers places {outside} of a batch of {len(batch)}"
    if receipt.deferred:
        assert deferrals, f"the same objects were deferred {_DEFERRALS} times"
        places = sorted(set(receipt.deferred))
        again = Batch([batch.records[at] for at in places], [batch.seqs[at] for at in places], batch.round)
        await _deliver(sink, again, deferrals - 1)


async def _push(
    sink: Sink[Any], records: Sequence[Record], *, first: int = 1, most: int = 7, round: str = _ROUND
) -> None:
    """Hand records to an open sink in the way that it takes them."""
    if sink.publishes:
        await sink.publish(_each(records))
        return
    for batch in _in_batches(sink, records, first, most, round):
        await _deliver(sink, batch)


def _send(
    make: Callable[[], Sink[Any]],
    *turns: Sequence[Record],
    first: int = 1,
    most: int = 7,
    round: str = _ROUND,
) -> None:
    """Open the sink anew for each turn, and hand it over; the places in the log go on between turns."""

    async def run() -> None:
        start = first
        for records in turns:
            async with make() as sink:
                await _push(sink, records, first=start, most=most, round=round)
            start += len(records)

    asyncio.run(run())


def _id(stored: Stored) -> str:
    if isinstance(stored, str):
        return stored
    data = orjson.loads(stored) if isinstance(stored, bytes) else stored
    return str(data["id"])


def _matches(stored: Stored, record: Record) -> bool:
    if isinstance(stored, str):
        return stored == record.id
    return stored == (record.payload if isinstance(stored, bytes) else record.object)


def _assert_holds(under_test: SinkUnderTest, *expected: Iterable[Record], exactly: bool = True) -> None:
    """Fail unless the other end holds these records, each once, and nothing else."""
    stored = list(under_test.stored())
    records = list(chain.from_iterable(expected))
    held = Counter(_id(each) for each in stored)
    wanted = Counter(record.id for record in records)
    lost = wanted - held
    assert not lost, f"{lost.total()} of {len(records)} accepted objects are not at the other end, as {min(lost)}"
    doubled = held - wanted if exactly else Counter[str]()
    assert not doubled, f"{doubled.total()} objects are at the other end more often than sent, as {min(doubled)}"
    of_id: dict[str, list[Stored]] = {}
    for each in stored:
        of_id.setdefault(_id(each), []).append(each)
    changed = [record for record in records if not any(_matches(each, record) for each in of_id[record.id])]
    assert not changed, f"{changed[0]!r} arrived, but with another content: {changed[0].payload!r:.300}"


def _takes(sink: Sink[Any], record: Record) -> bool:
    types = sink.limits.types
    return types is None or record.type in types


class SinkContract:
    """The laws of delivery, as far as a sink keeps them. Inherit it and give the fixture `sink`."""

    @pytest.fixture
    def sink(self) -> SinkUnderTest:
        """Return the sink under test; a subclass overrides this."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `sink` that returns SinkUnderTest(…)")

    def test_it_names_its_type_and_its_settings(self, sink: SinkUnderTest) -> None:
        """A config names a sink by its type, and every key of its table is checked."""
        made = sink.make()
        assert isinstance(made.type, str), "the class has no `type`"
        assert made.type, "the `type` is empty"
        assert issubclass(made.Settings, SinkSettings), "`Settings` does not derive from SinkSettings"
        assert isinstance(made.settings, made.Settings), "the instance's settings are not of the class's model"
        assert made.Settings.model_config.get("extra") == "forbid", "`Settings` lets a misspelled key pass"

    def test_its_limits_can_be_kept(self, sink: SinkUnderTest) -> None:
        """The engine builds batches and paces requests by the limits; with one of zero it would never end."""
        try:
            limits = sink.make().limits
        except ValueError as error:  # what `Limits` says of one that is below 1
            raise AssertionError(f"the limits cannot be kept: {error}") from error
        for name in ("objects", "bytes", "in_flight", "requests_per_minute"):
            limit = getattr(limits, name)
            if name == "requests_per_minute" and limit is None:
                continue
            assert isinstance(limit, int), f"the limit `{name}` is {limit!r}"
        if limits.types is not None:
            assert limits.types, "the sink accepts no STIX type at all"
            assert all(isinstance(each, str) for each in limits.types), "a STIX type is text"
        assert limits == sink.make().limits, "two instances on the same settings have different limits"
        assert _takes(sink.make(), sink.sample(0)), "the sample is of a type that the limits exclude"

    def test_everything_is_accepted_once(self, sink: SinkUnderTest) -> None:
        """Law 2: what the receipt does not name has been accepted, durably; over several batches, once each."""
        records = [sink.sample(number) for number in range(25)]
        _send(sink.make, records)
        _assert_holds(sink, records)

    def test_a_batch_of_one(self, sink: SinkUnderTest) -> None:
        """A quiet feed, or a batch that was split down to the object at fault, comes as one object."""
        _send(sink.make, [sink.sample(0)], most=1)
        _assert_holds(sink, [sink.sample(0)])

    def test_the_largest_batch(self, sink: SinkUnderTest) -> None:
        """The engine fills a batch up to the limits that the sink declares; the API takes it."""
        made = sink.make()
        if made.publishes:
            pytest.skip("this sink publishes snapshots")
        most = min(made.limits.objects, _LARGEST)
        records = _in_batches(made, [sink.sample(number) for number in range(most)], 1, most)[0].records
        _send(sink.make, records, most=most)
        _assert_holds(sink, records)

    def test_opening_and_closing_moves_nothing(self, sink: SinkUnderTest) -> None:
        """A sink is opened whenever there may be something to deliver; without a batch nothing arrives."""
        _send(sink.make, [sink.sample(0)])

        async def open_and_close() -> None:
            async with sink.make():
                pass

        asyncio.run(open_and_close())
        _assert_holds(sink, [sink.sample(0)])

    def test_every_type_that_it_accepts(self, sink: SinkUnderTest) -> None:
        """Law 2: an object of a type that the limits name is delivered, or the limits name too many."""
        records = [record for record in sample_of_each_type() if _takes(sink.make(), record)]
        if not records:
            pytest.skip("the kit has no sample of the types that this sink accepts")
        _send(sink.make, records)
        _assert_holds(sink, records)

    def test_a_batch_that_comes_again_is_once_in_effect(self, sink: SinkUnderTest) -> None:
        """Law 3: after a crash the last batch comes again, with the same ids, places in the log and round."""
        records = [sink.sample(number) for number in range(5)]

        async def twice() -> None:
            async with sink.make() as opened:
                await _push(opened, records)
                await _push(opened, records)

        asyncio.run(twice())
        _assert_holds(sink, records, exactly=sink.upserts)

    def test_it_goes_on_after_a_crash(self, sink: SinkUnderTest) -> None:
        """Law 3: a new process delivers from the last offset, in batches cut elsewhere, and then what is new."""
        records = [sink.sample(number) for number in range(12)]
        _send(sink.make, records[:7], most=3)
        if sink.make().publishes:
            _send(sink.make, records)
        else:
            _send(sink.make, records[4:], first=5, most=5)
        _assert_holds(sink, records, exactly=sink.upserts)

    def test_a_new_round_is_delivered_whatever_its_places(self, sink: SinkUnderTest) -> None:
        """Law 2: retried letters, a replay, another store: places at or before the last are new all the same."""
        if sink.make().publishes:
            pytest.skip("this sink publishes snapshots")
        records = [sink.sample(number) for number in range(12)]
        _send(sink.make, records[:6])
        _send(sink.make, records[6:9], first=4, round="second")
        _send(sink.make, records[9:], first=1, round="third")
        _assert_holds(sink, records)

    def test_it_is_closed_and_opened_between_batches(self, sink: SinkUnderTest) -> None:
        """A sink is closed when all is delivered; what was accepted before stays when it is opened again."""
        records = [sink.sample(number) for number in range(6)]
        if sink.make().publishes:
            _send(sink.make, records[:3], records)
        else:
            _send(sink.make, records[:3], records[3:])
        _assert_holds(sink, records)

    def test_a_later_version_arrives(self, sink: SinkUnderTest) -> None:
        """A later version of an object is a new row of the log; the other end then holds the later content."""
        old, new = self._versions(sink)
        _send(sink.make, [old], [new])
        keeps_both = sink.keeps_versions and not sink.make().publishes
        _assert_holds(sink, [old, new] if keeps_both else [new])

    def test_a_revoked_version_is_accepted(self, sink: SinkUnderTest) -> None:
        """Revocation reaches every sink in the form that its API knows: deleted, revoked, or logged."""
        old, _ = self._versions(sink)
        revoked = sample_indicator(0, version=2, revoked=True)
        # The current state that a publishing sink is given does not hold what is revoked.
        _send(sink.make, [old], [] if sink.make().publishes else [revoked])
        if not sink.keeps_versions or sink.make().publishes:
            valid = [each for each in sink.stored() if not isinstance(each, str) and _matches(each, old)]
            assert not valid, "the other end still holds the version that was revoked"

    def test_hostile_text_survives(self, sink: SinkUnderTest) -> None:
        """Nothing that a feed says is lost or obeyed: quotes, line breaks, marks of direction, long names."""
        self._versions(sink)
        names = (*HOSTILE, "n" * sink.longest_text)
        records = [sample_indicator(number, name=name) for number, name in enumerate(names)]
        _send(sink.make, records)
        _assert_holds(sink, records)

    def test_publishing_replaces_what_was_there(self, sink: SinkUnderTest) -> None:
        """A sink that publishes is given the whole current state: what is not in it any more is gone."""
        if not sink.make().publishes:
            pytest.skip("this sink takes batches")
        records = [sink.sample(number) for number in range(6)]
        _send(sink.make, records[:4])
        _send(sink.make, records[2:])
        _assert_holds(sink, records[2:])
        _send(sink.make, [])
        _assert_holds(sink, [])

    def test_a_publication_that_fails_leaves_the_one_before(self, sink: SinkUnderTest) -> None:
        """Law 2: where the current state cannot be read to its end, what was published stays as it was."""
        if not sink.make().publishes:
            pytest.skip("this sink takes batches")
        records = [sink.sample(number) for number in range(3)]

        async def breaks_off() -> AsyncIterator[Record]:
            yield sink.sample(7)
            raise _Broken

        async def publish_and_fail() -> None:
            async with sink.make() as opened:
                await opened.publish(breaks_off())

        _send(sink.make, records)
        with pytest.raises(_Broken):
            asyncio.run(publish_and_fail())
        _assert_holds(sink, records)

    def test_no_secret_shows(self, sink: SinkUnderTest) -> None:
        """Law 5: a secret appears in nothing that is stored, logged, told or shown as `repr`."""
        made = sink.make()
        with logged() as lines:
            _send(sink.make, [sink.sample(number) for number in range(3)])
            told = asyncio.run(_checked(sink.make))
        places = {
            "the sink's repr": repr(made),
            "the settings' repr": f"{made.settings!r} {made.settings}",
            "the settings as JSON": made.settings.model_dump_json(),
            "what `check` says": told,
            "the log": "\n".join(lines),
            "what is stored": "\n".join(_text(each) for each in sink.stored()),
        }
        assert_hidden(secrets_of(made.settings), places)

    def test_check_says_one_line(self, sink: SinkUnderTest) -> None:
        """`tiforge check` tells the operator in one line what was reached, and moves nothing."""
        told = asyncio.run(_checked(sink.make))
        assert told.strip(), "`check` says nothing"
        assert "\n" not in told, "`check` says more than one line"
        _assert_holds(sink, [])

    def test_its_errors_tell_the_engine_what_to_do(self, sink: SinkUnderTest) -> None:
        """An end that fails raises an error of tiforge's, told without a secret; the engine alone retries."""
        if sink.broken is None:
            pytest.skip("SinkUnderTest has no `broken`")
        with logged() as lines, pytest.raises(TiforgeError) as caught:
            _send(sink.broken, [sink.sample(0)])
        places = {"the error": full_text(caught.value), "the log": "\n".join(lines)}
        assert_hidden(secrets_of(sink.broken().settings), places)

    def _versions(self, sink: SinkUnderTest) -> tuple[Record, Record]:
        old, new = sample_indicator(0), sample_indicator(0, name="A later name", version=1)
        if not _takes(sink.make(), old):
            pytest.skip("this sink takes no indicators")
        return old, new


class _Broken(Exception):
    """What the contract breaks a publication off with."""


def _text(stored: Stored) -> str:
    if isinstance(stored, bytes):
        return stored.decode("utf-8", "replace")
    return stored if isinstance(stored, str) else orjson.dumps(stored).decode()


async def _checked(make: Callable[[], Sink[Any]]) -> str:
    async with make() as sink:
        return await sink.check()
