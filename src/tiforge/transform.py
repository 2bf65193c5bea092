"""What a transform plugin is: it changes or drops a record on its way to one sink."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from tiforge.context import Context
from tiforge.record import Record
from tiforge.settings import Settings


class TransformSettings(Settings):
    """The settings that every transform has; a plugin's own model derives from it."""

    type: str
    """The transform type, as `tiforge plugins list` names it."""


# Inside the classes `type` is the plugin's type name, so what is meant of Python's is named here.
SettingsClass = type[TransformSettings]

T = TypeVar("T", bound=TransformSettings)


class Transform(ABC, Generic[T]):
    """A step between the log and a sink. The log itself is never changed.

    Args:
        settings: The validated settings of `[transforms.NAME]`.
        context: The instance's name and clock.
    """

    type: ClassVar[str]
    Settings: ClassVar[SettingsClass]

    def __init__(self, settings: T, context: Context) -> None:
        self.settings = settings
        self.context = context

    @abstractmethod
    def apply(self, record: Record) -> Record | None:
        """Return the record to deliver instead, or `None` to pass it over.

        It must be a pure function of the record: after a crash it is called again, and the sink is to see
        the same object with the same id.
        """
