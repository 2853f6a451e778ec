"""What golemp2p asks of the world. Each protocol here is a specification; its conformance suite (``golemp2p.testing``) is the
same text, executable. Adapters: ``storage`` (SQLite, memory), ``runtime`` (wasmtime); ``drivers.peers.peer`` over ``mesh`` (TCP).

    client -> drivers -> core            thinking and doing apart
                |-> ports.Storage  <- storage
                |-> ports.Guests   <- runtime  -> ports.WorkerHost <- drivers
                |-> ports.Mesh     <- drivers.peers.peer -> mesh
"""

from __future__ import annotations

from golemp2p.ports.clock import Clock, RandomBytes
from golemp2p.ports.guests import (
    CompilationState,
    GuestComponent,
    GuestInstance,
    GuestLimits,
    Guests,
    Journal,
    PromiseHost,
    Suspended,
    WorkerHost,
)
from golemp2p.ports.mesh import Asked, Bulk, Mesh
from golemp2p.ports.storage import Batch, LogHead, Storage, StoredReplica, StoredSegment

__all__ = [
    "Asked", "Batch", "Bulk", "Clock", "CompilationState", "GuestComponent", "GuestInstance", "GuestLimits", "Guests", "Journal",
    "LogHead", "Mesh", "PromiseHost", "RandomBytes", "Storage", "StoredReplica", "StoredSegment", "Suspended", "WorkerHost",
]  # fmt: skip
