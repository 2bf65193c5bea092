"""Read the app settings of the Azure function that this source replaces.

The connectors “Mimecast Intelligence for Microsoft - Microsoft Sentinel” (regional and targeted) run as Azure
functions. Their deployment templates write `mimecast_secret_key` and the like, each a Key Vault reference; what
was set by hand is often spelled `mimecastSecretKey`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tiforge import Imported
from tiforge_mimecast.regions import API_1_0

_PREFIX: Final = "mimecast"
_TEXTS: Final = ("app_id", "email")
_SECRETS: Final = ("app_key", "access_key", "secret_key", "password")
_KEYS: Final = ("app_id", "app_key", "access_key", "secret_key")
_KNOWN: Final = {name.replace("_", ""): name for name in (*_TEXTS, *_SECRETS, "base_url")}
_SINK: Final = ("activedirectory", "loganalytics")
# What Azure itself sets on every function.
_PLATFORM: Final = re.compile(
    r"AzureWebJobs|AzureFunctions|FUNCTIONS_|WEBSITES?_|APPINSIGHTS_|ApplicationInsights|APPLICATIONINSIGHTS_|SCM_|"
    r"ENABLE_ORYX|BUILD_FLAGS|XDG_|PYTHON|DOCKER_|DIAGNOSTICS_|MSI_|IDENTITY_|Host\.",
    re.IGNORECASE,
)
# What may tell which of the functions it was: all of them have the same settings.
_PACKAGE: Final = re.compile(r"sentinel-Mimecast(\w+?)-functionapp", re.IGNORECASE)
_TELLING: Final = ("WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_CONTENTSHARE", "WEBSITE_SITE_NAME")
_VAULT: Final = re.compile(r"https://([\w-]+)\.vault\.|VaultName=([\w-]+)")
_FEEDS: Final = {"tiregional": "malware_grid", "titargeted": "malware_customer"}
_REFERENCE: Final = "@Microsoft.KeyVault("


def imported(app_settings: Mapping[str, str]) -> list[Imported]:
    """Return the source that reads what the function read; nothing where it is no such function.

    Args:
        app_settings: The function's app settings.
    """
    given = {name: value for name, value in _given(app_settings) if value}
    if not any(name in given for name in _KEYS):
        return []
    package = _PACKAGE.search(app_settings.get("WEBSITE_RUN_FROM_PACKAGE", ""))
    if package and package[1].lower() not in _FEEDS:
        return []  # Mimecast's other functions, which fetch logs, have the same settings
    feed = _FEEDS[package[1].lower()] if package else _guessed(app_settings)
    settings: dict[str, Any] = {"api": "1.0", **_place(given)}
    secrets: dict[str, str] = {}
    wanted = [*_KEYS, *(("email", "password") if "email" in given and "password" in given else ())]
    for name in wanted:
        value = given.get(name)
        if value is not None and (value.startswith(_REFERENCE) or name in _TEXTS):
            settings[name] = value
            continue
        if name in _SECRETS:
            variable = f"MIMECAST_{name.upper()}"
            settings[name] = {"env": variable}
            secrets |= {variable: value} if value is not None else {}
    settings |= {"feeds": [feed or "malware_grid"], "schedule": "*/5 * * * *"}
    if feed == "malware_customer":
        settings["valid_for"] = "7d"  # what that function wrote
    return [Imported("mimecast", "mimecast", settings, secrets, list(_notes(app_settings, given, settings, feed)))]


def _given(app_settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in app_settings.items():
        plain = _plain(key)
        if plain.startswith(_PREFIX) and (name := _KNOWN.get(plain.removeprefix(_PREFIX))):
            yield name, value.strip()


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def _place(given: Mapping[str, str]) -> dict[str, str]:
    """Return the region, where the address is that of one, else the address."""
    address = given.get("base_url", "").rstrip("/")
    for region, known in API_1_0.items():
        if address.lower().removeprefix("https://") == known.removeprefix("https://"):
            return {"region": region}
    if not address:
        return {}
    return {"base_url": address if "://" in address or address.startswith(_REFERENCE) else f"https://{address}"}


def _guessed(app_settings: Mapping[str, str]) -> str | None:
    """Look for the word in names that people give: of the package, the function and its vault."""
    names = [app_settings.get(name, "") for name in _TELLING]
    names += [vault[1] or vault[2] for value in app_settings.values() if (vault := _VAULT.search(value))]
    told = " ".join(names).lower()
    return next((feed for word, feed in (("targeted", "malware_customer"), ("regional", "malware_grid"))
                 if word in told), None)  # fmt: skip


def _notes(
    app_settings: Mapping[str, str], given: Mapping[str, str], settings: Mapping[str, Any], feed: str | None
) -> Iterator[str]:
    yield (
        "Mimecast is retiring API 1.0, whose keys these are. Make an application for API 2.0 in Mimecast's "
        "Integrations Hub, and write its `client_id` and `client_secret` instead."
    )
    if missing := [name for name in _KEYS if name not in given]:
        yield f"The app settings lack {', '.join(f'mimecast_{name}' for name in missing)}: fill them in."
    if "base_url" not in given:
        yield f"The app settings lack mimecast_base_url: write `region`, one of: {', '.join(API_1_0)}."
    if ("email" in given) != ("password" in given):
        yield "Only one of mimecast_email and mimecast_password is set; neither is taken over."
    if any(str(value).startswith(_REFERENCE) for value in settings.values()):
        yield (
            "What is in Key Vault stays there. Install tiforge[keyvault], and let the identity that tiforge runs "
            "as read the vault's secrets."
        )
    if feed is None:
        yield (
            "Whether the function read the regional feed or the account's own cannot be told from its settings; "
            'the regional one is set. Was it “Targeted”, write feeds = ["malware_customer"] and valid_for = "7d".'
        )
    if sink := sorted(key for key in app_settings if _plain(key).startswith(_SINK)):
        yield f"These belong to the Sentinel sink and are not taken over: {', '.join(sink)}."
    if unknown := sorted(key for key in app_settings if not _expected(key)):
        yield f"These app settings are not known and are not taken over: {', '.join(unknown)}."
    yield (
        "The function's checkpoint is not taken over: the first run reads the last three days. Stop the function "
        "when `tiforge run` works."
    )


def _expected(key: str) -> bool:
    plain = _plain(key)
    return (
        plain.startswith(_SINK)
        or (plain.startswith(_PREFIX) and plain.removeprefix(_PREFIX) in _KNOWN)
        or _PLATFORM.match(key) is not None
    )
