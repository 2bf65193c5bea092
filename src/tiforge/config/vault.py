"""Resolve text settings that an App Service reference stands for: `app_id = "@Microsoft.KeyVault(…)"`.

Secrets resolve their references themselves. Where an Azure function is replaced, its template keeps names and
addresses in Key Vault too, which are plain text in a plugin's model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from tiforge.secrets import Secret

_BEGINS: Final = "@Microsoft.KeyVault("
_SECRET: Final[TypeAdapter[Any]] = TypeAdapter(Secret)


def resolved(raw: Mapping[str, Any], model: type[BaseModel]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return a table with its references resolved, and what is wrong, by key.

    Args:
        raw: The table.
        model: The model that is to check it.
    """
    values = dict(raw)
    wrong: list[tuple[str, str]] = []
    for key in _texts(model):
        value = values.get(key)
        if isinstance(value, str) and value.strip().startswith(_BEGINS):
            try:
                # What is kept in a vault is not shown, whatever it is.
                values[key] = _SECRET.validate_python(value).get_secret_value()
            except ValidationError as error:
                wrong.append((key, error.errors()[0]["msg"].removeprefix("Value error, ")))
    return values, wrong


def _texts(model: type[BaseModel]) -> Iterator[str]:
    return (key for key, field in model.model_fields.items() if field.annotation in (str, str | None))
