"""What tiforge itself provides through its hooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tiforge.hookspecs import hookimpl

if TYPE_CHECKING:
    from tiforge.secrets import SecretResolver

tiforge_api_version = 1


@hookimpl
def tiforge_secret_resolvers() -> Iterable[SecretResolver]:
    """Provide `{ keyvault = "https://…" }` and `@Microsoft.KeyVault(SecretUri=…)`."""
    from tiforge.keyvault import KeyVaultResolver

    return [KeyVaultResolver()]
