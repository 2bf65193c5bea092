"""`tiforge demo`: the promises of the README, held on this machine."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.shell import Shell
from tiforge.cli.exits import Exit


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty folder."""
    return Shell(tmp_path)


def test_every_promise_holds_in_all_three_acts(shell: Shell) -> None:
    """First pull, second pull, and a fresh start with faults: nothing lost, nothing doubled; for machines."""
    done = shell.good("demo", "--rows", "400", "--json")
    told = done.json
    assert done.err == ""
    assert told["ok"] is True
    first, second, third = told["acts"]
    assert all(each["holds"] for act in told["acts"] for each in act["findings"])
    assert [len(act["findings"]) for act in told["acts"]] == [3, 3, 4]
    assert first["arrived"]["stix_file"]["indicator"] > 100
    assert first["arrived"] == second["arrived"] == third["arrived"]
    assert "500" in third["title"]
    assert list(shell.folder.iterdir()) == []


def test_it_is_told_to_people_and_kept(shell: Shell) -> None:
    """With --keep the config, the log and the bundles are there to look at."""
    done = shell.good("demo", "--rows", "30", "--keep", "kept")
    assert "Everything holds." in done.out
    assert "✗" not in done.out
    assert done.out.count("✓") == 10
    for stage in ("calm", "rough"):
        config = tomllib.loads((shell.folder / "kept" / stage / "tiforge.toml").read_text(encoding="utf-8"))
        assert list(config["sources"]) == ["mimecast"]
    counted = json.loads(shell.good("log", "count", "--json", "-c", "kept/calm/tiforge.toml").out)
    assert {each["source"] for each in counted} == {"mimecast"}
    again = shell.run("demo", "--rows", "30", "--keep", "kept")
    assert (again.code, "is there already" in again.err) == (Exit.CONFIG, True)


@pytest.mark.parametrize(
    ("option", "name", "told"),
    [
        (
            "--source",
            "mimecats",
            "No installed plugin brings a demo of the source 'mimecats'; did you mean `mimecast`?",
        ),
        ("--sinks", "stix_file,nowhere", "No installed plugin brings a demo of the sink 'nowhere'"),
    ],
)
def test_a_part_that_is_not_installed(shell: Shell, option: str, name: str, told: str) -> None:
    """3, with the names that there are and what to install."""
    done = shell.run("demo", option, name)
    assert done.code == Exit.CONFIG
    assert told in done.err
    assert "pip install" in done.err
