"""Find the installed plugins, check each, and refuse what does not fit without harming the others.

pluggy's own entry-point loader stops at the first plugin that fails, so the loop is here. Order is by
distribution name: which of two colliding plugins is refused does not depend on the machine.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

import pluggy

from tiforge import hookspecs
from tiforge.hookspecs import API_VERSION

if TYPE_CHECKING:
    from tiforge.demo import Demo
    from tiforge.events import Event
    from tiforge.imports import Imported
    from tiforge.secrets import SecretResolver
    from tiforge.sink import Sink
    from tiforge.source import Source
    from tiforge.transform import Transform

GROUP: Final = "tiforge"
COMMANDS: Final = frozenset(
    (
        *("backfill", "check", "config", "deadletter", "demo", "init", "log", "plugins", "replay", "run", "serve"),
        *("status", "validate"),
    )
)
"""The names of tiforge's own commands, which no plugin can take."""


@dataclass
class Plugin:
    """An installed plugin and what became of it.

    Attributes:
        name: The entry point's name.
        distribution: The distribution that brings it.
        version: The distribution's version.
        api_version: The plugin API version that it states; `None` before it is read.
        reason: Why it was refused; `None` where it was not.
        provides: What it provides, as `source mimecast`.
    """

    name: str
    distribution: str
    version: str
    api_version: int | None = None
    reason: str | None = None
    provides: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether it takes part."""
        return self.reason is None


class _Refused(Exception):
    """Why a plugin does not take part."""


class Plugins:
    """The installed plugins. What they provide is imported when it is first asked for.

    Args:
        entry_points: Where to look; the environment's entry points in the group `tiforge` by default.
    """

    def __init__(self, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> None:
        self.found: list[Plugin] = []
        self._manager = pluggy.PluginManager("tiforge")
        self._manager.add_hookspecs(hookspecs)
        self._kinds: dict[str, dict[str, Any]] | None = None
        points = importlib.metadata.entry_points(group=GROUP) if entry_points is None else entry_points
        for point in sorted(points, key=_order):
            self._load(point)

    @property
    def sources(self) -> dict[str, type[Source[Any]]]:
        """Source classes by type."""
        return self._provided()["source"]

    @property
    def sinks(self) -> dict[str, type[Sink[Any]]]:
        """Sink classes by type."""
        return self._provided()["sink"]

    @property
    def transforms(self) -> dict[str, type[Transform[Any]]]:
        """Transform classes by type."""
        return self._provided()["transform"]

    @property
    def resolvers(self) -> dict[str, SecretResolver]:
        """Secret resolvers by scheme."""
        return self._provided()["secret resolver"]

    @property
    def commands(self) -> dict[str, tuple[str, str]]:
        """Commands by name: a line of help, and `module:app`."""
        found: dict[str, tuple[str, str]] = {}
        for plugin in self.found:
            mine = {name: (about, target) for name, about, target in self._results(plugin, "tiforge_commands")}
            taken = sorted(mine.keys() & (COMMANDS | found.keys()))
            if taken:
                plugin.reason = f"another plugin already provides the command {taken[0]!r}"
            else:
                found |= mine
        return found

    @property
    def observers(self) -> list[Callable[[Event], None]]:
        """Functions that are told what the engine does."""
        return [each for plugin in self.found for each in self._results(plugin, "tiforge_observers")]

    @property
    def demos(self) -> dict[tuple[str, str], Demo]:
        """Parts of the demo by side and name."""
        return {
            (demo.side, demo.name): demo
            for plugin in self.found
            for demo in self._results(plugin, "tiforge_demos")
        }

    def imports(self, app_settings: Mapping[str, str]) -> list[Imported]:
        """Return the sources that replace a cloud function with these app settings."""
        return [each for plugin in self.found for each in self._results(plugin, "tiforge_imports", app_settings)]

    def inspected(self) -> list[Plugin]:
        """Return every plugin, with all that it provides imported and checked."""
        self._provided()
        self.commands  # noqa: B018 - refuses those that collide
        for plugin in self.found:
            commands = [f"command {name}" for name, *_ in self._results(plugin, "tiforge_commands")]
            plugin.provides.extend(each for each in commands if each not in plugin.provides)
        return self.found

    def _load(self, point: importlib.metadata.EntryPoint) -> None:
        distribution = point.dist
        row = Plugin(point.name, _told(distribution, "name"), _told(distribution, "version"))
        self.found.append(row)
        try:
            if distribution is not None:
                _check_requirement(distribution)
            module = _imported(point)
            row.api_version = _checked_version(module)
            self._register(module, row)
        except _Refused as refusal:
            row.reason = str(refusal)

    def _register(self, module: ModuleType, row: Plugin) -> None:
        try:
            registered = self._manager.register(module, name=row.name)
        except ValueError:
            taken = self._manager.get_name(module)
            # A module that is registered already stays so under its first name.
            raise _Refused(
                f"its module is loaded as {taken} already"
                if taken
                else f"another plugin is called {row.name} already"
            ) from None
        except pluggy.PluginValidationError as error:
            if self._manager.is_registered(module):
                self._manager.unregister(module)
            raise _Refused(f"it does not fit a hook: {' '.join(str(error).split())}") from None
        if registered is None:
            raise _Refused(f"the name {row.name} is blocked")
        unknown = [call.name for call in self._manager.get_hookcallers(module) or [] if not call.has_spec()]
        if unknown:
            self._manager.unregister(module)
            raise _Refused(f"it implements hooks that do not exist: {', '.join(sorted(unknown))}")

    def _provided(self) -> dict[str, dict[str, Any]]:
        if self._kinds is None:
            self._kinds = {"source": {}, "sink": {}, "transform": {}, "secret resolver": {}}
            for plugin in self.found:
                if plugin.accepted:
                    self._merge(plugin, self._kinds)
        return self._kinds

    def _merge(self, plugin: Plugin, kinds: dict[str, dict[str, Any]]) -> None:
        """Take in all that a plugin provides, or none of it."""
        taken: list[tuple[str, str, Any]] = []
        try:
            for kind, hook, named in _TYPES:
                for item in self._call(plugin, hook):
                    name = named(item)
                    if name in kinds[kind] or (kind, name) in {(k, n) for k, n, _ in taken}:
                        raise _Refused(f"another plugin already provides the {kind} {name!r}")
                    taken.append((kind, name, item))
        except _Refused as refusal:
            plugin.reason = str(refusal)
            return
        for kind, name, item in taken:
            kinds[kind][name] = item
            plugin.provides.append(f"{kind} {name}")

    def _results(self, plugin: Plugin, hook: str, *arguments: Any) -> list[Any]:
        if not plugin.accepted:
            return []
        try:
            return self._call(plugin, hook, *arguments)
        except _Refused as refusal:
            plugin.reason = str(refusal)
            return []

    def _call(self, plugin: Plugin, hook: str, *arguments: Any) -> list[Any]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        found: list[Any] = []
        for implementation in caller.get_hookimpls():
            if implementation.plugin_name != plugin.name:
                continue
            given = [arguments[_ARGUMENTS[hook].index(name)] for name in implementation.argnames]
            try:
                found.extend(cast(Iterable[Any], implementation.function(*given)))
            except (Exception, SystemExit) as error:
                raise _Refused(f"{hook} failed: {type(error).__name__}: {_first_line(error)}") from error
        fits = _SHAPES.get(hook, lambda item: True)
        for item in found:
            if not fits(item):
                raise _Refused(f"{hook} gives {item!r:.80}, which is not what it should")
        return found


def _order(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    return (_told(point.dist, "name") if point.dist else "", point.name)


def _told(distribution: importlib.metadata.Distribution | None, what: str) -> str:
    try:
        return str(getattr(distribution, what, None) or "unknown")
    except Exception:  # noqa: BLE001 - a distribution without metadata
        return "unknown"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_requirement(distribution: importlib.metadata.Distribution) -> None:
    """Hold what the distribution asks of tiforge against this tiforge, before any of its code runs."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    from tiforge import __version__

    for line in distribution.requires or []:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) != "tiforge" or not applies:
            continue
        if not requirement.specifier.contains(__version__, prereleases=True):
            raise _Refused(f"it needs tiforge{requirement.specifier}, and this is tiforge {__version__}")


