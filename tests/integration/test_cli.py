"""Every command as a process, against the emulator: what it prints, what it returns, and what it never does."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shell import LONG, TIFORGE, Shell, interrupt, line_with
from tiforge.cli.exits import Exit
from tiforge.cli.show import safe
from tiforge.testing.serving import serving
from tiforge_mimecast.emulator import Emulator, Fault, credentials, make_rows

ROWS = 60

CONFIG = """
[retry]
wait_initial = "1ms"
wait_max = "5s"
[sources.feed]
type = "mimecast"
base_url = "URL"
client_id = "emulator-client-id"
client_secret = { env = "SECRET" }
[sinks.files]
type = "stix_file"
path = "out"
"""

NASTY = "\x1b]0;title\x07\x1b[31mred\x9b2J\u202egnp.exe\u2066 [bold]markup[/bold]"
HOSTILE = f"""
from tiforge import (Cursor, Page, Permanent, Receipt, Rejected, SetAside, Sink, SinkSettings, Source,
                     SourceSettings, hookimpl)

tiforge_api_version = 1
NASTY = {NASTY!r}

class HostileSource(Source[SourceSettings]):
    type = "hostile"
    Settings = SourceSettings

    async def pull(self, cursor):
        times = {{"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z"}}
        records = [
            {{"type": "identity", "spec_version": "2.1", "name": NASTY,
              "id": f"identity--00000000-0000-4000-8000-00000000000{{n}}", "identity_class": "unknown", **times}}
            for n in range(3)
        ]
        yield Page(records, Cursor({{"n": 1}}), [SetAside(NASTY, NASTY, NASTY)], rows=4)
        raise Permanent(NASTY)

    def since(self, moment):
        return Cursor({{"n": 0}}, moment)

    async def check(self):
        return NASTY

class HostileSink(Sink[SinkSettings]):
    type = "hostile"
    Settings = SinkSettings

    async def deliver(self, batch):
        return Receipt([Rejected(0, NASTY)])

    async def check(self):
        raise Permanent(NASTY)

def ask(word: str = "nothing") -> None:
    print("asked for " + word)

@hookimpl
def tiforge_sources():
    return [HostileSource]

@hookimpl
def tiforge_sinks():
    return [HostileSink]

