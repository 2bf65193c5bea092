"""Write what the engine does into the log of the daemon."""

from __future__ import annotations

import structlog

from tiforge.events import BatchDelivered, Event, Finished, PageAppended, PullStarted, Retrying

log = structlog.get_logger("tiforge.engine")


def journal(event: Event) -> None:
    """Log one event."""
    if isinstance(event, PullStarted):
        log.debug("pulling", source=event.source)
    elif isinstance(event, PageAppended):
        log.info(
            "page",
            source=event.source,
            rows=event.rows,
            added=event.added,
            unchanged=event.unchanged,
            set_aside=event.set_aside,
            head=event.head,
        )
    elif isinstance(event, BatchDelivered):
        log.info(
            "batch",
            sink=event.sink,
            accepted=event.accepted,
            rejected=event.rejected,
            passed_over=event.passed_over,
            offset=event.offset,
            head=event.head,
        )
    elif isinstance(event, Retrying):
        log.warning(
            "retrying",
            **{event.side: event.name},
            attempt=event.attempt,
            wait=round(event.wait, 3),
            reason=event.reason,
        )
    elif isinstance(event, Finished):
        tell = log.error if event.outcome == "failed" else log.info
        tell("finished", **{event.side: event.name}, outcome=event.outcome, message=event.message)
