"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from tiforge import __version__
from tiforge.cli import config, demo, init, letters, log, plugins, status, validate, work
from tiforge.cli.exits import Exit

app = typer.Typer(
    name="tiforge",
    help="Threat intelligence from any feed to any SIEM: nothing lost, nothing doubled.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help costs a third of the time that rich's takes to import.
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tiforge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Threat intelligence from any feed to any SIEM: nothing lost, nothing doubled."""


app.command()(demo.demo)
app.command()(init.init)
app.command()(status.check)
app.command()(work.run)
app.command()(work.serve)
app.command()(status.status)
app.add_typer(log.app, name="log")
app.command()(letters.replay)
app.command()(work.backfill)
app.add_typer(letters.app, name="deadletter")
app.command()(validate.validate)
app.add_typer(plugins.app, name="plugins")
app.add_typer(config.app, name="config")


def main() -> None:
    """Run the command line; every failure ends in a sentence and an exit code, never in a traceback."""
    from tiforge.cli import pipe
    from tiforge.errors import TiforgeError

    pipe.install()
    try:
        try:
            _add_plugin_commands()
            app(prog_name="tiforge")
        finally:
            sys.stdout.flush()
    except TiforgeError as error:
        sys.exit(_tell(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except OSError as error:
        sys.exit(_tell(TiforgeError(f"{error.filename or 'Standard output'} cannot be used: {error.strerror}.")))
    except Exception as error:  # noqa: BLE001 - the last line of defence, which says so
        sys.exit(_bug(error))


def _tell(error: Exception) -> Exit:
    from tiforge.cli.show import safe
    from tiforge.config.problems import ConfigProblems
    from tiforge.errors import ConfigurationError

    code = Exit.CONFIG if isinstance(error, ConfigurationError) else Exit.FAILED
    if "--json" in sys.argv:
        import orjson

        told: dict[str, object] = {"error": safe(str(error)), "exit": int(code)}
        if isinstance(error, ConfigProblems):
            told["problems"] = error.as_data()
        sys.stderr.write(safe(orjson.dumps(told).decode()) + "\n")
    else:
        sys.stderr.write(safe(str(error)) + "\n")
    return code


def _bug(error: Exception) -> Exit:
    from tiforge.cli.show import safe

    if os.environ.get("TIFORGE_TRACEBACK"):
        import traceback

        sys.stderr.write(safe("".join(traceback.format_exception(error))))
    sys.stderr.write(
        safe(f"This is a fault of tiforge: {type(error).__name__}: {error}\n")
        + "Set TIFORGE_TRACEBACK=1, run it again, and report what it prints.\n"
    )
    return Exit.BUG


def _add_plugin_commands() -> None:
    from tiforge.plugins import Plugins

    for name, (about, target) in Plugins().commands.items():
        _add_plugin_command(name, about, target)


def _add_plugin_command(name: str, about: str, target: str) -> None:
    passed_on = {"ignore_unknown_options": True, "allow_extra_args": True}

    @app.command(name, help=about, context_settings=passed_on, add_help_option=False)
    def command(context: typer.Context) -> None:
        from importlib import import_module

        from tiforge.errors import TiforgeError

        module, _, attribute = target.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise TiforgeError(
                f"The command {name} cannot be loaded: {error}.", hint="This is a fault of its plugin."
            ) from error
        run = typer.main.get_command(found) if isinstance(found, typer.Typer) else None
        if run is None:
            single = typer.Typer(rich_markup_mode=None, add_completion=False)
            single.command(help=about)(found)
            run = typer.main.get_command(single)
        run(args=context.args, prog_name=f"tiforge {name}")
