"""The only writer of the database: one thread, one connection, group commit.

    event loop                              writer thread
    submit ──▶ gathering ──jobs──▶ queue ──▶ collect all that is queued (bounded), commit
    deliver ◀── one callback per group ──── completions, in order of submission

What becomes of a group is up to ``committer``.

The thread never dies silently. A foreign exception in it (our mistake) is logged, and from then on every batch fails.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any

import apsw
import trio

from golemp2p.errors import StorageFailed
from golemp2p.model.replication import LogSegment
from golemp2p.ports import Batch
from golemp2p.storage.committer import Committer, Job
from golemp2p.storage.gathering import Gathering

GROUP_BATCHES_MAX = 512  # bounds the wait of the first in a group, with what was gathered last
GROUP_BYTES_MAX = 8 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StorageStatistics:
    """Counted since opening. ``commit_seconds``: inside COMMIT, which is nearly all fsync; ``busy_seconds``: with it.

    ``batches / commits`` are the batches per commit. ``bytes``: as counted against the queue's limit, not of pages.
    """

    commits: int = 0
    batches: int = 0
    batches_failed: int = 0
    segments: int = 0
    bytes: int = 0
    commit_seconds: float = 0.0
    busy_seconds: float = 0.0
    group_batches_max: int = 0
    queued_batches: int = 0
    queued_bytes: int = 0


class Writer:
    """Owns ``connection`` from now on; making one reads from it. ``submit`` and ``close`` only from the event loop's thread."""

    def __init__(self, connection: apsw.Connection, path: str, token: trio.lowlevel.TrioToken) -> None:
        self._committer = Committer(connection, path)
        self._path = path
        self._token = token
        self._queue: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._gathering: Gathering[Job] = Gathering(self._queue.put)
        self._in_hand: list[Job] = []
        self._counts = StorageStatistics()
        self._queued_batches = 0  # these two belong to the event loop's thread
        self._queued_bytes = 0
        self._closed = trio.Event()
        # a daemon: a process that ends without closing loses what was not acknowledged, and nothing else
        self._thread = threading.Thread(target=self._run, name="golemp2p-storage-writer", daemon=True)
        self._thread.start()

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes

    def submit(self, job: Job) -> None:
        self._queued_batches += 1
        self._queued_bytes += job.size
        self._gathering.add(job)

    def open(self) -> None:
        """Before the first ``submit``, on the event loop."""
        self._gathering.open()

    def close(self) -> None:
        """No ``submit`` after this. What is queued is still written."""
        self._gathering.close()
        self._queue.put(None)

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def statistics(self) -> StorageStatistics:
        return replace(self._counts, queued_batches=self._queued_batches, queued_bytes=self._queued_bytes)

    # ------------------------------------------------------------------------------------- on the event loop's thread

    def _deliver(self, outcomes: Sequence[tuple[Job, Exception | None]]) -> None:
        self._queued_batches -= len(outcomes)
        for job, error in outcomes:
            self._queued_bytes -= job.size
            job.done(error)

    # ------------------------------------------------------------------------------------------ on the writer's thread

    def _run(self) -> None:
        try:
            while self._write_group():
                pass
            self._committer.close()
        except trio.RunFinishedError:
            # what was committed is safe; nobody is left to tell
            log.info("storage_loop_ended", extra={"path": self._path})
            return
        except BaseException as error:  # the thread's outermost edge: refuse everything from now on
            log.critical("storage_writer_failed", exc_info=error, extra={"path": self._path})
            self._refuse_all(StorageFailed(f"{self._path}: the writer failed ({error!r}); restart the node"))
        self._tell(self._closed.set)

    def _write_group(self) -> bool:
        """Write what is queued; False when closing was asked for."""
        jobs, closing = self._collect()
        if jobs:
            self._in_hand = jobs
            started = time.monotonic()
            outcomes = self._committer.commit(jobs)
            self._count(outcomes, time.monotonic() - started)
            self._in_hand = []
            self._token.run_sync_soon(self._deliver, outcomes)
        return not closing

    def _collect(self) -> tuple[list[Job], bool]:
        some = self._queue.get()
        jobs: list[Job] = []
        size = 0
        while some is not None:
            jobs += some
            size += sum(job.size for job in some)
            if len(jobs) >= GROUP_BATCHES_MAX or size >= GROUP_BYTES_MAX:
                return jobs, False
            try:
                some = self._queue.get_nowait()
            except Empty:
                return jobs, False
        return jobs, True

    def _refuse_all(self, error: StorageFailed) -> None:
        jobs, closing = self._in_hand, False
        while True:
            if jobs:
                self._tell(self._deliver, [(job, error) for job in jobs])
            if closing:
                return
            jobs, closing = self._collect()

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            log.info("storage_loop_ended", extra={"path": self._path})

    def _count(self, outcomes: Sequence[tuple[Job, Exception | None]], seconds: float) -> None:
        counts = self._counts
        kept = [job for job, error in outcomes if error is None]
        self._counts = replace(
            counts,
            commits=self._committer.commits,
            commit_seconds=self._committer.commit_seconds,
            batches=counts.batches + len(kept),
            batches_failed=counts.batches_failed + len(outcomes) - len(kept),
            segments=counts.segments + sum(segments_count(job.batch) for job in kept),
            bytes=counts.bytes + sum(job.size for job in kept),
            busy_seconds=counts.busy_seconds + seconds,
            group_batches_max=max(counts.group_batches_max, len(outcomes)),
        )


def segments_count(batch: Batch) -> int:
    """Segments of entries, and fetched ones."""
    return sum(
        len(write.fetched) + sum(1 for entry in write.entries if entry.content.__class__ is LogSegment)
        for write in batch.replicas
    )
