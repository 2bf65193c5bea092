"""Secrets in Azure Key Vault, with the real exceptions of its client and a client of our own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)

from tests.lab import Lab
from tiforge import Secret, SourceSettings
from tiforge.config import ConfigProblems, load
from tiforge.keyvault import KeyVaultResolver
from tiforge.plugins import Plugins

HOST = "https://my-vault.vault.azure.net"
URI = f"{HOST}/secrets/mimecast-key"
VERSION = "0123456789abcdef0123456789ABCDEF"
MARKED = "marked-secret-from-the-vault"


@dataclass
class Found:
    value: str | None


@dataclass
class Vault:
    """A client that notes what it is asked."""

    answer: Any = field(default_factory=lambda: Found(MARKED))
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def __call__(self, url: str) -> Any:
        vault = self

        class Client:
            def get_secret(self, name: str, version: str | None = None) -> Any:
                vault.asked.append((url, name, version))
                if isinstance(vault.answer, Exception):
                    raise vault.answer
                return vault.answer

        return Client()


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        (URI, (HOST, "mimecast-key", None)),
        (f"{URI}/", (HOST, "mimecast-key", None)),
        (f"  {URI}/{VERSION}\n", (HOST, "mimecast-key", VERSION)),
        (f"{URI}/{VERSION}/", (HOST, "mimecast-key", VERSION)),
        ("https://abc.vault.azure.cn/secrets/a", ("https://abc.vault.azure.cn", "a", None)),
        (
            "https://abc.vault.usgovcloudapi.net/secrets/a",
            ("https://abc.vault.usgovcloudapi.net", "a", None),
        ),
    ],
)
def test_a_secret_is_asked_for_by_its_uri(reference: str, asked: tuple[str, str, str | None]) -> None:
    """With and without a version, in each cloud."""
    vault = Vault()
    assert KeyVaultResolver(vault).resolve(reference) == MARKED
    assert vault.asked == [asked]


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "mimecast-key",
        URI.replace("https", "http"),
        "https://evil.example.com/secrets/a",
        "https://my-vault.vault.azure.net.evil.example.com/secrets/a",
        "https://evil.example.com/my-vault.vault.azure.net/secrets/a",
        "https://user@my-vault.vault.azure.net/secrets/a",
        "https://my-vault.vault.azure.net:8443/secrets/a",
        "https://my-vault.vault.azure.net@evil.example.com/secrets/a",
        "https://evil.example.com#.vault.azure.net/secrets/a",
        "https://vault.azure.net/secrets/a",
        "https://a.b.vault.azure.net/secrets/a",
        "https://my-vault.vault.azure.net/keys/a",
        "https://my-vault.vault.azure.net/secrets/",
        "https://my-vault.vault.azure.net/secrets/a/short",
        f"{URI}/{VERSION}/more",
        f"{URI}?x=1",
        f"{URI}/../../keys/a",
        f"{URI}\nhttps://evil.example.com",
    ],
)
def test_no_other_place_is_called(reference: str) -> None:
    """A token goes to a vault of Azure's and nowhere else; the message shows how a reference is written."""
    vault = Vault()
    with pytest.raises(ValueError, match=r"write https://VAULT\.vault\.azure\.net/secrets/NAME"):
        KeyVaultResolver(vault).resolve(reference)
    assert vault.asked == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ResourceNotFoundError("SecretNotFound"), f"{HOST} has no secret 'mimecast-key'"),
        (
            ClientAuthenticationError("denied"),
            "does not let this identity in; sign in \\(az login\\), or give the",
        ),
        (ServiceRequestError("Name or service not known\nmore"), "cannot be read: Name or service not known$"),
        (
            HttpResponseError("(Forbidden) The policy requires the caller"),
            "cannot be read: \\(Forbidden\\) The pol",
        ),
        (Found(""), f"the secret 'mimecast-key' in {HOST} is empty"),
        (Found(None), "is empty"),
    ],
)
def test_what_azure_says_becomes_one_sentence(answer: Any, told: str) -> None:
    """Which vault, which secret, and what to do."""
    with pytest.raises(ValueError, match=told) as caught:
        KeyVaultResolver(Vault(answer)).resolve(URI)
    assert "\n" not in str(caught.value)


