"""STIX 2.1 in files for tiforge: a sink that writes bundles and JSON Lines, and a source that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiforge import hookimpl

if TYPE_CHECKING:
    from tiforge import Demo, Sink, Source

tiforge_api_version = 1


@hookimpl
def tiforge_sinks() -> list[type[Sink[Any]]]:
    """Provide the sink `stix_file`."""
    from tiforge_stix_file.sink import StixFileSink

    return [StixFileSink]


@hookimpl
def tiforge_sources() -> list[type[Source[Any]]]:
    """Provide the source `stix_file`."""
    from tiforge_stix_file.source import StixFileSource

    return [StixFileSource]


@hookimpl
def tiforge_demos() -> list[Demo]:
    """Provide the sink end `stix_file` of `tiforge demo`."""
    from tiforge_stix_file.demo import StixFileDemo

    return [StixFileDemo()]