@hookimpl
def tiforge_commands():
    return [("ask", "Ask Acme.", "hostile:ask"), ("lost", "Is not there.", "hostile:nothing")]
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty folder."""
    return Shell(tmp_path, {"SECRET": credentials.CLIENT_SECRET})


@pytest.fixture
def emulator() -> Emulator:
    """A feed of some rows."""
    return Emulator(make_rows(ROWS), page_size=20)


@pytest.fixture
def fed(shell: Shell, emulator: Emulator) -> Iterator[Shell]:
    """A folder with a config that reads the emulator."""
    with serving(emulator.app) as url:
        shell.write(CONFIG.replace("URL", url))
        yield shell


@pytest.fixture
def hostile(shell: Shell) -> Shell:
    """A folder with a plugin whose every text is meant to steer a terminal."""
    shell.install("hostile", HOSTILE)
    shell.write('[sources.evil]\ntype = "hostile"\n[sinks.bad]\ntype = "hostile"\n')
    return shell


def outcomes(done: Any) -> dict[str, str]:
    return {each["name"]: each["outcome"] for each in done.json["outcomes"]}


def test_the_first_run_to_the_last_look(fed: Shell, emulator: Emulator) -> None:
    """The way of a new user, for people: each command says what it did."""
    checked = fed.good("check")
    assert "serves malware_grid to client emulator-client-id (API 2.0)" in checked.out
    assert emulator.requests == 1
    ran = fed.run("run")
    assert ran.code in (Exit.OK, Exit.PARTIAL)
    assert re.search(rf"feed +ok +3 +{ROWS} ", ran.out)
    assert re.search(r"files +ok ", ran.out)
    assert f"{ROWS} rows" not in ran.err  # a line a page, of twenty rows each
    seen = fed.good("status").out
    assert re.search(r"feed +mimecast +2\d{3}-", seen)
    assert re.search(r"files +stix_file ", seen)
    assert "Last runs" in seen
    counted = fed.good("log", "count").out
    assert re.search(r"feed +indicator +\d+", counted)
    shown = fed.good("log", "show", "--type", "indicator", "-n", "2").out
    assert shown.count("file:hashes.'SHA-256'") == 2
    (file,) = (fed.folder / "out").glob("*.json")
    validated = fed.good("validate", file).out
    assert validated.rstrip().endswith("valid, 0 not.")


def test_machines_get_one_value_and_nothing_else(fed: Shell) -> None:
    """With --json, standard output is JSON; standard error is empty."""
    checked = fed.good("check", "--json")
    assert [each["ok"] for each in checked.json["findings"]] == [True, True]
    ran = fed.run("run", "--json")
    assert outcomes(ran) == {"feed": "ok", "files": "ok"}
    entries = {each["type"]: each["entries"] for each in fed.good("log", "count", "--json").json}
    head = sum(entries.values())
    status = fed.good("status", "--json").json
    assert (status["head"], status["sinks"][0]["lag"], status["sources"][0]["failures"]) == (head, 0, 0)
    (newest,) = fed.good("log", "show", "--json", "-n", "1").json
    assert newest["seq"] == head
    versions = fed.good("log", "show", newest["object"]["id"], "--json").json
    assert [each["object"] for each in versions] == [newest["object"]]
    assert isinstance(fed.good("deadletter", "list", "--json").json, list)
    assert fed.good("deadletter", "retry", "files", "--json").json == {"marked": 0}
    assert fed.good("deadletter", "drop", "files", "--yes", "--json").json == {"dropped": 0}
    assert fed.good("replay", "files", "--from", "3", "--json").json == {
        "sink": "files",
        "offset": 2,
        "head": head,
    }
    filled = fed.good("backfill", "feed", "--since", "7d", "--json")
    assert outcomes(filled) == {"feed": "ok", "files": "ok"}
    assert filled.json["outcomes"][0]["counts"]["added"] == 0
    assert filled.json["outcomes"][1]["counts"]["accepted"] == head - 2
    for done in (checked, ran, filled):
        assert done.err == ""
    exported = [json.loads(line) for line in fed.good("log", "export").out.splitlines()]
    assert len(exported) == head
    fed.good("log", "export", "--type", "indicator", "--source", "feed", "--since", "1d", "-o", "some.jsonl")
    some = (fed.folder / "some.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in some] == [each for each in exported if each["type"] == "indicator"]
    current = fed.good("log", "export", "--current").out.splitlines()
    assert {json.loads(line)["id"] for line in current} == {each["id"] for each in exported}
    (fed.folder / "one.json").write_text(json.dumps(exported[0]), encoding="utf-8")
    assert fed.good("validate", "one.json", "--json").json["invalid"] == 0


def test_a_second_run_has_nothing_to_do(fed: Shell) -> None:
    """What is in the log is not added, what is delivered is not delivered."""
    fed.run("run")
    again = fed.good("run", "--json").json["outcomes"]
    assert (again[0]["counts"]["added"], again[1]["counts"]["accepted"]) == (0, 0)


def test_what_is_due_later_is_waiting(fed: Shell) -> None:
    """A schedule is kept, which is no failure; --now is stronger."""
    fed.write(fed.config.read_text(encoding="utf-8").replace("client_id", 'schedule = "every 1h"\nclient_id'))
    fed.run("run")
    assert outcomes(fed.good("run", "--json")) == {"feed": "waiting", "files": "ok"}
    assert outcomes(fed.good("run", "--now", "--json")) == {"feed": "ok", "files": "ok"}


def wrong_secret(shell: Shell) -> None:
    shell.environment["SECRET"] = "marked-but-wrong"


def no_address(shell: Shell) -> None:
    text = shell.config.read_text(encoding="utf-8")
    shell.write(
        re.sub(r"http://127.0.0.1:\d+", "http://127.0.0.1:9", text).replace("[retry]", "[retry]\nattempts = 1")
    )


def a_file_for_a_folder(shell: Shell) -> None:
    (shell.folder / "out").write_text("", encoding="utf-8")


@pytest.mark.parametrize(
    ("breaks", "failed", "told"),
    [
        ([wrong_secret], ["feed"], "Check `client_id` and `client_secret`"),
        ([no_address], ["feed"], "127.0.0.1 cannot be reached"),
        ([a_file_for_a_folder], ["files"], "out"),
        ([wrong_secret, a_file_for_a_folder], ["feed", "files"], "Check `client_id`"),
    ],
)
def test_a_part_that_fails_is_told_from_the_whole(
    fed: Shell, breaks: list[Callable[[Shell], None]], failed: list[str], told: str
) -> None:
    """4 where something was done all the same, 1 where nothing was; the reason is on standard output."""
    for each in breaks:
        each(fed)
    code = Exit.FAILED if len(failed) == 2 else Exit.PARTIAL
    checked = fed.run("check", "--json")
    assert checked.code == code
    assert [each["name"] for each in checked.json["findings"] if not each["ok"]] == failed
    assert fed.run("check").code == code
    ran = fed.run("run", "--json")
    if failed == ["files"] or len(failed) == 2:
        # Nothing to deliver is no failure.
        expected = {
            "feed": "failed" if "feed" in failed else "ok",
            "files": "ok" if "feed" in failed else "failed",
        }
        assert outcomes(ran)["feed"] == expected["feed"]
    else:
        assert outcomes(ran) == {"feed": "failed", "files": "ok"}
    assert told in json.dumps(ran.json) + json.dumps(checked.json)
    assert ran.code in (Exit.FAILED, Exit.PARTIAL)
    assert "marked-but-wrong" not in ran.out + ran.err + checked.out


def test_what_is_set_aside_is_partial_and_comes_back(shell: Shell) -> None:
    """A rejected object is 4; it is listed with its reason, delivered again when asked, and dropped."""
    shell.install("hostile", HOSTILE)
    shell.write('[sources.evil]\ntype = "hostile"\n[sinks.bad]\ntype = "hostile"\n')
    first = shell.run("run", "--json")
    assert first.code == Exit.PARTIAL
    letters = shell.good("deadletter", "list", "bad", "--json").json
    assert [(each["side"], each["owner"], each["reason"]) for each in letters] == [("sink", "bad", NASTY)]
    assert shell.good("deadletter", "retry", "bad", letters[0]["id"], "--json").json == {"marked": 1}
    shell.run("run")
    (again,) = shell.good("deadletter", "list", "bad", "--json").json
    assert (again["attempts"], again["retry"]) == (2, False)
    refused = shell.run("deadletter", "drop", "bad", typed="n\n")
    assert refused.code == Exit.FAILED
    assert "for good? [y/N]" in refused.err
    assert shell.good("deadletter", "drop", "bad", typed="y\n").out.strip() == "1 dropped."
    assert shell.good("deadletter", "list", "bad").out == "Nothing is set aside.\n"


USAGE = [
    (["nosuch"], "No such command 'nosuch'"),
    (["run", "--nosuch"], "No such option"),
    (["backfill", "fed", "--since", "1d"], "there is no source named 'fed' in the config; did you mean `feed`?"),
    (["backfill", "feed", "--since", "once"], "'once' is no moment; write 2026-01-31"),
    (["backfill", "feed"], "Missing option '--since'"),
    (["replay", "file", "--from", "start"], "there is no sink named 'file' in the config; did you mean `files`?"),
    (["replay", "files", "--from", "once"], "'once' is no moment"),
    (
        ["deadletter", "list", "fils"],
        "there is no source or sink named 'fils' in the config; did you mean `files`?",
    ),
    (["deadletter", "drop", "fils", "-y"], "there is no source or sink named 'fils'"),
    (["deadletter", "retry", "fils"], "there is no sink named 'fils'"),
    (["deadletter", "retry", "feed"], "'feed' is a source: read its feed again with `tiforge backfill feed"),
    (["log", "export", "--since", "once"], "'once' is no moment"),
    (["validate", "nosuch.json"], "does not exist"),
    (["init", "--from-azure-function-settings", "nosuch.json"], "does not exist"),
]


@pytest.mark.parametrize(("arguments", "told"), USAGE)
def test_a_wrong_command_line(fed: Shell, arguments: list[str], told: str) -> None:
    """2, and a word about what is wrong, on standard error alone."""
    done = fed.run(*arguments)
    assert (done.code, done.out) == (Exit.USAGE, "")
    assert told in done.err


COMMANDS = [["check"], ["run"], ["serve"], ["log", "export"], ["replay", "files", "--from", "start"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_config_every_command_says_so(shell: Shell, command: list[str]) -> None:
    """3, with the file's name and what to do; as JSON where that is asked for."""
    done = shell.run(*command, "--config", "elsewhere.toml")
    assert (done.code, done.out) == (Exit.CONFIG, "")
    assert re.fullmatch(r"There is no config at \S+/elsewhere\.toml\. Write one with `tiforge init`.*\n", done.err)
    if command[0] in ("serve", "log"):
        return
    told = shell.run(*command, "--json", "-c", "elsewhere.toml")
    assert (told.code, told.out) == (Exit.CONFIG, "")
    assert json.loads(told.err)["exit"] == 3


