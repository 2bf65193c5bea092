"""`tiforge init`: write a commented config by asking, or from the settings of an Azure function."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiforge.cli.options import DEFAULT_CONFIG, ConfigFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiforge.plugins import Plugins


def init(
    azure: Annotated[
        Path | None,
        typer.Option(
            "--from-azure-function-settings",
            exists=True,
            dir_okay=False,
            help="The app settings of the cloud function to replace: local.settings.json, or what "
            "`az functionapp config appsettings list` prints.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a config that is there.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Write a commented tiforge.toml by asking, or from the app settings of an Azure function."""
    from tiforge.cli import show
    from tiforge.errors import ConfigurationError
    from tiforge.plugins import Plugins

    if config.exists() and not force:
        raise ConfigurationError(f"There is a config at {config} already.", hint="Name another, or use --force.")
    plugins = Plugins()
    if not plugins.sources or not plugins.sinks:
        raise ConfigurationError(
            "There is no plugin to configure.", hint="Install one: pip install tiforge-mimecast tiforge-stix-file"
        )
    text, secrets, notes = _from_azure(azure, plugins) if azure else _asked(plugins)
    _write(config, text)
    show.say(f"Wrote {config}.")
    if secrets:
        beside = config.parent / ".env"
        added, kept = _add_secrets(beside, secrets)
        show.say(f"Wrote {len(added)} secrets to {beside}, readable by you alone. Keep it out of git.")
        if kept:
            show.say(f"{beside} had other values already, which stay: {', '.join(kept)}.")
    for note in notes:
        show.say(note)
    show.say(f"Next: tiforge check --config {config}")


def _asked(plugins: Plugins) -> tuple[str, dict[str, str], list[str]]:
    from tiforge.cli.template import Table, render

    source_type = _choose("Which source?", sorted(plugins.sources))
    source = _name("A name for it?", source_type.replace("_", "-"))
    source_values, needed = _ask_settings(plugins.sources[source_type].Settings, source)
    source_values["schedule"] = typer.prompt("When to pull it? (cron in UTC, or every 15m)", "every 15m")
    sink_type = _choose("Which sink?", sorted(plugins.sinks))
    sink = _name("A name for it?", sink_type.replace("_", "-"))
    sink_values, more = _ask_settings(plugins.sinks[sink_type].Settings, sink)
    text = render(
        [
            Table("sources", source, source_type, plugins.sources[source_type].Settings, source_values),
            Table("sinks", sink, sink_type, plugins.sinks[sink_type].Settings, sink_values),
        ]
    )
    variables = [*needed, *more]
    notes = (
        [f"Set before you run it: {', '.join(variables)} (in the environment, or in .env)."] if variables else []
    )
    return text, {}, notes


def _ask_settings(model: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    """Ask for the settings that have no default, and those that the plugin wants asked."""
    from tiforge.cli.template import is_secret, variable

    values: dict[str, Any] = {}
    variables: list[str] = []
    for key, field in model.model_fields.items():
        if key == "type" or not (field.is_required() or key in model.asked):
            continue
        if is_secret(field):
            values[key] = {"env": variable(name, key)}
            variables.append(values[key]["env"])
            continue
        about = (field.description or key).split("\n")[0].rstrip(".")
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        answer = typer.prompt(f"{key}: {about}", default="" if default is None else _text(default))
        if answer:
            values[key] = answer.split(",") if isinstance(default, tuple | list) else answer
    return values, variables


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _choose(question: str, choices: list[str]) -> str:
    from tiforge.config.problems import closest

    if len(choices) == 1:
        return choices[0]
    while True:
        answer = str(typer.prompt(f"{question} ({', '.join(choices)})", default=choices[0]))
        if answer in choices:
            return answer
        typer.echo(f"There is no {answer!r}{closest(answer, choices)}", err=True)


def _name(question: str, default: str) -> str:
    while True:
        answer = str(typer.prompt(question, default=default))
        if answer.replace("-", "").replace("_", "").isalnum():
            return answer
        typer.echo("A name is made of letters, digits, - and _.", err=True)


def _from_azure(file: Path, plugins: Plugins) -> tuple[str, dict[str, str], list[str]]:
    from tiforge.cli.template import Table, render
    from tiforge.errors import ConfigurationError

    settings = _app_settings(file)
    for imported in plugins.imports(settings):
        tables = [
            Table(
                "sources",
                imported.name,
                imported.type,
                plugins.sources[imported.type].Settings,
                dict(imported.settings),
            )
        ]
        if "stix_file" in plugins.sinks:
            bundle = {"path": "out/"}
            tables.append(Table("sinks", "bundle", "stix_file", plugins.sinks["stix_file"].Settings, bundle))
        return render(tables), dict(imported.secrets), list(imported.notes)
    raise ConfigurationError(
        f"{file} holds the app settings of no connector that an installed plugin knows.",
        hint="Install the plugin of its vendor, as tiforge-mimecast.",
    )


def _app_settings(file: Path) -> Mapping[str, str]:
    """Read app settings in the forms that the Azure tools write."""
    from tiforge.errors import ConfigurationError

    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigurationError(f"{file} is no JSON file: {error}.") from None
    if isinstance(found, list):
        found = {each.get("name"): each.get("value") for each in found if isinstance(each, dict)}
    if isinstance(found, dict):
        if found.get("IsEncrypted") is True:
            raise ConfigurationError(f"{file} is encrypted.", hint="Decrypt it first: func settings decrypt")
        found = found.get("Values") or found.get("properties") or found
    if not isinstance(found, dict):
        raise ConfigurationError(f"{file} holds no app settings.")
    return {str(key): str(value) for key, value in found.items() if isinstance(value, str | int | float)}


def _write(path: Path, text: str, *, private: bool = False) -> None:
    import os

    from tiforge.errors import ConfigurationError

    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT, 0o600 if private else 0o644), "w", encoding="utf-8"
        ) as stream:
            if private and sys.platform != "win32":
                os.fchmod(stream.fileno(), 0o600)  # before anything is written
            stream.truncate()
            stream.write(text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None


def _add_secrets(path: Path, secrets: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Add variables to `.env`; those that it has already stay as they are.

    Returns:
        What was added, and what was there with another value.
    """
    from io import StringIO

    from dotenv import dotenv_values

    from tiforge.errors import ConfigurationError

    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} cannot be read; the secrets have nowhere to go.") from None
    there = dotenv_values(stream=StringIO(before), interpolate=False)
    added = [key for key in secrets if key not in there]
    gap = "" if not before or before.endswith("\n") else "\n"
    text = before + gap + "".join(f"{key}={_quoted(secrets[key])}\n" for key in added)
    read = dotenv_values(stream=StringIO(text), interpolate=False)
    if any(read.get(key) != secrets[key] for key in added):
        raise ConfigurationError(f"A secret cannot be written into {path}.", hint="Is a quote open in that file?")
    _write(path, text, private=True)
    return added, [key for key in secrets if key in there and there[key] != secrets[key]]


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
