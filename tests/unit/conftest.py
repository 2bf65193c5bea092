"""How properties are tested: a slow machine never decides a test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tiforge", deadline=None)
settings.load_profile("tiforge")