def test_everything_wrong_with_a_config_is_told(shell: Shell) -> None:
    """3, a line for each problem for people, a list for machines."""
    shell.write('[retry]\nattempts = 0\n[sources.a]\ntype = "mimecast"\n[sinks.b]\ntype = "stix_fil"\n')
    done = shell.run("check")
    assert (done.code, done.out) == (Exit.CONFIG, "")
    places = [re.sub(r"^.*/", "", line).split(": ")[0] for line in done.err.splitlines()]
    assert places == ["tiforge.toml:2", "tiforge.toml:3", "tiforge.toml:6"]
    told = json.loads(shell.run("run", "--json").err)
    assert [each["key"] for each in told["problems"]] == ["retry.attempts", "sources.a", "sinks.b.type"]


def unwritable(shell: Shell) -> str:
    (shell.folder / "store").write_text("", encoding="utf-8")
    return "sqlite:///store/tiforge.db"


def no_store(shell: Shell) -> str:
    (shell.folder / "tiforge.db").write_bytes(b"this is no database" * 100)
    return "sqlite:///tiforge.db"


def no_server(shell: Shell) -> str:
    return "postgresql://me:marked-password@127.0.0.1:9/db"


def unknown(shell: Shell) -> str:
    return "oracle://127.0.0.1/db"


