"""Mode `run` through crashes: nothing lost, nothing doubled, and a replay writes again."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiforge import ConfigurationError, Transient
from tiforge_stix_file import durable, runs, state

COMPRESSIONS = pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])


class Crash(BaseException):
    """The process ends here: nothing that comes after it is run."""


class Disk:
    """Counts the calls that change the disk, and ends the process before or after one of them.

    Args:
        monkeypatch: Puts the calls back.
        at: Which call, from 1; 0 for none.
        half: Whether half of what that call was to write arrives.
        error: Raised once instead of the crash; the process goes on.
    """

    def __init__(self, monkeypatch, at=0, *, half=False, error=None):
        self.calls = 0
        self.at = at
        self.half = half
        self.error = error
        self.dead = False
        for module, name in (
            (durable.os, "write"), (durable.os, "fsync"), (durable.os, "ftruncate"), (durable.os, "replace"),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, self._watched(getattr(module, name), name))
        monkeypatch.setattr(durable.Path, "replace", lambda path, target: durable.os.replace(path, target))

    def _watched(self, call, name):
        def watched(*args):
            if self.dead:
                raise Crash
            self.calls += 1
            if self.calls == self.at:
                if self.half and name == "write":
                    call(args[0], bytes(args[1])[: len(args[1]) // 2])
                if self.error:
                    raise self.error
                self.dead = True
                raise Crash
            return call(*args)

        return watched


def run_until_crash(folder, batches, **chosen):
    """Deliver batches as the engine does, and return the offset that it had committed when it all ended."""
    committed = 0

    async def run():
        nonlocal committed
        async with folder.sink(**chosen) as sink:
            for batch in batches:
                await sink.deliver(batch)
                committed = batch.seqs[-1]

    with suppress(Crash):
        asyncio.run(run())
    return committed


@COMPRESSIONS
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("format", ["bundle", "jsonl"])
def test_exact_whichever_call_is_the_last(folder, batch, tmp_path, record, format, half, compression):
    """Ended at each system call in turn, and run again from the committed offset: each object once."""
    size = 2 * len(record(1).payload) + 10
    chosen = {"format": format, "compression": compression, "max_size": size}
    at = 0
    while True:
        at += 1
        other = type(folder)(tmp_path / f"crash-{at}")
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at, half=half)
            committed = run_until_crash(other, [batch([1, 2]), batch([3]), batch([4]), batch([5])], **chosen)
        if not disk.dead:
            break
        # The batch may be cut differently this time.
        for cut in ([range(committed + 1, 8)], [[seq] for seq in range(committed + 1, 8)]):
            copy = type(folder)(tmp_path / f"crash-{at}-{len(cut)}")
            shutil.copytree(other.path, copy.path) if other.path.exists() else None
            copy.deliver(*cut, **chosen)
            assert copy.seqs() == list(range(1, 8)), (at, committed, copy.files())
            assert not [path for path in copy.path.iterdir() if path.name.endswith(".part")]
    assert at > 30


@pytest.mark.parametrize("half", [False, True])
def test_exact_when_a_call_fails_and_the_engine_tries_again(folder, batch, tmp_path, record, half):
    """A disk that is full for one call costs a retry, wherever it hits."""
    size = 2 * len(record(1).payload) + 10
    at = 0
    while True:
        at += 1
        other = type(folder)(tmp_path / f"full-{at}")

        async def run(other=other):
            for _ in range(2):
                try:
                    sink = await other.sink(max_size=size).__aenter__()
                    break
                except Transient:
                    continue
            for each in (batch([1, 2]), batch([3]), batch([4]), batch([5])):
                for _ in range(2):
                    try:
                        await sink.deliver(each)
                        break
                    except Transient:
                        continue
            try:
                await sink.__aexit__(None, None, None)
            except Transient:
                await (await other.sink(max_size=size).__aenter__()).__aexit__(None, None, None)

        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at, half=half, error=OSError(28, "No space left on device"))
            asyncio.run(run())
        if disk.calls < at:
            break
        assert other.seqs() == [1, 2, 3, 4, 5], at
    assert at > 30


def test_crashes_in_a_row(folder, batch, tmp_path):
    """A process that dies again and again while it catches up still writes each object once."""
    at, committed, last = 0, 0, 12
    while committed < last:
        at = at % 17 + 3
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, at, half=bool(at % 2))
            batches = [batch(range(seq, min(seq + 2, last + 1))) for seq in range(committed + 1, last + 1, 2)]
            committed = max(committed, run_until_crash(folder, batches))
    folder.deliver()
    assert folder.seqs() == list(range(1, last + 1))


def test_a_crash_between_the_rename_and_the_commit(folder, batch):
    """The file was finished, the engine does not know: nothing is written twice."""

    async def run():
        sink = await folder.sink().__aenter__()
        await sink.deliver(batch([1, 2, 3]))
        await sink.__aexit__(RuntimeError, RuntimeError("the store is gone"), None)

    asyncio.run(run())
    assert folder.seqs() == [1, 2, 3]
    folder.deliver([1, 2], [3, 4, 5])
    assert folder.seqs() == [1, 2, 3, 4, 5]


def test_a_replay_writes_again(folder):
    """What comes in a new round was asked for, from wherever it begins."""
    folder.deliver([1, 2, 3], [4, 5])
    folder.deliver([1, 2, 3, 4, 5], round="replay")
    assert folder.seqs() == [1, 2, 3, 4, 5] * 2
    folder.deliver([4, 5], [6], round="replay of the end")
    assert folder.seqs() == [1, 2, 3, 4, 5] * 2 + [4, 5, 6]
    names = [path.name for path in folder.files()]
    assert len(set(names)) == 3


@pytest.mark.parametrize("round", ["", "first"])
def test_what_comes_again_in_the_same_round_is_passed_over(folder, round):
    """Also where the run before ended in good order: the store may have lost its last commit."""
    folder.deliver([7, 8], round=round)
    folder.deliver([7], [8, 9], round=round)
    assert folder.seqs() == [7, 8, 9]
    folder.deliver([7, 8], round="replay")
    assert folder.seqs() == [7, 8, 9, 7, 8]


def _end_in_an_error(folder, *batches):
    async def run():
        sink = await folder.sink().__aenter__()
        for each in batches:
            await sink.deliver(each)
        await sink.__aexit__(RuntimeError, RuntimeError(), None)

    asyncio.run(run())


@pytest.mark.parametrize("begin", range(1, 9))
def test_a_replay_after_a_crash(folder, batch, begin):
    """Everything is written again, though it begins within the last batches and the files are gone."""
    _end_in_an_error(folder, *map(batch, ([1, 2], [3, 4], [5, 6], [7, 8])))
    for path in folder.files():
        path.unlink()
    folder.deliver(range(begin, 9), round="replay")
    assert folder.seqs() == list(range(begin, 9))


def test_letters_that_are_retried_after_a_crash(folder, batch):
    """Their places lie among those written last, and they are written all the same."""
    _end_in_an_error(folder, batch([1, 4]), batch([5, 8]))
    folder.deliver([2, 6, 7], round="letters")
    assert folder.seqs() == [1, 4, 5, 8, 2, 6, 7]
    folder.deliver([9], round="first")
    assert folder.seqs() == [1, 4, 5, 8, 2, 6, 7, 9]


def test_another_store_writes_into_the_same_folder(folder, batch):
    """Its places begin at 1 again, and what it holds is something else."""
    _end_in_an_error(folder, batch(range(1, 50)))
    folder.deliver([1, 2], [3], round="another store")
    assert folder.seqs() == [*range(1, 50), 1, 2, 3]


def test_a_round_that_crashes_is_gone_on_with(folder, batch):
    """A replay that is interrupted writes the rest, and nothing twice."""
    folder.deliver([1, 2, 3, 4])
    _end_in_an_error(folder, batch([1, 2], "replay"))
    folder.deliver([2], [3, 4], round="replay")
    assert folder.seqs() == [1, 2, 3, 4] * 2


def test_a_moved_part_does_not_stop_the_sink(folder, batch):
    """A file that a reader took away as soon as it had its name, just before a crash, is done with."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        run_until_crash(folder, [batch([1, 2])])
        total = disk.calls
    (path,) = folder.files()
    path.unlink()
    assert total
    folder.deliver([3])
    assert folder.seqs() == [3]


