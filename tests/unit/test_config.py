"""The config: everything wrong told at once with its line, the environment over the file, relative paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from tiforge import (
    LocalPath,
    Secret,
    Settings,
    SinkSettings,
    SourceSettings,
    Transform,
    TransformSettings,
    hookimpl,
)
from tiforge import Record as Rec
from tiforge.config import Config, ConfigProblems, load
from tiforge.errors import ConfigurationError
from tiforge.plugins import Plugins

MARKED = "marked-secret-0123456789"


class Inner(Settings):
    """A table inside."""

    depth: int = 1
    wait_for: LocalPath | None = None


class Place(BaseModel):
    """An entry of a list of tables."""

    model_config = ConfigDict(extra="forbid")

    city: str
    number: int | list[int] = 1


class FeedSettings(SourceSettings):
    """A source with one of everything."""

    client_id: str
    client_secret: Secret
    second: Secret | None = None
    region: str | None = None
    feeds: tuple[str, ...] = ()
    pages: int = 10
    ratio: float = 0.5
    folder: LocalPath = Path("in")
    inner: Inner = Inner()
    maybe: Inner | None = None
    places: tuple[Place, ...] = ()
    mixed: int | list[int] | dict[str, int] = 0


class BoxSettings(SinkSettings):
    """A sink."""

    path: LocalPath = Path("out")


class UpperSettings(TransformSettings):
    """A transform."""

    only: str = ""


def plugin(lab: ModuleType) -> ModuleType:
    """Give the laboratory's classes other settings and a transform."""

    class Upper(Transform[UpperSettings]):
        type = "upper"
        Settings = UpperSettings

        def apply(self, record: Rec) -> Rec | None:
            return record

    (source,) = lab.tiforge_sources()
    sink, _ = lab.tiforge_sinks()
    module = ModuleType("tiforge_sample")
    module.tiforge_api_version = 1  # type: ignore[attr-defined]

    def tiforge_sources() -> list[Any]:
        return [type("Feed", (source,), {"type": "feed", "Settings": FeedSettings})]

    def tiforge_sinks() -> list[Any]:
        return [type("Box", (sink,), {"type": "box", "Settings": BoxSettings})]

    def tiforge_transforms() -> list[Any]:
        return [Upper]

    for each in (tiforge_sources, tiforge_sinks, tiforge_transforms):
        setattr(module, each.__name__, hookimpl(each))
    return module


Read = Callable[..., Config]