@pytest.mark.parametrize("store", [unwritable, no_store, no_server, unknown])
def test_a_store_that_cannot_be_opened(shell: Shell, store: Callable[[Shell], str]) -> None:
    """A sentence and an exit code; no password."""
    shell.write(f'[store]\nurl = "{store(shell)}"\n')
    done = shell.run("status")
    assert done.code in (Exit.FAILED, Exit.CONFIG)
    assert done.out == ""
    assert len(done.err.strip()) > 20
    assert "marked-password" not in done.err


def test_a_command_of_a_plugin(hostile: Shell) -> None:
    """It stands beside tiforge's own, takes its own options, and says whose fault it is where it is not there."""
    assert re.search(r"ask +Ask Acme\.", hostile.good("--help").out)
    assert hostile.good("ask").out == "asked for nothing\n"
    assert hostile.good("ask", "--word", "more").out == "asked for more\n"
    assert "--word" in hostile.good("ask", "--help").out
    lost = hostile.run("lost")
    assert (lost.code, lost.out) == (Exit.FAILED, "")
    assert "The command lost cannot be loaded" in lost.err


TABLES = [
    ["check"],
    ["run"],
    ["status"],
    ["log", "show"],
    ["log", "show", "identity--00000000-0000-4000-8000-000000000001"],
    ["deadletter", "list"],
]


@pytest.mark.parametrize("command", TABLES, ids=" ".join)
def test_no_text_from_outside_steers_the_terminal(hostile: Shell, command: list[str]) -> None:
    """Escapes, controls and turns of direction are shown as replaced characters; markup is text."""
    hostile.run("run")
    done = hostile.run(*command)
    shown = done.out + done.err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", shown)
    assert "[bold]markup[/bold]" in re.sub(r"\s+", " ", shown)
    assert safe(NASTY).count("\N{REPLACEMENT CHARACTER}") == 6


@pytest.mark.parametrize("command", [["log", "export"], ["status"], ["log", "count", "--json"]], ids=" ".join)
def test_a_reader_that_leaves_early_is_no_failure(fed: Shell, command: list[str]) -> None:
    """As with `| head -1`: nothing is said, and the exit code is that of success."""
    fed.run("run")
    with fed.start(*command) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        error = process.stderr.read()
    assert (process.returncode, error) == (0, "")


def test_output_that_cannot_be_written_is_told(fed: Shell) -> None:
    """A full disk is a failure in one sentence; where there is no output at all, nothing is missing."""
    script = f"{' '.join(TIFORGE)} log count > /dev/full; echo $?; {' '.join(TIFORGE)} log count >&-; echo $?"
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=fed.folder,
        env={"PATH": os.environ["PATH"], **fed.environment},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    assert done.stdout == "1\n0\n"
    assert done.stderr == "Standard output cannot be used: No space left on device.\n"


