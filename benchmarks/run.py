"""Measure tiforge against the same job on `stix2` and against the floor, all in one run.

    uv run python benchmarks/run.py [--rows 50000] [--stix2-rows 2000] [--repeat 3] [--json]

Every figure comes from a process of its own: time from the clock, CPU time and peak memory from the kernel
(`wait4`). The emulator is a process too, and its CPU time is not counted. The contenders take turns. A
goal that is missed is printed as missed; the exit code says only whether the measurement worked.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

# Nothing large is imported here: the kernel counts into a child's peak what its parent held at the fork.

HERE = Path(__file__).resolve().parent
SMALL = 2000  # rows of the small run whose memory is compared
FASTER = 20.0  # times as many rows per second as stix2, at least
OVER = 2.5  # times the CPU time of the floor, at most
MORE = 40.0  # MiB over the small run, at most
CONFIG = """
[store]
url = "sqlite:///store.db"

[sources.mimecast]
type = "mimecast"
base_url = "{url}"
client_id = "emulator-client-id"
client_secret = "emulator-only-client-secret"

[sinks.bundle]
type = "stix_file"
path = "out"
"""


class Broken(Exception):
    """A run that did not do its job, so that nothing can be said."""


@dataclass(frozen=True)
class Run:
    """What one process took. Times are seconds, memory is MiB."""

    rows: int
    objects: int
    wall: float
    cpu: float
    peak: float
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.rows / self.wall

    @property
    def cpu_per_row(self) -> float:
        return self.cpu / self.rows * 1e6


@dataclass(frozen=True)
class Goal:
    what: str
    measured: float
    goal: str
    met: bool


@contextlib.contextmanager
def emulator(rows: int) -> Iterator[str]:
    """Serve a feed; yield its address."""
    command = [sys.executable, "-m", "tiforge_mimecast.emulator", "--rows", str(rows), "--page-size", "5000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            first = process.stdout.readline() if process.stdout else ""
            url = first.strip().rpartition(" ")[2]
            if not url.startswith("http://"):
                raise Broken(f"the emulator did not start: {first!r}")
            yield url
        finally:
            process.terminate()


@contextlib.contextmanager
def compiled() -> Iterator[None]:
    """Let each process find its modules compiled, as where they are installed, whatever the environment says."""
    with tempfile.TemporaryDirectory(prefix="tiforge-benchmark-") as cache:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = cache
        yield


def measured(
    command: Sequence[str], folder: Path, *, good: Sequence[int] = (0,)
) -> tuple[str, float, float, float]:
    """Run a command; return its output, time, CPU time and peak memory."""
    with (folder / "stdout").open("w+b") as out, (folder / "stderr").open("w+b") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode not in good:
            said = errors.read().decode(errors="replace")[-2000:]
            raise Broken(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
        unit = 1024 if sys.platform == "darwin" else 1
        return out.read().decode(), wall, used.ru_utime + used.ru_stime, used.ru_maxrss / unit / 1024


@contextlib.contextmanager
def fresh(url: str) -> Iterator[Path]:
    """Make a folder with a config and nothing else."""
    with tempfile.TemporaryDirectory(prefix="tiforge-benchmark-") as name:
        folder = Path(name)
        (folder / "tiforge.toml").write_text(CONFIG.format(url=url))
        yield folder


def run_tiforge(url: str) -> Run:
    tiforge = str(Path(sys.executable).with_name("tiforge"))
    with fresh(url) as folder:
        # Rows that cannot be read are a part of the feed: the exit code 4 says that some were set aside.
        text, wall, cpu, peak = measured([tiforge, "run", "--now", "--json"], folder, good=(0, 4))
        outcomes = json.loads(text)["outcomes"]
        if [each["outcome"] for each in outcomes] != ["ok", "ok"]:
            raise Broken(f"tiforge run: {outcomes}")
        pulled, delivered = (each["counts"] for each in outcomes)
        written = sum(1 for path in (folder / "out").glob("*.json") for _ in path.open("rb")) - 2
        if not pulled["added"] == delivered["accepted"] == written:
            raise Broken(f"tiforge wrote {written} objects: {outcomes}")
        return Run(pulled["rows"], written, wall, cpu, peak)


def run_floor(url: str, rows: int) -> Run:
    with fresh(url) as folder:
        command = [sys.executable, str(HERE / "floor.py"), url, str(folder)]
        text, wall, cpu, peak = measured(command, folder)
        return Run(rows, int(text), wall, cpu, peak)


def run_stix2(url: str, rows: int) -> Run:
    with fresh(url) as folder:
        command = [sys.executable, str(HERE / "with_stix2.py"), url, str(folder / "bundle.json")]
        text, wall, cpu, peak = measured(command, folder)
        told = json.loads(text)
        return Run(rows, told["objects"], wall, cpu, peak, told)


def run_stages(url: str) -> dict[str, Any]:
    with fresh(url) as folder:
        command = [sys.executable, str(HERE / "stages.py"), str(folder / "tiforge.toml")]
        found: dict[str, Any] = json.loads(measured(command, folder)[0])
        return found


def extrapolated(run: Run, rows: int) -> Run:
    """Return what more rows would have taken: the start once, the rest in proportion.

    The objects stay those that were made: observables recur, so more rows make fewer new ones each.
    """
    wall, cpu = run.told["wall"], run.told["cpu"]
    times = rows / run.rows
    started = max(0.0, run.wall - wall)
    return Run(rows, run.objects, started + wall * times, run.cpu - cpu + cpu * times, run.peak)


def middle(runs: Sequence[Run]) -> Run:
    def of(name: str) -> float:
        return median(getattr(run, name) for run in runs)

    return Run(runs[0].rows, round(of("objects")), of("wall"), of("cpu"), of("peak"))


def measure(rows: int, stix2_rows: int, repeat: int) -> dict[str, Any]:
    tiforge, floor, stix2, small, stages = [], [], [], [], []
    with compiled(), emulator(rows) as full, emulator(stix2_rows) as few, emulator(SMALL) as least:
        say("one small run of each, so that what they import is compiled and in memory")
        run_tiforge(least), run_stages(least), run_floor(least, SMALL), run_stix2(few, stix2_rows)
        for number in range(repeat):
            say(f"round {number + 1} of {repeat}: tiforge")
            tiforge.append(run_tiforge(full))
            say(f"round {number + 1} of {repeat}: the floor")
            floor.append(run_floor(full, rows))
            say(f"round {number + 1} of {repeat}: stix2, {stix2_rows:,} rows")
            stix2.append(extrapolated(run_stix2(few, stix2_rows), rows))
            say(f"round {number + 1} of {repeat}: tiforge, {SMALL:,} rows; stages")
            small.append(run_tiforge(least))
            stages.append(run_stages(full))
    ours, theirs, bare, least_run = middle(tiforge), middle(stix2), middle(floor), middle(small)
    # Which of the runs is told of is settled by the whole, so that its stages add up.
    staged = sorted(stages, key=lambda each: sum(each["stages"].values()))[len(stages) // 2]
    faster, times, more = ours.rate / theirs.rate, ours.cpu / bare.cpu, ours.peak - least_run.peak
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("tiforge", "stix2", "orjson", "sqlalchemy")},
        "rows": rows,
        "stix2_rows": stix2_rows,
        "small_rows": SMALL,
        "repeat": repeat,
        "runs": {
            "tiforge": [asdict(each) for each in tiforge],
            "floor": [asdict(each) for each in floor],
            "stix2": [asdict(each) for each in stix2],
            "tiforge_small": [asdict(each) for each in small],
        },
        "medians": {
            name: {**asdict(each), "rate": each.rate, "cpu_per_row": each.cpu_per_row}
            for name, each in (("tiforge", ours), ("floor", bare), ("stix2", theirs), ("tiforge_small", least_run))
        },
        "stages": staged["stages"],
        "pairs": {
            "rate_over_stix2": [a.rate / b.rate for a, b in zip(tiforge, stix2, strict=True)],
            "cpu_of_stix2_over_ours": [b.cpu / a.cpu for a, b in zip(tiforge, stix2, strict=True)],
            "cpu_over_floor": [a.cpu / b.cpu for a, b in zip(tiforge, floor, strict=True)],
        },
        "cpu_of_stix2_over_ours": theirs.cpu / ours.cpu,
        "cpu_of_stix2_over_floor": theirs.cpu / bare.cpu,
        "memory_mib": {"small": least_run.peak, "full": ours.peak, "more": more},
        "goals": [
            asdict(Goal("rows per second, over stix2", faster, f">= {FASTER:g}", faster >= FASTER)),
            asdict(Goal("CPU time, over the floor", times, f"<= {OVER:g}", times <= OVER)),
            asdict(Goal(f"peak memory, MiB over {SMALL:,} rows", more, f"<= {MORE:g}", more <= MORE)),
        ],
    }  # fmt: skip


def say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def report(found: dict[str, Any]) -> None:
    rows, few = found["rows"], found["stix2_rows"]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    print(f"{found['at']}   Python {found['python']}   {found['cpus']} CPUs   {found['machine']}   {versions}")
    print(f"{rows:,} rows, medians of {found['repeat']} rounds; stix2: {few:,} rows, extrapolated to {rows:,}")
    names = (("tiforge", "tiforge run"), ("stix2", "script on stix2 (extrapolated)"), ("floor", "the floor"))
    table(
        "From the emulator to the bundle",
        ("", "rows/s", "time, s", "CPU, s", "CPU µs/row", "objects", "peak MiB"),
        [
            (
                label, f"{m['rate']:,.0f}", f"{m['wall']:.2f}", f"{m['cpu']:.2f}", f"{m['cpu_per_row']:.1f}",
                f"{m['objects']:,}{' (not extrapolated)' if name == 'stix2' else ''}",
                f"{m['peak']:.1f}",
            )
            for name, label in names
            for m in [found["medians"][name]]
        ],
    )  # fmt: skip
    pairs = found["pairs"]
    table(
        "Ratios",
        ("", "of medians", "round by round"),
        [
            ("rows/s: tiforge over stix2", f"{found['goals'][0]['measured']:.2f}", each(pairs["rate_over_stix2"])),
            (
                "CPU: stix2 over tiforge",
                f"{found['cpu_of_stix2_over_ours']:.2f}",
                each(pairs["cpu_of_stix2_over_ours"]),
            ),
            ("CPU: tiforge over the floor", f"{found['goals'][1]['measured']:.2f}", each(pairs["cpu_over_floor"])),
            ("CPU: stix2 over the floor", f"{found['cpu_of_stix2_over_floor']:.2f}", ""),
        ],
    )
    stages = found["stages"]
    whole = sum(stages.values())
    listed = [*stages.items(), ("together", whole)]
    table(
        "Where tiforge's CPU time goes",
        ("stage", "µs/row", "share", ""),
        [
            (
                name,
                f"{spent / rows * 1e6:.1f}",
                f"{spent / whole:.1%}",
                "█" * round(spent / whole * 80 * (name in stages)),
            )
            for name, spent in listed
        ],
    )
    memory = found["memory_mib"]
    table(
        "Peak memory of tiforge run",
        ("rows", "MiB"),
        [
            (f"{found['small_rows']:,}", f"{memory['small']:.1f}"),
            (f"{rows:,}", f"{memory['full']:.1f}"),
            ("more", f"{memory['more']:.1f}"),
        ],
    )
    table(
        "Goals",
        ("", "measured", "goal", ""),
        [
            (goal["what"], f"{goal['measured']:.2f}", goal["goal"], "met" if goal["met"] else "MISSED")
            for goal in found["goals"]
        ],
    )


def each(ratios: Sequence[float]) -> str:
    return "  ".join(f"{ratio:.2f}" for ratio in ratios)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with rich on a terminal, else as text."""
    texts = {0, len(columns) - 1} if columns[-1] in ("", "round by round") else {0}
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        shown = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            shown.add_column(column, justify="left" if index in texts else "right", no_wrap=True)
        for row in rows:
            shown.add_row(*row)
        Console().print(shown)
        return
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    print(f"\n{title}")
    for row in (columns, ["-" * width for width in widths], *rows):
        cells = [
            cell.ljust(width) if index in texts else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure tiforge against its peers.")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--stix2-rows", type=int, default=2000, help="the rows of the script on stix2")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    try:
        found = measure(options.rows, options.stix2_rows, options.repeat)
    except Broken as broken:
        say(f"The measurement broke: {broken}")
        return 1
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        report(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
