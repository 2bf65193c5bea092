"""Leases: one holder at a time for each source and each sink, over all processes on one store.

A lease runs out unless it is renewed, so a crash gives it up. A holder on this very machine that is no
longer running gives it up at once. Every holder has a token, larger than the one before; a commit checks
it, so that a process that was paused past its lease cannot write over the one that took its place.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import psutil
from sqlalchemy import Connection, or_, select, update

from tiforge.errors import LeaseLost
from tiforge.store.database import Store
from tiforge.store.positions import inserting
from tiforge.store.schema import lease

TTL: Final = 30.0
"""Seconds that a lease lasts without being renewed."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one source or sink.

    Attributes:
        name: As `source/mimecast-eu`.
        token: Grows with every holder.
    """

    name: str
    token: int


def acquire(store: Store, name: str, *, ttl: float = TTL) -> Lease | None:
    """Take a lease, or return `None` where another process holds it.

    Args:
        store: The store.
        name: What to work on.
        ttl: Seconds until it runs out.
    """
    with store.writing() as connection:
        now = store.common_now(connection)
        holder = connection.execute(select(lease.c.holder).where(lease.c.name == name)).scalar_one_or_none()
        free = lease.c.expires_at <= now
        if holder is not None and _is_gone(holder):
            free = or_(free, lease.c.holder == holder)
        values = {"holder": _myself(), "expires_at": now + int(ttl * 1_000_000)}
        statement = (
            inserting(connection, lease)
            .values(name=name, token=1, **values)
            .on_conflict_do_update(
                index_elements=["name"], set_={**values, "token": lease.c.token + 1}, where=free
            )
            .returning(lease.c.token)
        )
        token = connection.execute(statement).scalar_one_or_none()
    return None if token is None else Lease(name, token)


def renew(store: Store, held: Lease, *, ttl: float = TTL) -> None:
    """Make a lease last from now on.

    Raises:
        LeaseLost: Another process holds it.
    """
    with store.writing() as connection:
        hold(store, connection, held, ttl=ttl)


def hold(store: Store, connection: Connection, held: Lease, *, ttl: float = TTL) -> None:
    """Renew a lease inside the caller's transaction, so that it commits only for the holder.

    Raises:
        LeaseLost: Another process holds it.
    """
    now = store.common_now(connection)
    query = update(lease).where(lease.c.name == held.name, lease.c.token == held.token)
    if connection.execute(query.values(expires_at=now + int(ttl * 1_000_000))).rowcount != 1:
        raise LeaseLost(
            f"Another process has taken over {held.name}; what this one was about to write is left out."
        )


def release(store: Store, held: Lease) -> None:
    """Give a lease up; one that is lost already stays with its new holder."""
    with store.writing() as connection:
        # The row stays: its token must never be given out twice.
        connection.execute(
            update(lease).where(lease.c.name == held.name, lease.c.token == held.token).values(expires_at=0)
        )


def holder(store: Store, connection: Connection, name: str) -> str | None:
    """Return who holds a lease, for people to read, or `None`."""
    now = store.common_now(connection)
    query = select(lease.c.holder).where(lease.c.name == name, lease.c.expires_at > now)
    found = connection.execute(query).scalar_one_or_none()
    if found is None or _is_gone(found):
        return None
    host, _, _, pid, _ = found.rsplit("|", 4)
    return f"process {pid} on {host}"


@cache
def _place() -> str:
    """Name this host, its boot and its process namespace: where a process number means something."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    booted = boot.read_text().strip() if boot.exists() else str(int(psutil.boot_time()))
    within = str(os.stat(namespace).st_ino) if namespace.exists() else "-"
    return f"{socket.gethostname()}|{booted}|{within}"


def _myself() -> str:
    pid = os.getpid()
    return f"{_place()}|{pid}|{_started(pid)}"


def _started(pid: int) -> str:
    """Return when a process started, as the kernel counts it, which does not change with the clock.

    Raises:
        psutil.NoSuchProcess: There is no such process.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        return str(psutil.Process(pid).create_time())
    try:
        # The name of the program, in brackets, may hold spaces; the start is the 20th field behind it.
        return stat.read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        raise psutil.NoSuchProcess(pid) from None


def _is_gone(holder: str) -> bool:
    place, pid, started = holder.rsplit("|", 2)
    if place != _place():
        return False
    try:
        return _started(int(pid)) != started
    except (psutil.NoSuchProcess, ProcessLookupError):
        return True
    except (psutil.Error, OSError):
        return False
