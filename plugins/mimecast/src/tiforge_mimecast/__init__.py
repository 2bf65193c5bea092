"""Mimecast threat-intelligence feeds for tiforge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiforge import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiforge.demo import Demo
    from tiforge.source import Source

tiforge_api_version = 1


@hookimpl
def tiforge_sources() -> Iterable[type[Source[Any]]]:
    """Provide the source type `mimecast`."""
    from tiforge_mimecast.source import MimecastSource

    return [MimecastSource]


@hookimpl
def tiforge_demos() -> Iterable[Demo]:
    """Provide the Mimecast end of `tiforge demo`."""
    from tiforge_mimecast.demo import MimecastDemo

    return [MimecastDemo()]
