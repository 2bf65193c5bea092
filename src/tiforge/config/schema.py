"""The JSON Schema of the whole file, installed plugins included, so that editors complete it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tiforge.config import Root
from tiforge.plugins import Plugins

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_KINDS: Final = ("sources", "sinks", "transforms")


def json_schema(plugins: Plugins) -> dict[str, Any]:
    """Return the schema of `tiforge.toml` for the plugins that are installed.

    Args:
        plugins: The installed plugins.

    Returns:
        A JSON Schema, 2020-12: each table of sources, sinks and transforms is chosen by its `type`.
    """
    models: dict[str, dict[str, type[BaseModel]]] = {
        kind: {type: each.Settings for type, each in getattr(plugins, kind).items()} for kind in _KINDS
    }
    every = [(Root, "validation"), *((m, "validation") for kind in models.values() for m in kind.values())]
    references, shared = models_json_schema(every, title="tiforge.toml")  # type: ignore[arg-type]
    definitions = shared["$defs"]
    root: dict[str, Any] = definitions.pop("Root")
    for kind, by_type in models.items():
        choices = []
        for type, model in sorted(by_type.items()):
            reference = references[(model, "validation")]
            definition = definitions[reference["$ref"].rsplit("/", 1)[1]]
            definition["properties"]["type"] = _typed(definition["properties"]["type"], type)
            choices.append(reference)
        root["properties"][kind]["additionalProperties"] = {"oneOf": choices} if choices else False
    return {"$schema": DIALECT, **root, "title": "tiforge.toml", "$defs": definitions}


def _typed(told: Mapping[str, Any], type: str) -> dict[str, Any]:
    return {"const": type, "description": told.get("description", ""), "title": "Type"}
