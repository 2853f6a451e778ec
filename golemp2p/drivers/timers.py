"""Wakes sleeping workers when their time has come: late rather than never, however long the node was away.

The timers are in the logs' heads (``wake_ns``); this driver only knows when the next one is due. A worker that is being woken
is left alone until its log says it is awake, so that one timer fires once per process, and again if the process dies before that.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from golemp2p.errors import Golemp2pError
from golemp2p.model.ids import Key, WorkerId
from golemp2p.ports import Clock, LogHead, Storage

logger = logging.getLogger(__name__)

BATCH = 256
"""Due timers read at once."""

NAP_MAX_S = 60.0
"""The wall clock is looked at this often at least: it may jump."""


class Timers:
    """``wake(worker)`` loads the worker, lets it go on, and returns when that is durable."""

    def __init__(self, storage: Storage, clock: Clock, concurrency: int, worker_of: Callable[[LogHead], WorkerId]) -> None:
        self._storage = storage
        self._clock = clock
        self._limiter = trio.CapacityLimiter(concurrency)
        self._worker_of = worker_of
        self._waking: set[Key] = set()
        self._changed = trio.Event()
        self._next_ns: int | None = None
        self.fired_total = 0

    def set(self, wake_ns: int) -> None:
        """A worker went to sleep until ``wake_ns``."""
        if self._next_ns is None or wake_ns < self._next_ns:
            self._next_ns = wake_ns
            self._changed.set()

    async def run(self, wake: Callable[[WorkerId], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                now_ns = self._clock.wall_ns()
                due = [
                    head
                    for head in await self._storage.heads_due(now_ns, BATCH + len(self._waking))
                    if head.key not in self._waking
                ]
                for head in due:
                    self._waking.add(head.key)
                    await self._limiter.acquire_on_behalf_of(head.key)
                    nursery.start_soon(self._fire, head, wake)
                if not due:
                    await self._nap()

    async def _nap(self) -> None:
        """Until the next timer that is not being handled is due, or a nearer one is set."""
        self._changed = trio.Event()
        now_ns = self._clock.wall_ns()
        self._next_ns = await self._storage.next_wake_ns()
        if self._next_ns is not None and self._next_ns <= now_ns and not self._waking:
            return
        wait_s = NAP_MAX_S
        if self._next_ns is not None and self._next_ns > now_ns:
            wait_s = min(NAP_MAX_S, (self._next_ns - now_ns) / 1e9)
        with trio.move_on_after(wait_s):
            await self._changed.wait()

    async def _fire(self, head: LogHead, wake: Callable[[WorkerId], Awaitable[None]]) -> None:
        try:
            await wake(self._worker_of(head))
            self.fired_total += 1
            self._waking.discard(head.key)
        except Golemp2pError as error:  # it stays asleep in this process: damaged, or the storage is gone
            told = {"worker": head.identity, "code": error.code, "error": str(error)}
            logger.error("timer_failed", extra=told)  # noqa: TRY400  # the text says it all
        finally:
            self._limiter.release_on_behalf_of(head.key)
            self._changed.set()
