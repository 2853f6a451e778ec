"""Wakes sleeping workers when their time has come: late rather than never, however long the node was away.

The timers are in the logs' heads (``wake_ns``); this driver only knows when the next one is due. A worker that is being woken
is left alone until its log says it is awake, so that one timer fires once per process, and again if the process dies before that.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum

import trio

from golemp2p.errors import Golemp2pError, Moved, WorldError
from golemp2p.model.ids import Key, WorkerId
from golemp2p.ports import Clock, LogHead, Storage

logger = logging.getLogger(__name__)

BATCH = 256
"""Due timers read at once."""

HEADS_MAX = 10_000
"""A storage lists no more at a time; so many damaged sleepers hide those after them until the node restarts."""

RETRY_S = 5.0
"""A worker that could not be woken for want of room or of a working disk is tried again after this."""

FAR_NS = (1 << 63) - 1
"""Later than any timer."""

NAP_MAX_S = 60.0
"""The wall clock is looked at this often at least: it may jump."""


class _Outcome(Enum):
    AWAKE = "awake"
    RETRY = "retry"
    DAMAGED = "damaged"


class Timers:
    """``wake(worker)`` loads the worker, lets it go on, and returns when that is durable. ``ready_shards()``: whose timers are
    this node's business."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        concurrency: int,
        worker_of: Callable[[LogHead], WorkerId],
        ready_shards: Callable[[], Sequence[int]],
    ) -> None:
        self._storage = storage
        self._ready_shards = ready_shards
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

    def shard_started(self, shard: int) -> None:
        """Its timers are this node's business now."""
        self._changed.set()

    async def run(self, wake: Callable[[WorkerId], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                now_ns = self._clock.wall_ns()
                due = await self._resting(now_ns, BATCH)
                for head in due:
                    self._waking.add(head.key)
                    await self._limiter.acquire_on_behalf_of(head.key)
                    nursery.start_soon(self._fire, head, wake)
                if not due:
                    await self._nap()

    async def _resting(self, before_ns: int, count: int) -> list[LogHead]:
        """At least ``count`` (or all) of the heads due at ``before_ns`` that are not being handled, earliest first."""
        asked = min(count + len(self._waking), HEADS_MAX)
        return [
            head
            for head in await self._storage.heads_due(before_ns, asked, self._ready_shards())
            if head.key not in self._waking
        ]

    async def _nap(self) -> None:
        """Until the next timer that is not being handled is due, or a nearer one is set."""
        self._changed = trio.Event()
        self._next_ns = None  # whatever is set from here on ends the nap, or begins it
        nearest = await self._nearest_ns()
        if nearest is not None and (self._next_ns is None or nearest < self._next_ns):
            self._next_ns = nearest
        wait_s = NAP_MAX_S
        if nearest is not None:
            wait_s = min(NAP_MAX_S, max(0.0, (nearest - self._clock.wall_ns()) / 1e9))
        with trio.move_on_after(wait_s):
            await self._changed.wait()

    async def _nearest_ns(self) -> int | None:
        if not self._waking:
            return await self._storage.next_wake_ns(self._ready_shards())
        resting = await self._resting(FAR_NS, 1)
        return resting[0].wake_ns if resting else None

    async def _fire(self, head: LogHead, wake: Callable[[WorkerId], Awaitable[None]]) -> None:
        outcome = await self._wake(head, wake)
        self._limiter.release_on_behalf_of(head.key)
        if outcome is _Outcome.RETRY:
            await trio.sleep(RETRY_S)
        if outcome is not _Outcome.DAMAGED:  # else it stays asleep in this process
            self._waking.discard(head.key)
        self._changed.set()

    async def _wake(self, head: LogHead, wake: Callable[[WorkerId], Awaitable[None]]) -> _Outcome:
        told = {"worker": head.identity}
        try:
            await wake(self._worker_of(head))
        except Moved:
            return _Outcome.AWAKE  # whoever leads its shard now sees to it
        except WorldError as error:
            logger.warning("timer_waits", extra={**told, "code": error.code, "error": str(error)})
            return _Outcome.RETRY
        except Golemp2pError as error:
            logger.error("timer_failed", extra={**told, "code": error.code, "error": str(error)})  # noqa: TRY400  # the text says it all
            return _Outcome.DAMAGED
        self.fired_total += 1
        return _Outcome.AWAKE
