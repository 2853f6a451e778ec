"""``ports.Storage`` in memory, for tests and simulation. Nothing survives the process.

Where it is not like a disk: a commit takes no time and happens in the next turn of the event loop; blobs and meta
values are kept at once; nothing rots. The hooks of ``faults`` make it misbehave on purpose:

* ``faults.fail_next(error, count=1)``: the next ``count`` batches fail with ``error``, and nothing of them is kept;
* ``faults.hold()`` / ``faults.release()``: commits stand still, as on a disk that hangs; batches queue;
* ``storage.crash()``: the machine dies. What was not durable is dropped, its ``done`` is never called, and this object
  is of no use any more. Returns a new storage with what was durable, as found after a restart.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from golemp2p.errors import DataDamaged, InvalidState, StorageFailed, UsageError
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import Entry, LogSegment
from golemp2p.ports import Batch, LogHead, StoredReplica, StoredSegment
from golemp2p.storage.limits import (
    BLOB_BYTES_MAX,
    IDENTITY_BYTES_MAX,
    KIND_BYTES_MAX,
    META_BYTES_MAX,
    META_NAME_BYTES_MAX,
    check_batch,
    check_bytes,
    check_count,
    check_sha256,
    check_text,
)
from golemp2p.storage.memory_replica import MemoryReplica, Piece

Done = Callable[[Exception | None], None]


@dataclass(slots=True)
class MemoryFaults:
    """See the module's text."""

    failing: deque[Exception] = field(default_factory=deque)
    held: bool = False
    _released: Callable[[], None] = field(default=lambda: None)

    def fail_next(self, error: Exception, count: int = 1) -> None:
        self.failing.extend([error] * count)

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False
        self._released()


@dataclass(slots=True)
class MemoryImage:
    """What is durable. ``places``: the shard of every log that was ever written."""

    replicas: dict[int, MemoryReplica] = field(default_factory=dict)
    places: dict[Key, int] = field(default_factory=dict)
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    meta: dict[str, bytes] = field(default_factory=dict)

    def apply(self, batch: Batch) -> None:
        """All of the batch or, raising ``StorageFailed``, nothing."""
        if len(batch.replicas) == 1 and _only_adds(batch.replicas[0]):
            shard = batch.replicas[0].shard
            replica = self.replicas.get(shard, MemoryReplica(shard))
            replica.add_only(batch.replicas[0])
            self.replicas[shard] = replica
        else:
            changed = {write.shard: self._copy_of(write.shard) for write in batch.replicas}
            for write in batch.replicas:
                changed[write.shard].apply(write)
            self.replicas |= changed
        for write in batch.replicas:
            logs = self.replicas[write.shard].ends
            self.places.update(dict.fromkeys(logs.keys() - self.places.keys(), write.shard))
        for head in batch.heads:
            if head.key in self.places:
                self.replicas[self.places[head.key]].rewrite(head)

    def _copy_of(self, shard: int) -> MemoryReplica:
        replica = self.replicas.get(shard)
        return MemoryReplica(shard) if replica is None else replica.copy()

    def copy(self) -> MemoryImage:
        replicas = {shard: replica.copy() for shard, replica in self.replicas.items()}
        return MemoryImage(replicas, dict(self.places), dict(self.blobs), dict(self.meta))

    def stored(self) -> dict[int, StoredReplica]:
        """As ``Storage.replicas``."""
        return {
            shard: StoredReplica(
                held.record, held.base, dict(held.heads), list(held.entries), held.staged_ends(), tuple(sorted(held.damaged))
            )
            for shard, held in sorted(self.replicas.items())
        }

    def mark_damaged(self, shard: int, log: Key) -> None:
        damaged = self.replicas.setdefault(shard, MemoryReplica(shard)).damaged
        if log not in damaged:
            damaged.append(log)

    def heads(self) -> Iterator[LogHead]:
        """Of all logs, described or not."""
        return (head for replica in self.replicas.values() for head in replica.ends.values())

    def read(self, log: Key) -> list[Piece]:
        return self.replicas[self.places[log]].read(log) if log in self.places else []


