"""What most commands need: the plugins, the config, the store, opened in this order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tiforge.cli import logs
from tiforge.config import Config, load
from tiforge.errors import ConfigurationError
from tiforge.plugins import Plugins
from tiforge.store import Store


@dataclass(frozen=True)
class Session:
    """An open config.

    Attributes:
        plugins: The installed plugins.
        config: The settings.
        store: The store, open.
    """

    plugins: Plugins
    config: Config
    store: Store


def configured(file: Path, *, debug: bool = False, quiet: bool = False) -> tuple[Plugins, Config]:
    """Load the plugins and the config, and set up logging."""
    plugins = Plugins()
    config = load(file.absolute(), plugins)
    logs.configure(config.logging, debug=debug, quiet=quiet)
    return plugins, config


def require_something(config: Config) -> None:
    """Refuse to work with a config that describes no work: cron would do nothing for ever, and call it well.

    Raises:
        ConfigurationError: There is no source and no sink.
    """
    if not config.sources and not config.sinks:
        raise ConfigurationError(
            f"{config.file} configures no source and no sink.", hint="Write them with `tiforge init --force`."
        )


@contextmanager
def session(file: Path, *, debug: bool = False, quiet: bool = False) -> Iterator[Session]:
    """Open everything for as long as the block lasts.

    Args:
        file: The config file.
        debug: Show every step.
        quiet: Show warnings and errors only.
    """
    plugins, config = configured(file, debug=debug, quiet=quiet)
    with Store.open(config.store.url.get_secret_value(), directory=config.directory) as store:
        yield Session(plugins, config, store)