def _imported(point: importlib.metadata.EntryPoint) -> ModuleType:
    try:
        module = point.load()
    except (Exception, SystemExit) as error:
        raise _Refused(f"it cannot be imported: {type(error).__name__}: {_first_line(error)}") from error
    if not isinstance(module, ModuleType):
        raise _Refused(f"its entry point {point.value} names no module")
    return module


def _checked_version(module: ModuleType) -> int:
    stated = getattr(module, "tiforge_api_version", None)
    if not isinstance(stated, int):
        raise _Refused(f"it does not state `tiforge_api_version = {API_VERSION}`")
    if stated != API_VERSION:
        other = "a newer" if stated > API_VERSION else "an older"
        raise _Refused(f"it was written for {other} plugin API ({stated}; this is {API_VERSION})")
    return stated


def _class_name(kind: str, base: str) -> Callable[[Any], str]:
    def named(item: Any) -> str:
        from importlib import import_module

        parent = getattr(import_module(f"tiforge.{kind}"), base)
        if not (inspect.isclass(item) and issubclass(item, parent)):
            raise _Refused(f"{item!r:.80} is no subclass of tiforge.{base}")
        name = getattr(item, "type", None)
        if not isinstance(name, str) or not name:
            raise _Refused(f"{item.__name__} names no `type`")
        if inspect.isabstract(item):
            missing = ", ".join(sorted(getattr(item, "__abstractmethods__", ())))
            raise _Refused(f"{item.__name__} does not implement {missing}")
        settings = getattr(item, "Settings", None)
        wanted = getattr(import_module(f"tiforge.{kind}"), f"{base}Settings")
        if not (inspect.isclass(settings) and issubclass(settings, wanted)):
            raise _Refused(f"{item.__name__}.Settings is no subclass of tiforge.{base}Settings")
        return name

    return named


def _scheme(item: Any) -> str:
    scheme = getattr(item, "scheme", None)
    if not isinstance(scheme, str) or not callable(getattr(item, "resolve", None)):
        raise _Refused(f"{item!r:.80} is no secret resolver")
    return scheme


_TYPES: Final = (
    ("source", "tiforge_sources", _class_name("source", "Source")),
    ("sink", "tiforge_sinks", _class_name("sink", "Sink")),
    ("transform", "tiforge_transforms", _class_name("transform", "Transform")),
    ("secret resolver", "tiforge_secret_resolvers", _scheme),
)


def _is_command(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 3 and all(isinstance(each, str) and each for each in item)


def _is_import(item: Any) -> bool:
    from tiforge.imports import Imported

    return isinstance(item, Imported)


_SHAPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "tiforge_commands": _is_command,
    "tiforge_observers": callable,
    "tiforge_demos": lambda item: (
        getattr(item, "side", None) in ("source", "sink")
        and isinstance(getattr(item, "name", None), str)
        and callable(getattr(item, "open", None))
    ),
    "tiforge_imports": _is_import,
}
_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(inspect.signature(getattr(hookspecs, name)).parameters)
    for name in dir(hookspecs)
    if name.startswith("tiforge_")
}
