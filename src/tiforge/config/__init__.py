"""Read `tiforge.toml`, the environment and `.env` into checked settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tiforge.config.layers import Gathered, Layers, gather
from tiforge.config.model import LoggingSettings, RetrySettings, ServeSettings, StoreSettings
from tiforge.config.problems import ConfigProblems, Problem, closest, problem, problems_of
from tiforge.config.vault import resolved
from tiforge.plugins import Plugins
from tiforge.secrets import default_resolvers, resolving
from tiforge.settings import relative_to
from tiforge.sink import SinkSettings
from tiforge.source import SourceSettings
from tiforge.transform import TransformSettings

__all__ = ["Config", "ConfigProblems", "Problem", "Root", "load"]

_KINDS: Final = {"sources": "source", "sinks": "sink", "transforms": "transform"}
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class Root(BaseSettings):
    """The whole file. What is under `sources`, `sinks` and `transforms` is checked by each plugin's model."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    store: StoreSettings = Field(default_factory=StoreSettings)
    """Where the log is kept."""
    retry: RetrySettings = Field(default_factory=RetrySettings)
    """How failed calls are repeated."""
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    """What tiforge says while it works."""
    serve: ServeSettings = Field(default_factory=ServeSettings)
    """How `tiforge serve` behaves."""
    sources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Where threat intelligence comes from, each under a name of your own."""
    sinks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Where it goes to, each under a name of your own."""
    transforms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What may change or drop an object on its way to a sink, each under a name of your own."""


@dataclass(frozen=True, slots=True)
class Config:
    """Checked settings.

    Attributes:
        file: The file that they came from.
        store: Where the log is kept.
        retry: How failed calls are repeated.
        logging: What tiforge says.
        serve: How the daemon behaves.
        sources: Sources by name.
        sinks: Sinks by name.
        transforms: Transforms by name.
    """

    file: Path
    store: StoreSettings
    retry: RetrySettings
    logging: LoggingSettings
    serve: ServeSettings
    sources: Mapping[str, SourceSettings]
    sinks: Mapping[str, SinkSettings]
    transforms: Mapping[str, TransformSettings]

    @property
    def directory(self) -> Path:
        """The folder that relative paths start from."""
        return self.file.parent


def load(file: Path, plugins: Plugins, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check a config.

    Args:
        file: The config file.
        plugins: The installed plugins, whose models check their own tables.
        environment: The process's environment by default.

    Returns:
        The settings.

    Raises:
        ConfigProblems: Everything that is wrong, each with its line.
        ConfigurationError: The file is missing or is no TOML.
    """
    gathered = gather(file, os.environ if environment is None else environment)
    resolvers = {**plugins.resolvers, **default_resolvers(file.parent, gathered.variables)}
    with resolving(resolvers), relative_to(file.parent):
        root, problems = _root(gathered)
        checked: dict[str, dict[str, Any]] = {}
        for table, kind in _KINDS.items():
            models = {type: each.Settings for type, each in getattr(plugins, table).items()}
            checked[table], found = _instances(table, kind, root.get(table, {}), models, gathered)
            problems += found
    problems += _dangling(root, gathered)
    if problems:
        raise ConfigProblems(problems)
    return Config(file=file, **{**root, **checked})


def _root(gathered: Gathered) -> tuple[dict[str, Any], list[Problem]]:
    class Layered(Root):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **__: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (Layers(settings_cls, gathered),)

    try:
        root = Layered()
    except ValidationError as error:
        # The tables of plugins are checked all the same, so that everything wrong is told at once.
        merged = {table: _tables(gathered.merged.get(table)) for table in _KINDS}
        return merged, list(problems_of(error, Root, gathered))
    return {name: getattr(root, name) for name in Root.model_fields}, []


def _tables(value: Any) -> dict[str, dict[str, Any]]:
    """Return the tables in what should be a table of tables."""
    if not isinstance(value, dict):
        return {}
    return {name: each for name, each in value.items() if isinstance(each, dict)}


def _instances(
    table: str,
    kind: str,
    given: Mapping[str, dict[str, Any]],
    models: Mapping[str, type[BaseModel]],
    gathered: Gathered,
) -> tuple[dict[str, Any], list[Problem]]:
    checked: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, raw in given.items():
        path = (table, name)
        if not set(name) <= _NAME:
            problems.append(problem(gathered, path, "a name is made of letters, digits, `-`, `_` and `.`"))
            continue
        type = raw.get("type")
        if not isinstance(type, str):
            near = closest("", models) or f"; no plugin that provides a {kind} is installed"
            problems.append(problem(gathered, path, f"has no `type`{near}"))
        elif type not in models:
            message = f"no installed plugin provides the {kind} type {type!r}{closest(type, models)}"
            problems.append(problem(gathered, (*path, "type"), message))
        else:
            values, wrong = resolved(raw, models[type])
            if wrong:
                problems += (problem(gathered, (*path, key), message) for key, message in wrong)
                continue
            try:
                checked[name] = models[type].model_validate(values)
            except ValidationError as error:
                problems += problems_of(error, models[type], gathered, path)
    return checked, problems


def _dangling(root: Mapping[str, Any], gathered: Gathered) -> list[Problem]:
    """Find names that sinks take something from, and that nothing has."""
    found: list[Problem] = []
    for name, raw in root.get("sinks", {}).items():
        for key in ("sources", "transforms"):
            named = raw.get(key) or ()
            for each in named if isinstance(named, list | tuple) else ():
                if isinstance(each, str) and each not in root.get(key, {}):
                    what = key.removesuffix("s")
                    message = f"there is no {what} named {each!r}{closest(each, root.get(key, {}))}"
                    found.append(problem(gathered, ("sinks", name, key), message))
    return found
