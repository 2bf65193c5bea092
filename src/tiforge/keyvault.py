"""Secrets in Azure Key Vault: `{ keyvault = "https://VAULT.vault.azure.net/secrets/NAME" }`.

The identity is whatever `DefaultAzureCredential` finds: a managed or workload identity, environment
variables, or the Azure CLI. The form of the URI is that of App Service's Key Vault references
(learn.microsoft.com/azure/app-service/app-service-key-vault-references).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

# The DNS suffixes of the public, China and US Government clouds. A reference is a place to send a token to:
# no other host is called.
_URI: Final = re.compile(
    r"(https://[A-Za-z0-9-]{3,24}\.vault\.(?:azure\.net|azure\.cn|usgovcloudapi\.net))"
    r"/secrets/([A-Za-z0-9-]{1,127})(?:/([0-9a-fA-F]{32}))?/?"
)


def _client(vault: str) -> Any:
    from azure.identity import DefaultAzureCredential
    from azure.keyvault.secrets import SecretClient

    return SecretClient(vault_url=vault, credential=DefaultAzureCredential())


@dataclass(frozen=True)
class KeyVaultResolver:
    """Reads a secret from Azure Key Vault.

    Args:
        client: Makes the client for a vault's URL.
    """

    client: Callable[[str], Any] = _client
    scheme: str = "keyvault"

    def resolve(self, reference: str) -> str:
        """Return the secret's value.

        Args:
            reference: The secret's URI, with or without a version.

        Raises:
            ValueError: The URI is none, Key Vault refuses, or the extra is not installed.
        """
        match = _URI.fullmatch(reference.strip())
        if match is None:
            raise ValueError(
                f"{reference!r:.200} is no Key Vault secret; write https://VAULT.vault.azure.net/secrets/NAME"
            )
        vault, name, version = match.groups()
        try:
            from azure.core.exceptions import AzureError, ClientAuthenticationError, ResourceNotFoundError
        except ImportError:
            raise ValueError(
                "reading from Key Vault needs an extra; install it: pip install 'tiforge[keyvault]'"
            ) from None
        try:
            value: str | None = self.client(vault).get_secret(name, version).value
        except ResourceNotFoundError:
            raise ValueError(f"{vault} has no secret {name!r}") from None
        except ClientAuthenticationError:
            raise ValueError(
                f"{vault} does not let this identity in; sign in (az login), or give the managed identity the "
                "role Key Vault Secrets User"
            ) from None
        except AzureError as error:
            told = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ValueError(f"{vault} cannot be read: {told}") from None
        if not value:
            raise ValueError(f"the secret {name!r} in {vault} is empty")
        return value