def test_head_of_an_export(fed: Shell) -> None:
    """The first line comes, however long the rest is."""
    fed.run("run")
    with sqlite3.connect(fed.folder / "tiforge.db") as store:
        assert store.execute("SELECT count(*) FROM log").fetchone()[0] > 100
    command = f"{' '.join(TIFORGE)} log export | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=fed.folder,
        env={"PATH": os.environ["PATH"], **fed.environment},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    assert json.loads(done.stdout)["type"] == "identity"
    assert done.stderr == ""


def test_ctrl_c_during_a_run(fed: Shell, emulator: Emulator) -> None:
    """130; what was accepted is kept, and nothing is said in a traceback."""
    emulator.slow_for = 60
    emulator.inject(Fault.NONE, Fault.SLOW)
    process = fed.start("run")
    assert process.stderr is not None
    line_with(process.stderr, "feed: 20 rows")
    done = interrupt(process, signal.SIGINT)
    assert done.code == Exit.INTERRUPTED
    assert "Traceback" not in done.err
    assert fed.good("status", "--json").json["head"] > 0


def test_sigterm_during_a_run_ends_after_the_page(fed: Shell, emulator: Emulator) -> None:
    """As the daemon does: what is under way is finished, what is not begun is left for the next run."""
    emulator.inject(Fault.NONE, Fault.RATE_LIMITED, Fault.RATE_LIMITED, Fault.RATE_LIMITED)
    process = fed.start("run", "--json")
    while emulator.requests < 2:
        assert process.poll() is None
    done = interrupt(process)
    assert done.code in (Exit.OK, Exit.PARTIAL)
    assert outcomes(done)["feed"] in ("ok", "stopped")
    again = fed.run("run", "--json").json["outcomes"]
    assert again[0]["outcome"] == "ok"
    values = set(fed.good("log", "export", "--type", "sighting").out.splitlines())
    assert len(values) >= ROWS - 2


def test_the_schema_is_json(fed: Shell) -> None:
    """Ready for an editor: the installed plugins' tables are in it."""
    schema = fed.good("config", "schema").json
    assert schema["$schema"].endswith("2020-12/schema")
    assert {"MimecastSettings", "StixFileSinkSettings"} <= schema["$defs"].keys()


def test_a_file_that_is_not_valid(shell: Shell) -> None:
    """1, with the place and the reason of each object; JSON Lines, bundles and what is neither."""
    good = {
        "type": "domain-name",
        "spec_version": "2.1",
        "id": "domain-name--00000000-0000-5000-8000-000000000000",
    }
    bundle = {
        "type": "bundle",
        "id": "bundle--00000000-0000-4000-8000-000000000000",
        "objects": [good, {"a": NASTY}],
    }
    for text, places in (
        (json.dumps(bundle), ["object 1", "object 2"]),
        (json.dumps(good | {"value": "example.com"}) + "\n{\n\n5\n", ["object 2", "object 3"]),
        ("neither", ["the file"]),
        ("[]", ["the whole file"]),
    ):
        (shell.folder / "file").write_text(text, encoding="utf-8")
        done = shell.run("validate", "file", "--json")
        assert (done.code, [each["place"] for each in done.json["findings"]]) == (Exit.FAILED, places)
        shown = shell.run("validate", "file")
        assert shown.code == Exit.FAILED
        assert "\x1b" not in shown.out


def test_the_version(shell: Shell) -> None:
    """One line."""
    assert re.fullmatch(r"tiforge \d+\.\d+\.\d+\n", shell.good("--version").out)


def test_help_imports_nothing_heavy(shell: Shell) -> None:
    """`tiforge --help` is quick: what commands need is imported when they run."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tiforge", "--help"],
        cwd=shell.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(shell.folder)},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    assert "Usage: tiforge" in done.stdout
    imported = {
        line.rsplit("|", 1)[1].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line
    }
    assert {"tiforge", "typer", "pluggy"} <= imported
    heavy = {
        "pydantic",
        "sqlalchemy",
        "httpx",
        "stix2",
        "rich",
        "structlog",
        "azure",
        "alembic",
        "stamina",
        "ijson",
    }
    assert imported & heavy == set()


@pytest.mark.parametrize("command", [["log", "--help"], ["run", "--help"], []], ids=" ".join)
def test_help_is_for_people(shell: Shell, command: list[str]) -> None:
    """No markup of the docstrings is left, and no line is a program's."""
    done = shell.run(*command)
    shown = done.out + done.err
    assert "Usage: tiforge" in shown
    assert "``" not in shown
