from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tiforge.config import load
from tiforge.plugins import Plugins
from tiforge_mimecast import tiforge_imports
from tiforge_mimecast.azure_function import imported
from tiforge_mimecast.emulator import credentials
from tiforge_mimecast.settings import MimecastSettings

if TYPE_CHECKING:
    from conftest import Bench
    from tiforge.imports import Imported

PLAIN = {
    "mimecast_email": "service@example.com",
    "mimecast_password": "marked-password",
    "mimecast_app_id": "an-app",
    "mimecast_app_key": "marked-app-key",
    "mimecast_access_key": "marked-access-key",
    "mimecast_secret_key": "bWFya2VkLXNlY3JldC1rZXk=",
    "mimecast_base_url": "https://eu-api.mimecast.com",
}
SECRETS = {
    "MIMECAST_APP_KEY": "marked-app-key",
    "MIMECAST_ACCESS_KEY": "marked-access-key",
    "MIMECAST_SECRET_KEY": "bWFya2VkLXNlY3JldC1rZXk=",
    "MIMECAST_PASSWORD": "marked-password",
}
PLATFORM = {
    "AzureWebJobsStorage": "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=marked-storage-key",
    "FUNCTIONS_EXTENSION_VERSION": "~3",
    "FUNCTIONS_WORKER_RUNTIME": "python",
    "APPINSIGHTS_INSTRUMENTATIONKEY": "00000000-0000-0000-0000-000000000000",
    "WEBSITE_RUN_FROM_PACKAGE": "https://aka.ms/sentinel-MimecastTIRegional-functionapp",
    "WEBSITES_ENABLE_APP_SERVICE_STORAGE": "false",
}
SINK = {
    "active_directory_app_id": "ad-app",
    "active_directory_app_secret": "marked-ad-secret",
    "active_directory_tenant_id": "ad-tenant",
    "log_analytics_workspace_key": "marked-workspace-key",
}
CAMEL = {
    "mimecast_email": "mimecastEmail",
    "mimecast_password": "mimecastPassword",
    "mimecast_app_id": "mimecastAppId",
    "mimecast_app_key": "mimecastAppKey",
    "mimecast_access_key": "mimecastAccessKey",
    "mimecast_secret_key": "mimecastSecretKey",
    "mimecast_base_url": "mimecastBaseURL",
}


