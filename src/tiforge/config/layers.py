"""Gather the settings: the environment over `.env` over `tiforge.toml`, each key by each.

An environment variable names a setting as `TIFORGE_SOURCES__MIMECAST_EU__CLIENT_SECRET`: upper case, `__`
between the steps, and `_` for whatever in a name is no letter or digit. Its value is text; one that begins
with `[` or `{` is read as JSON.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from tiforge.config.lines import lines_of
from tiforge.errors import ConfigurationError

PREFIX: Final = "TIFORGE_"


@dataclass
class Gathered:
    """What was found, and where.

    Attributes:
        file: The config file.
        document: What the file says.
        variables: The environment, over `.env`.
        lines: The line of each key of the file, by path.
        origins: The environment variable of each key that came from one, by path.
    """

    file: Path
    document: dict[str, Any]
    variables: dict[str, str]
    lines: dict[tuple[str, ...], int]
    origins: dict[tuple[str, ...], str] = field(default_factory=dict)

    @cached_property
    def merged(self) -> dict[str, Any]:
        """The environment over the file; notes which variable each key came from.

        Raises:
            ConfigurationError: A value begins like JSON but is none.
        """
        merged = deepcopy(self.document)
        # A table given whole comes before the keys in it, whose names are longer.
        for variable in sorted(self.variables):
            steps = variable.removeprefix(PREFIX).split("__")
            if not variable.startswith(PREFIX) or len(steps) < 2 or not all(steps):
                continue
            path = self._path(steps)
            inner = merged
            for step in path[:-1]:
                if not isinstance(inner.get(step), dict):
                    inner[step] = {}
                inner = inner[step]
            inner[path[-1]] = _value(self.variables[variable], variable)
            self.origins[path] = variable
        return merged

    def _path(self, steps: list[str]) -> tuple[str, ...]:
        """Match the steps to the names in the file, whose case and dashes a variable cannot write."""
        inner: Any = self.document
        path: list[str] = []
        for step in steps:
            names = inner if isinstance(inner, Mapping) else {}
            name = next((name for name in names if _folded(name) == _folded(step)), step.lower())
            path.append(name)
            inner = names.get(name)
        return tuple(path)


def gather(file: Path, environment: Mapping[str, str]) -> Gathered:
    """Read the config file and the environment.

    Args:
        file: The config file.
        environment: The process's environment.

    Raises:
        ConfigurationError: The file is missing, cannot be read, or is no TOML.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no config at {file}.", hint="Write one with `tiforge init`, or name one with --config."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is no UTF-8 text.") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is no TOML: {error}.") from None
    return Gathered(file, document, {**_beside(file.parent / ".env"), **environment}, lines_of(text))


def _beside(file: Path) -> dict[str, str]:
    try:
        # Not interpolated: a password may hold `${`.
        found = dotenv_values(file, interpolate=False)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is no UTF-8 text.") from None
    return {key: value for key, value in found.items() if value is not None}


class Layers(PydanticBaseSettingsSource):
    """The environment over the file, as the one source of a settings model.

    Args:
        model: The settings model.
        gathered: What was read.
    """

    def __init__(self, model: type[BaseSettings], gathered: Gathered) -> None:
        super().__init__(model)
        self._gathered = gathered

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of a top-level key."""
        return self._gathered.merged.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return everything."""
        return self._gathered.merged


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def _value(text: str, variable: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # The value is not shown: it may be a secret that happens to begin like this.
        raise ConfigurationError(
            f"The environment variable {variable} begins like JSON but is none: {error.msg}."
        ) from None
