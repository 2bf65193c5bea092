"""Tell observers what the engine does."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from tiforge.events import Event
from tiforge.secrets import redact

Observer = Callable[[Event], None]
log = structlog.get_logger("tiforge.engine")


class Emitter:
    """Calls every observer with every event; one that raises is reported once and left out from then on.

    Args:
        observers: What to call.
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = list(observers)

    def __call__(self, event: Event) -> None:
        """Tell everyone."""
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 - an observer must never stop the engine
                self._observers.remove(observer)
                log.error("an observer failed and is left out", observer=repr(observer), error=redact(repr(error)))