def tiforge(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tiforge.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def vault(setting: str, app: str = "mimecastti") -> str:
    return f"@Microsoft.KeyVault(SecretUri=https://{app}.vault.azure.net/secrets/{setting.replace('_', '-')}/)"


def only(app_settings: dict[str, str]) -> Imported:
    (found,) = imported(app_settings)
    return found


def notes(found: Imported) -> str:
    return "\n".join(found.notes)


@pytest.mark.parametrize("spelt", [str, CAMEL.__getitem__, str.upper, str.title])
def test_both_spellings_are_read_in_any_case(spelt: Any) -> None:
    """What the settings are called does not matter as long as the words are there."""
    found = only({spelt(key): value for key, value in PLAIN.items()})
    assert (found.name, found.type) == ("mimecast", "mimecast")
    assert found.settings == {
        "api": "1.0",
        "region": "eu",
        "app_id": "an-app",
        "app_key": {"env": "MIMECAST_APP_KEY"},
        "access_key": {"env": "MIMECAST_ACCESS_KEY"},
        "secret_key": {"env": "MIMECAST_SECRET_KEY"},
        "email": "service@example.com",
        "password": {"env": "MIMECAST_PASSWORD"},
        "feeds": ["malware_grid"],
        "schedule": "*/5 * * * *",
    }
    assert found.secrets == SECRETS
    assert "API 1.0" in notes(found)


def test_defaults_are_those_of_the_function() -> None:
    """What is not set explicitly is what the function did: 30 days, zip archives, three days at first, TLP red."""
    found = only(PLAIN)
    settings = MimecastSettings.model_validate(
        {
            "type": "mimecast",
            **found.settings,
            **{k: "c2VjcmV0" for k, v in found.settings.items() if type(v) is dict},
        }
    )
    assert (settings.valid_for.days, settings.first_window.days) == (30, 3)
    assert (settings.compress, settings.confidence, settings.tlp.name) == (True, 100, "RED")
    assert settings.file_type == "csv"


def test_no_secret_stands_in_the_table_or_the_notes() -> None:
    """Values of secrets are in `secrets` alone, which no repr shows; those of the sink are nowhere."""
    found = only({**PLAIN, **PLATFORM, **SINK})
    shown = repr(found) + repr(found.settings) + notes(found)
    assert "marked-" not in shown
    assert "bWFya2Vk" not in shown
    assert not {"marked-ad-secret", "marked-storage-key", "marked-workspace-key"} & set(found.secrets.values())
    assert found.secrets == SECRETS


def test_references_to_a_key_vault_stay_references() -> None:
    """The deployment template keeps everything in Key Vault: nothing is left to write into `.env`."""
    found = only({**{key: vault(key) for key in PLAIN}, **PLATFORM})
    assert found.secrets == {}
    assert found.settings["secret_key"] == vault("mimecast_secret_key")
    assert found.settings["app_id"] == vault("mimecast_app_id")
    assert found.settings["base_url"] == vault("mimecast_base_url")
    assert "region" not in found.settings
    assert "tiforge[keyvault]" in notes(found)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://us-api.mimecast.com", {"region": "us"}),
        ("https://DE-api.mimecast.com/", {"region": "de"}),
        ("za-api.mimecast.com", {"region": "za"}),
        ("https://uspcom-api.mimecast-pscom-us.com", {"region": "uspcom"}),
        ("https://je-api.mimecast.com/", {"region": "offshore"}),
        ("https://api.example.com/", {"base_url": "https://api.example.com"}),
        ("api.example.com", {"base_url": "https://api.example.com"}),
        ("http://127.0.0.1:8080", {"base_url": "http://127.0.0.1:8080"}),
    ],
)
def test_a_known_address_becomes_its_region(url: str, place: dict[str, str]) -> None:
    """The address of a region is written as the region; any other as it is."""
    settings = only({**PLAIN, "mimecast_base_url": url}).settings
    assert {key: settings[key] for key in ("region", "base_url") if key in settings} == place


@pytest.mark.parametrize(
    ("hint", "feed", "sure"),
    [
        ({}, "malware_grid", False),
        ({"WEBSITE_RUN_FROM_PACKAGE": "1"}, "malware_grid", False),
        (
            {"WEBSITE_RUN_FROM_PACKAGE": "https://aka.ms/sentinel-MimecastTIRegional-functionapp"},
            "malware_grid",
            True,
        ),
        (
            {"WEBSITE_RUN_FROM_PACKAGE": "https://aka.ms/sentinel-MimecastTITargeted-functionapp"},
            "malware_customer",
            True,
        ),
        ({"WEBSITE_CONTENTSHARE": "mimecast-ti-targeted-a1b2"}, "malware_customer", True),
        ({"mimecast_secret_key": vault("mimecast_secret_key", "tiTargeted")}, "malware_customer", True),
        (
            {"mimecast_secret_key": "@Microsoft.KeyVault(VaultName=tiregional;SecretName=x)"},
            "malware_grid",
            True,
        ),
    ],
)
def test_which_feed_it_was(hint: dict[str, str], feed: str, sure: bool) -> None:
    """The package, the share or the vault names the function; where nothing does, a note says so."""
    found = only({**PLAIN, **hint})
    assert found.settings["feeds"] == [feed]
    assert found.settings.get("valid_for") == ("7d" if feed == "malware_customer" else None)
    assert ("cannot be told" in notes(found)) is not sure


@pytest.mark.parametrize(
    "app_settings",
    [
        {},
        PLATFORM,
        SINK,
        {"apiUsername": "x", "apiPassword": "y", "WorkspaceID": "z"},
        {"mimecast_email": "a@example.com", "mimecast_password": "x"},
        dict.fromkeys(PLAIN, ""),
        {**PLAIN, "WEBSITE_RUN_FROM_PACKAGE": "https://aka.ms/sentinel-MimecastSEG-functionapp"},
    ],
)
def test_what_is_no_such_function_gets_no_answer(app_settings: dict[str, str]) -> None:
    """Neither another vendor's function nor another of Mimecast's, which fetch logs, is taken for it."""
    assert list(tiforge_imports(app_settings)) == []


