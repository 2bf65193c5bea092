"""Text from outside, made fit to be stored."""

from __future__ import annotations

from tiforge.secrets import redact


def storable(text: str, limit: int) -> str:
    """Return text that both databases take: secrets redacted, no NUL, no lone surrogates, at most so long."""
    # Redacted before it is cut: of a secret across the limit, the first half would no longer be known as one.
    kept = redact(text)[:limit].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return kept.encode("utf-8", "replace").decode()
