"""Write a commented `tiforge.toml` from the settings models of the plugins that it uses."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel, ByteSize, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_HEAD: Final = """\
# The config of tiforge. Every setting can also come from the environment, as
# TIFORGE_SOURCES__MIMECAST_EU__CLIENT_SECRET. A secret is best named, not written:
#     client_secret = { env = "NAME" }     from the environment, or from .env beside this file
#     client_secret = { file = "PATH" }    from a file
# Check it: tiforge check        Run it once: tiforge run        Keep it running: tiforge serve

[store]
url = "sqlite:///tiforge.db"            # or postgresql://user@host/name, for several machines
"""


SettingsModel = type[BaseModel]


@dataclass(frozen=True)
class Table:
    """One table of the config.

    Attributes:
        kind: `sources` or `sinks`.
        name: The instance's name.
        type: The plugin's type.
        model: Its settings model.
        values: What is set.
    """

    kind: str
    name: str
    type: str
    model: SettingsModel
    values: Mapping[str, Any]


def render(tables: Sequence[Table]) -> str:
    """Return the text of a config: what is set, and everything else as a comment with its default."""
    return "\n".join([_HEAD, *(_table(each) for each in tables)])


def is_secret(field: FieldInfo) -> bool:
    """Say whether a setting is a secret."""
    return "SecretStr" in str(field.annotation) or field.annotation is SecretStr


def variable(*steps: str) -> str:
    """Return the name of an environment variable for a secret."""
    return re.sub(r"[^A-Z0-9]+", "_", "_".join(steps).upper())


def _table(table: Table) -> str:
    lines = [f"[{table.kind}.{_key(table.name)}]", f"type = {_value(table.type)}"]
    rest: list[str] = []
    for key, field in _fields(table.model):
        if key == "type":
            continue
        comment = [f"# {line}" for line in textwrap.wrap(" ".join((field.description or "").split()), 96)]
        if key in table.values:
            lines += [*comment, f"{key} = {_value(table.values[key])}"]
        else:
            default = field.get_default(call_default_factory=True)
            rest += [*comment, f"#{key} = {'…' if default in (None, PydanticUndefined) else _value(default)}"]
    if rest:
        lines += ["", "# Everything else, with its default:", *rest]
    return "\n".join(lines) + "\n"


def _fields(model: SettingsModel, above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting by its key, those of a table inside as `http.proxy`."""
    for key, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _fields(inner, f"{above}{key}.")
        else:
            yield f"{above}{key}", field


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    # A basic string of TOML is one of JSON, but for the characters that JSON would write as two.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, ByteSize):
        return _text(_size(value))
    if isinstance(value, int | float) and not hasattr(value, "name"):
        return str(value)
    if isinstance(value, timedelta):
        return _text(_duration(value))
    if hasattr(value, "name"):  # a level of the TLP
        return json.dumps(str(value.name).lower().replace("_", "+"))
    return _text(str(value))


def _size(value: int) -> str:
    for unit, length in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value and value % length == 0:
            return f"{value // length}{unit}"
    return str(value)


def _duration(value: timedelta) -> str:
    milliseconds = value // timedelta(milliseconds=1)
    if milliseconds % 1000:
        return f"{milliseconds}ms"
    seconds = milliseconds // 1000
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def plain(document: Mapping[str, Any], above: tuple[str, ...] = ()) -> str:
    """Return a document of tables and values as TOML, without comments."""
    values = [f"{_key(key)} = {_value(each)}" for key, each in document.items() if not _is_table(each)]
    text = "\n".join(values) + "\n" if values else ""
    if above and values:
        text = f"[{'.'.join(map(_key, above))}]\n{text}\n"
    return text + "".join(plain(each, (*above, key)) for key, each in document.items() if _is_table(each))


def _is_table(value: Any) -> bool:
    # A table with one text in it is a secret's reference, which stands on the line of its key.
    return isinstance(value, Mapping) and not (len(value) == 1 and all(isinstance(v, str) for v in value.values()))