def _crashed(folder, batch):
    async def run():
        sink = await folder.sink().__aenter__()
        await sink.deliver(batch([1, 2]))
        sink._lock.release()

    asyncio.run(run())
    (part,) = [path for path in folder.path.iterdir() if path.name.endswith(".part")]
    return part


def test_no_reader_sees_a_part_file(folder, batch):
    """While it grows, it is hidden; a crashed one is finished at the next start."""
    part = _crashed(folder, batch)
    assert part.name.startswith(".")
    assert folder.files() == []
    folder.deliver()
    assert folder.seqs() == [1, 2]


def test_a_part_that_lost_what_was_synchronised_is_reported(folder, batch):
    """The operator learns the place to replay from; nothing is passed over in silence."""
    part = _crashed(folder, batch)
    os.truncate(part, 10)
    with pytest.raises(ConfigurationError, match=r"lost.*place 1 of the log"):
        folder.deliver([3])
    part.unlink()
    folder.deliver([1, 2, 3], round="replay")
    assert folder.seqs() == [1, 2, 3]


def test_a_part_without_a_state_is_reported(folder, batch):
    """Without the journal nobody knows how much of it was accepted."""
    part = _crashed(folder, batch)
    (folder.path / ".archive.state").unlink()
    with pytest.raises(ConfigurationError, match="missing"):
        folder.deliver([3])
    part.unlink()
    folder.deliver([1, 2, 3])
    assert folder.seqs() == [1, 2, 3]


