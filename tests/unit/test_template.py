"""The config that `tiforge init` writes: it loads, says what was set, and shows everything else."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiforge.cli.template import Table, is_secret, plain, render, variable
from tiforge.config import load
from tiforge.plugins import Plugins

PLUGINS = Plugins()
SETTINGS = {
    "type": "mimecast",
    "client_id": 'it\'s "quoted" \\ é',
    "client_secret": {"env": "KEPT"},
    "schedule": "*/5 * * * *",
    "feeds": ["malware_grid", "malware_customer"],
    "compress": False,
    "confidence": 50,
    "renew_below": 0.25,
}


def tables(name: str = "mimecast-eu") -> list[Table]:
    values = {key: value for key, value in SETTINGS.items() if key != "type"}
    return [
        Table("sources", name, "mimecast", PLUGINS.sources["mimecast"].Settings, values),
        Table("sinks", "out", "stix_file", PLUGINS.sinks["stix_file"].Settings, {"path": "out/"}),
    ]


@pytest.mark.parametrize("name", ["mimecast-eu", "Mimecast.EU"])
def test_what_is_set_is_read_back(name: str, tmp_path: Path) -> None:
    """Text with quotes, lists, numbers, booleans and references come back as they were."""
    text = render(tables(name))
    assert tomllib.loads(text)["sources"][name] == SETTINGS
    file = tmp_path / "tiforge.toml"
    file.write_text(text, encoding="utf-8")
    config = load(file, Plugins(), {"KEPT": "kept-secret"})
    assert list(config.sources) == [name]


def test_everything_else_is_there_with_its_default(tmp_path: Path) -> None:
    """Each line of a default, its comment sign taken away, is the default; the settings are the same with it."""
    text = render(tables())
    shown = set(re.findall(r"^#?([a-z_]+) = ", text, re.MULTILINE))
    for plugin in (PLUGINS.sources["mimecast"], PLUGINS.sinks["stix_file"]):
        tables_inside = {"http"}
        assert set(plugin.Settings.model_fields) - tables_inside <= shown
    uncommented = re.sub(r"^#([a-z_]+ = (?!…).+)$", r"\1", text, flags=re.MULTILINE)
    assert uncommented.count("\n#") < text.count("\n#")
    file = tmp_path / "tiforge.toml"
    file.write_text(text, encoding="utf-8")
    as_it_is = load(file, Plugins(), {"KEPT": "kept-secret"})
    file.write_text(uncommented, encoding="utf-8")
    with_defaults = load(file, Plugins(), {"KEPT": "kept-secret"})
    assert with_defaults.sources == as_it_is.sources
    assert with_defaults.sinks == as_it_is.sinks


def test_secrets_are_known_by_their_type() -> None:
    """Those that `init` names in the environment instead of asking for them."""
    fields = PLUGINS.sources["mimecast"].Settings.model_fields
    found = {key for key, field in fields.items() if is_secret(field)}
    assert found == {"client_secret", "app_key", "access_key", "secret_key", "password"}


def test_a_variable_is_a_name_that_a_shell_takes() -> None:
    """Whatever an instance is called."""
    assert variable("mimecast-eu", "client_secret") == "MIMECAST_EU_CLIENT_SECRET"
    assert variable("a.b c", "x") == "A_B_C_X"


VALUES = st.recursive(
    st.one_of(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs"])),
        st.integers(-(2**62), 2**62),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
DOCUMENTS = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5),
    st.recursive(VALUES, lambda inner: st.dictionaries(st.text("ab.- \"'é", max_size=3), inner, max_size=3)),
    max_size=4,
)


@given(DOCUMENTS)
def test_any_document_is_read_back(document: dict[str, Any]) -> None:
    """Without comments: what is written is TOML, and holds the same."""
    assert tomllib.loads(plain(document)) == without_empty(document)


def without_empty(value: Any) -> Any:
    """A table with nothing in it is not written."""
    if not isinstance(value, dict):
        return value
    inner = {key: without_empty(each) for key, each in value.items()}
    return {key: each for key, each in inner.items() if each != {}}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (timedelta(days=3), "3d"),
        (timedelta(minutes=90), "90m"),
        (timedelta(0), "0s"),
        (timedelta(seconds=61), "61s"),
    ],
)
def test_durations_are_written_as_they_are_read(value: timedelta, written: str) -> None:
    """In the largest unit that is exact."""
    assert plain({"x": value}) == f'x = "{written}"\n'


def test_parts_of_a_second_are_kept() -> None:
    """A wait of some milliseconds is not written as none."""
    assert plain({"x": timedelta(milliseconds=250)}) == 'x = "250ms"\n'