@pytest.fixture
def read(lab_plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Write a config, and read it with the sample plugin and a given environment."""
    import sys

    monkeypatch.setitem(sys.modules, "tiforge_sample", plugin(sys.modules["tiforge_lab"]))
    points = [EntryPoint("lab", "tiforge_lab", "tiforge"), EntryPoint("sample", "tiforge_sample", "tiforge")]
    plugins = Plugins(points)
    assert {each.reason for each in plugins.inspected()} == {None}

    def load_text(toml: str, environment: Mapping[str, str] | None = None, *, beside: str | None = None) -> Config:
        file = tmp_path / "tiforge.toml"
        file.write_text(toml, encoding="utf-8")
        if beside is not None:
            (tmp_path / ".env").write_text(beside, encoding="utf-8")
        return load(file, plugins, environment or {})

    return load_text


def problems(
    read: Read, toml: str, environment: Mapping[str, str] | None = None
) -> dict[str, tuple[int | None, str]]:
    """Return what is wrong: line and message by key."""
    with pytest.raises(ConfigProblems) as caught:
        read(toml, environment)
    assert MARKED not in str(caught.value)
    return {each.key: (each.line, each.message) for each in caught.value.problems}


FEED = f'[sources.eu-feed]\ntype = "feed"\nclient_id = "me"\nclient_secret = "{MARKED}"\n'


def feed(config: Config, name: str = "eu-feed") -> FeedSettings:
    settings = config.sources[name]
    assert isinstance(settings, FeedSettings)
    return settings


WRONG = """\
# Everything wrong at once.
[store]
url = "no url"
[retry]
atempts = 3
wait_max = "60"
attempts = 0
[logging]
level = "loud"

[sources.eu-feed]
type = "feed"
client_id = 5
client_secret = { env = "NOT_SET" }
second = { file = "not-there" }
schedule = "every now"
regoin = "eu"
feeds = "one"
pages = "many"
ratio = [
  1,
]
enabled = "perhaps"
jitter = "soon"
[sources.eu-feed.inner]
depth = "deep"
dept = 1
[[sources.eu-feed.places]]
number = "x"

[sources.other]
type = "fede"
[sources.third]
schedule = "* * *"
[sources."no name"]
type = "feed"

[sinks.out]
type = "box"
sources = ["eu-fed"]
transforms = ["loud", "upr"]
max_tlp = "pink"
min_confidence = 101
types = ["indicator", 5]
[transforms.up]
type = "upper"
only = 1
[outputs]
x = 1
"""


def test_everything_wrong_is_told_at_once_with_its_line_and_what_to_write(read: Read) -> None:
    """One reading names each problem: the key, the line it stands on, and what to write instead."""
    found = problems(read, WRONG)
    lines = WRONG.split("\n")
    told = {
        "store.url": ("url =", "write sqlite:///tiforge.db or postgresql://user:password@host/name"),
        "retry.atempts": ("atempts", "there is no such key; did you mean `attempts`?"),
        "retry.wait_max": ("wait_max", "write it as 90s, 15m"),
        "retry.attempts": ("attempts = 0", "must be at least 1"),
        "logging.level": ("level", "write 'debug', 'info', 'warning' or 'error'"),
        "sources.eu-feed.client_id": ("client_id", "write text in quotes"),
        "sources.eu-feed.client_secret": (
            "client_secret",
            "the environment variable NOT_SET is not set; export it",
        ),
        "sources.eu-feed.second": ("second", "not-there cannot be read: No such file"),
        "sources.eu-feed.schedule": (
            'schedule = "every',
            "write five cron fields as '*/15 * * * *', or 'every 15m'",
        ),
        "sources.eu-feed.regoin": ("regoin", "there is no such key; did you mean `region`?"),
        "sources.eu-feed.feeds": ("feeds", 'write a list, as ["…"]'),
        "sources.eu-feed.pages": ("pages", "write a whole number, as 5"),
        "sources.eu-feed.ratio": ("ratio", "write a number, as 0.5"),
        "sources.eu-feed.enabled": ("enabled", "write true or false"),
        "sources.eu-feed.jitter": ("jitter", "'soon' is no duration; write it as 90s"),
        "sources.eu-feed.inner.depth": ("depth", "write a whole number, as 5"),
        "sources.eu-feed.inner.dept": ("dept =", "there is no such key; did you mean `depth`?"),
        "sources.eu-feed.places.city": ("[[sources", "is missing; it has no default"),
        "sources.other.type": (
            'type = "fede"',
            "no installed plugin provides the source type 'fede'; did you mean `feed`?",
        ),
        "sources.third": ("[sources.third]", "has no `type`; there are: feed, lab"),
        "sources.no name": ('[sources."no', "a name is made of letters"),
        "sinks.out.sources": (
            'sources = ["eu-fed"]',
            "there is no source named 'eu-fed'; did you mean `eu-feed`?",
        ),
        "sinks.out.max_tlp": ("max_tlp", "write one of: clear, green, amber, amber+strict, red"),
        "sinks.out.min_confidence": ("min_conf", "must be at most 100"),
        "sinks.out.types": ("types", "write text in quotes"),
        "transforms.up.only": ("only", "write text in quotes"),
        "outputs": ("[outputs]", "there is no such key; there are: logging, retry"),
    }
    # Two of a kind at one key, which the helper above takes for one.
    several = {"sinks.out.transforms", "sources.eu-feed.places.number"}
    assert set(found) - several == set(told)
    for key, (begins, message) in told.items():
        line, said = found[key]
        assert line is not None
        assert lines[line - 1].startswith(begins), key
        assert message in said, key


def test_a_union_and_a_list_name_the_key_and_not_its_members(read: Read) -> None:
    """Places in lists and members of unions, which pydantic counts as steps, are no part of a key."""
    toml = FEED + 'mixed = "x"\nfeeds = ["a", 1]\nplaces = [{ city = "a" }, { city = 2, number = "b" }]\n'
    toml += "maybe = { depth = 1, dpth = 2 }\n"
    found = problems(read, toml)
    assert {key.removeprefix("sources.eu-feed."): line for key, (line, _) in found.items()} == {
        "mixed": 5,
        "feeds": 6,
        "places.city": 7,
        "places.number": 7,
        "maybe.dpth": 8,
    }
    assert found["sources.eu-feed.maybe.dpth"][1] == "there is no such key; did you mean `depth`?"


@pytest.mark.parametrize(
    ("toml", "key", "told"),
    [
        ("sources = 5\n", "sources", "write a table: a header [sources] of its own"),
        ("[sinks]\nout = 5\n", "sinks.out", "write a table: a header [sinks.out] of its own"),
        (FEED + "inner = 5\n", "sources.eu-feed.inner", "a header [sources.eu-feed.inner] of its own"),
        ("[[sinks]]\nx = 1\n", "sinks", "write a table"),
        ('[sinks.s]\ntype = "xyz"\n', "sinks.s.type", "there are: board, box, lab"),
        ('[sinks.s]\ntype = ["box"]\n', "sinks.s", "has no `type`; there are: board, box, lab"),
        ("[transforms.s]\n", "transforms.s", "has no `type`; there are: lab, upper"),
    ],
)
def test_what_should_be_a_table(read: Read, toml: str, key: str, told: str) -> None:
    """A value in the place of a table is told how a table is written."""
    found = problems(read, toml)
    assert told in found[key][1]


def test_wrong_settings_of_tiforge_hide_nothing_of_the_plugins(read: Read) -> None:
    """The tables of plugins are checked, from file and environment, whatever is wrong above them."""
    environment = {
        "TIFORGE_LOGGING__LEVEL": "loud",
        "TIFORGE_SOURCES__EU_FEED__PAGES": "7",
        "TIFORGE_SINKS__NEW__TYPE": "bocks",
    }
    found = problems(read, FEED.replace('client_id = "me"', "pages = 0.5"), environment)
    assert set(found) == {"logging.level", "sources.eu-feed.client_id", "sinks.new.type"}


def test_the_environment_is_over_the_env_file_which_is_over_the_file(read: Read) -> None:
    """Each key by each; a name's dashes and case are found again."""
    toml = (
        FEED.replace("eu-feed", "EU.feed-1") + "pages = 1\nratio = 0.1\n[sources.'EU.feed-1'.inner]\ndepth = 1\n"
    )
    toml = toml.replace("[sources.EU.feed-1]", "[sources.'EU.feed-1']")
    beside = "TIFORGE_SOURCES__EU_FEED_1__PAGES=2\nTIFORGE_SOURCES__EU_FEED_1__RATIO=0.2\n"
    environment = {
        "TIFORGE_SOURCES__EU_FEED_1__PAGES": "3",
        "TIFORGE_SOURCES__EU_FEED_1__INNER__DEPTH": "3",
        "TIFORGE_SOURCES__EU_FEED_1__CLIENT_SECRET": "another-" + MARKED,
        "TIFORGE_CONFIG": "elsewhere.toml",
    }
    config = read(toml, environment, beside=beside)
    settings = feed(config, "EU.feed-1")
    assert (settings.pages, settings.ratio, settings.inner.depth) == (3, 0.2, 3)
    assert settings.client_secret.get_secret_value() == "another-" + MARKED


def test_a_whole_source_can_come_from_the_environment(read: Read) -> None:
    """A container needs no file but an empty one; lists and tables are written as JSON."""
    environment = {
        "TIFORGE_SOURCES__CLOUD__TYPE": "feed",
        "TIFORGE_SOURCES__CLOUD__CLIENT_ID": "me",
        "TIFORGE_SOURCES__CLOUD__CLIENT_SECRET": '{"env": "KEPT"}',
        "TIFORGE_SOURCES__CLOUD__FEEDS": '["a", "b"]',
        "TIFORGE_SOURCES__CLOUD__SCHEDULE": "*/5 * * * *",
        "TIFORGE_SOURCES__CLOUD__ENABLED": "false",
        "TIFORGE_SINKS__OUT": '{"type": "box", "sources": ["nobody"]}',
        "TIFORGE_SINKS__OUT__SOURCES": '["cloud"]',
        "KEPT": MARKED,
    }
    config = read("", environment)
    settings = feed(config, "cloud")
    assert settings.client_secret.get_secret_value() == MARKED
    assert (settings.feeds, settings.enabled) == (("a", "b"), False)
    assert str(settings.schedule and settings.schedule.text) == "*/5 * * * *"
    assert config.sinks["out"].sources == ("cloud",)


def test_a_value_of_the_environment_replaces_a_table_of_the_file(read: Read) -> None:
    """A reference in the file does not mix with another one in the environment."""
    toml = FEED.replace(f'"{MARKED}"', '{ file = "not-there" }')
    config = read(toml, {"TIFORGE_SOURCES__EU_FEED__CLIENT_SECRET": '{"env": "KEPT"}', "KEPT": MARKED})
    assert feed(config).client_secret.get_secret_value() == MARKED


@pytest.mark.parametrize("secret", ["12345678", "0777", "1e5", "true", "null", "${HOME}$x", "a # b", " spaced "])
def test_a_secret_stays_the_text_that_it_is(read: Read, secret: str) -> None:
    """Nothing is taken for a number, a boolean, a comment or a variable, in the environment or in `.env`."""
    variable = "TIFORGE_SOURCES__EU_FEED__CLIENT_SECRET"
    assert feed(read(FEED, {variable: secret})).client_secret.get_secret_value() == secret
    config = read(FEED.replace(f'"{MARKED}"', '{ env = "KEPT" }'), {}, beside=f"KEPT='{secret}'\n")
    assert feed(config).client_secret.get_secret_value() == secret


def test_an_error_in_the_environment_names_the_variable_and_not_its_value(read: Read) -> None:
    """The person who set it is told where; the value may be a secret."""
    with pytest.raises(ConfigProblems) as caught:
        read(FEED, {"TIFORGE_SOURCES__EU_FEED__PAGES": MARKED, "TIFORGE_SOURCES__EU_FEED__INNER": '{"dept": 1}'})
    assert [str(each) for each in caught.value.problems] == [
        "environment variable TIFORGE_SOURCES__EU_FEED__INNER: sources.eu-feed.inner.dept: "
        "there is no such key; did you mean `depth`?",
        "environment variable TIFORGE_SOURCES__EU_FEED__PAGES: sources.eu-feed.pages: write a whole number, as 5",
    ]
    with pytest.raises(ConfigurationError, match="__PAGES begins like JSON but is none") as broken:
        read(FEED, {"TIFORGE_SOURCES__EU_FEED__PAGES": "[" + MARKED})
    assert MARKED not in str(broken.value)


@pytest.mark.parametrize(
    ("variable", "key", "told"),
    [
        ("TIFORGE_SOURCE__EU_FEED__PAGES", "source", "did you mean `sources`?"),
        ("TIFORGE_SOURCES__EU_FED__PAGES", "sources.eu_fed", "has no `type`"),
        ("TIFORGE_SOURCES__EU_FEED__PAGE", "sources.eu-feed.page", "did you mean `pages`?"),
    ],
)
def test_a_misspelt_variable_is_not_passed_over(read: Read, variable: str, key: str, told: str) -> None:
    """A setting that would have no effect is a problem that names its variable."""
    with pytest.raises(ConfigProblems) as caught:
        read(FEED, {variable: "5"})
    (found,) = caught.value.problems
    assert (found.where, found.line, found.key) == (f"environment variable {variable}", None, key)
    assert told in found.message


def test_relative_paths_start_from_the_folder_of_the_config(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the command is run: paths of settings, defaults and secrets' files alike."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (tmp_path / "kept").write_text(MARKED + "\n", encoding="utf-8")
    toml = FEED.replace(f'"{MARKED}"', '{ file = "kept" }') + f'[sinks.a]\ntype = "box"\npath = "{tmp_path}/abs"\n'
    config = read(toml + '[sinks.b]\ntype = "box"\npath = "../up"\n')
    assert feed(config).folder == tmp_path / "in"
    assert feed(config).client_secret.get_secret_value() == MARKED
    assert [each.path for each in config.sinks.values() if isinstance(each, BoxSettings)] == [
        tmp_path / "abs",
        tmp_path / "../up",
    ]
    assert config.directory == tmp_path


def test_two_plugins_tables_are_told_apart_by_type(read: Read) -> None:
    """Each table is checked by the model of its own type: the other's keys do not exist in it."""
    toml = FEED + '[sources.plain]\ntype = "lab"\n[sinks.a]\ntype = "lab"\n[sinks.b]\ntype = "box"\npath = "x"\n'
    config = read(toml)
    assert [type(each).__name__ for each in config.sources.values()] == ["FeedSettings", "LabSourceSettings"]
    assert [type(each).__name__ for each in config.sinks.values()] == ["LabSinkSettings", "BoxSettings"]
    found = problems(read, toml.replace('type = "lab"\n[sinks.b', 'type = "lab"\npath = "x"\n[sinks.b'))
    assert set(found) == {"sinks.a.path"}


def test_defaults_are_enough(read: Read, tmp_path: Path) -> None:
    """An empty file is a config; a byte-order mark and CRLF, as Windows writes them, do no harm."""
    config = read("")
    assert (config.store.url.get_secret_value(), config.retry.attempts) == ("sqlite:///tiforge.db", 6)
    assert (dict(config.sources), dict(config.sinks), dict(config.transforms)) == ({}, {}, {})
    config = read("\ufeff[retry]\r\nattempts = 2\r\n")
    assert config.retry.attempts == 2
    assert problems(read, "\ufeff[retry]\r\n\r\natempts = 2\r\n")["retry.atempts"][0] == 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "There is no config at .*tiforge.toml. Write one with `tiforge init`"),
        (b"[sources\n", r"is no TOML: .*line 1"),
        (b"a = 1\na = 2\n", "is no TOML"),
        (b'a = "\xff"', "is no UTF-8 text"),
    ],
)
def test_a_file_that_is_no_config(lab_plugins: Plugins, tmp_path: Path, content: bytes | None, told: str) -> None:
    """The file is named, and what to do where it is missing."""
    file = tmp_path / "tiforge.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=told):
        load(file, lab_plugins, {})