def test_what_is_left_out_is_named() -> None:
    """Settings of the sink, unknown ones and missing ones are in the notes; those of the platform are not."""
    given = {**PLAIN, **PLATFORM, **SINK, "custom_thing": "marked-value"}
    del given["mimecast_app_key"], given["mimecast_base_url"], given["mimecast_password"]
    found = only(given)
    told = notes(found)
    assert "active_directory_app_id, active_directory_app_secret, active_directory_tenant_id, log_anal" in told
    assert "not known and are not taken over: custom_thing." in told
    assert "lack mimecast_app_key: fill them in" in told
    assert "write `region`, one of: eu, de" in told
    assert "Only one of mimecast_email and mimecast_password" in told
    assert "marked-" not in told
    assert not any(name in told for name in PLATFORM)
    assert found.settings["app_key"] == {"env": "MIMECAST_APP_KEY"}
    assert "email" not in found.settings


FORMS = {
    "local.settings.json": lambda values: {"IsEncrypted": False, "Values": values},
    "az functionapp config appsettings list": lambda values: [
        {"name": key, "slotSetting": False, "value": value} for key, value in values.items()
    ],
    "a plain map": lambda values: values,
    "az rest": lambda values: {"id": "/subscriptions/x", "properties": values},
}


@pytest.mark.parametrize("form", FORMS)
def test_init_writes_a_config_that_works(form: str, bench: Bench, tmp_path: Path) -> None:
    """From each form that the tools print; the secrets go to `.env` alone, and the feed can be read with it."""
    bench.now = datetime.now(UTC)
    bench.start()
    values = {
        **PLATFORM,
        **SINK,
        "mimecastEmail": credentials.EMAIL,
        "mimecast_password": credentials.PASSWORD,
        "mimecast_app_id": credentials.APP_ID,
        "mimecast_app_key": credentials.APP_KEY,
        "mimecast_access_key": credentials.ACCESS_KEY,
        "mimecast_secret_key": credentials.SECRET_KEY,
        "mimecast_base_url": bench.url + "/",
    }
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(FORMS[form](values)), encoding="utf-8")
    config = tmp_path / "tiforge.toml"
    done = tiforge("init", "--from-azure-function-settings", file, "--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout + config.read_text(encoding="utf-8")
    for secret in (credentials.PASSWORD, credentials.APP_KEY, credentials.ACCESS_KEY, credentials.SECRET_KEY):
        assert secret not in shown
        assert secret in (tmp_path / ".env").read_text(encoding="utf-8")
    assert "marked-" not in shown
    checked = tiforge("check", "--json", "--config", config)
    assert checked.returncode == 0, checked.stderr
    findings = {each["name"]: each["message"] for each in json.loads(checked.stdout)["findings"]}
    assert "serves malware_grid to application emulator-app-id (API 1.0)" in findings["mimecast"]


class Vault:
    """A resolver in place of Key Vault."""

    scheme = "keyvault"

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def resolve(self, reference: str) -> str:
        try:
            return self.values[reference]
        except KeyError:
            raise ValueError(f"there is no secret {reference}") from None


def test_the_config_of_a_deployed_function_loads_with_its_vault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is a Key Vault reference there, names and the address too; each is resolved, or named."""
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({key: vault(key) for key in PLAIN}), encoding="utf-8")
    config = tmp_path / "tiforge.toml"
    done = tiforge("init", "--from-azure-function-settings", file, "--config", config)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".env").exists()
    kept = {vault(key)[len("@Microsoft.KeyVault(SecretUri=") : -1]: value for key, value in PLAIN.items()}
    plugins = Plugins()
    monkeypatch.setitem(plugins.resolvers, "keyvault", Vault(kept))
    settings = load(config, plugins, {}).sources["mimecast"]
    assert isinstance(settings, MimecastSettings)
    assert (settings.address, settings.app_id, settings.email) == (
        "https://eu-api.mimecast.com",
        "an-app",
        "service@example.com",
    )
    assert settings.password is not None
    assert settings.password.get_secret_value() == "marked-password"
    kept.popitem()
    with pytest.raises(Exception, match=r"tiforge.toml:\d+: sources.mimecast.base_url: there is no secret https"):
        load(config, plugins, {})
