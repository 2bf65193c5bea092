"""The store: the log, cursors, offsets, dead letters, leases and runs, in SQLite or PostgreSQL."""

from tiforge.store.agenda import Run, Standing
from tiforge.store.commits import CLOCKS_DIFFER, begin_round, commit_delivery, commit_page, commit_retried, rewind
from tiforge.store.database import Store
from tiforge.store.deadletters import DeadLetter, Refused
from tiforge.store.leases import Lease
from tiforge.store.log import EVERYTHING, Appended, Entry, Filter

__all__ = [
    "CLOCKS_DIFFER",
    "EVERYTHING",
    "Appended",
    "DeadLetter",
    "Entry",
    "Filter",
    "Lease",
    "Refused",
    "Run",
    "Standing",
    "Store",
    "begin_round",
    "commit_delivery",
    "commit_page",
    "commit_retried",
    "rewind",
]
