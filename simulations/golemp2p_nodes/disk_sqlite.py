"""A process's data as in production: ``storage.sqlite``, its one writer inline, over files that may lose power (``files``).

What is durable is known twice: in SQLite's file, and as a model of it (``storage.memory.MemoryImage``), which is told of the same
batches. Each time a process opens what an earlier one left behind, both must hold the same; only of batches that nobody was told about,
SQLite may have kept some, all or none, each of them whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Final

import apsw
import trio

from golemp2p.errors import StorageFailed, StorageFull
from golemp2p.ports import Batch, Storage, StoredReplica
from golemp2p.storage.committer import Committer, Job
from golemp2p.storage.limits import check_batch
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.storage.writer import StorageStatistics
from golemp2p_nodes.files import VFS_NAME, Files

if TYPE_CHECKING:
    from golemp2p_nodes.disk import Disk

OPERATIONS_MAX: Final = 40
"""A commit writes and syncs some ten times; one that folds the log back, some more."""


class InlineWriter:
    """``storage.sqlite.JobWriter`` without a thread: a job is durable when it is submitted."""

    queued_bytes = 0

    def __init__(self, connection: apsw.Connection, path: str, _token: trio.lowlevel.TrioToken) -> None:
        self.committer = Committer(connection, path)

    def open(self) -> None:
        """There is nothing to wait for."""

    def submit(self, job: Job) -> None:
        for one, error in self.committer.commit([job]):
            one.done(error)

    def statistics(self) -> StorageStatistics:
        return StorageStatistics(commits=self.committer.commits)

    def close(self) -> None:
        with suppress(apsw.Error):  # it folds the log back into the database, which a dead process cannot
            self.committer.close()

    async def wait_closed(self) -> None:
        await trio.lowlevel.checkpoint()


class SqliteStore:
    """``disk.Store``."""

    def __init__(self, disk: Disk) -> None:
        self._disk, self._directory = disk, disk.folder
        self._files = Files(disk.folder)
        self._port: SqliteStorage | None = None
        self._writer: InlineWriter | None = None

    @property
    def port(self) -> Storage:
        assert self._port is not None, "open comes first"
        return self._port

    async def open(self) -> str:
        self._files.open()
        self._files.trouble = self._trouble()
        self._port = await SqliteStorage.open(self._directory, vfs=VFS_NAME, new_writer=self._new_writer)
        return await self._compare()

    def _new_writer(self, connection: apsw.Connection, path: str, token: trio.lowlevel.TrioToken) -> InlineWriter:
        self._writer = InlineWriter(connection, path, token)
        return self._writer

    async def _compare(self) -> str:
        """Why what is in the file is not what should be there; ``""``: it is. The model takes over what SQLite has kept."""
        stored, image = await self.port.replicas(), self._disk.image
        for batch in self._disk.doubtful:
            with_it = image.copy()
            try:
                with_it.apply(batch)
            except StorageFailed:  # it was written again later, and that is in
                continue
            there = with_it.stored()
            if all(there[write.shard] == stored.get(write.shard) for write in batch.replicas):
                image = with_it
        self._disk.image = image
        self._disk.doubtful.clear()
        expected = image.stored()
        wrong = [shard for shard in sorted({*expected, *stored}) if expected.get(shard) != stored.get(shard)]
        if not wrong:
            return ""
        return f"shard {wrong[0]}: stored is {_told(stored.get(wrong[0]))}, and it should be {_told(expected.get(wrong[0]))}"

    # -- writes

    def commit(self, batches: Sequence[Batch]) -> list[Exception | None]:
        assert self._writer is not None, "open comes first"
        self._files.trouble = self._trouble()
        jobs = [Job(batch, _nobody, check_batch(batch)) for batch in batches]
        outcomes = [error for _, error in self._writer.committer.commit(jobs)]
        self._files.trouble = None
        for batch, error in zip(batches, outcomes, strict=True):
            if error is None:
                self._disk.image.apply(batch)
        refused = [batch for batch, error in zip(batches, outcomes, strict=True) if error is not None]
        # whatever is written overwrites what a refused commit may have left in the log
        self._disk.doubtful = [*self._disk.doubtful, *refused] if len(refused) == len(batches) else refused
        return outcomes

    def _trouble(self) -> type[apsw.Error] | None:
        match self._disk.trouble():
            case None:
                return None
            case StorageFull():
                return apsw.FullError
            case _:
                return apsw.IOError

    # -- end

    def crash(self, flight: Sequence[Batch], dice: Random, *, power_lost: bool) -> str:
        if self._writer is not None and flight and dice.random() < 0.5:  # the process gets as far as writing
            self._files.stop_after(dice.randrange(OPERATIONS_MAX))
            self._disk.doubtful += flight
            self._writer.committer.commit([Job(batch, _nobody, check_batch(batch)) for batch in flight])
        self._files.die()
        self._close()
        if power_lost:
            self._files.lose_power(dice)
        return f"{len(self._disk.doubtful)} writes in doubt"

    def _close(self) -> None:
        if self._port is not None:
            self._port.abandon()
        elif self._writer is not None:
            self._writer.close()
        self._files.close()


def _told(replica: StoredReplica | None) -> str:
    if replica is None:
        return "nothing"
    last = replica.entries[-1] if replica.entries else replica.base
    staged = sum(map(len, replica.staged.values()))
    return f"{replica.record}, base {replica.base.position}, last {last.position} of term {last.term}, {staged} staged"


def _nobody(_error: Exception | None) -> None:
    """Outcomes are returned."""
