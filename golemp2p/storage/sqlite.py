"""``ports.Storage`` over SQLite and a folder of blobs: the durable adapter.

    submit, put_meta ──▶ Writer (one thread, group commit) ──▶ storage.sqlite ◀── Readers (read-only connections)
    put_blob, get_blob ─────────────────────────────────────▶ blobs/

Where it says more than the port: a batch that could never be stored raises ``UsageError`` from ``submit`` and is not
queued; ``done`` is never called inside ``submit``, must not raise, and a submitted batch must not be changed any more.
When more than ``QUEUED_BYTES_MAX`` wait for the disk, further batches fail with ``StorageFailed`` (in their turn).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import apsw
import trio

from golemp2p.errors import DataDamaged, InvalidState, StorageFailed
from golemp2p.model.ids import Key
from golemp2p.model.replication import Entry, LogSegment
from golemp2p.ports import Batch, LogHead, StoredReplica, StoredSegment
from golemp2p.storage import readers
from golemp2p.storage.blobs import BlobFolder
from golemp2p.storage.committer import Job
from golemp2p.storage.database import DATABASE, open_writer, storage_error
from golemp2p.storage.limits import (
    IDENTITY_BYTES_MAX,
    KIND_BYTES_MAX,
    META_BYTES_MAX,
    META_NAME_BYTES_MAX,
    check_batch,
    check_bytes,
    check_count,
    check_text,
)
from golemp2p.storage.readers import Readers
from golemp2p.storage.replica_reading import Most, read_milestones, read_pieces, read_replicas
from golemp2p.storage.writer import StorageStatistics, Writer

QUEUED_BYTES_MAX = 256 << 20  # some seconds of a fast disk; more means that the disk stands still
BLOB_THREADS_MAX = 2  # hashing and writing are bulk work: the logs come first
CLOSE_S_MAX = 30.0

Done = Callable[[Exception | None], None]


class JobWriter(Protocol):
    """What ``SqliteStorage`` wants of ``Writer``."""

    @property
    def queued_bytes(self) -> int: ...

    def open(self) -> None: ...

    def submit(self, job: Job) -> None: ...

    def statistics(self) -> StorageStatistics: ...

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...


class SqliteStorage:
    """Open with ``await SqliteStorage.open(directory)``; the directory must be locked by the caller (``datadir``)."""

    def __init__(self, writer: JobWriter, reading: Readers, blobs: BlobFolder, path: Path) -> None:
        self._writer = writer
        self._readers = reading
        self._blobs = blobs
        self._path = path
        self._blob_limiter = trio.CapacityLimiter(BLOB_THREADS_MAX)
        self._closing = False
        self._under_way = 0
        self._idle = trio.Event()

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        vfs: str | None = None,
        new_writer: Callable[[apsw.Connection, str, trio.lowlevel.TrioToken], JobWriter] = Writer,
    ) -> SqliteStorage:
        """Open or create ``storage.sqlite`` and ``blobs/`` in ``directory``. A WAL left by a crash is recovered. ``vfs`` and
        ``new_writer`` are for simulated disks.

        Raises ``StorageFailed`` (cannot be opened, format of another program) or ``DataDamaged`` (not readable as
        SQLite, or empty though blobs are there).
        """
        path = directory / DATABASE
        blobs = BlobFolder(directory / "blobs")

        def prepare() -> tuple[JobWriter, Readers]:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                blobs.path.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise storage_error(error.filename or directory, error) from error
            blobs.remove_partial()
            _refuse_amnesia(path, blobs)
            connection = open_writer(path, vfs)
            try:
                reading = Readers(path, vfs)
            except BaseException:
                connection.close()
                raise
            return new_writer(connection, str(path), token), reading

        token = trio.lowlevel.current_trio_token()
        writer, reading = await trio.to_thread.run_sync(prepare)
        writer.open()
        return cls(writer, reading, blobs, path)

    # ---------------------------------------------------------------------------------------------------------- writes

    def submit(self, batch: Batch, done: Done) -> None:
        self._submit(Job(batch, done, check_batch(batch)))

    def _submit(self, job: Job) -> None:
        if self._closing:
            raise InvalidState("the storage is closed")
        if self._writer.queued_bytes + job.size > QUEUED_BYTES_MAX:
            text = f"{self._path}: more than {QUEUED_BYTES_MAX >> 20} MiB wait for the disk"
            job = Job(Batch(), job.done, refused=StorageFailed(text, retry_after_s=1.0))
        self._writer.submit(job)

    async def put_meta(self, name: str, value: bytes) -> None:
        """Durable when it returns; in the order of ``submit``. When cancelled, it may or may not be written."""
        check_text("a name", name, META_NAME_BYTES_MAX)
        check_bytes("a value", value, META_BYTES_MAX)
        await self._written(lambda done: Job(Batch(), done, len(value), meta=(name, value)))

    async def mark_damaged(self, shard: int, log: Key) -> None:
        await self._written(lambda done: Job(Batch(), done, damaged=(shard, log.digest)))

    async def _written(self, job: Callable[[Done], Job]) -> None:
        event = trio.Event()
        outcome: list[Exception | None] = []

        def done(error: Exception | None) -> None:
            outcome.append(error)
            event.set()

        self._submit(job(done))
        await event.wait()
        if outcome[0] is not None:
            raise outcome[0]

    # ----------------------------------------------------------------------------------------------------------- reads

    async def read_segments(self, log: Key, first: int = 1, count: int | None = None) -> list[StoredSegment]:
        await trio.lowlevel.checkpoint()
        most = readers.ALL_SEGMENTS if count is None else count
        first = max(first, 1)
        rows = self._reader().here(readers.SEGMENTS_SMALL, (log.digest, first, most))
        if len(rows) <= readers.INLINE_SEGMENTS_MAX and all(row[-1] is not None for row in rows):
            return [readers.segment_of(log, row) for row in rows]
        return await self._elsewhere(lambda connection: readers.read_segments(connection, log, first, most))

    async def head(self, log: Key) -> LogHead | None:
        await trio.lowlevel.checkpoint()
        rows = self._reader().here(readers.HEAD, (log.digest,))
        return readers.head_of(rows[0]) if rows else None

    async def heads(
        self, kind: str, *, shards: Collection[int], prefix: str = "", after: str = "", count: int = 100
    ) -> list[LogHead]:
        check_text("kind", kind, KIND_BYTES_MAX)
        check_text("prefix", prefix, IDENTITY_BYTES_MAX)
        check_text("after", after, IDENTITY_BYTES_MAX)
        check_count(count)
        sql, args = readers.listing(kind, shards, prefix, after, count)
        return await self._elsewhere(lambda connection: readers.read_heads(connection, sql, args))

    async def heads_with_open_work(self, shard: int) -> list[LogHead]:
        return await self._elsewhere(lambda connection: readers.read_heads(connection, readers.HEADS_OPEN, (shard,)))

    async def heads_due(self, before_ns: int, count: int, shards: Collection[int]) -> list[LogHead]:
        check_count(count)
        args = (readers.shards_text(shards), before_ns, count)
        return await self._elsewhere(lambda connection: readers.read_heads(connection, readers.HEADS_DUE, args))

    async def next_wake_ns(self, shards: Collection[int]) -> int | None:
        text = readers.shards_text(shards)
        return await self._elsewhere(lambda connection: readers.read_next_wake(connection, text))

    async def undescribed_heads(self) -> list[LogHead]:
        return await self._elsewhere(lambda connection: readers.read_heads(connection, readers.HEADS_UNDESCRIBED))

    async def replicas(self) -> dict[int, StoredReplica]:
        return await self._elsewhere(read_replicas)

    async def replica_segments(
        self, shard: int, log: Key, *, first: int, tail: int, position: int, count_max: int, bytes_max: int
    ) -> list[LogSegment]:
        def read(connection: apsw.Connection) -> list[LogSegment]:
            span, most = range(max(first, 1), tail), Most(count_max, bytes_max)
            return read_pieces(connection, shard, log, span, position=position, most=most)

        return await self._elsewhere(read)

    async def milestones(self, shard: int) -> list[Entry]:
        return await self._elsewhere(lambda connection: read_milestones(connection, shard))

    async def get_meta(self, name: str) -> bytes | None:
        check_text("a name", name, META_NAME_BYTES_MAX)
        await trio.lowlevel.checkpoint()
        rows = self._reader().here(readers.META, (name,))
        if rows and not isinstance(rows[0][0], bytes):
            raise DataDamaged(f"meta:{name}", "its value has a wrong type")
        return rows[0][0] if rows else None

    def _reader(self) -> Readers:
        if self._closing:
            raise InvalidState("the storage is closed")
        return self._readers

    async def _elsewhere(self, read: Callable[[apsw.Connection], readers.T]) -> readers.T:
        reading = self._reader()
        self._under_way += 1
        try:
            return await reading.elsewhere(read)
        finally:
            self._under_way -= 1
            if self._closing and not self._under_way:
                self._idle.set()

    # ----------------------------------------------------------------------------------------------------------- blobs

    async def put_blob(self, data: bytes) -> bytes:
        return await trio.to_thread.run_sync(self._blobs.put, data, limiter=self._blob_limiter)

    async def get_blob(self, sha256: bytes) -> bytes:
        return await trio.to_thread.run_sync(self._blobs.get, sha256, limiter=self._blob_limiter)

    async def has_blob(self, sha256: bytes) -> bool:
        path = self._blobs.path_of(sha256)
        return await trio.to_thread.run_sync(path.is_file, limiter=self._blob_limiter)

    def blob_path(self, sha256: bytes) -> Path:
        """Where the blob lies, or would lie."""
        return self._blobs.path_of(sha256)

    # ------------------------------------------------------------------------------------------------------------- end

    def statistics(self) -> dict[str, float]:
        """The fields of ``StorageStatistics`` by name."""
        return {name: float(value) for name, value in asdict(self._writer.statistics()).items()}

    async def aclose(self) -> None:
        """Writes what is queued, calls its ``done``s, then closes. May be called again. Waits even when cancelled, but
        not longer than ``CLOSE_S_MAX``: then raises ``StorageFailed``, and what was not acknowledged may be lost."""
        if not self._closing:
            self._closing = True
            if not self._under_way:
                self._idle.set()
        with trio.move_on_after(CLOSE_S_MAX, shield=True) as scope:
            await self._idle.wait()
            # readers first: only the writer can fold the write-ahead log into the database, and does so if it closes last
            self._readers.close()
            self._writer.close()
            await self._writer.wait_closed()
        if scope.cancelled_caught:
            raise StorageFailed(f"{self._path}: the disk did not answer for {CLOSE_S_MAX:g} s while closing")

    def abandon(self) -> None:
        """As if the process had died: what is queued is lost. Only where no thread is at work, as in a simulation."""
        self._closing = True
        self._readers.close()
        self._writer.close()


def _refuse_amnesia(database: Path, blobs: BlobFolder) -> None:
    """SQLite takes an empty file for a new database. With blobs beside it, it is one that was lost: a node that began anew
    would deny all it has acknowledged. Raises ``DataDamaged``."""
    if database.exists() and database.stat().st_size:
        return
    if any(True for _ in blobs.files()):
        raise DataDamaged(
            str(database), "is empty or missing, though blobs are there: restore it from a backup, or move the rest away"
        )
