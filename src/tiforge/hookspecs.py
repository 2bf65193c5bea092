"""The hooks of tiforge: what a plugin may provide.

A plugin is an installed distribution with an entry point in the group `tiforge` that names a module:

```toml
[project.entry-points.tiforge]
acme = "tiforge_acme"
```

The module states the plugin API version that it was written for, and implements the hooks it needs:

```python
from tiforge import hookimpl

tiforge_api_version = 1


@hookimpl
def tiforge_sources():
    from tiforge_acme.source import AcmeSource  # imported when it is asked for, not at start

    return [AcmeSource]
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from tiforge.demo import Demo
    from tiforge.events import Event
    from tiforge.imports import Imported
    from tiforge.secrets import SecretResolver
    from tiforge.sink import Sink
    from tiforge.source import Source
    from tiforge.transform import Transform

API_VERSION: Final = 1
"""The version of this module's contract. It grows when a plugin written for it would no longer work."""

hookspec: Final = pluggy.HookspecMarker("tiforge")
hookimpl: Final = pluggy.HookimplMarker("tiforge")
"""Marks a function of a plugin as the implementation of the hook of the same name."""


@hookspec
def tiforge_sources() -> Iterable[type[Source[Any]]]:  # type: ignore[empty-body]
    """Return the source classes that the plugin provides.

    Each becomes a `type` that a `[sources.NAME]` may have. Example: `return [MimecastSource]`.
    """


@hookspec
def tiforge_sinks() -> Iterable[type[Sink[Any]]]:  # type: ignore[empty-body]
    """Return the sink classes that the plugin provides.

    Each becomes a `type` that a `[sinks.NAME]` may have. Example: `return [StixFileSink]`.
    """


@hookspec
def tiforge_transforms() -> Iterable[type[Transform[Any]]]:  # type: ignore[empty-body]
    """Return the transform classes that the plugin provides.

    Each becomes a `type` that a `[transforms.NAME]` may have. Example: `return [Warninglist]`.
    """


@hookspec
def tiforge_secret_resolvers() -> Iterable[SecretResolver]:  # type: ignore[empty-body]
    """Return resolvers for secret references.

    A resolver with `scheme = "vault"` is asked for every setting written `{ vault = "…" }`. Example:
    `return [VaultResolver()]`.
    """


@hookspec
def tiforge_commands() -> Iterable[tuple[str, str, str]]:  # type: ignore[empty-body]
    """Return commands for the `tiforge` command line, each as name, one-line help, and `module:app`.

    The module is imported only when the command is run; `app` is a `typer.Typer` or a function. Example:
    `return [("acme", "Ask the Acme service.", "tiforge_acme.cli:app")]`.
    """


@hookspec
def tiforge_observers() -> Iterable[Callable[[Event], None]]:  # type: ignore[empty-body]
    """Return functions that are told what the engine does.

    Each is called with every event of `tiforge.events`, in the engine's loop: it must be quick. One that
    raises is reported once and not called again. Example: `return [count_in_statsd]`.
    """


@hookspec
def tiforge_imports(app_settings: Mapping[str, str]) -> Iterable[Imported]:  # type: ignore[empty-body]
    """Return the source that replaces a cloud function, by that function's app settings.

    `tiforge init --from-azure-function-settings` asks every plugin and takes the first answer. A plugin
    returns nothing where it does not know the settings. Example: `return [Imported("acme", "acme", {…})]`.
    """


@hookspec
def tiforge_demos() -> Iterable[Demo]:  # type: ignore[empty-body]
    """Return what the plugin contributes to `tiforge demo`: a local emulator and the settings to use it.

    Example: `return [MimecastDemo()]`.
    """
