"""A simulated disk: a store, with level 0's times and troubles around it.

    submit ──> pending ──sync starts──> in flight ──latency──> Store.commit ──> done, in a task of the process
                  └──────── crash: a part of them may have become durable; nobody is told ────────┘

One sync is under way at a time and takes what was pending when it started: group commit. Reads take time, too. What is durable outlives
the process: ``Disk`` belongs to the machine, ``ProcessStorage`` to one life of it, and a dead one changes nothing any more. The store
is memory, or the real one (``disk_sqlite``).
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import trio

from golemp2p.errors import InvalidState, StorageFailed, StorageFull
from golemp2p.model.ids import Key
from golemp2p.model.replication import Entry, LogSegment
from golemp2p.ports import Batch, LogHead, Storage, StoredReplica, StoredSegment
from golemp2p.storage.limits import check_batch
from golemp2p.storage.memory import MemoryImage, MemoryStorage
from golemp2p_sim import trace as tr
from golemp2p_sim.disk import DiskOptions

if TYPE_CHECKING:
    from golemp2p_nodes.machine import Life

Done = Callable[[Exception | None], None]

READ_NS = 20_000, 120_000
"""From a cache, to a page of a fast disk."""


class Store(Protocol):
    """What a process has its data in; ``Disk.image`` is what is durable of it."""

    @property
    def port(self) -> Storage:
        """For reads, blobs and named values."""
        ...

    async def open(self) -> str:
        """Returns what is wrong with what was found, or ``""``. Raises ``StorageFailed``, ``DataDamaged``."""
        ...

    def commit(self, batches: Sequence[Batch]) -> list[Exception | None]:
        """The sync of ``batches`` ends now: why each was not kept."""
        ...

    def crash(self, flight: Sequence[Batch], dice: Random, *, power_lost: bool) -> str:
        """The process is gone, while ``flight`` was on its way. Returns what became of it, for the log."""
        ...


@dataclass(frozen=True, slots=True)
class DiskCopy:
    image: MemoryImage
    doubtful: list[Batch]
    folder: Path


class Disk:
    """Of one machine, with its files below ``root``. ``image``: what is durable. ``doubtful``: what may be, by mischance, though nobody
    was told so. ``store``: 0 as delivered, another number after each loss. Troubles as level 0's ``Disk`` has them."""

    def __init__(self, options: DiskOptions, dice: Random, new_store: Callable[[Disk], Store], root: Path) -> None:
        self.options, self.dice, self.new_store = options, dice, new_store
        self._root = root
        self._folders = 0
        self.folder = self._new_folder()
        self.image = MemoryImage()
        self.doubtful: list[Batch] = []
        self.store = 0
        self.slow_factor = 1
        self.full = self.failing = False
        self.dropping = False
        """Never: what was called durable cannot be taken back."""

    def mend(self) -> None:
        self.slow_factor, self.full, self.failing = 1, False, False

    def lose(self) -> None:
        """An empty store with a new id takes its place."""
        self.image, self.doubtful, self.folder = MemoryImage(), [], self._new_folder()
        self.store += 1

    def copy(self) -> DiskCopy:
        """The disk as it is now, also while a process uses it."""
        folder = self._new_folder()
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return DiskCopy(self.image.copy(), [*self.doubtful], folder)

    def put_back(self, copy: DiskCopy) -> None:
        """Nobody uses the disk. ``copy`` is used up."""
        self.image, self.doubtful, self.folder = copy.image, copy.doubtful, copy.folder

    def _new_folder(self) -> Path:
        self._folders += 1
        folder = self._root / f"disk{self._folders}"
        folder.mkdir(parents=True)
        return folder

    def trouble(self) -> StorageFailed | None:
        if self.full:
            return StorageFull("simulated: no space left on the disk")
        return StorageFailed("simulated: input/output error") if self.failing else None

    def sync_ns(self) -> int:
        return (self.options.sync_ns + int(self.dice.random() * self.options.jitter_ns)) * self.slow_factor

    def read_s(self) -> float:
        return self.dice.randint(*READ_NS) * self.slow_factor / 1e9


class MemoryStore:
    """``Store`` that is nothing but the image."""

    def __init__(self, disk: Disk) -> None:
        self._disk, self._image = disk, disk.image
        self.port = MemoryStorage(disk.image)

    async def open(self) -> str:
        await trio.lowlevel.checkpoint()
        return ""

    def commit(self, batches: Sequence[Batch]) -> list[Exception | None]:
        return [self._disk.trouble() or self._applied(batch) for batch in batches]

    def _applied(self, batch: Batch) -> Exception | None:
        try:
            self._image.apply(batch)
        except StorageFailed as error:
            return error
        return None

    def crash(self, flight: Sequence[Batch], dice: Random, *, power_lost: bool) -> str:
        kept = dice.randrange(len(flight) + 1) if flight and dice.random() < 0.5 else 0
        for batch in flight[:kept]:
            self._applied(batch)
        return f"kept {kept} of {len(flight)} unsynced writes" if flight else "nothing unsynced"


class ProcessStorage:
    """``ports.Storage`` of one process; ``open`` comes first."""

    def __init__(self, life: Life, disk: Disk) -> None:
        self._life, self._disk = life, disk
        self._store = disk.new_store(disk)
        self._pending: list[tuple[Batch, Done]] = []
        self._flight: list[tuple[Batch, Done]] = []
        self._reports: deque[tuple[Done, Exception | None]] = deque()
        self._news = trio.Event()
        self._is_closed = False

    async def open(self) -> None:
        wrong = await self._store.open()
        if wrong:
            self._life.world.violate("storage", f"n{self._life.index}: {wrong}")
        self._durable = self._store.port

    async def run(self) -> None:
        """Tells the process what became durable; a task of the process, so that a frozen one is told later."""
        while True:
            while self._reports:
                done, error = self._reports.popleft()
                done(error)
            self._news = trio.Event()
            await self._news.wait()

    def crash(self, *, power_lost: bool) -> str:
        """The process is gone. Returns what became of what was not durable, for the log."""
        flight = [batch for batch, _ in self._flight + self._pending]
        self._flight, self._pending = [], []
        return self._store.crash(flight, self._disk.dice, power_lost=power_lost)

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
        world, (written, self._flight) = self._life.world, (self._flight, [])
        outcomes = self._store.commit([batch for batch, _ in written])
        failed = [error for error in outcomes if error is not None]
        world.trace.add(world.now, tr.PERSIST, self._life.index, len(written) - 2 * len(failed))
        if world.log:
            world.log("persist", self._life.index, None, f"{failed[0]}" if failed else f"{len(written)} batches")
        for (batch, done), error in zip(written, outcomes, strict=True):
            if error is None:
                world.written(self._life.index, batch)
            self._report(done, error)
        if len(failed) < len(written) and self._life.machine.aimed("after-persist"):
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
        self._disk.image.mark_damaged(shard, log)

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
        self, shard: int, log: Key, *, first: int, tail: int, position: int, count_max: int, bytes_max: int
    ) -> list[LogSegment]:
        await self._read()
        return await self._durable.replica_segments(
            shard, log, first=first, tail=tail, position=position, count_max=count_max, bytes_max=bytes_max
        )

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
