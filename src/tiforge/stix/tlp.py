"""The Traffic Light Protocol and its marking definitions.

STIX 2.1 section 7.2.1.4 fixes four markings (TLP 1.0); the OASIS TLP 2.0 extension fixes five more, of
which RED, AMBER, AMBER+STRICT, GREEN and CLEAR are the current words.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final


class TLP(IntEnum):
    """How far a recipient may pass information on; a higher value is stricter."""

    CLEAR = 0
    GREEN = 1
    AMBER = 2
    AMBER_STRICT = 3
    RED = 4

    @property
    def marking(self) -> str:
        """The id of the marking definition that every STIX 2.1 reader knows (TLP 1.0 where it has one)."""
        return _IDS[self]

    @classmethod
    def named(cls, name: str) -> TLP:
        """Read a name as people write it: `red`, `TLP:RED`, `amber+strict`, `white`.

        Raises:
            ValueError: No such level.
        """
        word = name.strip().upper().removeprefix("TLP:").replace("+", "_").replace("-", "_")
        try:
            return cls.CLEAR if word == "WHITE" else cls[word]
        except KeyError:
            words = "clear, green, amber, amber+strict, red"
            raise ValueError(f"{name!r} is not a TLP level; write one of: {words}") from None

    @classmethod
    def strictest(cls, markings: Sequence[str]) -> TLP | None:
        """Return the strictest level among marking-definition ids, or `None` where none is TLP's."""
        if len(markings) == 1:  # as nearly all objects have
            return _LEVELS.get(markings[0])
        levels = [_LEVELS[mark] for mark in markings if mark in _LEVELS]
        return max(levels) if levels else None


_IDS: Final = {
    TLP.CLEAR: "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    TLP.GREEN: "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    TLP.AMBER: "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
    TLP.AMBER_STRICT: "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
    TLP.RED: "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
}

_LEVELS: Final = {
    **{mark: level for level, mark in _IDS.items()},
    "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": TLP.CLEAR,
    "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": TLP.GREEN,
    "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": TLP.AMBER,
    "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": TLP.RED,
}
