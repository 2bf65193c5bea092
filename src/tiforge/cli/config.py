"""`tiforge config`: the JSON Schema of the config file."""

from __future__ import annotations

import typer

app = typer.Typer(help="Describe the config file.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Describe the config file."""


@app.command()
def schema() -> None:
    """Print the JSON Schema of tiforge.toml, installed plugins included, for editors to complete it."""
    import sys

    import orjson

    from tiforge.config.schema import json_schema
    from tiforge.plugins import Plugins

    text = orjson.dumps(json_schema(Plugins()), option=orjson.OPT_INDENT_2)
    sys.stdout.write(text.decode() + "\n")
