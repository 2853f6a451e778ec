"""What the writer's thread does: batches become rows, and rows durable, in one transaction for many batches.

    BEGIN, few fat statements (``rows``, ``replica_rows``), COMMIT (fsync)

A group that fails is halved until the culprit stands alone: a poisonous batch fails by itself and costs its neighbours
a few commits. What batches do to the rows is in ``replica_rows``, how the rows of a group share statements in ``rows``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import apsw

from golemp2p.errors import DataDamaged, Golemp2pError, StorageFailed
from golemp2p.ports import Batch
from golemp2p.storage.database import NO_SPACE, storage_error, translated
from golemp2p.storage.replica_rows import ReplicaRows
from golemp2p.storage.rows import Marks

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """One batch on its way. ``refused``: it is not to be written, only answered in its turn."""

    batch: Batch
    done: Callable[[Exception | None], None]
    size: int = 0
    meta: tuple[str, bytes] | None = None
    damaged: tuple[int, bytes] | None = None  # shard and log
    refused: Exception | None = None


class Committer:
    """Owns ``connection`` from now on; making one reads from it. Blocks. ``commits`` and ``commit_seconds``, inside COMMIT, are counted
    since then."""

    def __init__(self, connection: apsw.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._marks: Marks | None = Marks.read(connection)
        self.commits = 0
        self.commit_seconds = 0.0

    def close(self) -> None:
        self._connection.close()

    def commit(self, jobs: list[Job]) -> list[tuple[Job, Exception | None]]:
        """Each job with why nothing of it was kept, or ``None`` when all of it is durable."""
        error = self._try(jobs)
        if error is None or len(jobs) == 1:
            return [(job, job.refused or error) for job in jobs]
        middle = len(jobs) // 2
        return self.commit(jobs[:middle]) + self.commit(jobs[middle:])

    def _try(self, jobs: list[Job]) -> Exception | None:
        """One transaction. Returns why nothing of it was kept, or ``None`` when all of it is durable."""
        error = self._transact(jobs)
        if error is not None:
            self._marks = None  # they are ahead of what is there
        return error

    def _transact(self, jobs: list[Job]) -> Exception | None:
        connection = self._connection
        try:
            with translated(self._path):
                connection.execute("BEGIN IMMEDIATE")
                self._apply(jobs)
            return self._end(alone=len(jobs) == 1)
        except DataDamaged as error:
            return StorageFailed(str(error))
        except StorageFailed as error:
            return self._better(error)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _end(self, *, alone: bool) -> Exception | None:
        started = time.monotonic()
        try:
            with translated(self._path):
                self._connection.execute("COMMIT")
        except Golemp2pError as error:
            failure = self._better(error) if isinstance(error, StorageFailed) else StorageFailed(str(error))
            if alone:
                self._fence()
            return failure
        self.commits += 1
        self.commit_seconds += time.monotonic() - started
        return None

    def _better(self, error: StorageFailed) -> StorageFailed:
        """The same error, with what the operating system said."""
        number = self._connection.system_errno
        if isinstance(error.__cause__, apsw.IOError) and number in NO_SPACE:
            better = storage_error(self._path, OSError(number, "no space left, or a file-size limit reached"))
            better.__cause__ = error.__cause__
            return better
        return error

    def _fence(self) -> None:
        """After a COMMIT that the disk refused, its pages may lie in the WAL complete, only not synced: a crash now
        could bring to life what was reported as not kept. Another commit in the same place overwrites them. If the
        disk refuses this as well, the next successful commit does; until then a crash may find the batch, as if its
        answer had been lost.
        """
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            with self._connection:
                self._connection.execute("INSERT INTO meta VALUES('fence', x'') ON CONFLICT DO UPDATE SET value = x''")
        except apsw.Error as error:
            log.warning("storage_fence_failed", extra={"path": self._path, "error": str(error)})

    def _apply(self, jobs: Iterable[Job]) -> None:
        if self._marks is None:
            self._marks = Marks.read(self._connection)
        changes = ReplicaRows(self._connection, self._marks)
        for job in jobs:
            if job.refused is not None:
                continue
            for write in job.batch.replicas:
                changes.apply(write)
            for head in job.batch.heads:
                changes.describe(head)
            if job.meta is not None:
                changes.rows.put_meta(job.meta)
            if job.damaged is not None:
                changes.rows.add("damaged", job.damaged)
        changes.rows.flush()
