"""The JSON Schema of the config: what `load` takes is valid by it, and what it refuses is not."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tiforge.config import ConfigProblems, load
from tiforge.config.schema import json_schema
from tiforge.plugins import Plugins

GOOD = """\
[store]
url = "sqlite:///x.db"
[retry]
attempts = 3
wait_max = "90s"
[sources.mimecast-eu]
type = "mimecast"
client_id = "me"
client_secret = { env = "KEPT" }
schedule = "*/5 * * * *"
tlp = "amber+strict"
feeds = ["malware_grid", "malware_customer"]
max_answer = "1GB"
[sources.mimecast-eu.http]
read_timeout = "30s"
[sources.mimecast-old]
type = "mimecast"
api = "1.0"
region = "eu"
app_id = "@Microsoft.KeyVault(SecretUri=https://vault.vault.azure.net/secrets/x)"
app_key = "@Microsoft.KeyVault(SecretUri=https://vault.vault.azure.net/secrets/x)"
access_key = { file = "kept" }
secret_key = { env = "KEPT" }
[sources.files]
type = "stix_file"
path = "in"
[sinks.out]
type = "stix_file"
sources = ["mimecast-eu"]
types = ["indicator"]
keep = 3
max_tlp = "red"
"""

BAD = {
    "an unknown table": GOOD + "[outputs]\nx = 1\n",
    "an unknown key": GOOD + "colour = 1\n",
    "the key of another type": GOOD.replace('path = "in"', 'path = "in"\nclient_id = "me"'),
    "an unknown type": GOOD.replace('"mimecast"', '"mimecats"', 1),
    "no type": GOOD.replace('type = "mimecast"\n', "", 1),
    "a number for text": GOOD.replace('client_id = "me"', "client_id = 5"),
    "text for a number": GOOD.replace("attempts = 3", 'attempts = "few"'),
    "a number out of bounds": GOOD.replace("attempts = 3", "attempts = 0"),
    "a feed that there is not": GOOD.replace("malware_customer", "malware_others"),
    "a level that there is not": GOOD.replace("amber+strict", "pink"),
    "two ways to one secret": GOOD.replace('{ file = "kept" }', '{ file = "kept", env = "KEPT" }'),
    "an unknown key inside": GOOD.replace("read_timeout", "read_timout"),
    "a required key missing": GOOD.replace('path = "in"\n', ""),
}


class Vault:
    scheme = "keyvault"

    def resolve(self, reference: str) -> str:
        return "kept-in-the-vault"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema as it is printed."""
    told: dict[str, Any] = json.loads(json.dumps(json_schema(Plugins())))
    Draft202012Validator.check_schema(told)
    return told


@pytest.fixture
def plugins() -> Plugins:
    """The installed plugins, with a vault of our own."""
    found = Plugins()
    found.resolvers["keyvault"] = Vault()
    return found


def write(folder: Path, toml: str) -> Path:
    (folder / "kept").write_text("kept-in-a-file", encoding="utf-8")
    file = folder / "tiforge.toml"
    file.write_text(toml, encoding="utf-8")
    return file


def test_a_config_that_loads_is_valid(schema: dict[str, Any], plugins: Plugins, tmp_path: Path) -> None:
    """References, durations, sizes and levels are what the schema says they are."""
    load(write(tmp_path, GOOD), plugins, {"KEPT": "kept-in-the-environment"})
    errors = list(Draft202012Validator(schema).iter_errors(tomllib.loads(GOOD)))
    assert errors == []


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_load_is_not_valid(
    what: str, schema: dict[str, Any], plugins: Plugins, tmp_path: Path
) -> None:
    """An editor marks what tiforge would refuse."""
    with pytest.raises(ConfigProblems):
        load(write(tmp_path, BAD[what]), plugins, {"KEPT": "kept-in-the-environment"})
    assert not Draft202012Validator(schema).is_valid(tomllib.loads(BAD[what]))


def test_without_plugins_no_source_is_valid() -> None:
    """There is no type that a table could have."""
    schema = json_schema(Plugins([]))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"retry": {"attempts": 2}})
    assert not validator.is_valid({"sources": {"a": {"type": "mimecast"}}})


def test_every_setting_is_described(schema: dict[str, Any]) -> None:
    """An editor shows what each key means."""
    silent = [
        (name, key)
        for name, definition in schema["$defs"].items()
        for key, told in definition.get("properties", {}).items()
        if not told.get("description") and "$ref" not in told and name != "Secret"
    ]
    assert silent == []
