"""Where the nodes of a run have their data: in memory, which is fast, or in the real storage over files that may lose power.

    --storage memory    disk.MemoryStore
    --storage sqlite    golemp2p.storage.sqlite over files.py (disk_sqlite)

Both take the time of the same simulated disk, and have its troubles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from golemp2p_nodes.disk import Disk, MemoryStore, Store

MEMORY, SQLITE = "memory", "sqlite"
KINDS: Final = (MEMORY, SQLITE)


def store_maker(kind: str) -> Callable[[Disk], Store]:
    """Of one of ``KINDS``."""
    if kind == MEMORY:
        return MemoryStore
    assert kind == SQLITE, f"no such storage: {kind!r}"
    from golemp2p_nodes.disk_sqlite import SqliteStore  # noqa: PLC0415 - the database, which nobody else needs

    return SqliteStore
