"""The workers in memory, by id and by shard: a shard that leaves takes its own along without a look at all others."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from golemp2p.model.ids import WorkerId

if TYPE_CHECKING:
    from golemp2p.drivers.worker import Worker


class LoadedWorkers:
    """One worker per id."""

    def __init__(self) -> None:
        self._by_id: dict[WorkerId, Worker] = {}
        self._by_shard: dict[int, dict[WorkerId, Worker]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, worker: WorkerId) -> Worker | None:
        return self._by_id.get(worker)

    def holds(self, worker: Worker) -> bool:
        """Whether it is this very object that is in memory."""
        return self._by_id.get(worker.id) is worker

    def all(self) -> Collection[Worker]:
        """To look at: who changes what is loaded makes a list first."""
        return self._by_id.values()

    def of_shard(self, shard: int) -> list[Worker]:
        return list(self._by_shard.get(shard, {}).values())

    def add(self, worker: Worker) -> None:
        """In the place of any other under its id."""
        self._by_id[worker.id] = worker
        self._by_shard.setdefault(worker.shard, {})[worker.id] = worker

    def remove(self, worker: Worker) -> None:
        """Unless another is there under its id, or none."""
        if self.holds(worker):
            del self._by_id[worker.id]
            of_shard = self._by_shard[worker.shard]
            del of_shard[worker.id]
            if not of_shard:
                del self._by_shard[worker.shard]
