"""Write the reference of the config file and of the command line from the code.

python docs/generate.py            # write both pages
python docs/generate.py --check    # only say whether they are current
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import typer.main
from pydantic import BaseModel, ByteSize, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tiforge.cli import app
from tiforge.cli.exits import Exit
from tiforge.config import Root
from tiforge.plugins import Plugins
from tiforge.schedule import Schedule
from tiforge.sink import SinkSettings
from tiforge.source import SourceSettings
from tiforge.stix import TLP
from tiforge.transform import TransformSettings

REFERENCE = Path(__file__).parent / "reference"
Model = type[BaseModel]

CONFIG_HEAD = """\
# The config file

<!-- Written by docs/generate.py from the settings models. Do not edit. -->

`tiforge.toml` is [TOML](https://toml.io). tiforge reads it from the current folder, or from `--config FILE`,
or from the file that `TIFORGE_CONFIG` names. Unknown keys are errors. Every problem is reported at once, with
its line and what to write instead. `tiforge config schema` prints a JSON Schema for editors.

```toml
[store]
url = "sqlite:///tiforge.db"

[sources.mimecast-eu]
type = "mimecast"
client_id = "0oa1example"
client_secret = { env = "MIMECAST_CLIENT_SECRET" }
schedule = "every 15m"

[sinks.bundle]
type = "stix_file"
path = "out/"
```

`[sources.NAME]`, `[sinks.NAME]` and `[transforms.NAME]` are one instance each. NAME is yours: letters, digits,
`-`, `_` and `.`. It is also the key under which the cursor or the offset is stored: an instance under a new
name starts anew.

## Environment variables

Every setting can come from the environment. The variable is `TIFORGE_`, then the path of the key in upper
case with `__` between the steps; what is no letter or digit in a name is written `_`. The setting
`sources.mimecast-eu.client_id` is `TIFORGE_SOURCES__MIMECAST_EU__CLIENT_ID`. A value that begins with `[` or
`{` is read as JSON: `TIFORGE_SINKS__BUNDLE__TYPES='["indicator"]'`.

The environment wins over the file `.env` beside the config, and `.env` over `tiforge.toml`, key by key.

## Kinds of values

| Kind | Written as |
|---|---|
| duration | `"90s"`, `"15m"`, `"12h"`, `"30d"`, `"1h30m"`, `"100ms"`. A number without a unit is refused. |
| schedule | A cron expression of five fields in UTC, `"*/15 * * * *"`, or an interval, `"every 15m"`. |
| size | A number of bytes, `65536`, or with a unit, `"16MiB"`, `"1GB"`. |
| path | A path on this machine. A relative one starts from the folder of the config file. |
| TLP level | `"clear"`, `"green"`, `"amber"`, `"amber+strict"`, `"red"`. |
| secret | The value, or better a reference: see [Keep secrets out of the config](../how-to/secrets.md). |
"""

CLI_HEAD = """\
# The command line

<!-- Written by docs/generate.py from the commands. Do not edit. -->

Results go to standard output. Progress, log lines and errors go to standard error, so that
`tiforge log export | …` and `tiforge status --json | …` are safe to pipe. With `--json` an error is one line
of JSON on standard error: `error`, `exit`, and for a wrong config `problems`.

A plugin may add commands of its own; `tiforge --help` lists them.
"""

EXITS_HEAD = """\
## Exit codes

| Code | Name | Meaning |
|---:|---|---|
"""

EXITS_TAIL = """
`busy` (another process does the work) and `waiting` (not due, or the remote API asked to wait) are no
failures: they do not change the exit code, save that of `backfill`. `stopped` (told to by SIGTERM, before the
end) is no success. What is under way then has `serve.grace` to finish; a run that does not manage exits with 130.

| Command | Codes beside 0, 2 and 3 |
|---|---|
| `check` | 1 when every source and sink fails, 4 when some do. |
| `run`, `backfill` | 1 when all failed. 4 when some failed or were stopped, or anything was set aside. |
| `backfill` | 1 also when its source is `busy` or `waiting`. |
| `replay` | 1 when another process is delivering to the sink. |
| `validate` | 1 when an object is invalid, or there is none. |
| `demo` | 1 when a promise does not hold. |

## Environment

| Variable | Meaning |
|---|---|
| `TIFORGE_CONFIG` | The config file. |
| `TIFORGE_…__…` | Any setting: see [the config file](configuration.md#environment-variables). |
| `TIFORGE_TRACEBACK` | When set, exit 70 also prints the traceback. |
| `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | Obeyed where `http.proxy` is not set. |
"""


def configuration() -> str:
    """Return the reference of the config file, for the plugins that are installed."""
    plugins = Plugins()
    parts = [CONFIG_HEAD]
    for name, field in Root.model_fields.items():
        if _model(field) is not None:
            parts.append(_section(f"`[{name}]`", _model(field), (name,)))
    commons: tuple[tuple[str, str, Model, Mapping[str, Any]], ...] = (
        ("sources", "source", SourceSettings, plugins.sources),
        ("sinks", "sink", SinkSettings, plugins.sinks),
        ("transforms", "transform", TransformSettings, plugins.transforms),
    )
    for table, kind, common, types in commons:
        parts.append(_section(f"Every `[{table}.NAME]`", common, (table, "NAME")))
        for type_name, each in sorted(types.items()):
            title = f'`[{table}.NAME]` with `type = "{type_name}"`'
            parts.append(_section(title, each.Settings, (table, "NAME"), without=common))
        if not types:
            parts.append(f"No {kind} type is part of this repository yet; a plugin can bring one.\n")
    return "\n".join(parts)


def _section(title: str, model: Model | None, path: tuple[str, ...], without: Model | None = None) -> str:
    if model is None:
        return ""
    known = set(without.model_fields) if without else set()
    about = " ".join((inspect.getdoc(model) or "").split("\n\n")[0].split())
    lines = [
        f"## {title}",
        "",
        about,
        "",
        "| Key | Type | Default | Meaning | Environment |",
        "|---|---|---|---|---|",
    ]
    for keys, field in _keys(model):
        if keys[0] in known:
            continue
        variable = "__".join(re.sub(r"[^A-Z0-9]", "_", step.upper()) for step in (*path, *keys))
        shown = variable.replace("NAME", "_NAME_") if path[-1] == "NAME" else variable
        shown = f"`TIFORGE_{shown.replace('_NAME_', 'NAME')}`"
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        cells = (f"`{'.'.join(keys)}`", _words(field), _default(field), meaning, shown)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _keys(model: Model) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for key, field in model.model_fields.items():
        inner = _model(field)
        if inner is None:
            yield (key,), field
        else:
            yield from (((key, *keys), each) for keys, each in _keys(inner))


def _model(field: FieldInfo) -> Model | None:
    kind = field.annotation
    return kind if inspect.isclass(kind) and issubclass(kind, BaseModel) else None


def _words(field: FieldInfo) -> str:
    words = _kind(field.annotation, field.metadata)
    return words + ("" if not field.is_required() else ", required")


def _kind(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], arguments[1:])
    if origin in (Union, UnionType):
        return " or ".join(_kind(each, metadata) for each in arguments if each is not NoneType)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    plain = {bool: "`true` or `false`", str: "text", timedelta: "duration", SecretStr: "**secret**",
             ByteSize: "size", TLP: "TLP level", Schedule: "schedule"}  # fmt: skip
    if annotation in plain:
        return plain[annotation]
    if inspect.isclass(annotation) and issubclass(annotation, Path):
        return "path"
    return {int: "whole number", float: "number"}[annotation] + _bounds(metadata)


def _bounds(metadata: list[Any] | tuple[Any, ...]) -> str:
    flat: list[Any] = []
    for each in metadata:
        flat += each.metadata if isinstance(each, FieldInfo) else [each]
    low = next((each.ge for each in flat if isinstance(each, annotated_types.Ge)), None)
    high = next((each.le for each in flat if isinstance(each, annotated_types.Le)), None)
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", at least {low}" if low is not None else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None:
        return ""
    return f"`{_written(value)}`"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SecretStr):  # a default is no secret: it stands in the source code
        return f'"{value.get_secret_value()}"'
    if isinstance(value, TLP):
        return f'"{value.name.lower().replace("_", "+")}"'
    if isinstance(value, ByteSize):
        return f'"{value.human_readable().replace(".0", "")}"'
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
        unit, length = next((unit, n) for unit, n in units if seconds % n == 0 and (seconds or unit == "s"))
        return f'"{seconds // length}{unit}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    return str(value) if isinstance(value, int | float) else f'"{value}"'


VALUES = {"azure": "FILE", "config": "FILE", "keep": "FOLDER", "last": "N", "limit": "N", "output": "FILE",
          "rows": "N", "since": "WHEN", "sinks": "NAMES", "start": "PLACE"}  # fmt: skip
"""What stands for an option's value where its own name says less."""


def cli() -> str:
    """Return the reference of the command line."""
    root: Any = typer.main.get_command(app)
    parts = [CLI_HEAD, *(_command(path, each) for path, each in _commands(root, ("tiforge",)))]
    rows = [f"| {code.value} | `{code.name}` | {meaning} |\n" for code, meaning in _exits()]
    return "\n".join(parts) + "\n" + EXITS_HEAD + "".join(rows) + EXITS_TAIL


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = [*path, *(_usage(each) for each in arguments), "[OPTIONS]"]
    lines = [f"## `{' '.join(path)}`", "", " ".join((command.help or "").split()), "", "```text", " ".join(usage)]
    lines.append("```")
    if command.params:
        lines += ["", "| Argument or option | Default | Meaning |", "|---|---|---|"]
    for each in arguments:
        lines.append(f"| `{each.name.upper()}` | | {each.help}{' Required.' if each.required else ''} |")
    for each in options:
        told = " ".join((each.help or "").split()) + (" Required." if each.required else "") + _range(each)
        if each.envvar:
            told += f" Also from `{each.envvar}`."
        default = "" if each.default in (None, False) else f"`{each.default}`"
        lines.append(f"| {_names(each)} | {default} | {told} |")
    return "\n".join(lines) + "\n"


def _usage(argument: Any) -> str:
    name = argument.name.upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _names(option: Any) -> str:
    value = "" if option.is_flag else f" {VALUES.get(option.name, option.name.upper())}"
    return ", ".join(f"`{name}{value}`" for name in sorted(option.opts, key=len, reverse=True))


def _range(option: Any) -> str:
    low, high = getattr(option, "min", None), getattr(option, "max", None)
    if low is not None and high is not None:
        return f" From {low} to {high}."
    return f" At least {low}." if low is not None else ""


def _exits() -> Iterator[tuple[Exit, str]]:
    """Yield each exit code with the text below it in the source."""
    body = ast.parse(inspect.getsource(Exit)).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - it is the source of a class
    for assignment, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(assignment, ast.Assign)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            target = assignment.targets[0]
            if isinstance(target, ast.Name):
                yield Exit[target.id], " ".join(str(text.value.value).split())


def pages() -> dict[Path, str]:
    """Return the text that each generated page should have."""
    return {REFERENCE / "configuration.md": configuration(), REFERENCE / "cli.md": cli()}


def outdated() -> list[Path]:
    """Return the pages whose committed text differs from the code."""
    return [
        page for page, text in pages().items() if not page.exists() or page.read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Write the generated pages of the reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is not current")
    if parser.parse_args().check:
        old = outdated()
        for page in old:
            sys.stderr.write(f"{page} is not current; run python docs/generate.py\n")
        sys.exit(bool(old))
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
