"""Hold a lease for as long as a block lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tiforge.errors import LeaseLost, StoreError
from tiforge.store import Lease, Store, leases


@asynccontextmanager
async def holding(store: Store, name: str, *, ttl: float = leases.TTL) -> AsyncIterator[Lease | None]:
    """Take a lease, renew it while the block runs, and give it up.

    Args:
        store: The store.
        name: As `source/mimecast-eu`.
        ttl: Seconds that it lasts without being renewed.

    Yields:
        The lease, or `None` where another process holds it.
    """
    lease = await store.call(leases.acquire, store, name, ttl=ttl)
    if lease is None:
        yield None
        return
    renewal = asyncio.create_task(_renew(store, lease, ttl))
    try:
        yield lease
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal
        await store.call(leases.release, store, lease)


async def _renew(store: Store, lease: Lease, ttl: float) -> None:
    while True:
        await asyncio.sleep(ttl / 3)
        try:
            await store.call(leases.renew, store, lease, ttl=ttl)
        except LeaseLost:
            return  # the next commit is refused, which ends the work with the right error
        except StoreError:
            continue  # a busy or broken store is tried again while the lease lasts
