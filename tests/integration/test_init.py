"""`tiforge init`: a config by asking, and from the settings of an Azure function."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from tests.shell import Shell
from tiforge.cli.exits import Exit
from tiforge.testing.serving import serving
from tiforge_mimecast.emulator import Emulator, credentials, make_rows

SETTINGS = {
    "mimecast_app_id": credentials.APP_ID,
    "mimecast_app_key": credentials.APP_KEY,
    "mimecast_access_key": credentials.ACCESS_KEY,
    "mimecast_secret_key": credentials.SECRET_KEY,
    "mimecast_base_url": "https://eu-api.mimecast.com",
}
AZURE = "--from-azure-function-settings"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty folder."""
    return Shell(tmp_path)


def give(shell: Shell, settings: Any) -> None:
    (shell.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")


def beside(shell: Shell) -> dict[str, str | None]:
    return dotenv_values(shell.folder / ".env", interpolate=False)


def test_a_config_by_asking_works_when_its_secret_is_set(shell: Shell) -> None:
    """Names and types are asked for, secrets are named; with the variable set, the config is good."""
    answers = ["mimecast", "eu", *[""] * 20]
    done = shell.good("init", typed="\n".join(answers) + "\n")
    assert "Wrote tiforge.toml." in done.out
    text = shell.config.read_text(encoding="utf-8")
    assert "[sources.eu]" in text
    assert "every 15m" in text
    assert not (shell.folder / ".env").exists()


def test_a_config_that_is_there_stays(shell: Shell) -> None:
    """3 and what to do; only --force replaces it, and then whole."""
    shell.write("# mine\n" * 5000)
    give(shell, SETTINGS)
    done = shell.run("init", AZURE, "settings.json")
    assert (done.code, done.out) == (Exit.CONFIG, "")
    assert done.err == "There is a config at tiforge.toml already. Name another, or use --force.\n"
    assert shell.config.read_text(encoding="utf-8") == "# mine\n" * 5000
    assert not (shell.folder / ".env").exists()
    shell.good("init", AZURE, "settings.json", "--config", "other.toml")
    shell.good("init", AZURE, "settings.json", "--force")
    assert shell.config.read_text(encoding="utf-8") == (shell.folder / "other.toml").read_text(encoding="utf-8")


def test_secrets_go_to_a_private_file_and_nowhere_else(shell: Shell) -> None:
    """The file is the owner's alone, even where it was everyone's before; what it has stays as it is."""
    env = shell.folder / ".env"
    env.write_text("# mine\nOTHER=kept\nMIMECAST_APP_KEY=another-key", encoding="utf-8")
    env.chmod(0o644)
    give(shell, SETTINGS)
    done = shell.good("init", AZURE, "settings.json")
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert env.read_text(encoding="utf-8").startswith("# mine\nOTHER=kept\nMIMECAST_APP_KEY=another-key\n")
    assert beside(shell) == {
        "OTHER": "kept",
        "MIMECAST_APP_KEY": "another-key",
        "MIMECAST_ACCESS_KEY": credentials.ACCESS_KEY,
        "MIMECAST_SECRET_KEY": credentials.SECRET_KEY,
    }
    assert "Wrote 2 secrets" in done.out
    assert "had other values already, which stay: MIMECAST_APP_KEY" in done.out
    shown = done.out + done.err + shell.config.read_text(encoding="utf-8")
    for secret in (credentials.APP_KEY, credentials.ACCESS_KEY, credentials.SECRET_KEY, "another-key"):
        assert secret not in shown


@pytest.mark.parametrize(
    "secret",
    ["it's", 'say "x"', "back\\slash\\", "${HOME} $x `y`", "a # b", "two\nlines", "\\'", "é\u2028x", "=x="],
)
def test_any_secret_is_read_back_as_it_was(shell: Shell, secret: str) -> None:
    """Quotes, backslashes, dollar signs and line breaks survive the file."""
    give(shell, SETTINGS | {"mimecast_app_key": secret, "mimecast_access_key": secret})
    shell.good("init", AZURE, "settings.json")
    assert beside(shell) == {
        "MIMECAST_APP_KEY": secret,
        "MIMECAST_ACCESS_KEY": secret,
        "MIMECAST_SECRET_KEY": credentials.SECRET_KEY,
    }


def test_the_imported_config_reads_the_feed(shell: Shell) -> None:
    """What the function did, `tiforge run` does at once, without a further word."""
    with serving(Emulator(make_rows(20)).app) as url:
        give(shell, SETTINGS | {"mimecast_base_url": url})
        shell.good("init", AZURE, "settings.json")
        shell.good("check")
        ran = shell.run("run", "--json").json["outcomes"]
    assert [each["outcome"] for each in ran] == ["ok", "ok"]
    assert ran[0]["counts"]["rows"] == 20


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no JSON file"),
        ("5", "holds no app settings"),
        ("{}", "holds the app settings of no connector that an installed plugin knows"),
        ('{"IsEncrypted": true, "Values": {"x": "CfDJ8marked"}}', "is encrypted. Decrypt it first: func settings"),
        ('[{"name": "apiUsername", "value": "x"}, 5]', "of no connector"),
        ("\ud800", "is no JSON file"),
    ],
)
def test_what_is_no_function_is_refused(shell: Shell, text: str, told: str) -> None:
    """3, and nothing is written."""
    (shell.folder / "settings.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    done = shell.run("init", AZURE, "settings.json")
    assert (done.code, done.out) == (Exit.CONFIG, "")
    assert told in done.err
    assert "marked" not in done.err
    assert not shell.config.exists()


def test_where_nothing_can_be_written(shell: Shell) -> None:
    """The folder that is missing is named."""
    give(shell, SETTINGS)
    done = shell.run("init", AZURE, "settings.json", "-c", "nowhere/tiforge.toml")
    assert done.code == Exit.CONFIG
    assert "nowhere/tiforge.toml cannot be written: No such file or directory" in done.err
