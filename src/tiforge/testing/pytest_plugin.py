"""Registered with pytest, so that a failed check of an inherited contract shows the values that it compared."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tiforge.testing.contracts", "tiforge.testing.sink_contract", "tiforge.testing.source_contract"
)
