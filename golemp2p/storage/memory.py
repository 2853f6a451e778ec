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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from golemp2p.errors import DataDamaged, InvalidState, StorageFailed, UsageError
from golemp2p.model.ids import Key
from golemp2p.ports import Batch, LogHead, ShardRecord, StoredSegment
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
class _Durable:
    segments: dict[Key, dict[int, StoredSegment]] = field(default_factory=dict)
    heads: dict[Key, LogHead] = field(default_factory=dict)
    shards: dict[int, ShardRecord] = field(default_factory=dict)
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    meta: dict[str, bytes] = field(default_factory=dict)

    def apply(self, batch: Batch) -> None:
        """All of the batch or, raising ``StorageFailed``, nothing."""
        deleted = set(batch.deleted_logs)
        new: set[tuple[Key, int]] = set()
        for segment in batch.segments:
            name = (segment.log, segment.first)
            if name in new or (segment.log not in deleted and segment.first in self.segments.get(segment.log, ())):
                raise StorageFailed(f"memory: exists already (segment {segment.first} of {segment.log})")
            new.add(name)
        for key in deleted:
            self.segments.pop(key, None)
            self.heads.pop(key, None)
        for segment in batch.segments:
            self.segments.setdefault(segment.log, {})[segment.first] = segment
        self.heads.update({head.key: head for head in batch.heads})
        self.shards.update({record.shard: record for record in batch.shards})


class MemoryStorage:
    """Make and use it inside a trio run."""

    def __init__(self) -> None:
        self.faults = MemoryFaults()
        self.faults._released = self._schedule
        self._token = trio.lowlevel.current_trio_token()
        self._durable = _Durable()
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
        after = MemoryStorage()
        after._durable = self._durable
        self._durable = _Durable()
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
        held = self._durable.segments.get(log, {})
        return [held[index] for index in sorted(held) if index + held[index].count > first][:count]

    async def head(self, log: Key) -> LogHead | None:
        await self._turn()
        return self._durable.heads.get(log)

    async def heads(self, kind: str, *, prefix: str = "", after: str = "", count: int = 100) -> list[LogHead]:
        check_text("kind", kind, KIND_BYTES_MAX)
        check_text("prefix", prefix, IDENTITY_BYTES_MAX)
        check_text("after", after, IDENTITY_BYTES_MAX)
        check_count(count)
        await self._turn()
        found = [
            head
            for head in self._durable.heads.values()
            if head.kind == kind and head.identity > after and head.identity.startswith(prefix)
        ]
        return sorted(found, key=lambda head: head.identity)[:count]

    async def heads_with_open_work(self) -> list[LogHead]:
        await self._turn()
        return [head for head in self._durable.heads.values() if head.has_open_work]

    async def heads_due(self, before_ns: int, count: int) -> list[LogHead]:
        check_count(count)
        await self._turn()
        waking = [(head.wake_ns, head) for head in self._durable.heads.values() if head.wake_ns is not None]
        return [head for wake_ns, head in sorted(waking, key=lambda pair: pair[0]) if wake_ns <= before_ns][:count]

    async def next_wake_ns(self) -> int | None:
        await self._turn()
        return min((head.wake_ns for head in self._durable.heads.values() if head.wake_ns is not None), default=None)

    async def shards(self) -> list[ShardRecord]:
        await self._turn()
        return [self._durable.shards[number] for number in sorted(self._durable.shards)]

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
