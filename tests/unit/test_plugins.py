"""Plugins: found, checked, and refused with a reason; one that is wrong never harms another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from textwrap import dedent

import pytest

from tiforge.cli import app
from tiforge.plugins import COMMANDS, Plugin, Plugins

GOOD = """
    from tiforge import Source, SourceSettings, hookimpl

    tiforge_api_version = 1

    class Settings(SourceSettings):
        pass

    class Good(Source[Settings]):
        type = "NAME"
        Settings = Settings

        async def pull(self, cursor):
            return
            yield

        def since(self, moment):
            return None

    @hookimpl
    def tiforge_sources():
        return [Good]
"""

HEAD = GOOD.split("    @hookimpl", maxsplit=1)[0]


class Site:
    """A folder of installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        name: str,
        code: str = GOOD,
        *,
        requires: tuple[str, ...] = (),
        point: str | None = None,
        target: str | None = None,
    ) -> None:
        module = f"plugin_{name}"
        (self.folder / f"{module}.py").write_text(dedent(code).replace("NAME", name), encoding="utf-8")
        info = self.folder / f"dist_{name}-2.5.dist-info"
        info.mkdir()
        wanted = "".join(f"Requires-Dist: {each}\n" for each in requires)
        metadata = f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 2.5\n{wanted}"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        (info / "entry_points.txt").write_text(
            f"[tiforge]\n{point or name} = {target or module}\n", encoding="utf-8"
        )

    def points(self) -> list[EntryPoint]:
        found = [point for each in distributions(path=[str(self.folder)]) for point in each.entry_points]
        return sorted(found, key=lambda point: point.value, reverse=True)

    def load(self) -> dict[str, Plugin]:
        """Return what became of each plugin, by distribution."""
        return {each.distribution.removeprefix("dist-"): each for each in Plugins(self.points()).inspected()}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty folder of distributions on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Site(tmp_path)
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


