"""Hand one batch to a sink: repeat what failed for now, split what is refused, and name what stays refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tiforge.config.model import RetrySettings
from tiforge.engine.emit import Emitter
from tiforge.engine.fault import PluginFault, limited
from tiforge.engine.pace import Pace
from tiforge.engine.retry import Backoff, retrying
from tiforge.errors import InvalidObject, Permanent, Transient
from tiforge.events import Retrying
from tiforge.sink import Batch, Receipt, Sink
from tiforge.store import Entry, Refused

_FAULTS: Final = 8  # more objects than this that each make a plugin fail: the plugin is at fault, not they
_REFUSALS: Final = 32  # so many refused in a row, and none accepted: it is not the objects that are at fault


@dataclass
class Handed:
    """How far the handing over of one batch has come.

    Attributes:
        refused: What the sink will never accept.
        settled_upto: The place up to which everything is accepted or refused; 0 where nothing is.
    """

    refused: list[Refused] = field(default_factory=list)
    settled_upto: int = 0


class Handover:
    """Hands batches of one sink over.

    Args:
        name: The sink's name.
        sink: The sink, open.
        settings: The limits on retries.
        emit: Where to tell what happens.
        pace: The limit on requests.

    Attributes:
        round: The word that batches carry.
    """

    def __init__(
        self, name: str, sink: Sink[Any], settings: RetrySettings, emit: Emitter, pace: Pace, round: str = ""
    ) -> None:
        self.round = round
        self._name = name
        self._sink = sink
        self._settings = settings
        self._emit = emit
        self._pace = pace
        self._accepted = False
        self._in_a_row = 0

    async def hand(self, entries: Sequence[Entry], handed: Handed) -> None:
        """Deliver entries, noting in `handed` what the sink will never accept. All others are accepted.

        Raises:
            TiforgeError: The sink takes nothing for now, or not until something is mended.
        """
        if not entries:
            return
        faults = 0
        # Depth first, so that objects leave in the order of the log; a refused run of them is split in halves.
        waiting = [list(entries)]
        while waiting:
            run = waiting.pop()
            size, last = len(run), run[-1].seq
            refused: list[Refused] = []
            try:
                await self._deliver(run, refused)
                self._accepted = self._accepted or len(refused) < size
            except (Permanent, InvalidObject, PluginFault) as error:
                handed.refused += refused
                if len(run) > 1:
                    half = len(run) // 2
                    waiting += [run[half:], run[:half]]
                    continue
                faults += isinstance(error, PluginFault)
                if faults > _FAULTS:
                    raise
                refused = [Refused(run[0], str(error))]
                if self._refuses_everything():
                    handed.settled_upto = 0
                    raise Permanent(
                        f"The sink {self._name} has accepted none of {self._in_a_row} objects: {error}",
                        hint="Mend its settings, or what it writes to. Nothing of this batch is set aside.",
                    ) from error
            handed.refused += refused
            # Faults of the plugin's own are judged when the batch is done: until then none is settled.
            if not faults:
                handed.settled_upto = last
        if faults and faults == len(entries) > 1:
            raise PluginFault(f"The sink {self._name} fails on every object: {handed.refused[0].reason}")

    def _refuses_everything(self) -> bool:
        """Say, after a refusal, whether it is time to stop before everything is set aside."""
        self._in_a_row += 1
        return not self._accepted and self._in_a_row >= _REFUSALS

    async def _deliver(self, pending: list[Entry], refused: list[Refused]) -> None:
        """Deliver entries until none is put off any more; `pending` shrinks to those that are."""
        backoff = Backoff(self._settings, self._told)
        async for attempt in retrying(backoff):
            with attempt:
                receipt = await self._call(list(pending))
                refused += [Refused(pending[each.index], each.reason) for each in receipt.rejected]
                if receipt.deferred:
                    left = [pending[index] for index in sorted(set(receipt.deferred))]
                    if len(left) < len(pending):
                        backoff.progressed()
                    pending[:] = left
                    raise Transient(
                        f"The sink {self._name} did not take {len(left)} objects for now.",
                        retry_after=receipt.retry_after,
                    )

    async def _call(self, entries: list[Entry]) -> Receipt:
        await self._pace.wait()
        batch = Batch([entry.record for entry in entries], [entry.seq for entry in entries], self.round)
        who = f"the sink type {self._sink.type}"
        receipt = await limited(self._sink.deliver(batch), self._settings.call_timeout, who)
        if not isinstance(receipt, Receipt):
            raise PluginFault(f"The sink type {self._sink.type} returned no receipt.")
        named = [*(each.index for each in receipt.rejected), *receipt.deferred]
        if len(set(named)) < len(named) or any(not 0 <= index < len(entries) for index in named):
            raise PluginFault(
                f"The sink type {self._sink.type} returned a receipt that names objects twice, or unknown ones."
            )
        return receipt

    def _told(self, attempt: int, wait: float, reason: str) -> None:
        self._emit(Retrying("sink", self._name, attempt, wait, reason))
