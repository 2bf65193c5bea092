"""A shell for the tests: `tiforge` as a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import IO, Any

TIFORGE = (sys.executable, "-m", "tiforge")
LONG = 120.0
"""Seconds after which a process hangs; nothing is decided by them."""


@dataclass(frozen=True)
class Done:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed for machines: one JSON value and nothing else."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Runs commands in a folder, with nothing of the environment of the tests."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The config that commands find by themselves."""
        return self.folder / "tiforge.toml"

    def write(self, toml: str) -> None:
        """Write the config."""
        self.config.write_text(dedent(toml), encoding="utf-8")

    def install(self, name: str, code: str) -> None:
        """Install a plugin, as a distribution of its own."""
        site = self.folder / "site"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(dedent(code), encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[tiforge]\n{name} = {name}\n", encoding="utf-8")
        self.environment["PYTHONPATH"] = str(site)

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        """Start `tiforge` and return it while it runs."""
        given: dict[str, Any] = {
            "cwd": self.folder,
            "env": {
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(self.folder),
                "COLUMNS": "400",
                "PYTHONWARNINGS": "error",
                **self.environment,
            },
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **options,
        }
        return subprocess.Popen([*TIFORGE, *map(str, arguments)], **given)

    def run(self, *arguments: object, typed: str = "") -> Done:
        """Run `tiforge` to its end. It never ends in a traceback."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(typed, timeout=LONG)
        finally:
            process.kill()
        assert "Traceback" not in out + err, err
        assert "fault of tiforge" not in err, err
        return Done(process.returncode, out, err)

    def good(self, *arguments: object, typed: str = "") -> Done:
        """Run a command that must do well."""
        done = self.run(*arguments, typed=typed)
        assert done.code == 0, done.err + done.out
        return done


def interrupt(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> Done:
    """Send a signal, and wait for the end."""
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=LONG)
    finally:
        process.kill()
    return Done(process.returncode, out, err)


def line_with(stream: IO[str], *texts: str) -> str:
    """Read until a line holds one of these texts, and return it."""
    for line in stream:
        if any(text in line for text in texts):
            return line
    raise AssertionError(f"the output ended without {texts}")
