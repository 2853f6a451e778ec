"""Promises of other workers, as a worker's host functions reach them: here, or at the node that leads the worker's shard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from golemp2p.drivers.routing.bodies import Bodies
from golemp2p.drivers.routing.local import Local
from golemp2p.drivers.routing.primaries import Primaries
from golemp2p.model import operations as o
from golemp2p.model.ids import WorkerId
from golemp2p.ports import Mesh
from golemp2p.wire.operations import BODY_BYTES_MAX


class MeshPromises:
    """All raise ``WorkerNotFound``, ``PromiseNotFound``, and ``WorldError`` when nobody leads the shard for long."""

    def __init__(self, local: Local, mesh: Mesh, primaries: Primaries, bodies: Bodies) -> None:
        self._local = local
        self._mesh = mesh
        self._primaries = primaries
        self._bodies = bodies

    async def poll(self, worker: WorkerId, oplog_index: int) -> bytes | None:
        return await self._value(worker, lambda: self._local.promise(worker, oplog_index), o.ReadPromise(worker, oplog_index))

    async def wait(self, worker: WorkerId, oplog_index: int) -> bytes:
        operation = o.AwaitPromise(worker, oplog_index)
        while True:
            value = await self._value(worker, lambda: self._local.awaited_promise(worker, oplog_index), operation)
            if value is not None:
                return value

    async def complete(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool:
        async def there() -> bool:
            with self._bodies.lend(data) as body:
                completed: bool = await self._primaries.ask(o.CompletePromise(worker, oplog_index, body))
            return completed

        return await self._primaries.do(worker.key, lambda: self._local.complete_promise(worker, oplog_index, data), there)

    async def delete(self, worker: WorkerId, oplog_index: int) -> None:
        here = lambda: self._local.delete_promise(worker, oplog_index)  # noqa: E731  # as above
        await self._primaries.do_or_ask(o.DeletePromise(worker, oplog_index), here)

    async def _value(
        self, worker: WorkerId, here: Callable[[], Awaitable[bytes | None]], operation: o.ReadPromise | o.AwaitPromise
    ) -> bytes | None:
        async def there() -> bytes | None:
            body: o.Body | None = await self._primaries.ask(operation)
            if body is None:
                return None
            holders = self._mesh.holders(worker.key.shard(self._mesh.shards_count))
            return await self._bodies.take(body, bytes_max=BODY_BYTES_MAX, others=holders)

        return await self._primaries.do(worker.key, here, there)
