"""The promises of one worker: values that it, or others, wait for and somebody provides.

They are entries of the worker's own log (``PromiseCreated``, ``PromiseCompleted``, ``PromiseDeleted``); what is here is who waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from golemp2p.errors import PayloadTooLarge, PromiseNotFound
from golemp2p.model import entries as e
from golemp2p.model.ids import WorkerId
from golemp2p.ports import Suspended
from golemp2p.values.cbor import VALUE_BYTES_MAX

if TYPE_CHECKING:
    from golemp2p.drivers.worker import Worker

DATA_BYTES_MAX = VALUE_BYTES_MAX // 2
"""Who waits for a promise gets it as the answer of a host call, which has room for it."""

GRACE_S = 0.2
"""How long a wait for a promise keeps the instance: long enough for an answer that is on its way."""


class OtherPromises(Protocol):
    """Promises of any worker, wherever it is. All raise ``WorkerNotFound``, ``PromiseNotFound``, ``WorldError``."""

    async def poll(self, worker: WorkerId, oplog_index: int) -> bytes | None: ...

    async def wait(self, worker: WorkerId, oplog_index: int) -> bytes: ...

    async def complete(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool: ...

    async def delete(self, worker: WorkerId, oplog_index: int) -> None: ...


class Promises:
    """Of ``worker``. True while somebody waits in memory. ``awaited``: the promise the worker last suspended for."""

    __slots__ = ("_events", "_worker", "awaited")

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._events: dict[int, trio.Event] = {}
        self.awaited: int | None = None

    def __bool__(self) -> bool:
        return bool(self._events)

    async def value(self, index: int) -> bytes | None:
        """``None`` while not completed. Raises ``PromiseNotFound``."""
        worker = self._worker
        if index not in worker.state.promises:
            raise PromiseNotFound(f"worker {worker.id} has no promise at oplog index {index}")
        payload = worker.state.promises[index]
        return await worker.node.blob(worker.id, payload) if isinstance(payload, e.BlobRef) else payload

    async def poll(self, index: int, asking: Worker | None) -> bytes | None:
        """As ``value``; another worker gets a value only once it is durable (S6)."""
        value = await self.value(index)
        if value is not None and asking is not self._worker:
            await self._worker.writer.commit()
        return value

    async def wait(self, index: int, waiting: Worker | None) -> bytes | None:
        """The value of a promise; one's own is waited for unloaded, after a short grace. ``None`` when the worker's object is
        gone: ask the one that comes after it, if any."""
        worker = self._worker
        own = waiting is worker and not worker.create.ephemeral
        while (value := await self.poll(index, waiting)) is None:
            await self._changed(index, GRACE_S if own else float("inf"))
            if worker.gone:
                return None
            if own and worker.state.promises.get(index, b"") is None:
                self.awaited = index
                raise Suspended(None)
        return value

    def was_completed_meanwhile(self) -> bool:
        """Whether the promise the worker is about to suspend for has its value by now."""
        return self.awaited is not None and self._worker.state.promises.get(self.awaited) is not None

    async def complete(self, index: int, data: bytes) -> bool:
        """True when this call completed it; durable on return, either way. Who waits is woken also if this is cancelled. Raises
        ``PayloadTooLarge``, ``PromiseNotFound``."""
        if len(data) > DATA_BYTES_MAX:
            raise PayloadTooLarge(f"a promise takes {DATA_BYTES_MAX} bytes at most, not {len(data)}")
        worker = self._worker
        first = await self.value(index) is None
        if first:
            worker.append(e.PromiseCompleted(worker.now_ns(), index, data))
            worker.writer.when_durable(lambda error: None if error else self._wake(index))
        await worker.writer.commit()
        return first

    async def delete(self, index: int) -> None:
        """Whoever waits for it gets ``PromiseNotFound``. Repeating it changes nothing."""
        worker = self._worker
        if index in worker.state.promises:
            worker.append(e.PromiseDeleted(worker.now_ns(), index))
            worker.writer.when_durable(lambda error: None if error else self._wake(index))
        await worker.writer.commit()

    def release(self) -> None:
        """Nobody shall wait for this object any more."""
        events, self._events = self._events, {}
        for event in events.values():
            event.set()

    async def _changed(self, index: int, timeout_s: float) -> None:
        event = self._events.setdefault(index, trio.Event())
        try:
            with trio.move_on_after(timeout_s):
                await event.wait()
        finally:
            if event.statistics().tasks_waiting == 0 and self._events.get(index) is event:
                del self._events[index]

    def _wake(self, index: int) -> None:
        event = self._events.pop(index, None)
        if event is not None:
            event.set()
        self._worker.wake()
