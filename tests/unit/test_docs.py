"""The documentation is true of the code: generated pages, names, links, configs and the plugins that it shows."""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

import tiforge.errors
import tiforge.events
import tiforge.hookspecs
from tiforge.cli import app
from tiforge.cli.exits import Exit
from tiforge.config import load
from tiforge.engine.emit import Emitter
from tiforge.engine.run import run
from tiforge.engine.work import Engine, Outcome
from tiforge.plugins import Plugins
from tiforge.store import Store, deadletters
from tiforge.testing import sample_indicator
from tiforge.testing.serving import serving

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ALL = [*PAGES, *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
SECRETS = ("MIMECAST_CLIENT_SECRET", "MIMECAST_APP_KEY", "MIMECAST_ACCESS_KEY", "MIMECAST_SECRET_KEY")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(path.read_text(encoding="utf-8")) if kind == language]


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


# The reference


def test_the_generated_pages_are_current() -> None:
    """What the settings models and the commands say is what the committed pages say."""
    spec = importlib.util.spec_from_file_location("tiforge_docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    old = [named(page) for page in generate.outdated()]
    assert not old, f"run `python docs/generate.py`: {old}"


def hooks() -> list[str]:
    return [name for name in vars(tiforge.hookspecs) if name.startswith("tiforge_")]


@pytest.mark.parametrize("name", hooks())
def test_each_hook_is_documented(name: str) -> None:
    """Every hook has a section with its signature, which names each of its arguments."""
    told = section(text_of("reference/hooks.md"), name)
    arguments = inspect.signature(getattr(tiforge.hookspecs, name)).parameters
    assert re.search(rf"def {name}\(", told)
    for argument in arguments:
        assert f"`{argument}`" in told, f"the argument {argument} is not explained"


@pytest.mark.parametrize("name", [each.__name__ for each in tiforge.events.Event.__args__])  # type: ignore[attr-defined]
def test_each_event_is_documented(name: str) -> None:
    """Every event has a section that names each of its fields."""
    told = section(text_of("reference/events.md"), name)
    for field in getattr(tiforge.events, name).__dataclass_fields__:
        assert f"`{field}`" in told, f"the field {field} is not explained"


def commands(group: Any, path: str = "tiforge") -> Iterator[str]:
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


@pytest.mark.parametrize("command", list(commands(typer.main.get_command(app))))
def test_each_command_is_documented(command: str) -> None:
    """Every command has a section in the reference of the command line."""
    assert f"## `{command}`" in text_of("reference/cli.md")


@pytest.mark.parametrize("code", list(Exit))
def test_each_exit_code_is_documented(code: Exit) -> None:
    """Every exit code is in the table, by number and name."""
    assert f"| {code.value} | `{code.name}` |" in text_of("reference/cli.md")


ERRORS = [name for name, each in vars(tiforge.errors).items() if inspect.isclass(each)]


@pytest.mark.parametrize("name", [name for name in ERRORS if issubclass(getattr(tiforge.errors, name), Exception)])
def test_each_error_is_documented(name: str) -> None:
    """Every error that tiforge raises on purpose has a row or a section."""
    assert f"`{name}`" in text_of("reference/errors.md")


# What is printed works


@pytest.mark.parametrize("page", ALL, ids=named)
def test_toml_parses_and_whole_configs_load(page: Path, tmp_path: Path) -> None:
    """Every TOML block parses, and one with sources and sinks of installed types is a config that loads."""
    plugins = Plugins()
    for number, body in enumerate(blocks(page, "toml")):
        document = tomllib.loads(body)
        types = {each.get("type") for kind in ("sources", "sinks") for each in document.get(kind, {}).values()}
        if not types or not types <= {*plugins.sources, *plugins.sinks}:
            continue
        file = tmp_path / f"{number}.toml"
        file.write_text(body, encoding="utf-8")
        secrets = tmp_path / "secrets"
        secrets.mkdir(exist_ok=True)
        (secrets / "mimecast").write_text("s", encoding="utf-8")
        load(file, plugins, dict.fromkeys(SECRETS, "bWFya2Vk"))


@pytest.mark.parametrize("page", ALL, ids=named)
def test_python_blocks_are_python(page: Path) -> None:
    """Every Python block parses."""
    for body in blocks(page, "python"):
        ast.parse(body)


def anchors(path: Path) -> set[str]:
    found = set()
    for title in re.findall(r"^#+ (.+)$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", ALL, ids=named)
def test_internal_links_resolve(page: Path) -> None:
    """Every link within the repository leads to a file, and to a heading where it names one."""
    for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        where, _, anchor = target.partition("#")
        file = (page.parent / where).resolve() if where else page
        assert file.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(file), f"{target} names no heading of {named(file)}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_page_is_reached(page: Path) -> None:
    """Every page is linked from the index, the index from the README."""
    if page == DOCS / "index.md":
        assert "docs/index.md" in (ROOT / "README.md").read_text(encoding="utf-8")
        return
    assert str(page.relative_to(DOCS)) in text_of("index.md")


@pytest.mark.parametrize("page", ALL, ids=named)
def test_commands_and_options_exist(page: Path) -> None:
    """Every `tiforge …` line of a shell block names a command and options that are there."""
    root: Any = typer.main.get_command(app)
    for body in [*blocks(page, "sh"), *blocks(page, "console")]:
        for line in body.replace("\\\n", " ").splitlines():
            for words in re.findall(r"(?:^|[\s/;&|])tiforge ((?:[a-z]+|--\w)[^|;&#>]*)", line):
                _look_up(root, words.split())


def _look_up(command: Any, words: list[str]) -> None:
    while getattr(command, "commands", None):
        assert words, "a group alone is no command"
        if words[0] in ("--help", "--version"):
            return
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    options = {name for each in command.params for name in each.opts} | {"--help"}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in options, f"there is no option {word}"


@pytest.mark.parametrize("page", ALL, ids=named)
def test_nothing_of_one_machine_is_told(page: Path) -> None:
    """No page shows where it was written."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:work|root|home/\w+|tmp/docs)\b", text)
    assert "!" not in re.sub(r"`[^`]*`|<!--.*?-->|!\[|!=", "", without_code(text)), "an exclamation mark"


def test_the_readme_holds_the_two_commands_of_ci() -> None:
    """CI reads them between the marks, and runs them on a clean clone."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    told = re.search(r"^<!-- ci: begin -->$(.*?)^<!-- ci: end -->$", text, re.MULTILINE | re.DOTALL)
    assert told is not None
    assert len(re.findall(r"^python3 ", told[1], re.MULTILINE)) == 2


def command_line(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Run tiforge as a user does; return the exit code and all that it printed."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TIFORGE_", "MIMECAST_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", "from tiforge.cli import main; main()", *words],
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_tutorial_goes_as_it_says(tmp_path: Path) -> None:
    """The config, the exit codes and the messages of the tutorial, on a smaller feed."""
    emulator = pytest.importorskip("tiforge_mimecast.emulator")
    tutorial = DOCS / "tutorial.md"
    config = blocks(tutorial, "toml")[0]
    (secret,) = re.findall(r'^echo "(.*)" > \.env$', tutorial.read_text(encoding="utf-8"), re.MULTILINE)
    with serving(emulator.Emulator(emulator.make_rows(300)).app) as url:
        (tmp_path / "tiforge.toml").write_text(config.replace("http://127.0.0.1:8765", url), encoding="utf-8")
        code, told = command_line(tmp_path, "check")
        assert (code, "tiforge.toml:5: sources.mimecast.client_secret: the environment" in told) == (3, True)
        (tmp_path / ".env").write_text(secret + "\n", encoding="utf-8")
        assert command_line(tmp_path, "check")[0] == 0
        code, told = command_line(tmp_path, "run")
        assert (code, "tiforge deadletter list" in told) == (4, True)
        assert command_line(tmp_path, "run")[0] == 0
        wrong = {"TIFORGE_SOURCES__MIMECAST__CLIENT_SECRET": "wrong-secret"}
        code, told = command_line(tmp_path, "run", **wrong)
        assert (code, "Check `client_id` and `client_secret`" in told) == (4, True)
        assert "dropped" in command_line(tmp_path, "deadletter", "drop", "mimecast", "--yes")[1]
        assert "Nothing is set aside." in command_line(tmp_path, "deadletter", "list")[1]
    (bundle,) = (tmp_path / "out").glob("*.json")
    written = re.findall(r'"id":"indicator--[^"]*"', bundle.read_text(encoding="utf-8"))
    exported = command_line(tmp_path, "log", "export", "--type", "indicator")[1].splitlines()
    assert len(written) == len(set(written)) == len(exported) > 100


# The plugins that the guides show


class Shown:
    """A plugin written from a guide.

    Attributes:
        folder: The distribution's folder.
        name: The package.
    """

    def __init__(self, guide: str, folder: Path) -> None:
        self.folder = folder
        for body in blocks(DOCS / "how-to" / guide, "python"):
            first, _, rest = body.partition("\n")
            target = folder / first.removeprefix("# ")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(rest, encoding="utf-8")
        (package,) = (folder / "src").iterdir()
        self.name = package.name

    def plugins(self) -> Plugins:
        """Discover it as an installed plugin, beside those that are."""
        installed = importlib.metadata.entry_points(group="tiforge")
        return Plugins([*installed, EntryPoint(self.name, self.name, "tiforge")])

    def module(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.name}.{name}")

    def run_its_tests(self) -> str:
        """Run the shown tests as their author would; return what pytest says."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error"]
        paths = os.pathsep.join([str(self.folder / "src"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [*command, "tests"],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def shown(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    """The plugin of the guide that the test names, importable."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    plugin = Shown(request.param, folder)
    monkeypatch.syspath_prepend(str(folder / "src"))
    yield plugin
    for name in [each for each in sys.modules if each.partition(".")[0] == plugin.name]:
        del sys.modules[name]


def once(tmp_path: Path, plugins: Plugins, toml: str) -> tuple[dict[str, Outcome], list[deadletters.DeadLetter]]:
    """Run the engine once on a config; return the outcomes and what was set aside."""
    file = tmp_path / "tiforge.toml"
    file.write_text(toml, encoding="utf-8")
    with Store.open(f"sqlite:///{tmp_path}/tiforge.db") as store:
        engine = Engine(load(file, plugins, {}), plugins, store, Emitter())
        outcomes = {each.name: each for each in asyncio.run(run(engine, now=True))}
        with store.reading() as connection:
            return outcomes, deadletters.listed(connection)


@pytest.mark.parametrize("shown", ["write-a-source.md"], indirect=True)
def test_the_shown_source_works(shown: Shown, tmp_path: Path) -> None:
    """It is discovered, pulled into a bundle, doubles nothing, and sets its one broken item aside."""
    emulator = shown.module("emulator")
    plugins = shown.plugins()
    assert [each.reason for each in plugins.inspected() if not each.accepted] == []
    with serving(emulator.create_app(35)) as url:
        toml = (
            f'[sources.acme]\ntype = "acme"\nbase_url = "{url}"\napi_key = "{emulator.KEY}"\n'
            '[sinks.bundle]\ntype = "stix_file"\npath = "out/"\n'
        )
        first, letters = once(tmp_path, plugins, toml)
        again, _ = once(tmp_path, plugins, toml)
    assert {each.outcome for each in (*first.values(), *again.values())} == {"ok"}
    assert first["acme"].counts["added"] == first["bundle"].counts["accepted"] == 35
    assert again["acme"].counts["added"] == again["bundle"].counts["accepted"] == 0
    assert [letter.raw for letter in letters] == ['{"domain": "no-time.example.com"}']


@pytest.mark.parametrize("shown", ["write-a-sink.md"], indirect=True)
def test_the_shown_sink_works(shown: Shown, tmp_path: Path) -> None:
    """It is discovered, takes what a source brings, and the object that its API refuses is a dead letter."""
    emulator = shown.module("emulator")
    siem = emulator.ExampleSiem()
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    valueless = {**sample_indicator(900).object, "pattern": "alert tcp any any", "pattern_type": "snort"}
    lines = [sample_indicator(number).payload for number in range(250)]
    (inbox / "a.jsonl").write_bytes(b"\n".join([*lines, tiforge.Record.of(valueless).payload]) + b"\n")
    with serving(siem.app) as url:
        toml = (
            '[sources.reports]\ntype = "stix_file"\npath = "inbox/"\n'
            f'[sinks.siem]\ntype = "examplesiem"\nbase_url = "{url}"\ntoken = "{emulator.TOKEN}"\n'
        )
        outcomes, letters = once(tmp_path, shown.plugins(), toml)
    assert outcomes["siem"].counts | {"accepted": 250, "rejected": 1} == outcomes["siem"].counts
    assert len(siem.held) == 250
    assert [letter.reason for letter in letters] == ["an indicator needs a value"]


@pytest.mark.parametrize("shown", ["write-a-source.md", "write-a-sink.md"], indirect=True)
def test_the_shown_contracts_hold(shown: Shown) -> None:
    """The shown tests, run as an author runs them, pass."""
    told = shown.run_its_tests()
    assert re.search(r"\d{2} passed", told), told