DAMAGED = [
    b"", b"\n", b"[]\n", b"{}\n", b"x", b'{"last":1}\n', b"\xff\n",
    b'{"round":5,"last":1,"newest":"","part":null}\n',
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_state_is_reported(folder, text):
    """It is neither guessed nor overwritten."""
    folder.deliver([1])
    (folder.path / ".archive.state").write_bytes(text)
    with pytest.raises(ConfigurationError, match="damaged"):
        folder.deliver([2])


def test_a_torn_line_of_the_journal_does_not_count(folder):
    """The line before it holds."""
    folder.deliver([1, 2])
    path = folder.path / ".archive.state"
    path.write_bytes(path.read_bytes() + b'{"round":"x","last":99,"ne')
    folder.deliver([3])
    assert folder.seqs() == [1, 2, 3]


def test_the_format_may_change_after_a_crash(folder, batch):
    """The part of the crashed run is finished in the format that it began with."""
    _crashed(folder, batch)
    folder.deliver([3], format="jsonl", compression="gzip")
    assert [path.suffix for path in folder.files()] == [".json", ".gz"]
    assert folder.seqs() == [1, 2, 3]


def test_the_mode_may_change_after_a_crash(folder, batch, record):
    """What was accepted in mode `run` is not left hidden."""
    _crashed(folder, batch)
    folder.publish([record(9)])
    assert sorted(folder.seqs()) == [1, 2, 9]


def test_the_journal_stays_small(folder, monkeypatch):
    """It is written afresh when it has grown."""
    monkeypatch.setattr(state, "_COMPACT_AT", 2000)
    folder.deliver(*([seq] for seq in range(1, 60)))
    assert folder.seqs() == list(range(1, 60))


def test_a_cancelled_delivery_is_written_or_not_never_half(folder, batch):
    """The file is closed only when the thread that writes it is done."""

    async def run():
        async with folder.sink() as sink:
            await sink.deliver(batch([1]))
            task = asyncio.ensure_future(sink.deliver(batch(range(2, 500))))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        asyncio.run(run())
    folder.deliver(range(2, 500))
    assert folder.seqs() == list(range(1, 500))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_cut_of_a_redelivery(tmp_path_factory, data):
    """However the engine cuts the batches before and after a crash, each object is written once."""
    path = tmp_path_factory.mktemp("cut")
    layout = runs.RunLayout(path, "x", "jsonl", "none", 10**6)
    total = data.draw(st.integers(1, 12))
    committed = 0
    for _ in range(data.draw(st.integers(1, 4))):
        files = runs.RunFiles(layout, lambda: datetime(2026, 1, 1, tzinfo=UTC))
        files.open()
        seq = committed + 1
        crash_after = data.draw(st.integers(0, 3))
        while seq <= total and crash_after >= 0:
            size = data.draw(st.integers(1, 4))
            seqs = list(range(seq, min(seq + size, total + 1)))
            files.write([b'{"n":%d}' % each for each in seqs], seqs, "first")
            seq = seqs[-1] + 1
            if crash_after:
                committed = seqs[-1]
            crash_after -= 1
        files.close()
    files = runs.RunFiles(layout, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    files.open()
    if committed < total:
        seqs = list(range(committed + 1, total + 1))
        files.write([b'{"n":%d}' % each for each in seqs], seqs, "first")
    files.close()
    lines = b"".join(each.read_bytes() for each in sorted(path.glob("x-*"))).splitlines()
    assert lines == [b'{"n":%d}' % each for each in range(1, total + 1)]