REFUSED: dict[str, tuple[str, str]] = {
    "an import error": (
        "import there_is_no_such_module\n",
        "it cannot be imported: ModuleNotFoundError: No module",
    ),
    "a syntax error": ("def broken(:\n", "it cannot be imported: SyntaxError: "),
    "an exception at import": (
        "raise RuntimeError('first\\nsecond')\n",
        "it cannot be imported: RuntimeError: first",
    ),
    "an exit at import": ("import sys\nsys.exit('bye')\n", "it cannot be imported: SystemExit: bye"),
    "endless recursion": ("def f(): f()\nf()\n", "it cannot be imported: RecursionError: "),
    "no API version": ("x = 1\n", "it does not state `tiforge_api_version = 1`"),
    "an API version in words": ("tiforge_api_version = '1'\n", "it does not state `tiforge_api_version = 1`"),
    "an older API version": ("tiforge_api_version = 0\n", "it was written for an older plugin API (0; this is 1)"),
    "a newer API version": ("tiforge_api_version = 2\n", "it was written for a newer plugin API (2; this is 1)"),
    "an unknown hook": (
        GOOD + "\n    @hookimpl\n    def tiforge_sorces():\n        return []\n",
        "it implements hooks that do not exist: tiforge_sorces",
    ),
    "an unknown argument": (
        GOOD + "\n    @hookimpl\n    def tiforge_commands(colour):\n        return []\n",
        "it does not fit a hook: ",
    ),
    "a hook that raises": (
        HEAD + "    @hookimpl\n    def tiforge_sources():\n        raise KeyError('oops')\n",
        "tiforge_sources failed: KeyError: 'oops'",
    ),
    "a hook that exits": (
        HEAD + "    @hookimpl\n    def tiforge_sinks():\n        raise SystemExit(3)\n",
        "tiforge_sinks failed: SystemExit: 3",
    ),
    "a hook that returns nothing": (
        HEAD + "    @hookimpl\n    def tiforge_sources():\n        return None\n",
        "tiforge_sources failed: TypeError: ",
    ),
    "a class without a type": (GOOD.replace('type = "NAME"', "pass"), "Good names no `type`"),
    "a class with an empty type": (GOOD.replace('"NAME"', '""'), "Good names no `type`"),
    "an abstract class": (GOOD.replace("def since", "def sinse"), "Good does not implement since"),
    "a class without settings": (
        GOOD.replace("        Settings = Settings\n", ""),
        "Good.Settings is no subclass of tiforge.SourceSettings",
    ),
    "settings of another kind": (
        GOOD.replace("SourceSettings", "SinkSettings"),
        "Good.Settings is no subclass of tiforge.SourceSettings",
    ),
    "an instance for a class": (GOOD.replace("[Good]", "['good']"), "'good' is no subclass of tiforge.Source"),
    "a sink among sources": (
        GOOD.replace("[Good]", "[__import__('tiforge').Sink]"),
        "is no subclass of tiforge.Source",
    ),
    "the same type twice": (GOOD.replace("[Good]", "[Good, Good]"), "another plugin already provides the source"),
    "a resolver without a scheme": (
        GOOD + "\n    @hookimpl\n    def tiforge_secret_resolvers():\n        return [object()]\n",
        "is no secret resolver",
    ),
    "a command of another shape": (
        GOOD + "\n    @hookimpl\n    def tiforge_commands():\n        return ['name']\n",
        "tiforge_commands gives 'name', which is not what it should",
    ),
    "a command of tiforge's own": (
        GOOD + "\n    @hookimpl\n    def tiforge_commands():\n        return [('run', 'Run.', 'a:b')]\n",
        "another plugin already provides the command 'run'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_refused_with_its_reason_and_harms_nobody(what: str, site: Site) -> None:
    """The row says why; plugins before and after it work as ever."""
    code, reason = REFUSED[what]
    site.install("m_wrong", code)
    site.install("a_good")
    site.install("z_good")
    found = site.load()
    told = found["m_wrong"].reason
    assert told is not None
    assert told.startswith(reason) or reason in told
    assert "\n" not in told
    assert found["m_wrong"].version == "2.5"
    for name in ("a_good", "z_good"):
        assert (found[name].reason, found[name].provides) == (None, [f"source {name}"])
    plugins = Plugins(site.points())
    assert set(plugins.sources) - {"m_wrong"} == {"a_good", "z_good"}


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("tiforge>=99", "it needs tiforge>=99, and this is tiforge"),
        ("TiForge (<0.0.1)", "it needs tiforge<0.0.1, and this is tiforge"),
        ("tiforge>=0.0.1", None),
        ("tiforge", None),
        ("tiforge>=99 ; extra == 'more'", None),
        ("tiforge>=99 ; python_version < '3'", None),
        ("tiforge-other>=99", None),
        ("not a requirement!", None),
    ],
)
def test_what_a_distribution_asks_of_tiforge_is_held_before_its_code_runs(
    site: Site, requirement: str, reason: str | None
) -> None:
    """One that needs another tiforge is refused without being imported."""
    site.install("needy", GOOD, requires=("requests>=2", requirement))
    told = site.load()["needy"].reason
    if reason is None:
        assert told is None
    else:
        assert told is not None
        assert told.startswith(reason)
        assert "plugin_needy" not in sys.modules


def test_of_two_with_one_type_the_later_distribution_is_refused(site: Site) -> None:
    """Which one loses follows from the names, not from the order on disk."""
    for name in ("b", "a", "c"):
        site.install(name, GOOD.replace('"NAME"', '"same"'))
    for points in (site.points(), site.points()[::-1]):
        rows = {each.distribution: each for each in Plugins(points).inspected()}
        assert rows["dist-a"].provides == ["source same"]
        for name in ("dist-b", "dist-c"):
            assert rows[name].reason == "another plugin already provides the source 'same'"
            assert rows[name].provides == []


def test_of_two_with_one_name_the_later_distribution_is_refused(site: Site) -> None:
    """An entry point's name belongs to the first."""
    site.install("b", point="same")
    site.install("a", point="same")
    found = site.load()
    assert (found["a"].reason, found["a"].provides) == (None, ["source a"])
    assert found["b"].reason == "another plugin is called same already"


def test_a_module_that_is_named_twice_works_once(site: Site) -> None:
    """The second entry point is refused; it does not take the first away."""
    site.install("a")
    site.install("b", target="plugin_a")
    found = site.load()
    assert (found["a"].reason, found["a"].provides) == (None, ["source a"])
    assert found["b"].reason == "its module is loaded as a already"
    assert list(Plugins(site.points()).sources) == ["a"]


