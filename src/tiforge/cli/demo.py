"""`tiforge demo`: the whole path against local emulators, and proof of what arrived."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiforge.cli.exits import Exit
from tiforge.cli.options import Debug, Json

if TYPE_CHECKING:
    from tiforge.demo import DemoPart
    from tiforge.engine.work import Outcome
    from tiforge.plugins import Plugins


def demo(
    rows: Annotated[int, typer.Option("--rows", min=10, max=1_000_000, help="Rows of the demo feed.")] = 3000,
    source: Annotated[str, typer.Option("--source", help="Whose emulator to pull from.")] = "mimecast",
    sinks: Annotated[str, typer.Option("--sinks", help="Where to deliver, comma-separated.")] = "stix_file",
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Keep config, log and bundles in this new folder.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a feed from a local emulator into a sink, twice, then with faults; show what arrived."""
    from tiforge.cli import show
    from tiforge.plugins import Plugins

    if not debug:
        # A body that an emulator cuts short on purpose is an error to the server that it runs in.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    plugins = Plugins()
    with _folder(keep) as folder, _with_emulators():
        acts = list(_acts(plugins, folder, rows, source, sinks.split(","), machine=json, debug=debug))
    failed = [finding for act in acts for finding in act.findings if not finding.holds]
    if json:
        show.json({"acts": acts, "ok": not failed})
    else:
        show.say("Everything holds." if not failed else f"{len(failed)} of the promises above do not hold.")
        if keep:
            show.say(f"Config, log and bundles are in {keep}.")
    if failed:
        raise typer.Exit(Exit.FAILED)


@dataclass(frozen=True)
class Finding:
    """A promise, and whether it held.

    Attributes:
        promise: What should be so.
        holds: Whether it is.
        seen: The figures.
    """

    promise: str
    holds: bool
    seen: str


@dataclass(frozen=True)
class Act:
    """One act of the demo.

    Attributes:
        title: What was done.
        outcomes: How each source and sink ended.
        findings: What was checked.
        arrived: Objects at each sink by type.
    """

    title: str
    outcomes: list[Outcome]
    findings: list[Finding]
    arrived: dict[str, dict[str, int]]


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    from tiforge.errors import ConfigurationError

    if keep is None:
        with TemporaryDirectory(prefix="tiforge-demo-") as made:
            yield Path(made)
        return
    try:
        keep.mkdir(parents=True)
    except FileExistsError:
        raise ConfigurationError(f"{keep} is there already.", hint="Name a new folder.") from None
    yield keep.absolute()


@contextmanager
def _with_emulators() -> Iterator[None]:
    """Say what to install where a plugin's emulator lacks its libraries."""
    from tiforge.errors import ConfigurationError

    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The emulator needs {error.name}, which is not installed.",
            hint="Install the plugin with its extra, as tiforge-mimecast[emulator].",
        ) from None


def _acts(
    plugins: Plugins, folder: Path, rows: int, source: str, sinks: list[str], *, machine: bool, debug: bool
) -> Iterator[Act]:
    with ExitStack() as stack:
        feed = stack.enter_context(_part(plugins, "source", source).open(_made(folder / source), rows))
        calm, rough = (
            {name: stack.enter_context(_part(plugins, "sink", name).open(_made(folder / stage / name), rows))
             for name in sinks}
            for stage in ("calm", "rough")
        )  # fmt: skip
        stage = _Stage(plugins, source, feed, machine, debug)

        yield stage.play("1. The feed, pulled for the first time", folder / "calm", calm)
        yield stage.play("2. Pulled again: nothing may be doubled", folder / "calm", calm, again=True)
        if feed.faults is not None:
            words = feed.faults(True)
            yield stage.play(f"3. A fresh start, with faults: {words}", folder / "rough", rough, like=calm)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _part(plugins: Plugins, side: str, name: str) -> Any:
    from tiforge.config.problems import closest
    from tiforge.errors import ConfigurationError

    try:
        return plugins.demos[(side, name)]
    except KeyError:
        names = [other for where, other in plugins.demos if where == side]
        raise ConfigurationError(
            f"No installed plugin brings a demo of the {side} {name!r}{closest(name, names)}.",
            hint=f"Install its plugin with the emulator: pip install 'tiforge-{name.replace('_', '-')}[emulator]'",
        ) from None


