"""What one execution of a worker may ask of its worker (``ports.WorkerHost``, ``ports.PromiseHost``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio

from golemp2p.drivers.journal import WorkerJournal
from golemp2p.drivers.promises import OtherPromises
from golemp2p.errors import DataDamaged, GuestTrapped, WorldError
from golemp2p.model import entries as e
from golemp2p.model.ids import WorkerId
from golemp2p.ports import GuestLimits, RandomBytes

if TYPE_CHECKING:
    from golemp2p.drivers.worker import Worker

T = TypeVar("T")


class ExecutionHost:
    """One per execution. ``indexed`` maps (resource type, parameter texts) to the resource made for them."""

    __slots__ = ("_worker", "args", "env", "indexed", "journal", "promises")

    def __init__(self, worker: Worker, journal: WorkerJournal) -> None:
        self._worker = worker
        self.journal = journal
        self.promises = WorkerPromises(worker, journal)
        self.args = worker.create.args
        self.env = worker.environment()
        self.indexed: dict[tuple[str, tuple[str, ...]], int] = {}

    @property
    def worker(self) -> WorkerId:
        return self._worker.id

    @property
    def component_version(self) -> int:
        return self._worker.create.component_version

    @property
    def files_root(self) -> Path:
        return self._worker.files_root

    @property
    def limits(self) -> GuestLimits:
        return self._worker.node.settings.guest_limits

    @property
    def random_bytes(self) -> RandomBytes:
        return self._worker.node.random_bytes

    @property
    def retry_policy(self) -> e.RetryPolicy:
        return self._worker.retry_policy

    @property
    def status_text(self) -> str:
        return self._worker.state.status.value

    @property
    def retry_count(self) -> int:
        return self._worker.state.failures

    def wall_ns(self) -> int:
        return self._worker.node.clock.wall_ns()

    def monotonic_ns(self) -> int:
        return self._worker.now_ns() - self._worker.create.time_ns

    def suspend_after_s(self) -> float:
        return self._worker.suspend_after_s()

    def log(self, level: str, context: str, message: str) -> None:
        self._worker.log(self.journal, level, context, message)

    def set_retry_policy(self, policy: e.RetryPolicy) -> None:
        self.journal.control(e.ChangeRetryPolicy(self._worker.now_ns(), policy))

    def invocation_key(self) -> str | None:
        return self._worker.current_key

    def resource_created(self, resource: int, name: str) -> None:
        self.journal.note(e.CreateResource(self._worker.now_ns(), resource, name))

    def resource_described(self, resource: int, name: str, params: tuple[str, ...]) -> None:
        self.journal.note(e.DescribeResource(self._worker.now_ns(), resource, name, params))

    def resource_dropped(self, resource: int) -> None:
        self.indexed = {key: number for key, number in self.indexed.items() if number != resource}
        self.journal.note(e.DropResource(self._worker.now_ns(), resource))

    def memory_grown(self, delta_bytes: int) -> None:
        self.journal.note(e.GrowMemory(self._worker.now_ns(), delta_bytes))


class WorkerPromises:
    """Promises live in the log of the worker that created them; other workers' promises are reached through the node, wherever in the
    mesh they are. The guest waits while nobody can say anything about them."""

    __slots__ = ("_journal", "_worker")

    def __init__(self, worker: Worker, journal: WorkerJournal) -> None:
        self._worker = worker
        self._journal = journal

    def create(self) -> int:
        index = self._journal.mark()
        self._journal.note(e.PromiseCreated(self._worker.now_ns(), index))
        return index

    async def poll(self, worker: WorkerId, oplog_index: int) -> bytes | None:
        if worker == self._worker.id:
            return await self._worker.promises.poll(oplog_index, self._worker)
        return await self._patiently(lambda others: others.poll(worker, oplog_index))

    async def wait(self, worker: WorkerId, oplog_index: int) -> bytes:
        if worker == self._worker.id:
            value = await self._worker.promises.wait(oplog_index, self._worker)
            if value is None:
                await trio.sleep_forever()  # this object is gone, and its task is being cancelled
            assert value is not None
            return value
        return await self._patiently(lambda others: others.wait(worker, oplog_index))

    async def complete(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool:
        if worker == self._worker.id:
            return await self._worker.promises.complete(oplog_index, data)
        return await self._patiently(lambda others: others.complete(worker, oplog_index, data))

    async def delete(self, worker: WorkerId, oplog_index: int) -> None:
        if worker == self._worker.id:
            await self._worker.promises.delete(oplog_index)
        else:
            await self._patiently(lambda others: others.delete(worker, oplog_index))

    async def _patiently(self, ask: Callable[[OtherPromises], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask(self._worker.node.other_promises)
            except WorldError as error:  # no reason to fail: the guest waits for room, for the disk, or for a primary
                await trio.sleep(error.retry_after_s or 1.0)
            except DataDamaged as error:
                raise GuestTrapped(f"the owner of a promise cannot be read: {error}") from error