@pytest.mark.parametrize("target", ["plugin_odd:tiforge_sources", "plugin_odd:tiforge_api_version"])
def test_an_entry_point_that_is_no_module_is_refused(site: Site, target: str) -> None:
    """A function or a number cannot be registered."""
    site.install("odd", target=target)
    assert site.load()["odd"].reason == f"its entry point {target} names no module"


def test_an_entry_point_that_names_what_is_not_there_is_refused(site: Site) -> None:
    """The reason is that of the import."""
    site.install("odd", target="plugin_odd:nothing")
    assert str(site.load()["odd"].reason).startswith("it cannot be imported: AttributeError: ")


def test_of_two_with_one_command_the_later_is_refused(site: Site) -> None:
    """A command that is taken refuses the plugin, and its line of help stays the first's."""
    command = (
        "\n    @hookimpl\n    def tiforge_commands():\n        return [('acme', 'NAME helps.', 'NAME:app')]\n"
    )
    site.install("b", GOOD + command)
    site.install("a", GOOD + command)
    plugins = Plugins(site.points())
    assert plugins.commands == {"acme": ("a helps.", "a:app")}
    found = {each.distribution: each for each in plugins.inspected()}
    assert found["dist-a"].provides == ["source a", "command acme"]
    assert found["dist-b"].reason == "another plugin already provides the command 'acme'"


def test_a_hook_may_ask_for_fewer_arguments(site: Site) -> None:
    """As pluggy allows; and what is not an import is refused when it is asked for."""
    hook = "\n    @hookimpl\n    def tiforge_imports():\n        return [RETURNED]\n"
    site.install("few", GOOD + hook.replace("RETURNED", "__import__('tiforge').Imported('x', 'few', {})"))
    site.install("odd", GOOD + hook.replace("RETURNED", "5"))
    plugins = Plugins(site.points())
    assert [each.type for each in plugins.imports({})] == ["few"]
    reasons = {each.name: each.reason for each in plugins.found}
    assert reasons == {"few": None, "odd": "tiforge_imports gives 5, which is not what it should"}


@pytest.mark.parametrize("hook", ["tiforge_observers", "tiforge_demos", "tiforge_imports", "tiforge_commands"])
def test_a_hook_that_fails_late_refuses_its_plugin_alone(site: Site, hook: str) -> None:
    """What is asked for later fails as quietly as what is asked for at once."""
    site.install("late", GOOD + f"\n    @hookimpl\n    def {hook}():\n        return [1 / 0]\n")
    site.install("good")
    plugins = Plugins(site.points())
    ask: dict[str, Callable[[], object]] = {
        "tiforge_observers": lambda: plugins.observers,
        "tiforge_demos": lambda: plugins.demos,
        "tiforge_imports": lambda: plugins.imports({}),
        "tiforge_commands": lambda: plugins.commands,
    }
    assert not ask[hook]()
    assert {each.name: each.reason for each in plugins.found} == {
        "good": None,
        "late": f"{hook} failed: ZeroDivisionError: division by zero",
    }


def test_the_names_of_tiforges_commands_are_kept() -> None:
    """What no plugin can take is what the command line has."""
    import typer

    group = typer.main.get_command(app)
    names = set(getattr(group, "commands", {}))
    assert names == COMMANDS


def test_plugins_list_tells_machines_and_people(site: Site, tmp_path: Path) -> None:
    """Installed as any distribution is: one row each, refused ones with their reason, on one line of JSON."""
    site.install("acme")
    site.install("broken", "raise ValueError('\\x1b[31mred')\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tiforge", "plugins", "list", *arguments],
            env={"PYTHONPATH": str(tmp_path), "PATH": "", "COLUMNS": "300"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )

    told = run("--json")
    assert told.stderr == ""
    rows = {each["name"]: each for each in json.loads(told.stdout)}
    assert rows["acme"] == {
        "name": "acme",
        "distribution": "dist-acme",
        "version": "2.5",
        "api_version": 1,
        "status": "ok",
        "reason": None,
        "provides": ["source acme"],
    }
    assert (rows["broken"]["status"], rows["broken"]["api_version"]) == ("refused", None)
    assert {"tiforge", "mimecast", "stix_file"} < rows.keys()
    shown = run()
    assert "refused: it cannot be imported: ValueError: �[31mred" in shown.stdout
    assert "\x1b" not in shown.stdout
