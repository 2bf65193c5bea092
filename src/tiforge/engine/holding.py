"""Hold a lease for as long as a block lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tiforge.errors import LeaseLost, StoreError
from tiforge.store import Lease, Store, leases


@asynccontextmanager
async def holding(store: Store, name: str, *, ttl: float = leases.TTL) -> AsyncIterator[Lease | None]:
    """Take a lease, renew it while the block runs, and give it up.

    When the lease is lost the block is cancelled: what it would still hand over, another process hands over.

    Args:
        store: The store.
        name: As `source/mimecast-eu`.
        ttl: Seconds that it lasts without being renewed.

    Yields:
        The lease, or `None` where another process holds it.

    Raises:
        LeaseLost: It was lost while the block ran.
    """
    lease = await store.call(leases.acquire, store, name, ttl=ttl)
    if lease is None:
        yield None
        return
    block = asyncio.current_task()
    renewal = asyncio.create_task(_renew(store, lease, ttl))
    lost = False

    def end(done: asyncio.Task[None]) -> None:
        nonlocal lost
        if not done.cancelled() and block is not None:
            lost = True
            block.cancel()

    renewal.add_done_callback(end)
    try:
        yield lease
    except asyncio.CancelledError:
        if not lost or block is None or block.uncancel() > 0:
            raise
        raise LeaseLost(f"The lease on {name} was lost; another process does it.") from None
    finally:
        renewal.remove_done_callback(end)
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        await store.call(leases.release, store, lease)


async def _renew(store: Store, lease: Lease, ttl: float) -> None:
    """Renew until the lease is lost, or could not be renewed for as long as it lasts."""
    loop = asyncio.get_running_loop()
    renewed = loop.time()
    while loop.time() - renewed < ttl:
        await asyncio.sleep(ttl / 3)
        try:
            await store.call(leases.renew, store, lease, ttl=ttl)
        except LeaseLost:
            return
        except StoreError:
            continue  # a busy or broken store is tried again while the lease lasts
        renewed = loop.time()
