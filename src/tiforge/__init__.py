"""tiforge: threat intelligence from any feed to any SIEM, nothing lost, nothing doubled.

This module is what a plugin author imports. Names are loaded when they are first used, so that a plugin's
entry point costs nothing until its source or sink is configured.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tiforge.hookspecs import API_VERSION, hookimpl

if TYPE_CHECKING:
    from tiforge.context import Context
    from tiforge.demo import Demo, DemoPart
    from tiforge.errors import (
        AuthenticationFailed,
        ConfigurationError,
        InvalidObject,
        Permanent,
        TiforgeError,
        Transient,
    )
    from tiforge.imports import Imported
    from tiforge.record import Record
    from tiforge.secrets import Secret, SecretResolver, conceal
    from tiforge.settings import Duration, LocalPath, Settings, Size, TlpLevel
    from tiforge.sink import ACCEPTED, Batch, Limits, Receipt, Rejected, Sink, SinkSettings
    from tiforge.source import Ageing, Cursor, Page, Progress, SetAside, Source, SourceSettings
    from tiforge.transform import Transform, TransformSettings

__version__ = "0.1.0"

__all__ = [
    "ACCEPTED",
    "API_VERSION",
    "Ageing",
    "AuthenticationFailed",
    "Batch",
    "ConfigurationError",
    "Context",
    "Cursor",
    "Demo",
    "DemoPart",
    "Duration",
    "Imported",
    "InvalidObject",
    "Limits",
    "LocalPath",
    "Page",
    "Permanent",
    "Progress",
    "Receipt",
    "Record",
    "Rejected",
    "Secret",
    "SecretResolver",
    "SetAside",
    "Settings",
    "Sink",
    "SinkSettings",
    "Size",
    "Source",
    "SourceSettings",
    "TiforgeError",
    "TlpLevel",
    "Transform",
    "TransformSettings",
    "Transient",
    "conceal",
    "hookimpl",
]

_HOME = {
    "demo": ("Demo", "DemoPart"),
    "context": ("Context",),
    "imports": ("Imported",),
    "errors": (
        "AuthenticationFailed",
        "ConfigurationError",
        "InvalidObject",
        "Permanent",
        "TiforgeError",
        "Transient",
    ),
    "record": ("Record",),
    "secrets": ("Secret", "SecretResolver", "conceal"),
    "settings": ("Duration", "LocalPath", "Settings", "Size", "TlpLevel"),
    "sink": ("ACCEPTED", "Batch", "Limits", "Receipt", "Rejected", "Sink", "SinkSettings"),
    "source": ("Ageing", "Cursor", "Page", "Progress", "SetAside", "Source", "SourceSettings"),
    "transform": ("Transform", "TransformSettings"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    try:
        module = import_module(f"tiforge.{_MODULE_OF[name]}")
    except KeyError:
        raise AttributeError(f"module 'tiforge' has no attribute {name!r}") from None
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
