"""Mimecast threat-intelligence feeds for tiforge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiforge import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tiforge.demo import Demo
    from tiforge.imports import Imported
    from tiforge.source import Source

tiforge_api_version = 1


@hookimpl
def tiforge_sources() -> Iterable[type[Source[Any]]]:
    """Provide the source type `mimecast`."""
    from tiforge_mimecast.source import MimecastSource

    return [MimecastSource]


@hookimpl
def tiforge_imports(app_settings: Mapping[str, str]) -> Iterable[Imported]:
    """Read the app settings of the Azure function that fetched the feed before."""
    from tiforge_mimecast.azure_function import imported

    return imported(app_settings)


@hookimpl
def tiforge_demos() -> Iterable[Demo]:
    """Provide the Mimecast end of `tiforge demo`."""
    from tiforge_mimecast.demo import MimecastDemo

    return [MimecastDemo()]
