"""Secrets: how a setting names one, how it is resolved, and how its value is kept out of every output.

A secret setting is written as one of

```toml
client_secret = { env = "MIMECAST_CLIENT_SECRET" }     # an environment variable
client_secret = { file = "/run/secrets/mimecast" }     # a file; one trailing newline is dropped
client_secret = { keyvault = "https://…/secrets/x" }   # any scheme that a plugin's resolver knows
client_secret = "@Microsoft.KeyVault(SecretUri=https://…/secrets/x)"
client_secret = "the value itself"
```

From the moment it is read the value is a `SecretStr`. As a second net, each value is remembered here, and
`redact` takes it out of any text before that is printed, logged or stored.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Protocol
from urllib.parse import quote, quote_plus

from pydantic import BeforeValidator, SecretStr, WithJsonSchema

REDACTED: Final = "**********"

_APP_SERVICE: Final = "@Microsoft.KeyVault("
_APP_SERVICE_URI: Final = re.compile(r"SecretUri=(https://[^\s;]+)")
_APP_SERVICE_NAMES: Final = re.compile(r"VaultName=([\w-]+);SecretName=([\w-]+)(?:;SecretVersion=(\w+))?")
_SHORTEST: Final = 6  # below that a "secret" is a word like "test", and redacting it would garble all text


class SecretResolver(Protocol):
    """Turns what follows a scheme into a secret's value."""

    @property
    def scheme(self) -> str:
        """The key in `{ scheme = "…" }`."""
        ...

    def resolve(self, reference: str) -> str:
        """Return the value that the reference names.

        Raises:
            ValueError: Says what is missing and what to do; never holds the value.
        """
        ...


@dataclass(frozen=True)
class EnvironmentResolver:
    """`{ env = "NAME" }`: an environment variable, or a key of the `.env` file beside the config.

    Args:
        variables: What to look the name up in.
    """

    variables: Mapping[str, str]
    scheme: str = "env"

    def resolve(self, reference: str) -> str:
        """Return the variable's value.

        Raises:
            ValueError: The variable is not set, or empty.
        """
        value = self.variables.get(reference)
        if not value:
            raise ValueError(
                f'the environment variable {reference} is not set; export it, or name a file with {{ file = "…" }}'
            )
        return value


@dataclass(frozen=True)
class FileResolver:
    """`{ file = "PATH" }`: a file's content, as Docker and Kubernetes mount secrets.

    Args:
        directory: What a relative path starts from: the folder of the config.
    """

    directory: Path
    scheme: str = "file"

    def resolve(self, reference: str) -> str:
        """Return the file's text without its last newline.

        Raises:
            ValueError: The file cannot be read, or is empty.
        """
        path = self.directory / reference
        try:
            value = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise ValueError(f"the secret's file {path} cannot be read: {reason}") from None
        if not value:
            raise ValueError(f"the secret's file {path} is empty")
        return value


def default_resolvers(directory: Path, variables: Mapping[str, str] | None = None) -> dict[str, SecretResolver]:
    """Return the resolvers that need no plugin, by scheme."""
    built: tuple[SecretResolver, ...] = (
        EnvironmentResolver(os.environ if variables is None else variables),
        FileResolver(directory),
    )
    return {resolver.scheme: resolver for resolver in built}


_resolvers: ContextVar[Mapping[str, SecretResolver]] = ContextVar("tiforge_secret_resolvers")


@contextmanager
def resolving(resolvers: Mapping[str, SecretResolver]) -> Iterator[None]:
    """Validate settings inside this block with these resolvers, by scheme."""
    token = _resolvers.set(resolvers)
    try:
        yield
    finally:
        _resolvers.reset(token)


