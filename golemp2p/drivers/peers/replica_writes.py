"""Writes of replicas on their way to the disk: those of one shard in order, whatever the disk does.

    Persist ──> under way ──durable──> persisted           one batch per shard is under way; what comes meanwhile is the next one
                   └──refused──> stalled ──a pause──> under way again, the same writes, and all after them

A replica cannot take back what it has decided. So a write that the disk refuses is tried again until it is durable: meanwhile the shard
is stalled, nothing that depends on the write leaves this node, and the others of its group see a replica that does not answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import trio

from golemp2p.core.effects import Persist
from golemp2p.errors import Golemp2pError, StorageFailed, WorldError
from golemp2p.ports import Batch, Storage

logger = logging.getLogger(__name__)

RETRY_S = 1.0
"""A full disk that is emptied is noticed within this."""


class ReplicaWrites:
    """``persisted(writes)`` is called when they are durable; ``stalled(shard, error)`` when the disk refused."""

    def __init__(
        self,
        storage: Storage,
        *,
        spawn: Callable[..., None],
        persisted: Callable[[Sequence[Persist]], None],
        stalled: Callable[[int, WorldError], None],
    ) -> None:
        self._storage = storage
        self._spawn = spawn
        self._persisted = persisted
        self._told_stalled = stalled
        self._waiting: dict[int, list[Persist]] = {}  # of each shard with a batch under way: what comes after it
        self._stalled: dict[int, WorldError] = {}
        self._submitted: dict[int, int] = {}
        self._durable: dict[int, int] = {}
        self._levels: dict[int, list[tuple[int, Callable[[], None]]]] = {}
        self._is_closed = False

    def close(self) -> None:
        """Tell nobody anything more: whoever would be told is gone. What the storage has taken is written all the same."""
        self._is_closed = True

    @property
    def stalled(self) -> Mapping[int, WorldError]:
        """Shards whose newest writes the disk refused, and why."""
        return self._stalled

    def submit(self, persist: Persist) -> None:
        if self._is_closed:
            return
        shard = persist.write.shard
        self._submitted[shard] = self._submitted.get(shard, 0) + 1
        waiting = self._waiting.get(shard)
        if waiting is not None:
            waiting.append(persist)
        else:
            self._waiting[shard] = []
            self._write(shard, [persist])

    def is_level(self, shard: int) -> bool:
        """Whether everything that was submitted of ``shard`` is durable."""
        return shard not in self._waiting

    def when_level(self, shard: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` once everything that was submitted of ``shard`` so far is durable; at once, if it is."""
        if shard in self._waiting:
            self._levels.setdefault(shard, []).append((self._submitted[shard], callback))
        else:
            callback()

    def _write(self, shard: int, writes: list[Persist]) -> None:
        try:
            self._storage.submit(Batch(replicas=[each.write for each in writes]), partial(self._written, shard, writes))
        except Golemp2pError as error:  # the storage takes nothing any more
            self._refused(shard, writes, error)

    def _written(self, shard: int, writes: list[Persist], error: Exception | None) -> None:
        if self._is_closed:
            return
        if error is not None:
            self._refused(shard, writes, error)
            return
        self._stalled.pop(shard, None)
        waiting = self._waiting[shard]
        if waiting:
            self._waiting[shard] = []
            self._write(shard, waiting)
        else:
            del self._waiting[shard]
        self._durable[shard] = durable = self._durable.get(shard, 0) + len(writes)
        self._persisted(writes)
        levels = self._levels.get(shard)
        while levels and levels[0][0] <= durable:
            levels.pop(0)[1]()
        if levels is not None and not levels:
            self._levels.pop(shard, None)

    def _refused(self, shard: int, writes: list[Persist], error: Exception) -> None:
        if not isinstance(error, WorldError):
            told, error = error, StorageFailed(f"shard {shard} cannot be written: {error}", RETRY_S)
            error.__cause__ = told
        if shard not in self._stalled:
            logger.error("shard_stalled", extra={"shard": shard, "code": error.code, "error": str(error)})
        self._stalled[shard] = error
        self._told_stalled(shard, error)
        self._spawn(self._again, shard, writes)

    async def _again(self, shard: int, writes: list[Persist]) -> None:
        await trio.sleep(RETRY_S)
        self._write(shard, writes)
