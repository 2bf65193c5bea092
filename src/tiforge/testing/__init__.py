"""For plugin authors: contract tests to inherit, and the shared parts of local emulators.

```python
from tiforge.testing import SinkContract, SinkUnderTest, SourceContract, SourceUnderTest
from tiforge.testing.serving import serving
```

The names are loaded when they are first used: an emulator that imports `tiforge.testing.serving` needs no pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiforge.testing.contracts import sample_indicator, sample_of_each_type
    from tiforge.testing.sink_contract import SinkContract, SinkUnderTest
    from tiforge.testing.source_contract import SourceContract, SourceUnderTest

__all__ = [
    "SinkContract",
    "SinkUnderTest",
    "SourceContract",
    "SourceUnderTest",
    "sample_indicator",
    "sample_of_each_type",
]

_MODULE_OF = {
    "SinkContract": "sink_contract",
    "SinkUnderTest": "sink_contract",
    "SourceContract": "source_contract",
    "SourceUnderTest": "source_contract",
    "sample_indicator": "contracts",
    "sample_of_each_type": "contracts",
}


def __getattr__(name: str) -> Any:
    try:
        module = import_module(f"tiforge.testing.{_MODULE_OF[name]}")
    except KeyError:
        raise AttributeError(f"module 'tiforge.testing' has no attribute {name!r}") from None
    return getattr(module, name)
