"""The workers of this node: which are in memory, how they get there, and when they leave.

    head on disk --load--> in memory, no instance --wake--> instance, replayed --idle too long, memory short--> unloaded
    shard begins to be served here --> its workers with open work are loaded        shard moves away --> its workers are dropped

A worker is loaded by one reader at a time; whoever else wants it waits. Workers that suspend leave memory at once: a timer or a
promise brings them back. When the table is full, idle ones make room; when none is idle, newcomers are refused.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import trio

from golemp2p.core.worker_state import WorkerState
from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.drivers.components import Components, check_environment
from golemp2p.drivers.execution import end_ephemeral_execution
from golemp2p.drivers.loaded_workers import LoadedWorkers
from golemp2p.drivers.oplog import LogWriter, read_log, read_range
from golemp2p.drivers.promises import OtherPromises
from golemp2p.drivers.resuming import Resuming
from golemp2p.drivers.settings import ServiceSettings
from golemp2p.drivers.shards import Shards, moved
from golemp2p.drivers.summary import head_of
from golemp2p.drivers.waiters import Waiter
from golemp2p.drivers.worker import Worker
from golemp2p.errors import (
    DataDamaged,
    Draining,
    Golemp2pError,
    Moved,
    Overloaded,
    WorkerAlreadyExists,
    WorkerInterrupted,
    WorkerNotFound,
    WorldError,
)
from golemp2p.model import entries as e
from golemp2p.model.ids import WorkerId
from golemp2p.ports import Clock, LogHead, RandomBytes, Storage
from golemp2p.values.cbor import loads

logger = logging.getLogger(__name__)

SWEEP_INTERVAL_S = 1.0
SWEEP_INTERVAL_S_MAX = 5.0
SWEPT_PER_S = 1_000
"""Workers that are looked at per second, so that ten thousand idle ones cost nothing that shows."""
COME_BACK_S = 5.0
"""A worker whose log could not be written or read is tried again after this."""

INSTANCE_OVERHEAD_BYTES = 32 * 1024
"""What an instance costs beside its linear memory: fiber, store, tables, our objects (measured)."""

PRESSURE_RATIO = 0.8
"""Above this share of the budget, waits of a moment already unload."""


class Workers:
    """``node_name`` is written into new workers. ``timer_set(wake_ns)`` is called when a worker went to sleep, and this
    node's storage knows."""

    def __init__(
        self,
        *,
        settings: ServiceSettings,
        storage: Storage,
        shards: Shards,
        components: Components,
        blobs: Blobs,
        clock: Clock,
        random_bytes: RandomBytes,
        spawn: Callable[..., None],
        files_dir: Path,
        node_name: str,
        timer_set: Callable[[int], None],
    ) -> None:
        self.settings = settings
        self.storage = storage
        self.components = components
        self.blobs = blobs
        self.clock = clock
        self.random_bytes = random_bytes
        self.spawn = spawn
        self.files_dir = files_dir
        self._timer_set = timer_set
        self.task_ended = trio.lowlevel.ParkingLot()
        self.other_promises: OtherPromises
        """Set before the first worker runs."""
        self.invocations_total = 0
        self.loads_total = 0
        self._failures: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._shards = shards
        self._node_name = node_name
        self._loaded = LoadedWorkers()
        self._held: dict[WorkerId, trio.Event] = {}
        self._memory_bytes = 0
        self._coming_back: set[WorkerId] = set()
        self._stopping = False
        self._resuming = Resuming(storage, settings.resume_concurrency, self._load_patiently, spawn)
        shards.add_tenant(self._resuming.shard_started, self._shard_stopped)

    # -- finding --------------------------------------------------------------------------------------------------------

    def shard_of(self, worker: WorkerId) -> int:
        return worker.key.shard(self._shards.shards_count)

    def in_memory(self, worker: WorkerId) -> Worker | None:
        """The worker if it is loaded and sound."""
        found = self._loaded.get(worker)
        return None if found is None or found.gone else found

    async def lookup(self, worker: WorkerId) -> Worker | None:
        """The worker, loaded if need be; ``None`` when it does not exist. Raises ``DataDamaged``, ``Overloaded``, ``Draining``, and
        as ``Shards.check``. What is being deleted, or broken with its guest still running, is waited for: a log has one writer."""
        while True:
            held = self._held.get(worker)
            if held is not None:
                await held.wait()
                continue
            found = self._loaded.get(worker)
            if found is not None and not found.gone:
                return found
            if self._stopping:
                raise Draining("this node is stopping", 1.0)
            if found is None:
                break
            await self.task_ended.park()
        with _Hold(self._held, worker):
            shard = self.shard_of(worker)
            await self._shards.level(shard)
            head = await self.storage.head(worker.key)
            if head is None:
                self._shards.check(shard)
                return None
            self._make_room()
            entries = await read_log(self.storage, head)
            self._shards.check(shard)
            state = WorkerState.of(entries)
            if state.create is None or state.tail != head.tail:
                raise DataDamaged(f"worker {worker}", "its log does not begin with a Create entry")
            found = Worker(self, worker, state, self._writer(worker, state, head), entries)
            self._loaded.add(found)
            self.loads_total += 1
            end_ephemeral_execution(found)
            found.wake()
            return found

    async def find(self, worker: WorkerId) -> Worker:
        """As ``lookup``; raises ``WorkerNotFound``."""
        found = await self.lookup(worker)
        if found is None:
            raise WorkerNotFound(f"component {worker.component} has no worker {worker.name!r}")
        return found

    async def create(
        self,
        worker: WorkerId,
        version: int,
        *,
        args: Iterable[str] = (),
        env: Iterable[tuple[str, str]] = (),
        request_key: str = "",
    ) -> Worker:
        """A new worker; its ``Create`` entry is durable at its first commit. Under the same ``request_key`` it is made once. Raises
        ``WorkerAlreadyExists``, ``PayloadTooLarge`` and ``MalformedRequest`` for args and env."""
        info = await self.components.version(worker.component, version)
        found = await self.lookup(worker) or self._loaded.get(worker)
        if found is not None:
            if request_key and found.create.request_key == request_key:
                return found
            raise WorkerAlreadyExists(f"worker {worker.name!r} of component {worker.component} exists already")
        self._shards.check(self.shard_of(worker))
        self._make_room()
        args, own = tuple(args), dict(env)
        inherited = {name: value for name, value in info.env if name not in own}
        check_environment(args, own | inherited)
        entry = e.Create(
            time_ns=self.clock.wall_ns(),
            component_id=str(worker.component),
            worker_name=worker.name,
            component_version=version,
            args=args,
            env=(*own.items(), *inherited.items()),
            parent=None,
            component_size=info.size_bytes,
            ephemeral=info.ephemeral,
            created_by=self._node_name,
            memory_initial=info.memory_initial,
            request_key=request_key,
        )
        state = WorkerState()
        writer = self._writer(worker, state, None)
        state.apply(entry)
        writer.append(entry)
        found = Worker(self, worker, state, writer, [entry])
        self._loaded.add(found)
        return found

    async def delete(self, worker: WorkerId) -> None:
        """Stop the worker, remove its log and its files. A damaged worker can be deleted too. Goes on when cancelled."""
        waiter = Waiter()

        async def run() -> None:
            failure: Golemp2pError | None = None
            try:
                await self._delete(worker)
            except Golemp2pError as error:
                failure = error
            finally:
                waiter.settle(None, failure)

        self.spawn(run)
        await waiter.wait()

    async def _delete(self, worker: WorkerId) -> None:
        await self._free(worker)
        with _Hold(self._held, worker):
            found = self._loaded.get(worker)
            if found is None:
                await self._shards.level(self.shard_of(worker))
                if await self.storage.head(worker.key) is None:
                    raise WorkerNotFound(f"component {worker.component} has no worker {worker.name!r}")
            else:
                await found.stop(WorkerInterrupted(f"worker {worker.name!r} was deleted"))
                try:
                    if found.writer.broken is None:
                        await found.writer.commit()
                finally:
                    self._loaded.remove(found)
            await self._delete_log(worker)
            files = self.files_dir / worker.key.digest.hex()
            if files.exists():
                await trio.to_thread.run_sync(shutil.rmtree, files)

    async def _delete_log(self, worker: WorkerId) -> None:
        waiter = Waiter()
        self._shards.delete(worker.key, lambda error: waiter.settle(None, error))
        await waiter.wait()

    async def _free(self, worker: WorkerId) -> None:
        while (held := self._held.get(worker)) is not None:
            await held.wait()

    # -- what workers ask -----------------------------------------------------------------------------------------------

    async def read_entries(self, worker: WorkerId, durable: int) -> list[e.Entry]:
        """The whole log of a worker, checked; at least the entries before ``durable``, which are committed."""
        head = await self._committed_head(worker)
        if head.tail < durable:
            raise DataDamaged(f"worker {worker}", f"its log ends at entry {head.tail - 1}, and had {durable - 1}")
        return await read_log(self.storage, head)

    async def _committed_head(self, worker: WorkerId) -> LogHead:
        """Of a log that exists: as of now at least."""
        await self._shards.level(self.shard_of(worker))
        head = await self.storage.head(worker.key)
        if head is None:
            raise WorkerNotFound(f"the log of worker {worker} is gone")
        return head

    async def recorded_result(self, worker: WorkerId, index: int) -> Any:
        """The value in the ``ExportedFunctionCompleted`` at ``index``, which is committed."""
        head = await self._committed_head(worker)
        for entry in await read_range(self.storage, self.blobs, head, index, 1):
            if isinstance(entry, e.ExportedFunctionCompleted) and isinstance(entry.response, bytes):
                return loads(entry.response)
        raise DataDamaged(f"worker {worker}", f"entry {index} is not the result it should be")

    async def blob(self, worker: WorkerId, ref: e.BlobRef) -> bytes:
        """A large payload of ``worker``'s log. Raises as ``Blobs.get``."""
        return await self.blobs.get(ref.sha256, size=ref.size_bytes, shard=self.shard_of(worker))

    def suspend_after_s(self) -> float:
        settings = self.settings
        pressed = (
            self._memory_bytes > PRESSURE_RATIO * settings.memory_budget_bytes
            or len(self._loaded) > PRESSURE_RATIO * settings.workers_active_max
        )
        return settings.suspend_after_pressed_s if pressed else settings.suspend_after_s

    def count_failure(self, code: str) -> None:
        """An execution failed; ``code`` is the error's."""
        self._failures[code] += 1

    def count_refusal(self, code: str) -> None:
        """An invocation was not accepted."""
        self._refusals[code] += 1

    def worker_began(self, worker: Worker) -> None:
        """Its task has something to do."""
        self._shards.work_began(worker.shard)

    def worker_rested(self, worker: Worker) -> None:
        """Its task ended. A suspended one leaves memory as soon as its log is written."""
        self.task_ended.unpark_all()
        self._shards.work_ended(worker.shard)
        if worker.writer.broken is not None:
            self.forget(worker)
        if worker.state.suspended and not worker.gone and worker.writer.broken is None:
            worker.writer.when_durable(lambda error: self._release(worker))

    def sleeps_until(self, worker: Worker, wake_ns: int) -> None:
        """It suspended, which is committed."""
        self._shards.when_level(self.shard_of(worker.id), lambda: self._timer_set(wake_ns))

    def forget(self, worker: Worker) -> None:
        """Take a broken worker out of the table; it is read anew on next use."""
        self._loaded.remove(worker)

    def broken(self, worker: Worker, error: Exception) -> None:
        """``worker`` is of no more use. It stays in the table until its task has ended; what it was doing goes on, in another
        object, when the storage is well again."""
        if not worker.is_running:
            self.forget(worker)
        is_ours = isinstance(error, WorldError) and not isinstance(error, Moved)
        if is_ours and not self._stopping and worker.id not in self._coming_back:
            self._coming_back.add(worker.id)
            self.spawn(self._come_back, worker.id)

    async def _come_back(self, worker: WorkerId) -> None:
        try:
            await trio.sleep(COME_BACK_S)
            self._coming_back.discard(worker)
            await self._load_patiently(worker)
        finally:
            self._coming_back.discard(worker)

    async def _load_patiently(self, worker: WorkerId) -> None:
        """Load ``worker``, which goes on with its open work; wait while the world is against it."""
        while not self._stopping:
            try:
                await self.lookup(worker)
            except Moved:
                return  # whoever leads its shard now resumes it
            except WorldError as error:
                logger.warning("worker_waits", extra={"worker": str(worker), "code": error.code, "error": str(error)})
                await trio.sleep(COME_BACK_S)
            except Golemp2pError as error:
                told = {"worker": str(worker), "code": error.code, "error": str(error)}
                logger.error("worker_not_resumed", extra=told)  # noqa: TRY400  # the text says it all
                return
            else:
                return

    async def wake(self, worker: WorkerId) -> None:
        """The time ``worker`` waits for has come. Returns when that is durable, and to be read here."""
        found = await self.lookup(worker)
        if found is not None:
            found.wake_from_timer()
            await found.writer.commit()
            await self._shards.level(self.shard_of(worker))

    # -- leaving memory -------------------------------------------------------------------------------------------------

    def _release(self, worker: Worker) -> None:
        if not worker.is_busy and self._loaded.holds(worker):
            worker.unload()
            worker.gone = True
            self._loaded.remove(worker)

    def _make_room(self) -> None:
        if len(self._loaded) < self.settings.workers_active_max:
            return
        idle = sorted((w for w in self._loaded.all() if not w.is_busy), key=lambda w: w.last_used)
        for worker in idle[: max(1, len(idle) // 4)]:
            self._release(worker)
        if len(self._loaded) >= self.settings.workers_active_max:
            self.count_refusal("workers-active")
            raise Overloaded(f"{len(self._loaded)} workers are active, which is this node's limit", 1.0)

    def _sweep(self) -> None:
        """Unload what is idle for too long, and the longest idle while memory is short."""
        now = self.clock.monotonic_ns()
        ttl_ns = int(self.settings.idle_ttl_s * 1e9)
        idle: list[Worker] = []
        memory = 0
        for worker in list(self._loaded.all()):
            worker.writer.flush_nowait()  # what a guest that computes for long has done so far survives a crash
            if worker.is_busy:
                memory += worker.memory_bytes + INSTANCE_OVERHEAD_BYTES
            elif not worker.is_instantiated or now - worker.last_used > ttl_ns:
                self._release(worker)
            else:
                memory += worker.memory_bytes + INSTANCE_OVERHEAD_BYTES
                idle.append(worker)
        if memory > self.settings.memory_budget_bytes:
            for worker in sorted(idle, key=lambda w: w.last_used):
                memory -= worker.memory_bytes + INSTANCE_OVERHEAD_BYTES
                self._release(worker)
                if memory <= self.settings.memory_budget_bytes:
                    break
        self._memory_bytes = memory

    async def run_sweeper(self) -> None:
        while True:
            some_s = len(self._loaded) / SWEPT_PER_S
            await trio.sleep(min(max(SWEEP_INTERVAL_S, some_s), SWEEP_INTERVAL_S_MAX))
            self._sweep()

    # -- starting and stopping ------------------------------------------------------------------------------------------

    def _shard_stopped(self, shard: int) -> None:
        """Another node runs its workers from now on."""
        for worker in self._loaded.of_shard(shard):
            worker.drop(moved(shard))

    def is_shard_busy(self, shard: int) -> bool:
        """Whether a worker of ``shard`` has something under way."""
        return self._shards.is_busy(shard)

    async def drain(self) -> None:
        """Wait until no invocation is under way; cancel this to stop waiting."""
        while any(worker.is_running for worker in self._loaded.all()):
            await self.task_ended.park()

    async def flush(self) -> None:
        """Make everything that is appended durable."""
        for worker in list(self._loaded.all()):
            if worker.writer.broken is None:
                try:
                    await worker.writer.commit()
                except WorldError as error:
                    logger.error("worker_not_flushed", extra={"worker": str(worker.id), "error": str(error)})  # noqa: TRY400

    def close(self) -> None:
        """From now on nothing is loaded any more."""
        self._stopping = True

    def statistics(self) -> dict[str, float]:
        loaded = self._loaded.all()
        return {
            "workers_loaded": len(loaded),
            "workers_busy": sum(1 for worker in loaded if worker.is_busy),
            "workers_instantiated": sum(1 for worker in loaded if worker.is_instantiated),
            "workers_memory_bytes": self._memory_bytes,
            "workers_loaded_total": self.loads_total,
            "invocations_completed_total": self.invocations_total,
            "executions_failed_total": self._failures.total(),
            "invocations_refused_total": self._refusals.total(),
            **{f"executions_failed_{code.replace('-', '_')}_total": n for code, n in self._failures.items()},
            **{f"invocations_refused_{code.replace('-', '_')}_total": n for code, n in self._refusals.items()},
        }

    def loaded_workers(self) -> Iterable[Worker]:
        return self._loaded.all()

    def _writer(self, worker: WorkerId, state: Any, head: LogHead | None) -> LogWriter:
        key = worker.key
        shard, identity = key.shard(self._shards.shards_count), str(worker)
        return LogWriter(
            key,
            self._shards,
            self.blobs,
            self.spawn,
            lambda tail: head_of(key, identity, shard, state),
            tail=head.tail if head is not None else 1,
            head_hash=head.head_hash if head is not None else bytes(32),
        )


class _Hold:
    """While entered, nobody else loads or deletes this worker."""

    __slots__ = ("_event", "_held", "_worker")

    def __init__(self, held: dict[WorkerId, trio.Event], worker: WorkerId) -> None:
        self._held = held
        self._worker = worker
        self._event = trio.Event()

    def __enter__(self) -> None:
        assert self._worker not in self._held
        self._held[self._worker] = self._event

    def __exit__(self, *exc: object) -> None:
        del self._held[self._worker]
        self._event.set()