def _key_vault_uri(reference: str) -> str:
    """Read Azure App Service's form of a reference, in both ways that it may be written."""
    inner = reference.removeprefix(_APP_SERVICE).removesuffix(")")
    if reference.endswith(")") and (uri := _APP_SERVICE_URI.fullmatch(inner)):
        return uri[1]
    if reference.endswith(")") and (names := _APP_SERVICE_NAMES.fullmatch(inner)):
        vault, *path = (part for part in names.groups() if part)
        return f"https://{vault}.vault.azure.net/secrets/{'/'.join(path)}"
    raise ValueError(
        "a Key Vault reference is written @Microsoft.KeyVault(SecretUri=https://…) "
        "or @Microsoft.KeyVault(VaultName=…;SecretName=…)"
    )


def _resolve(value: Any) -> Any:
    if isinstance(value, str) and value.strip().startswith(_APP_SERVICE):
        value = {"keyvault": _key_vault_uri(value.strip())}
    if isinstance(value, str):
        return conceal(value, for_good=True)
    if not isinstance(value, Mapping):
        return value
    resolvers = _resolvers.get({})
    schemes = ", ".join(sorted(resolvers)) or "none"
    if len(value) != 1:
        raise ValueError(f"a secret's reference is a table with one key, one of: {schemes}")
    (scheme, reference), *_ = value.items()
    resolver = resolvers.get(scheme)
    if resolver is None:
        raise ValueError(f"{scheme!r} is no way to name a secret here; the installed ones are: {schemes}")
    if not isinstance(reference, str):
        raise ValueError(f"what {scheme!r} names must be text")
    return conceal(resolver.resolve(reference), for_good=True)


Secret = Annotated[
    SecretStr,
    BeforeValidator(_resolve),
    WithJsonSchema(
        {
            "description": "A secret: the value, or a table that says where it is kept.",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "properties": {
                        "env": {"type": "string", "description": "The environment variable that holds it."},
                        "file": {"type": "string", "description": "The file that holds it."},
                        "keyvault": {"type": "string", "description": "The Azure Key Vault URI that names it."},
                    },
                    "additionalProperties": {"type": "string"},
                },
            ],
        }
    ),
]
"""The type of a secret in a plugin's settings."""


_kept: dict[str, frozenset[str]] = {}
_recent: dict[str, frozenset[str]] = {}
_RECENT: Final = 500  # tokens are made for ever, but each lives for hours; what is remembered must not grow


def conceal(value: str, *, for_good: bool = False) -> SecretStr:
    """Wrap a secret that was just read, and keep it out of every output from now on.

    Args:
        value: The secret, as a token that a remote API gave.
        for_good: Whether it is one of the settings, which are never forgotten; of others the last 500 are
            remembered.

    Returns:
        The wrapped value.
    """
    if len(value) >= _SHORTEST and value not in _kept:
        if for_good:
            _kept[value] = _written(value)
        else:
            _recent[value] = _recent.pop(value, frozenset()) or _written(value)
            while len(_recent) > _RECENT:
                _recent.pop(next(iter(_recent)))
    return SecretStr(value)


def _written(value: str) -> frozenset[str]:
    """Return how a secret is written where it may surface: a URL, a form body, JSON, a `repr`, a header."""
    forms = {value, value.strip()}
    for form in tuple(forms):
        forms |= {quote(form, safe=""), quote(form), quote_plus(form)}
        forms |= {json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1], repr(form)[1:-1]}
    return frozenset(form for form in forms if len(form) >= _SHORTEST)


def redact(text: str) -> str:
    """Return the text with every known secret replaced by asterisks."""
    spans = sorted(
        span
        for known in (*_kept.values(), *_recent.values())
        for form in known
        if form in text
        for span in _places(text, form)
    )
    kept: list[str] = []
    end = 0
    for start, stop in spans:
        # Two secrets may overlap; what one ends in may be where the next begins.
        if start >= end:
            kept += (text[end:start], REDACTED)
        end = max(end, stop)
    return "".join((*kept, text[end:]))


def _places(text: str, form: str) -> Iterator[tuple[int, int]]:
    start = text.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = text.find(form, start + 1)
