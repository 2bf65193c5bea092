"""What the plugin contributes to `tiforge demo`."""

from __future__ import annotations

import asyncio

from tiforge import Context
from tiforge_stix_file import tiforge_demos
from tiforge_stix_file.settings import StixFileSinkSettings
from tiforge_stix_file.sink import StixFileSink


def test_the_demo_counts_what_arrived(tmp_path, batch):
    """Values and ids are read from the files, each as often as it is there."""
    (demo,) = tiforge_demos()
    assert (demo.name, demo.side) == ("stix_file", "sink")
    with demo.open(tmp_path, 0) as part:
        assert list(part.ids()) == []

        async def run():
            settings = StixFileSinkSettings.model_validate(part.settings)
            async with StixFileSink(settings, Context("stix-file")) as sink:
                await sink.deliver(batch([1, 2]))
            async with StixFileSink(settings, Context("stix-file")) as sink:
                await sink.deliver(batch([2], "replay"))

        asyncio.run(run())
        assert list(part.values()) == [f"{number:064x}" for number in (1, 2, 2)]
        ids = list(part.ids())
        assert len(ids) == 3
        assert ids[1] == ids[2]
