"""`tiforge status` and `check`: how everything is doing, and whether it could."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from tiforge.cli.exits import Exit
from tiforge.cli.options import DEFAULT_CONFIG, ConfigFile, Debug, Json

if TYPE_CHECKING:
    from tiforge.engine.status import Status


def status(config: ConfigFile = DEFAULT_CONFIG, json: Json = False, debug: Debug = False) -> None:
    """Show sources with their cursor and age, sinks with their lag and dead letters, and the last runs."""
    from tiforge.cli import show
    from tiforge.cli.session import session
    from tiforge.engine.status import status as look

    with session(config, debug=debug, quiet=True) as opened:
        seen = look(opened.config, opened.store)
    if json:
        show.json(seen)
        return
    _print(seen)


def _print(seen: Status) -> None:
    from tiforge.cli import show
    from tiforge.stix import from_micros

    show.say(f"Store {seen.store}, log at {seen.head:,}")
    show.table(
        "Sources",
        ["source", "type", "read until", "last success", "due", "#set aside", "state"],
        [
            [
                each.name,
                each.type,
                each.read_until,
                show.ago(each.last_success_at),
                show.ago(each.due_at) if each.due_at else "at the next run",
                each.set_aside,
                _state(each),
            ]
            for each in seen.sources
        ],
    )
    show.table(
        "Sinks",
        ["sink", "type", "#offset", "#lag", "#dead letters", "last success", "state"],
        [
            [e.name, e.type, e.offset, e.lag, e.dead_letters, show.ago(e.last_success_at), _state(e)]
            for e in seen.sinks
        ],
    )
    if seen.runs:
        show.table(
            "Last runs",
            ["ended", "what", "outcome", "counts"],
            [
                [
                    from_micros(each.ended_at),
                    f"{each.side} {each.name}",
                    each.outcome,
                    ", ".join(f"{number:,} {key}" for key, number in each.counts.items() if number)
                    or each.message,
                ]
                for each in seen.runs
            ],
        )


def _state(each: Any) -> str:
    if not each.enabled:
        return "disabled"
    if each.held_by:
        return f"working ({each.held_by})"
    if each.failures:
        return f"failing ({each.failures}×): {each.last_error}"
    return "ok" if each.last_success_at else "never ran"


def check(config: ConfigFile = DEFAULT_CONFIG, json: Json = False, debug: Debug = False) -> None:
    """Check the config, and credentials and reachability of each source and sink, without moving anything."""
    from tiforge.cli import show
    from tiforge.cli.session import require_something, session
    from tiforge.engine.check import check_all
    from tiforge.engine.emit import Emitter
    from tiforge.engine.work import Engine

    with session(config, debug=debug, quiet=True) as opened:
        require_something(opened.config)
        engine = Engine(opened.config, opened.plugins, opened.store, Emitter())
        findings = asyncio.run(check_all(engine))
        address = opened.store.address
    if json:
        show.json({"config": str(config), "store": address, "findings": findings})
    else:
        rows = [["", "config", "ok", str(config)], ["", "store", "ok", address]]
        rows += [[each.side, each.name, "ok" if each.ok else "failed", each.message] for each in findings]
        show.table("Checked", ["", "name", "outcome", "found"], rows)
    wrong = sum(not each.ok for each in findings)
    if wrong:
        raise typer.Exit(Exit.FAILED if wrong == len(findings) else Exit.PARTIAL)