def test_a_folder_in_the_place_of_a_file(lab_plugins: Plugins, tmp_path: Path) -> None:
    """A config or `.env` that is no file is said to be unreadable."""
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load(tmp_path, lab_plugins, {})


def test_an_env_file_that_is_no_text(lab_plugins: Plugins, tmp_path: Path) -> None:
    """It is named; its content is not shown."""
    (tmp_path / "tiforge.toml").touch()
    (tmp_path / ".env").write_bytes(b"KEPT='" + MARKED.encode() + b"\xff'\n")
    with pytest.raises(ConfigurationError, match=r"\.env is no UTF-8 text") as caught:
        load(tmp_path / "tiforge.toml", lab_plugins, {})
    assert MARKED not in str(caught.value)


def test_a_password_in_the_store_url_is_concealed(read: Read) -> None:
    """Neither the settings nor their errors show it."""
    config = read(f'[store]\nurl = "postgresql://me:{MARKED}@127.0.0.1/db"\n')
    assert MARKED not in repr(config)
    assert MARKED in config.store.url.get_secret_value()
    found = problems(read, f'[store]\nurl = "me:{MARKED}@host"\n')
    assert "is no URL" in found["store.url"][1]


def test_problems_as_data(read: Read) -> None:
    """Machines get the same as people: where, line, key, message."""
    with pytest.raises(ConfigProblems) as caught:
        read("[retry]\nattempts = 0\n")
    (found,) = caught.value.as_data()
    assert str(found.pop("where")).endswith("tiforge.toml")
    assert found == {"line": 2, "key": "retry.attempts", "message": "must be at least 1"}
