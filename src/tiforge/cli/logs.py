"""Set up logging: structlog to standard error, for people or as JSON, secrets redacted in every line."""

from __future__ import annotations

import logging
import sys
from typing import Any

import stamina.instrumentation
import structlog
from structlog.typing import EventDict, WrappedLogger

from tiforge.cli.show import safe
from tiforge.config.model import LoggingSettings


def configure(settings: LoggingSettings, *, debug: bool = False, quiet: bool = False) -> None:
    """Send what tiforge and its libraries log to standard error.

    Args:
        settings: The level and the form.
        debug: Show everything, whatever the settings say.
        quiet: Show warnings and errors only, as while a progress bar is on the screen.
    """
    level = logging.DEBUG if debug else getattr(logging, settings.level.upper())
    if quiet and not debug:
        level = max(level, logging.WARNING)
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _format_error,
        _clean,
    ]
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    if not debug:
        # httpx tells of every request at INFO, SQLAlchemy's pool of every connection.
        for name in ("httpx", "sqlalchemy", "alembic", "azure"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # What asyncio says of tasks that a second Ctrl-C tore apart is for developers.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    # At DEBUG httpcore shows the headers of every answer, cookies and page tokens among them.
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    # The engine tells of retries itself, through its observers.
    stamina.instrumentation.set_on_retry_hooks([])


def _format_error(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    return structlog.processors.format_exc_info(logger, name, event) if event.get("exc_info") else event


def _clean(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Redact and make safe every value. Messages of foreign libraries arrive here formatted."""
    return {key: _cleaned(value) for key, value in event.items()}


def _cleaned(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None or isinstance(value, logging.LogRecord):
        return value
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _cleaned(each) for key, each in value.items()}
    return safe(value if isinstance(value, str) else str(value))
