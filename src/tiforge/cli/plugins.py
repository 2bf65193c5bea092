"""`tiforge plugins`: what is installed, and why something is refused."""

from __future__ import annotations

import typer

from tiforge.cli.options import Json

app = typer.Typer(help="Show the installed plugins.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Show the installed plugins."""


@app.command("list")
def list_plugins(json: Json = False) -> None:
    """List the installed plugins: what each provides, or why it is refused."""
    from tiforge.cli import show
    from tiforge.plugins import Plugins

    found = Plugins().inspected()
    if json:
        show.json([
            {
                "name": each.name,
                "distribution": each.distribution,
                "version": each.version,
                "api_version": each.api_version,
                "status": "ok" if each.accepted else "refused",
                "reason": each.reason,
                "provides": each.provides,
            }
            for each in found
        ])  # fmt: skip
        return
    if not found:
        show.say("No plugin is installed. Install one: pip install tiforge-mimecast tiforge-stix-file")
        return
    rows = [
        [each.name, f"{each.distribution} {each.version}", each.api_version,
         "ok" if each.accepted else f"refused: {each.reason}", ", ".join(each.provides)]
        for each in found
    ]  # fmt: skip
    show.table("Plugins", ["name", "distribution", "API", "status", "provides"], rows)