class _Stage:
    """Plays acts and tells what happened."""

    def __init__(self, plugins: Plugins, source: str, feed: DemoPart, machine: bool, debug: bool) -> None:
        self._plugins = plugins
        self._source = source
        self._feed = feed
        self._machine = machine
        self._debug = debug

    def play(
        self,
        title: str,
        folder: Path,
        sinks: dict[str, DemoPart],
        *,
        again: bool = False,
        like: dict[str, DemoPart] | None = None,
    ) -> Act:
        from tiforge.cli import show

        if not self._machine:
            show.out().rule(show.safe(title), align="left")
            if not again and like is None:
                for part in (self._feed, *sinks.values()):
                    show.say(part.about)
        asked = self._feed.requests()
        outcomes = self._run(folder, sinks)
        arrived = {name: _by_type(part) for name, part in sinks.items()}
        findings = self._findings(outcomes, sinks, again=again, like=like)
        act = Act(title, outcomes, findings, arrived)
        if not self._machine:
            self._tell(act, self._feed.requests() - asked)
        return act

    def _run(self, folder: Path, sinks: dict[str, DemoPart]) -> list[Outcome]:
        from tiforge.cli.progress import watching
        from tiforge.cli.session import session
        from tiforge.engine.emit import Emitter
        from tiforge.engine.run import run
        from tiforge.engine.work import Engine

        file = _made(folder) / "tiforge.toml"
        file.write_text(_config(self._source, self._feed, sinks), encoding="utf-8")
        with session(file, debug=self._debug, quiet=True) as opened, watching(machine=self._machine) as observers:
            engine = Engine(opened.config, opened.plugins, opened.store, Emitter(observers))
            return asyncio.run(run(engine, now=True))

    def _findings(
        self,
        outcomes: list[Outcome],
        sinks: dict[str, DemoPart],
        *,
        again: bool,
        like: dict[str, DemoPart] | None,
    ) -> list[Finding]:
        pulled = outcomes[0].counts
        ended = [f"{each.name}: {each.message}" for each in outcomes if each.outcome != "ok"]
        found = [Finding("every source and sink ended well", not ended, "; ".join(ended) or "all ok")]
        if again:
            added = pulled.get("added", -1)
            found.append(Finding("the second pull adds nothing", added == 0, f"{added:,} objects added"))
        else:
            read, offered = pulled.get("rows", 0), self._feed.rows
            found.append(Finding("every row of the feed was read", read >= offered, f"{read:,} of {offered:,}"))
        wanted = set(self._feed.values())
        for name, part in sinks.items():
            values = Counter(part.values())
            missing, doubled = len(wanted - set(values)), sum(number > 1 for number in values.values())
            seen = f"{len(wanted):,} in the feed, {missing:,} missing, {doubled:,} doubled"
            found.append(Finding(f"{name} has every indicator once", not missing and not doubled, seen))
            if like is not None:
                same = Counter(part.ids()) == Counter(like[name].ids())
                found.append(Finding(f"{name} has what an undisturbed run delivers", same, "compared id by id"))
        return found

    def _tell(self, act: Act, requests: int) -> None:
        from tiforge.cli import show
        from tiforge.cli.work import report

        report(act.outcomes)
        for name, types in act.arrived.items():
            _chart(f"{name} holds, by STIX type ({requests} feed requests in this act)", types)
        for each in act.findings:
            mark, style = ("✓", "green") if each.holds else ("✗", "bold red")
            line = show.safe(f"{mark} {each.promise}: {each.seen}")
            show.out().print(line, style=style, markup=False)
        show.say("")


def _by_type(part: DemoPart) -> dict[str, int]:
    counted = Counter(id.partition("--")[0] for id in part.ids())
    return dict(sorted(counted.items(), key=lambda item: -item[1]))


def _chart(title: str, figures: dict[str, int]) -> None:
    from tiforge.cli import show

    most = max(figures.values(), default=1)
    rows = [[name, number, "█" * max(1, round(30 * number / most))] for name, number in figures.items()]
    show.table(title, ["type", "#objects", ""], rows)


def _config(source: str, feed: DemoPart, sinks: dict[str, DemoPart]) -> str:
    from tiforge.cli.template import plain

    # Short waits: an emulator recovers sooner than a service.
    document = {
        "retry": {"wait_initial": "100ms", "wait_max": "5s", "attempts": 20},
        "sources": {source: feed.settings},
        "sinks": {name: part.settings for name, part in sinks.items()},
    }
    return plain(document)
