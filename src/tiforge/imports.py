"""What a plugin makes of the settings of the connector that it replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Imported:
    """A source read from the settings of another connector.

    Attributes:
        name: A name for it, as `mimecast`.
        type: The source type.
        settings: The table under `[sources.NAME]`; secrets in it are references, as `{"env": "NAME"}`.
        secrets: Values of environment variables that the references name; they are written to `.env`.
        notes: What the operator should know.
    """

    name: str
    type: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: Sequence[str] = ()
