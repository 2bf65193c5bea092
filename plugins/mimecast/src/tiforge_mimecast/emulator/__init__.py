"""A local Mimecast: both generations of the API, on data of its own, with faults on demand.

It is a peer of the real service: it demands the documented authentication, honours windows and page
tokens, limits requests, and answers with the documented bodies. Run it with
`python -m tiforge_mimecast.emulator`, or in a test:

```python
emulator = Emulator(make_rows(1000))
with serving(emulator.app) as url:
    ...
```
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tiforge import ConfigurationError

if TYPE_CHECKING:
    from tiforge_mimecast.emulator.app import Emulator, Ending, create_app
    from tiforge_mimecast.emulator.faults import Fault
    from tiforge_mimecast.emulator.rows import GeneratedRows, GivenRows, make_rows

__all__ = ["Emulator", "Ending", "Fault", "GeneratedRows", "GivenRows", "create_app", "make_rows"]

_MODULE_OF = {
    "Emulator": "app",
    "Ending": "app",
    "Fault": "faults",
    "GeneratedRows": "rows",
    "GivenRows": "rows",
    "create_app": "app",
    "make_rows": "rows",
}


def __getattr__(name: str) -> Any:
    # Loaded when first used, so that what is missing can be said in a sentence.
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tiforge_mimecast.emulator' has no attribute {name!r}")
    for library in ("starlette", "uvicorn"):
        if find_spec(library) is None:
            raise ConfigurationError(
                f"The Mimecast emulator needs {library}, which is not installed.",
                hint="Install it with: pip install 'tiforge-mimecast[emulator]'",
            )
    return getattr(import_module(f"tiforge_mimecast.emulator.{_MODULE_OF[name]}"), name)
