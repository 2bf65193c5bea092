"""`tiforge run`, `serve` and `backfill`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiforge.cli.exits import Exit
from tiforge.cli.options import DEFAULT_CONFIG, ConfigFile, Debug, Json

if TYPE_CHECKING:
    from tiforge.engine.work import Engine, Outcome


def run(
    config: ConfigFile = DEFAULT_CONFIG,
    now: Annotated[bool, typer.Option("--now", help="Pull every source, whether it is due or not.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Pull everything that is due, deliver until every sink has everything, and exit."""
    from tiforge.engine.run import run as run_once

    _work(config, json, debug, lambda engine: run_once(engine, now=now))


def backfill(
    source: Annotated[str, typer.Argument(help="The source's name in the config.")],
    since: Annotated[str, typer.Option("--since", help="A date, a time (UTC), or an age as 7d.")],
    reset: Annotated[
        bool,
        typer.Option("--reset", help="Let the schedule go on from where this ends, whatever its cursor says."),
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Pull one source again from a moment on; what the log holds already is not doubled."""
    from tiforge.engine.run import backfill as fill

    moment = when(since, "--since")

    def work(engine: Engine) -> Awaitable[list[Outcome]]:
        known(source, engine.config.sources, "source")
        return fill(engine, source, moment, name=since, reset=reset)

    # A run that finds its source busy or waiting has nothing to do; a backfill was asked for by name.
    _work(config, json, debug, work, asked_for=source)


def serve(config: ConfigFile = DEFAULT_CONFIG, debug: Debug = False) -> None:
    """Pull each source when it is due and deliver all the time, until SIGTERM."""
    from tiforge.cli.session import session
    from tiforge.engine.emit import Emitter
    from tiforge.engine.work import Engine
    from tiforge.serve.daemon import serve as serve_forever
    from tiforge.serve.journal import journal

    _spare_the_collector()
    with session(config, debug=debug) as opened:
        emit = Emitter([journal, *opened.plugins.observers])
        engine = Engine(opened.config, opened.plugins, opened.store, emit)
        asyncio.run(serve_forever(engine))


def _spare_the_collector() -> None:
    """Let the garbage collector look less often, and not at what the imports made.

    A page is tens of thousands of dictionaries without a cycle among them. At Python's thresholds they are
    gone through again and again, for a sixth of a run's time.
    """
    import gc

    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _work(
    config: Path,
    json: bool,
    debug: bool,
    work: Callable[[Engine], Awaitable[list[Outcome]]],
    asked_for: str | None = None,
) -> None:
    from tiforge.cli import show
    from tiforge.cli.progress import watching
    from tiforge.cli.session import require_something, session
    from tiforge.engine.emit import Emitter
    from tiforge.engine.work import Engine

    _spare_the_collector()
    with session(config, debug=debug, quiet=True) as opened, watching(machine=json) as observers:
        require_something(opened.config)
        emit = Emitter([*observers, *opened.plugins.observers])
        engine = Engine(opened.config, opened.plugins, opened.store, emit)
        outcomes = asyncio.run(_stoppable(engine, work(engine)))
    if json:
        show.json({"outcomes": outcomes})
    else:
        report(outcomes)
    code = verdict(outcomes)
    left = [each for each in outcomes if each.side == "source" and each.outcome in ("busy", "waiting")]
    if any(each.name == asked_for for each in left):
        code = Exit.FAILED
    if code:
        raise typer.Exit(code)


async def _stoppable(engine: Engine, work: Awaitable[list[Outcome]]) -> list[Outcome]:
    """When SIGTERM comes, finish the page and the batches under way within the time that `serve` has.

    Raises:
        KeyboardInterrupt: They did not finish in time. What is not committed comes again.
    """
    import signal

    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(work)

    def stop() -> None:
        engine.flow.stop()
        loop.call_later(engine.config.serve.grace.total_seconds(), running.cancel)

    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        return await running
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def report(outcomes: Sequence[Outcome]) -> None:
    """Print how each source and sink ended."""
    from tiforge.cli import show

    sources = [each for each in outcomes if each.side == "source"]
    sinks = [each for each in outcomes if each.side == "sink"]
    if sources:
        columns = ["source", "outcome", "#pages", "#rows", "#new", "#unchanged", "#set aside"]
        counts = ("pages", "rows", "added", "unchanged", "set_aside")
        rows = [[each.name, each.outcome, *(each.counts.get(key, 0) for key in counts)] for each in sources]
        show.table("Pulled", columns, rows)
    if sinks:
        columns = ["sink", "outcome", "#batches", "#accepted", "#rejected", "#passed over"]
        counted = ("batches", "accepted", "rejected", "passed_over")
        rows = [[each.name, each.outcome, *(each.counts.get(key, 0) for key in counted)] for each in sinks]
        show.table("Delivered", columns, rows)
    for each in outcomes:
        if each.message:
            show.say(f"{each.side} {each.name}: {each.message}")
    if any(each.counts.get("rejected") or each.counts.get("set_aside") for each in outcomes):
        show.say("What was set aside, and why: tiforge deadletter list")


def verdict(outcomes: Sequence[Outcome]) -> Exit:
    """Return the exit code for the outcomes of a run."""
    failed = [each for each in outcomes if each.outcome == "failed"]
    if failed and len(failed) == len(outcomes):
        return Exit.FAILED
    aside = any(each.counts.get("rejected") or each.counts.get("set_aside") for each in outcomes)
    stopped = any(each.outcome == "stopped" for each in outcomes)
    return Exit.PARTIAL if failed or stopped or aside else Exit.OK


def known(name: str, names: object, what: str) -> None:
    """Refuse a name that the config does not have.

    Raises:
        typer.BadParameter: There is no such name.
    """
    from collections.abc import Mapping

    from tiforge.config.problems import closest

    if isinstance(names, Mapping) and name not in names:
        raise typer.BadParameter(f"there is no {what} named {name!r} in the config{closest(name, names)}")


def when(text: str, option: str) -> datetime:
    """Read a moment: `2026-01-31`, `2026-01-31T12:00`, or an age as `7d`.

    Raises:
        typer.BadParameter: It is none of these.
    """
    from tiforge.settings import parse_duration

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC) - parse_duration(text)
        except (ValueError, OverflowError):
            raise typer.BadParameter(
                f"{text!r} is no moment; write 2026-01-31, 2026-01-31T12:00 or an age as 7d", param_hint=option
            ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