class MemoryStorage:
    """Make and use it inside a trio run. ``image``: what is durable already."""

    def __init__(self, image: MemoryImage | None = None) -> None:
        self.faults = MemoryFaults()
        self.faults._released = self._schedule
        self._token = trio.lowlevel.current_trio_token()
        self._durable = image or MemoryImage()
        self._queue: deque[tuple[Batch, Done]] = deque()
        self._scheduled = False
        self._closing = False
        self._crashed = False
        self._empty = trio.Event()
        self._empty.set()

    def crash(self) -> MemoryStorage:
        self._crashed = self._closing = True
        self._queue.clear()
        self._empty.set()
        after = MemoryStorage(self._durable)
        self._durable = MemoryImage()
        return after

    # ---------------------------------------------------------------------------------------------------------- writes

    def submit(self, batch: Batch, done: Done) -> None:
        self._check_open()
        check_batch(batch)
        self._queue.append((batch, done))
        if self._empty.is_set():
            self._empty = trio.Event()
        self._schedule()

    def _schedule(self) -> None:
        if self._queue and not (self._scheduled or self.faults.held):
            self._scheduled = True
            self._token.run_sync_soon(self._commit)

    def _commit(self) -> None:
        self._scheduled = False
        if self.faults.held:
            return
        group, self._queue = self._queue, deque()
        outcomes = [(done, self._outcome(batch)) for batch, done in group]
        for done, error in outcomes:
            done(error)
        if not self._queue:
            self._empty.set()

    def _outcome(self, batch: Batch) -> Exception | None:
        if self.faults.failing:
            return self.faults.failing.popleft()
        try:
            self._durable.apply(batch)
        except StorageFailed as error:
            return error
        return None

    async def put_meta(self, name: str, value: bytes) -> None:
        check_text("a name", name, META_NAME_BYTES_MAX)
        check_bytes("a value", value, META_BYTES_MAX)
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._durable.meta[name] = value

    # ----------------------------------------------------------------------------------------------------------- reads

    async def read_segments(self, log: Key, first: int = 1, count: int | None = None) -> list[StoredSegment]:
        await self._turn()
        held = [piece for piece in self._durable.read(log) if piece.segment.first + piece.segment.count > first]
        return [StoredSegment(log, s.first, s.count, s.term, position, s.data) for position, s in held][:count]

    async def replicas(self) -> dict[int, StoredReplica]:
        await self._turn()
        return self._durable.stored()

    async def replica_segments(
        self, shard: int, log: Key, *, first: int, tail: int, position: int, count_max: int, bytes_max: int
    ) -> list[LogSegment]:
        await self._turn()
        replica = self._durable.replicas.get(shard, MemoryReplica(shard))
        if position not in (0, replica.base.position) or log in replica.damaged:
            return []
        pieces = replica.history.get(log, []) if position else replica.read(log)
        found: list[LogSegment] = []
        held = 0
        for _, segment in pieces:
            held += len(segment.data) if first < segment.first + segment.count else 0
            if segment.first >= tail or len(found) == count_max or (found and held > bytes_max):
                break
            if first < segment.first + segment.count:
                found.append(replace(segment, description=b""))
        return found

    async def milestones(self, shard: int) -> list[Entry]:
        await self._turn()
        replica = self._durable.replicas.get(shard)
        return [] if replica is None else [replica.milestones[position] for position in sorted(replica.milestones)]

    async def mark_damaged(self, shard: int, log: Key) -> None:
        await self._turn()
        self._durable.mark_damaged(shard, log)

    async def head(self, log: Key) -> LogHead | None:
        await self._turn()
        place = self._durable.places.get(log)
        return None if place is None else self._durable.replicas[place].ends.get(log)

    async def heads(
        self, kind: str, *, shards: Collection[int], prefix: str = "", after: str = "", count: int = 100
    ) -> list[LogHead]:
        check_text("kind", kind, KIND_BYTES_MAX)
        check_text("prefix", prefix, IDENTITY_BYTES_MAX)
        check_text("after", after, IDENTITY_BYTES_MAX)
        check_count(count)
        found = [
            head
            for head in await self._described(shards)
            if head.kind == kind and head.identity > after and head.identity.startswith(prefix)
        ]
        return sorted(found, key=lambda head: head.identity)[:count]

    async def heads_with_open_work(self, shard: int) -> list[LogHead]:
        return [head for head in await self._described([shard]) if head.has_open_work]

    async def heads_due(self, before_ns: int, count: int, shards: Collection[int]) -> list[LogHead]:
        check_count(count)
        waking = [(head.wake_ns, head) for head in await self._described(shards) if head.wake_ns is not None]
        return [head for wake_ns, head in sorted(waking, key=lambda pair: pair[0]) if wake_ns <= before_ns][:count]

    async def next_wake_ns(self, shards: Collection[int]) -> int | None:
        return min((head.wake_ns for head in await self._described(shards) if head.wake_ns is not None), default=None)

    async def undescribed_heads(self) -> list[LogHead]:
        await self._turn()
        return sorted(head for head in self._durable.heads() if not head.kind)

    async def _described(self, shards: Collection[int]) -> list[LogHead]:
        await self._turn()
        wanted = frozenset(shards)
        return [head for head in self._durable.heads() if head.kind and head.shard in wanted]

    async def get_meta(self, name: str) -> bytes | None:
        check_text("a name", name, META_NAME_BYTES_MAX)
        await self._turn()
        return self._durable.meta.get(name)

    # ----------------------------------------------------------------------------------------------------------- blobs

    async def put_blob(self, data: bytes) -> bytes:
        if len(data) > BLOB_BYTES_MAX:
            raise UsageError(f"a blob has at most {BLOB_BYTES_MAX} bytes, got {len(data)}")
        await self._turn()
        digest = hashlib.sha256(data).digest()
        self._durable.blobs[digest] = data
        return digest

    async def get_blob(self, sha256: bytes) -> bytes:
        check_sha256(sha256)
        await self._turn()
        data = self._durable.blobs.get(sha256)
        if data is None:
            raise DataDamaged(f"blob:{sha256.hex()}", "missing")
        return data

    async def has_blob(self, sha256: bytes) -> bool:
        check_sha256(sha256)
        await self._turn()
        return sha256 in self._durable.blobs

    def blob_path(self, sha256: bytes) -> Path | None:
        check_sha256(sha256)
        return None

    # ------------------------------------------------------------------------------------------------------------- end

    async def _turn(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._crashed:
            raise InvalidState("this machine has crashed")
        self._check_open()

    def _check_open(self) -> None:
        if self._closing:
            raise InvalidState("the storage is closed")

    async def aclose(self) -> None:
        """Waits for queued batches, also for held ones. May be called again."""
        self._closing = True
        with trio.CancelScope(shield=not self.faults.held):
            await self._empty.wait()


def _only_adds(write: ReplicaWrite) -> bool:
    """Whether ``write`` is the usual one, for which nothing is copied."""
    return write == ReplicaWrite(write.shard, write.record, entries=write.entries)