def test_an_error_without_words_is_told_all_the_same() -> None:
    """Some of Azure's errors say nothing."""
    with pytest.raises(ValueError, match="cannot be read: AzureError"):
        KeyVaultResolver(Vault(AzureError(""))).resolve(URI)


class Keeping(SourceSettings):
    """Settings with a secret and a text."""

    key: Secret
    name: str = ""


@pytest.fixture
def plugins(lab: Lab, lab_plugins: Plugins) -> Plugins:
    """The laboratory, its source with a secret."""
    lab_plugins.sources["lab"].Settings = Keeping
    return lab_plugins


@pytest.mark.parametrize(
    "written",
    [
        f'{{ keyvault = "{URI}" }}',
        f'"@Microsoft.KeyVault(SecretUri={URI})"',
        f'"@Microsoft.KeyVault(SecretUri={URI}/)"',
        '"@Microsoft.KeyVault(VaultName=my-vault;SecretName=mimecast-key)"',
    ],
)
def test_each_way_to_write_it_in_a_config(written: str, plugins: Plugins, tmp_path: Path) -> None:
    """tiforge's own form and App Service's."""
    vault = Vault()
    plugins.resolvers["keyvault"] = KeyVaultResolver(vault)
    file = tmp_path / "tiforge.toml"
    file.write_text(f'[sources.a]\ntype = "lab"\nkey = {written}\n', encoding="utf-8")
    settings = load(file, plugins, {}).sources["a"]
    assert isinstance(settings, Keeping)
    assert settings.key.get_secret_value() == MARKED
    assert MARKED not in repr(settings)
    assert vault.asked == [(HOST, "mimecast-key", None)]


def test_a_text_that_is_kept_in_a_vault_is_resolved_and_a_table_is_not(plugins: Plugins, tmp_path: Path) -> None:
    """App Service's form stands for any text, as in a function's settings; a text is no table."""
    plugins.resolvers["keyvault"] = KeyVaultResolver(Vault(Found("a-name-in-the-vault")))
    file = tmp_path / "tiforge.toml"
    table = '[sources.a]\ntype = "lab"\nkey = "marked-in-the-file"\nname = '
    file.write_text(f'{table}"@Microsoft.KeyVault(SecretUri={URI})"\n', encoding="utf-8")
    settings = load(file, plugins, {}).sources["a"]
    assert isinstance(settings, Keeping)
    assert settings.name == "a-name-in-the-vault"
    file.write_text(f'{table}{{ keyvault = "{URI}" }}\n', encoding="utf-8")
    with pytest.raises(ConfigProblems, match=r"sources\.a\.name: write text in quotes"):
        load(file, plugins, {})


def test_what_the_vault_refuses_is_a_problem_on_its_line(plugins: Plugins, tmp_path: Path) -> None:
    """Of a secret and of a text, beside each other."""
    plugins.resolvers["keyvault"] = KeyVaultResolver(Vault(ResourceNotFoundError("x")))
    file = tmp_path / "tiforge.toml"
    text = f"@Microsoft.KeyVault(SecretUri={URI})"
    file.write_text(
        f'[sources.a]\ntype = "lab"\nkey = "{text}"\n[sources.b]\ntype = "lab"\nkey = "abcdefg"\n'
        f'name = "{text}"\n',
        encoding="utf-8",
    )
    with pytest.raises(ConfigProblems) as caught:
        load(file, plugins, {})
    assert [(each.key, each.line) for each in caught.value.problems] == [
        ("sources.a.key", 3),
        ("sources.b.name", 7),
    ]
    assert all("has no secret 'mimecast-key'" in each.message for each in caught.value.problems)


def test_the_installed_resolver_is_this_one() -> None:
    """tiforge brings it as a plugin brings its own."""
    found = Plugins().resolvers["keyvault"]
    assert isinstance(found, KeyVaultResolver)
