"""A simulated disk: storage in memory, with level 0's times and troubles around it.

    submit ──> pending ──sync starts──> in flight ──latency──> MemoryStorage (durable) ──> done, in a task of the process
                  └──────── crash: a part of them, from the front, may have become durable; nobody is told ────────┘

One sync is under way at a time and takes what was pending when it started: group commit. Reads take time, too. What is durable outlives
the process: ``Disk`` belongs to the machine, ``ProcessStorage`` to one life of it, and a dead one changes nothing any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from golemp2p.errors import InvalidState, StorageFailed, StorageFull
from golemp2p.model.ids import Key
from golemp2p.model.replication import Entry, LogSegment
from golemp2p.ports import Batch, LogHead, StoredReplica, StoredSegment
from golemp2p.storage.limits import check_batch
from golemp2p.storage.memory import MemoryStorage
from golemp2p_sim import trace as tr
from golemp2p_sim.disk import DiskOptions

if TYPE_CHECKING:
    from golemp2p_nodes.machine import Life

Done = Callable[[Exception | None], None]

READ_NS = 20_000, 120_000
"""From a cache, to a page of a fast disk."""


class Disk:
    """Of one machine. ``store``: 0 as delivered, another number after each loss. Troubles as level 0's ``Disk`` has them."""

    def __init__(self, options: DiskOptions, dice: Random) -> None:
        self.options, self.dice = options, dice
        self.durable = MemoryStorage()
        self.store = 0
        self.slow_factor = 1
        self.full = self.failing = False
        self.dropping = False
        """Never: storage in memory cannot take back what it called durable."""

    def mend(self) -> None:
        self.slow_factor, self.full, self.failing = 1, False, False

    def lose(self) -> None:
        """An empty store with a new id takes its place."""
        self.durable = MemoryStorage()
        self.store += 1

    def trouble(self) -> StorageFailed | None:
        if self.full:
            return StorageFull("simulated: no space left on the disk")
        return StorageFailed("simulated: input/output error") if self.failing else None

    def sync_ns(self) -> int:
        return (self.options.sync_ns + int(self.dice.random() * self.options.jitter_ns)) * self.slow_factor

    def read_s(self) -> float:
        return self.dice.randint(*READ_NS) * self.slow_factor / 1e9


