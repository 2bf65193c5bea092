"""Memory is bounded by a batch and a page, never by the size of what is written or read."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc

import pytest

from tiforge import Batch, Record

MANY = 200_000
MIB = 1024 * 1024


def small(number):
    return Record(f"x--{number}", "x", "1", b'{"type":"x","id":"x--%d","name":"%064d"}' % (number, number))


@pytest.fixture
def peak():
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_snapshot_of_many_objects(folder, peak, compression):
    """Some 20 MB of objects pass through a few megabytes."""
    folder.publish(map(small, range(MANY)), compression=compression)
    assert peak() < 12 * MIB


def test_a_run_of_many_objects(folder, peak):
    """Only the batch that is under way is held."""

    async def run():
        async with folder.sink() as sink:
            for begin in range(0, MANY, 5000):
                seqs = range(begin + 1, begin + 5001)
                await sink.deliver(Batch([small(seq) for seq in seqs], seqs))

    asyncio.run(run())
    assert peak() < 12 * MIB


def test_reading_many_objects(reader, peak):
    """A compressed bundle of 100 MB is read in pages."""
    template = (
        b'{"type":"identity","spec_version":"2.1","id":"identity--00000000-0000-4000-8000-%012d","name":"n",'
        b'"created":"2026-01-31T12:00:00.000Z","modified":"2026-01-31T12:00:00.000Z","description":"'
        + b"d" * 1500
        + b'"}'
    )
    with gzip.open(reader.path / "big.json.gz", "wb", compresslevel=1) as file:
        file.write(b'{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[')
        for number in range(60_000):
            file.write((b"," if number else b"") + template % number)
        file.write(b"]}")
    tracemalloc.reset_peak()
    count = 0

    async def run():
        nonlocal count
        async with reader.source() as source:
            async for page in source.pull(None):
                count += len(page.records)

    asyncio.run(run())
    assert count == 60_000
    assert peak() < 50 * MIB
