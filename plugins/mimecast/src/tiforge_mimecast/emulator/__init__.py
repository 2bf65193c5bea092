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

from tiforge_mimecast.emulator.app import Emulator, Ending, create_app
from tiforge_mimecast.emulator.faults import Fault
from tiforge_mimecast.emulator.rows import GeneratedRows, GivenRows, make_rows

__all__ = ["Emulator", "Ending", "Fault", "GeneratedRows", "GivenRows", "create_app", "make_rows"]