class ProcessStorage:
    """``ports.Storage`` of one process."""

    def __init__(self, life: Life, disk: Disk) -> None:
        self._life, self._disk = life, disk
        self._durable = disk.durable
        self._pending: list[tuple[Batch, Done]] = []
        self._flight: list[tuple[Batch, Done]] = []
        self._reports: deque[tuple[Done, Exception | None]] = deque()
        self._news = trio.Event()
        self._is_closed = False

    async def run(self) -> None:
        """Tells the process what became durable; a task of the process, so that a frozen one is told later."""
        while True:
            while self._reports:
                done, error = self._reports.popleft()
                done(error)
            self._news = trio.Event()
            await self._news.wait()

    def crash(self) -> str:
        """The process is gone. Returns what became of what was not durable, for the log."""
        doubtful = self._flight + self._pending
        self._flight, self._pending = [], []
        kept = self._disk.dice.randrange(len(doubtful) + 1) if doubtful and self._disk.dice.random() < 0.5 else 0
        for batch, _ in doubtful[:kept]:
            self._durable.submit(batch, _nobody)
        return f"kept {kept} of {len(doubtful)} unsynced writes" if doubtful else "nothing unsynced"

    # -- writes

    def submit(self, batch: Batch, done: Done) -> None:
        self._check_open()
        check_batch(batch)
        self._pending.append((batch, done))
        if self._life.machine.aimed("before-persist"):
            return
        if not self._flight:
            self._begin()

    def _begin(self) -> None:
        self._flight, self._pending = self._pending, []
        self._life.world.after(self._disk.sync_ns(), self._end)

    def _end(self, _a: Any, _b: Any, _c: Any) -> None:
        if self._life.is_dead:
            return
        world, error = self._life.world, self._disk.trouble()
        written, self._flight = self._flight, []
        world.trace.add(world.now, tr.PERSIST, self._life.index, -len(written) if error else len(written))
        if world.log:
            world.log("persist", self._life.index, None, str(error) if error else f"{len(written)} batches")
        if error is not None:
            for _, done in written:
                self._report(done, error)
        else:
            for batch, done in written:
                world.written(self._life.index, batch)
                self._durable.submit(batch, partial(self._report, done))
            if self._life.machine.aimed("after-persist"):
                return
        if self._pending:
            self._begin()

    def _report(self, done: Done, error: Exception | None) -> None:
        if not self._life.is_dead:
            self._reports.append((done, error))
            self._news.set()

    async def put_meta(self, name: str, value: bytes) -> None:
        await self._sync()
        await self._durable.put_meta(name, value)

    async def put_blob(self, data: bytes) -> bytes:
        await self._sync()
        return await self._durable.put_blob(data)

    async def mark_damaged(self, shard: int, log: Key) -> None:
        await self._sync()
        await self._durable.mark_damaged(shard, log)

    async def _sync(self) -> None:
        self._check_open()
        await trio.sleep(self._disk.sync_ns() / 1e9)
        self._check_open()
        error = self._disk.trouble()
        if error is not None:
            raise error

    # -- reads

    async def replicas(self) -> dict[int, StoredReplica]:
        await self._read()
        return await self._durable.replicas()

    async def replica_segments(
        self, shard: int, log: Key, *, first: int, tail: int, position: int, bytes_max: int
    ) -> list[LogSegment]:
        await self._read()
        return await self._durable.replica_segments(shard, log, first=first, tail=tail, position=position, bytes_max=bytes_max)

    async def milestones(self, shard: int) -> list[Entry]:
        await self._read()
        return await self._durable.milestones(shard)

    async def read_segments(self, log: Key, first: int = 1, count: int | None = None) -> list[StoredSegment]:
        await self._read()
        return await self._durable.read_segments(log, first, count)

    async def head(self, log: Key) -> LogHead | None:
        await self._read()
        return await self._durable.head(log)

    async def heads(
        self, kind: str, *, shards: Collection[int], prefix: str = "", after: str = "", count: int = 100
    ) -> list[LogHead]:
        await self._read()
        return await self._durable.heads(kind, shards=shards, prefix=prefix, after=after, count=count)

    async def heads_with_open_work(self, shard: int) -> list[LogHead]:
        await self._read()
        return await self._durable.heads_with_open_work(shard)

    async def heads_due(self, before_ns: int, count: int, shards: Collection[int]) -> list[LogHead]:
        await self._read()
        return await self._durable.heads_due(before_ns, count, shards)

    async def next_wake_ns(self, shards: Collection[int]) -> int | None:
        await self._read()
        return await self._durable.next_wake_ns(shards)

    async def undescribed_heads(self) -> list[LogHead]:
        await self._read()
        return await self._durable.undescribed_heads()

    async def get_meta(self, name: str) -> bytes | None:
        await self._read()
        return await self._durable.get_meta(name)

    async def get_blob(self, sha256: bytes) -> bytes:
        await self._read()
        return await self._durable.get_blob(sha256)

    async def has_blob(self, sha256: bytes) -> bool:
        await self._read()
        return await self._durable.has_blob(sha256)

    def blob_path(self, sha256: bytes) -> Path | None:
        return self._durable.blob_path(sha256)

    async def _read(self) -> None:
        self._check_open()
        await trio.sleep(self._disk.read_s())
        self._check_open()

    # -- end

    def _check_open(self) -> None:
        if self._is_closed or self._life.is_dead:
            raise InvalidState("the storage is closed")

    async def aclose(self) -> None:
        self._is_closed = True
        while self._flight or self._pending:  # noqa: ASYNC110 - nobody waits for this but a test
            await trio.sleep(self._disk.options.sync_ns / 1e9)


def _nobody(_error: Exception | None) -> None:
    """The process that would want to know is gone."""
