"""`tiforge log`: show, count and export what is held."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiforge.cli.options import DEFAULT_CONFIG, ConfigFile, Debug, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiforge.store import Entry, Filter, Store

app = typer.Typer(help="Show, count and export what the log holds.", no_args_is_help=True, rich_markup_mode=None)

Types = Annotated[list[str] | None, typer.Option("--type", help="This STIX type only; may be repeated.")]
Sources = Annotated[list[str] | None, typer.Option("--source", help="From this source only; may be repeated.")]
_CHUNK = 1000


@app.command()
def show(
    id: Annotated[str | None, typer.Argument(help="A STIX id: all its versions.")] = None,
    type: Types = None,
    source: Sources = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many of the newest.")] = 20,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the newest entries, or every version of one object."""
    from tiforge.cli import show as screen
    from tiforge.cli.session import session
    from tiforge.store import log

    with session(config, debug=debug, quiet=True) as opened, opened.store.reading() as connection:
        entries = log.newest(connection, only=_only(type, source), objects=last, id=id)
    if json:
        screen.json([{"seq": seq, "object": record.object} for seq, record in entries])
        return
    if id is not None:
        for entry in entries:
            screen.say(f"{entry.seq}  {entry.record.payload.decode()}")
        return
    columns = ["#seq", "type", "version", "id", "what"]
    rows = [[e.seq, e.record.type, e.record.version, e.record.id, _gist(e)] for e in reversed(entries)]
    screen.table("The log, newest last", columns, rows)


@app.command()
def count(config: ConfigFile = DEFAULT_CONFIG, json: Json = False, debug: Debug = False) -> None:
    """Count entries by source and type."""
    from tiforge.cli import show as screen
    from tiforge.cli.session import session
    from tiforge.store import log

    with session(config, debug=debug, quiet=True) as opened, opened.store.reading() as connection:
        counts = log.count(connection)
    if json:
        screen.json([{"source": s, "type": t, "entries": number} for (s, t), number in counts.items()])
        return
    rows: list[list[object]] = [[s, t, number] for (s, t), number in counts.items()]
    screen.table("Entries in the log", ["source", "type", "#entries"], [*rows, ["", "all", sum(counts.values())]])


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; standard output without.")] = None,
    type: Types = None,
    source: Sources = None,
    since: Annotated[str | None, typer.Option("--since", help="Added since a moment, or an age as 7d.")] = None,
    current: Annotated[bool, typer.Option("--current", help="The latest, unexpired versions only.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    debug: Debug = False,
) -> None:
    """Write entries as JSON Lines, one STIX object a line, streaming."""
    from tiforge.cli.pipe import reader_left
    from tiforge.cli.session import session
    from tiforge.cli.work import when
    from tiforge.stix import micros
    from tiforge.store import log

    with session(config, debug=debug, quiet=True) as opened:
        after = 0
        if since is not None:
            with opened.store.reading() as connection:
                after = log.seq_at(connection, micros(when(since, "--since")))
        # What is in the log may be marked TLP:RED: the file is its owner's alone.
        target = open(output, "wb", opener=_private) if output else sys.stdout.buffer  # noqa: SIM115
        try:
            for entry in _stream(opened.store, _only(type, source), after, current):
                target.write(entry.record.payload + b"\n")
                if reader_left() and not output:
                    return
            target.flush()
        finally:
            if output:
                target.close()


def _private(path: str, flags: int) -> int:
    import os

    return os.open(path, flags, 0o600)


def _only(types: list[str] | None, sources: list[str] | None) -> Filter:
    from tiforge.store import Filter

    return Filter(sources=sources or None, types=types or None)


def _stream(store: Store, only: Filter, after: int, current: bool) -> Iterator[Entry]:
    from tiforge.store import log

    with store.reading() as connection:
        head = log.head(connection)
    now = store.now()
    at: int | None = after
    while at is not None:
        with store.reading() as connection:
            if current:
                entries, at = log.current(connection, after=at, upto=head, only=only, objects=_CHUNK, now=now)
            else:
                entries = log.read(connection, after=at, upto=head, only=only, objects=_CHUNK)
                at = entries[-1].seq if entries else None
        yield from entries


def _gist(entry: Entry) -> str:
    data = entry.record.object
    for key in ("pattern", "value", "name", "sighting_of_ref", "relationship_type"):
        if isinstance(data.get(key), str):
            return str(data[key])[:120]
    return ""
