"""Workers that were in the middle of something go on when their shard begins to be served here: a few at a time, shard after shard."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from golemp2p.drivers.summary import WORKER, worker_of
from golemp2p.errors import Golemp2pError
from golemp2p.model.ids import WorkerId
from golemp2p.ports import LogHead, Storage

logger = logging.getLogger(__name__)


class Resuming:
    """``concurrency``: workers revived at once. ``load``: brings a worker into memory, where it goes on by itself; waits while the
    world is against it."""

    def __init__(
        self, storage: Storage, concurrency: int, load: Callable[[WorkerId], Awaitable[None]], spawn: Callable[..., None]
    ) -> None:
        self._storage = storage
        self._limiter = trio.CapacityLimiter(concurrency)
        self._load = load
        self._spawn = spawn
        self._waiting: deque[int] = deque()
        self._is_running = False

    def shard_started(self, shard: int) -> None:
        self._waiting.append(shard)
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._resume(self._waiting.popleft())
        finally:
            self._is_running = False

    async def _resume(self, shard: int) -> None:
        try:
            heads = await self._storage.heads_with_open_work(shard)
        except Golemp2pError as error:
            told = {"shard": shard, "code": error.code, "error": str(error)}
            logger.error("shard_not_resumed", extra=told)  # noqa: TRY400  # the text says it all
            return
        for head in heads:
            if head.kind == WORKER:
                token = object()
                await self._limiter.acquire_on_behalf_of(token)
                self._spawn(self._revive, head, token)

    async def _revive(self, head: LogHead, token: object) -> None:
        try:
            await self._load(worker_of(head))
        finally:
            self._limiter.release_on_behalf_of(token)
