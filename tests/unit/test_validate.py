"""`tiforge validate` on what is no STIX at all: a finding and exit code 1, never a traceback."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from typer.testing import CliRunner

from tiforge.cli import app, validate
from tiforge.cli.exits import Exit
from tiforge.testing import sample_indicator

GOOD = sample_indicator(1).payload
DEEP = b"[" * 5000 + b"]" * 5000


@pytest.fixture
def judge(tmp_path):
    def run(text, *options):
        (tmp_path / "file").write_bytes(text)
        done = CliRunner().invoke(app, ["validate", str(tmp_path / "file"), "--json", *options])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, json.loads(done.stdout)

    return run


@pytest.mark.parametrize(
    ("text", "objects", "reason"),
    [
        (b'{"type":"bundle","objects":5}', 1, "`objects` are no list"),
        (b'{"type":"bundle","objects":{}}', 1, "`objects` are no list"),
        (DEEP, 1, "nested deeper"),
        (b'{"a":' + DEEP + b"}", 1, "nested deeper"),
        (b"[" * 100_000, 1, "does not end"),
        (b'{"a":1e99999999999999999999}', 1, "not JSON"),
        (b'[{"a":1' + b"0" * 5000 + b"}]", 1, "not JSON"),
        (b'[{"a":%d}]' % 10**30, 1, "64 bits"),
        (b'[{"a":"\\ud800"}]', 1, "not JSON"),
        (b'[{"a":"\xff"}]', 1, "not JSON"),
        (b"", 0, "holds no object"),
        (b" \n", 0, "holds no object"),
        (b"[]", 0, "holds no object"),
        (b'{"type":"bundle"}', 0, "holds no object"),
        (bytes(range(256)) * 100, 1, "neither a JSON object nor a list"),
        (b"\x1f\x8b\x08\x00", 1, "neither a JSON object nor a list"),
        (b"5", 1, "neither a JSON object nor a list"),
        (b"[5]", 1, "no JSON object"),
        (b'{"type":[],"id":{}}', 1, ""),
        (b'{"type":"indicator","id":7,"pattern":{},"extensions":[],"valid_from":{}}', 1, ""),
        (b'{"type":"bundle","objects":[', 1, "breaks off"),
    ],
)
def test_what_is_no_stix_is_a_finding(judge, text, objects, reason):
    code, told = judge(text)
    assert (code, told["objects"]) == (Exit.FAILED, objects)
    assert reason in str(told["findings"])
    assert told["findings"]
    assert told["more_findings"] == 0


@pytest.mark.parametrize("around", [b"[%s,%s,%s]", b"%s\n%s\n%s\n", b'{"type":"bundle","objects":[%s,%s,%s]}'])
def test_the_objects_around_a_bad_one_are_judged(judge, around):
    code, told = judge(around % (GOOD, b'{"a":' + DEEP + b"}", GOOD))
    assert (code, told["objects"], told["invalid"]) == (Exit.FAILED, 3, 1)
    assert [each["place"] for each in told["findings"] if each["errors"]] == ["object 2"]
    assert judge(around % (GOOD, GOOD, GOOD))[0] == Exit.OK


def test_findings_are_bounded(judge):
    _, told = judge(b"[" + b"5," * 1499 + b"5]")
    assert len(told["findings"]) == 1000
    assert (told["more_findings"], told["invalid"]) == (500, 1500)


def test_a_large_file_is_streamed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"[" + b",".join([b'{"a":"' + b"x" * 100_000 + b'"}'] * 500) + b"]")
    tracemalloc.start()
    try:
        assert sum(1 for _ in validate._objects(path)) == 500
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
