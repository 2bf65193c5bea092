"""`tiforge serve` as a process: it pulls on its schedule, delivers, and ends when it is told to."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from tests.shell import LONG, Done, Shell, interrupt
from tiforge.cli.exits import Exit
from tiforge.testing.serving import serving
from tiforge_mimecast.emulator import Emulator, Fault, credentials, make_rows

CONFIG = """
[retry]
wait_initial = "1ms"
[logging]
format = "json"
[serve]
poll = "100ms"
grace = "GRACE"
[sources.feed]
type = "mimecast"
base_url = "URL"
client_id = "emulator-client-id"
client_secret = { env = "SECRET" }
schedule = "every 1s"
[sinks.files]
type = "stix_file"
path = "out"
"""


class Daemon:
    """A daemon that runs, and what it logs."""

    def __init__(self, process: Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    def until(self, event: str, **fields: Any) -> dict[str, Any]:
        """Read its log until there is such an event."""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            line: dict[str, Any] = json.loads(text)
            self.lines.append(line)
            if line["event"] == event and fields.items() <= line.items():
                return line
        raise AssertionError(f"the daemon ended without {event!r}: {self.lines}")


@contextmanager
def daemon(shell: Shell, *options: str) -> Iterator[Daemon]:
    """Serve for as long as the block lasts; one that hangs is killed, which ends its log."""
    process = shell.start("serve", *options)
    watchdog = threading.Timer(LONG, process.kill)
    watchdog.start()
    try:
        yield Daemon(process)
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@pytest.fixture
def emulator() -> Emulator:
    """A feed of some rows."""
    return Emulator(make_rows(40), page_size=20)


@pytest.fixture
def shell(tmp_path: Path, emulator: Emulator) -> Iterator[Shell]:
    """A folder with a config that reads the emulator."""
    made = Shell(tmp_path, {"SECRET": credentials.CLIENT_SECRET})
    with serving(emulator.app) as url:
        made.write(CONFIG.replace("URL", url).replace("GRACE", "60s"))
        yield made


def ids(shell: Shell) -> list[str]:
    return [
        each["id"]
        for file in sorted((shell.folder / "out").glob("*.json"))
        for each in json.loads(file.read_text(encoding="utf-8"))["objects"]
    ]


def in_log(shell: Shell) -> list[str]:
    return [json.loads(line)["id"] for line in shell.good("log", "export").out.splitlines()]


def test_it_pulls_on_its_schedule_and_delivers(shell: Shell, emulator: Emulator) -> None:
    """The feed is asked again and again; what came is at the sink; SIGTERM ends it with 0."""
    with daemon(shell) as running:
        running.until("serving", sources=["feed"], sinks=["files"])
        running.until("page", source="feed")
        running.until("batch", sink="files")
        for _ in range(3):
            running.until("finished", source="feed", outcome="ok")
        done = interrupt(running.process)
    assert (done.code, done.out) == (Exit.OK, "")
    assert json.loads(done.err.splitlines()[-1])["event"] == "stopped"
    assert emulator.requests >= 4
    assert sorted(ids(shell)) == sorted(in_log(shell))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_ends_within_its_grace_whatever_it_waits_for(
    shell: Shell, emulator: Emulator, number: signal.Signals
) -> None:
    """An answer that does not come is abandoned; nothing is half done, and the next start goes on."""
    shell.write(shell.config.read_text(encoding="utf-8").replace('grace = "60s"', 'grace = "500ms"'))
    emulator.slow_for = 10 * LONG
    emulator.inject(Fault.NONE, Fault.SLOW)
    with daemon(shell) as running:
        running.until("page", source="feed")
        while emulator.requests < 2:
            assert running.process.poll() is None
        done: Done = interrupt(running.process, number)
    assert (done.code, done.out) == (Exit.OK, "")
    assert "Traceback" not in done.err
    assert json.loads(done.err.splitlines()[-1])["event"] == "stopped"
    before = shell.good("status", "--json").json
    assert before["head"] > 0
    assert before["sources"][0]["held_by"] is None

    with daemon(shell) as running:
        running.until("finished", source="feed", outcome="ok")
        while running.until("batch", sink="files")["offset"] < running.lines[-1]["head"]:
            continue
        assert interrupt(running.process).code == Exit.OK
    after = shell.good("status", "--json").json
    assert after["head"] > before["head"]
    delivered = ids(shell)
    assert sorted(delivered) == sorted(in_log(shell))
    assert len(delivered) == len(set(delivered))


def test_what_is_under_way_is_waited_for(shell: Shell, emulator: Emulator) -> None:
    """With time enough the answer comes, and how the pull went is noted before the end."""
    emulator.slow_for = 1
    emulator.inject(Fault.SLOW)
    with daemon(shell) as running:
        while emulator.requests < 1:
            assert running.process.poll() is None
        done = interrupt(running.process)
    assert done.code == Exit.OK
    events = [json.loads(line)["event"] for line in done.err.splitlines()]
    assert events[-1] == "stopped"
    assert "finished" in events


def test_a_source_that_fails_is_told_and_the_daemon_goes_on(shell: Shell, emulator: Emulator) -> None:
    """Refused credentials are an error in the log, without the secret; the circuit opens."""
    shell.environment["SECRET"] = "marked-but-wrong-secret"
    with daemon(shell) as running:
        failed = running.until("finished", source="feed", outcome="failed")
        assert failed["level"] == "error"
        assert "Check `client_id` and `client_secret`" in failed["message"]
        assert running.process.poll() is None
        done = interrupt(running.process)
    assert done.code == Exit.OK
    assert "marked-but-wrong" not in done.err + json.dumps(running.lines)
    (source,) = shell.good("status", "--json").json["sources"]
    assert source["failures"] == 1
    assert emulator.token_requests == 1


def test_two_daemons_do_the_work_once(shell: Shell) -> None:
    """The second leaves to the first what that one holds; together they double nothing."""
    with daemon(shell) as first, daemon(shell) as second:
        first.until("serving")
        second.until("serving")
        shell.run("run", "--now")
        while shell.good("status", "--json").json["sinks"][0]["lag"]:
            continue
        assert interrupt(first.process).code == Exit.OK
        assert interrupt(second.process).code == Exit.OK
    delivered = ids(shell)
    assert sorted(delivered) == sorted(in_log(shell))


def test_a_wrong_config_ends_it_at_once(shell: Shell) -> None:
    """3, so that a supervisor does not take it for a crash."""
    shell.environment["SECRET"] = ""
    done = shell.run("serve")
    assert (done.code, done.out) == (Exit.CONFIG, "")
    assert "the environment variable SECRET is not set" in done.err


def test_nothing_to_do_waits_for_the_end(shell: Shell) -> None:
    """An empty config serves nothing, and ends when it is told to."""
    shell.write('[logging]\nformat = "json"\n')
    with daemon(shell) as running:
        running.until("serving", sources=[], sinks=[])
        assert interrupt(running.process).code == Exit.OK
