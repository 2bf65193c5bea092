"""`tiforge deadletter` and `replay`: what was set aside, and how it comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tiforge.cli.exits import Exit
from tiforge.cli.options import DEFAULT_CONFIG, ConfigFile, Debug, Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiforge.cli.session import Session

app = typer.Typer(help="List, retry and drop what was set aside.", no_args_is_help=True, rich_markup_mode=None)

Owner = Annotated[str, typer.Argument(help="The name of a sink or source.")]
Numbers = Annotated[list[int] | None, typer.Argument(help="Their numbers; all without.")]


@app.command("list")
def list_letters(
    owner: Annotated[str | None, typer.Argument(help="The name of a sink or source; all without.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 100,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List what was set aside, with the reasons."""
    from tiforge.cli import show
    from tiforge.cli.session import session
    from tiforge.store import deadletters

    with session(config, debug=debug, quiet=True) as opened, opened.store.reading() as connection:
        counted = deadletters.counted(connection)
        if owner is not None:
            _known_owner(owner, opened, counted)
        letters = deadletters.listed(connection, owner=owner, limit=limit)
        every = sum(number for (_, who), number in counted.items() if owner in (None, who))
    if json:
        show.json(letters)
        return
    if not letters:
        show.say("Nothing is set aside.")
        return
    rows = [
        [each.id, f"{each.side} {each.owner}", each.object_id or each.place, each.reason, each.attempts,
         "waiting" if each.retry else "", (each.raw or "")[:80]]
        for each in letters
    ]  # fmt: skip
    show.table("Set aside", ["#no", "by", "what", "reason", "#tries", "retry", "as it came"], rows)
    if every > len(letters):
        show.say(f"{every - len(letters):,} more: raise --limit.")


@app.command()
def retry(
    owner: Owner,
    numbers: Numbers = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Deliver a sink's dead letters again, at its next delivery."""
    from tiforge.cli import show
    from tiforge.cli.session import session
    from tiforge.cli.work import known
    from tiforge.store import deadletters

    with session(config, debug=debug, quiet=True) as opened:
        if owner in opened.config.sources and owner not in opened.config.sinks:
            raise typer.BadParameter(
                f"{owner!r} is a source: read its feed again with `tiforge backfill {owner} --since …`"
            )
        known(owner, opened.config.sinks, "sink")
        if _publishes(opened, owner):
            raise typer.BadParameter(
                f"{owner!r} publishes everything again at its next delivery; nothing to retry"
            )
        with opened.store.writing() as connection:
            marked = deadletters.mark_for_retry(connection, owner, numbers or ())
    if json:
        show.json({"marked": marked})
    else:
        show.say(f"{marked:,} will be delivered again at the next run.")


def _publishes(opened: Session, name: str) -> bool:
    from tiforge.engine.emit import Emitter
    from tiforge.engine.work import Engine

    return Engine(opened.config, opened.plugins, opened.store, Emitter()).sink(name).publishes


@app.command()
def drop(
    owner: Owner,
    numbers: Numbers = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Take dead letters away for good."""
    from tiforge.cli import show
    from tiforge.cli.session import session
    from tiforge.store import deadletters

    with session(config, debug=debug, quiet=True) as opened:
        with opened.store.reading() as connection:
            counted = deadletters.counted(connection)
        _known_owner(owner, opened, counted)
        sides = sorted(side for side, name in counted if name == owner)
        if len(sides) > 1 and not numbers:
            raise typer.BadParameter(f"a source and a sink are both named {owner!r}; give the numbers")
        if not yes:
            what = f"{len(numbers)} dead letters" if numbers else "all dead letters"
            typer.confirm(f"Drop {what} of {owner} for good?", abort=True, err=True)
        with opened.store.writing() as connection:
            dropped = sum(deadletters.drop(connection, side, owner, numbers or ()) for side in sides)
    if json:
        show.json({"dropped": dropped})
    else:
        show.say(f"{dropped:,} dropped.")


def replay(
    sink: Annotated[str, typer.Argument(help="The sink's name in the config.")],
    start: Annotated[
        str, typer.Option("--from", help="A place in the log, a date or time (UTC), an age as 7d, or `start`.")
    ],
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Set a sink back, so that the next run delivers again from there."""
    from tiforge.cli import show
    from tiforge.cli.session import session
    from tiforge.cli.work import known
    from tiforge.store import leases, rewind

    with session(config, debug=debug, quiet=True) as opened:
        known(sink, opened.config.sinks, "sink")
        offset = _place(opened, start)
        lease = leases.acquire(opened.store, f"sink/{sink}")
        if lease is None:
            show.say(f"Another process is delivering to {sink}; try again when it is done.")
            raise typer.Exit(Exit.FAILED)
        try:
            offset, head = rewind(opened.store, lease, sink, offset)
        finally:
            leases.release(opened.store, lease)
    if json:
        show.json({"sink": sink, "offset": offset, "head": head})
    else:
        show.say(f"The next run delivers {head - offset:,} entries to {sink}, from {offset + 1:,} to {head:,}.")


def _known_owner(owner: str, opened: Session, counted: Mapping[tuple[str, str], int]) -> None:
    """Refuse a name that neither the config nor a dead letter has: one may be left of what was taken out."""
    from tiforge.cli.work import known

    left = {who for _, who in counted}
    known(owner, dict.fromkeys([*opened.config.sources, *opened.config.sinks, *left]), "source or sink")


def _place(opened: Session, start: str) -> int:
    from tiforge.cli.work import when
    from tiforge.stix import micros
    from tiforge.store import log

    if start == "start":
        return 0
    if start.isascii() and start.isdecimal():
        return max(int(start) - 1, 0)
    with opened.store.reading() as connection:
        return log.seq_at(connection, micros(when(start, "--from")))
