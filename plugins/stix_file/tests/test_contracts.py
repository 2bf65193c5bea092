"""What tiforge expects of every sink and source, of these."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from tiforge import Context
from tiforge.testing import SinkContract, SinkUnderTest, SourceContract, SourceUnderTest, sample_indicator
from tiforge_stix_file.settings import StixFileSinkSettings, StixFileSourceSettings
from tiforge_stix_file.sink import StixFileSink
from tiforge_stix_file.source import StixFileSource


def under_test(tmp_path, text_in, **chosen):
    path = tmp_path / "out"
    (tmp_path / "file").write_text("")

    def make(folder=path):
        return StixFileSink(StixFileSinkSettings(type="stix_file", path=folder, **chosen), Context("archive"))

    def stored():
        for file in sorted(path.glob("archive*")):
            for line in text_in(file).splitlines():
                # One object a line in either format; the bundle's own lines are none.
                payload = line.removesuffix(b",")
                if not line.startswith((b'{"type":"bundle"', b"]")):
                    assert orjson.loads(payload)
                    yield payload

    return SinkUnderTest(
        make=make,
        stored=stored,
        upserts=chosen.get("mode") == "snapshot",
        keeps_versions=chosen.get("mode") != "snapshot",
        broken=lambda: make(tmp_path / "file"),
    )


class TestRuns(SinkContract):
    @pytest.fixture(params=["bundle", "jsonl"])
    def sink(self, request, tmp_path, text_in):
        return under_test(tmp_path, text_in, format=request.param, compression="zstd")


class TestSnapshots(SinkContract):
    @pytest.fixture(params=["bundle", "jsonl"])
    def sink(self, request, tmp_path, text_in):
        return under_test(tmp_path, text_in, format=request.param, mode="snapshot", compression="gzip")


class TestFolder(SourceContract):
    @pytest.fixture
    def source(self, tmp_path):
        for number in range(5):
            payloads = [sample_indicator(number * 10 + each).payload for each in range(10)]
            (tmp_path / f"{number}.jsonl").write_bytes(b"\n".join([*payloads, b"{bad}", b"5"]) + b"\n")

        def make(folder=tmp_path):
            settings = StixFileSourceSettings(type="stix_file", path=folder, page_objects=4)
            return StixFileSource(settings, Context("reports"))

        return SourceUnderTest(
            make=make,
            least=50,
            largest_page=4,
            since=datetime(2020, 1, 1, tzinfo=UTC),
            broken=lambda: make(tmp_path / "none"),
        )
