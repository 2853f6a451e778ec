"""A node's disk: replicas of shards with the logs that they keep, blobs, and a little metadata."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import Base, Head, LogSegment
from golemp2p.model.replication import Entry as ShardEntry


class StoredSegment(NamedTuple):
    """One signed segment as it lies on disk. ``data`` is exactly the signed bytes (``golemp2p.wire.segment``).

    ``first`` is the oplog index of its first entry, ``count`` >= 1 the number of entries, ``term`` the term it was written under.
    ``position``: its place in the log of its shard; of one that was fetched, where the base stood that it was fetched for.
    """

    log: Key
    first: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    term: int
    position: int
    data: bytes


class LogHead(NamedTuple):
    """What is known of a log without reading it. Written in the same commit as the log's newest segment.

    ``tail``: the first unwritten index, so entries 1..tail-1 must be readable; ``head_hash``: hash of the newest segment;
    ``has_open_work``: something to resume after a restart; ``wake_ns``: wall time at which the log's worker wants to be woken, or
    ``None``; ``summary``: CBOR, opaque to storage.

    Of an *undescribed* log only key, shard, tail and head_hash are known: its kind is ``""``, and so on. Its newest segment came
    without a description, or with one that cannot be read or names another log.
    """

    key: Key
    kind: str
    identity: str
    shard: int
    tail: int
    head_hash: bytes
    has_open_work: bool
    wake_ns: int | None
    summary: bytes


class StoredReplica(NamedTuple):
    """What storage holds of one replica, except for the segments up to its base; ``core.replica_durable`` says what it means.

    * ``heads``: as of ``base``. ``entries``: all after it, in order. One that cannot be read stands there as an entry that does not
      follow from the one before it; whoever checks the chain cuts it there. But in a group of one, which nobody can give it again, an
      entry whose segment is damaged after its signature stands as it was: who reads the log finds the damage.
    * ``staged``: per log for which segments are fetched, the first and the last of them (one, when there is one), without their bytes.
    """

    record: ReplicaRecord
    base: Base
    heads: Mapping[Key, Head]
    entries: list[ShardEntry]
    staged: Mapping[Key, list[LogSegment]]
    damaged_logs: tuple[Key, ...]


@dataclass(slots=True)
class Batch:
    """Writes that become durable together or not at all, in this order.

    ``heads`` rewrites what is said of logs, described or not: each is applied only if the log still has this tail and head_hash; else
    it is left out without an error, for somebody has written the log since.
    """

    replicas: list[ReplicaWrite] = field(default_factory=list)
    heads: list[LogHead] = field(default_factory=list)


class Storage(Protocol):
    """Durable replicas and the logs that they keep, blobs and a little metadata.

    * ``submit`` queues a batch and returns at once; ``done(None)`` is called on the event loop's thread when every byte of it
      is durable, ``done(error)`` (``StorageFull``, ``StorageFailed``) when nothing of it was kept. Batches become durable in
      the order of submission; all that are queued when the previous commit ends share the next one (group commit).
    * After a failed batch, later ones are still tried. Those of *the same shard* must not be, before it was retried (a record must not
      promise what was not kept): whoever submits has at most one batch of a shard under way. Those of other shards go on.
    * ``ReplicaWrite`` means what ``core.replica_durable`` executes. Nothing is overwritten, ever: an entry that does not have the
      position after the last one, or whose segment starts where its log has one already, fails its batch with ``StorageFailed``.
      All else about entries and segments is for the caller to check.
    * The logs of a shard are as after its last entry, committed or not. With a ``Deletion`` a log is gone: no head, no segments; from
      index 1 it may begin anew. Truncating the shard's log brings the old one back, compacting it removes it for good.
    * The head of a log follows its newest segment and that segment's description. A log that was cut back is described by what is its
      newest segment now, if that is still an entry; else it is undescribed, as are logs that a base brought.
    * Reads see everything whose ``done(None)`` was called. They return bytes as stored: verifying is the reader's duty
      (no engine may be trusted alone), except that ``get_blob`` verifies its hash and raises ``DataDamaged``.
    * ``submit`` raises ``UsageError`` for what no disk could ever hold (numbers beyond 63 bits, oversized bytes, text that
      UTF-8 cannot hold), ``InvalidState`` after ``aclose``; then nothing is queued and ``done`` is never called. A submitted
      batch must not be changed any more. ``done`` is never called inside ``submit``, and must not raise.
    * All methods may be called only from the event loop's thread. ``aclose`` waits for queued batches.
    """

    def submit(self, batch: Batch, done: Callable[[Exception | None], None]) -> None: ...

    async def replicas(self) -> dict[int, StoredReplica]:
        """All that were ever written, by shard: for the start of a node. Raises ``DataDamaged`` when a record or a base cannot be read:
        without it nobody knows what this store has promised."""
        ...

    async def replica_segments(
        self, shard: int, log: Key, *, first: int, tail: int, position: int, count_max: int, bytes_max: int
    ) -> list[LogSegment]:
        """What to send to a replica that asks for a log (``core.replica_effects.ReadSegments``): segments that hold entries from
        index ``first`` up to ``tail`` (exclusive), in order, without their descriptions; at least one if there is one, then as many
        as ``count_max`` >= 1 and ``bytes_max`` allow. ``position`` > 0: as of the base there, if that is the base still; 0: as the
        log is now. ``[]`` where there are none, for another base, and for a log that is marked as damaged.

        Raises ``DataDamaged`` when the first of them cannot be read; a later one ends the answer."""
        ...

    async def milestones(self, shard: int) -> list[ShardEntry]:
        """Every election, configuration and branch that this store has seen in the shard's log, or in a base, oldest first: who may
        write, and why. They outlive compaction; truncation takes those that it cuts, forgetting takes all."""
        ...

    async def mark_damaged(self, shard: int, log: Key) -> None:
        """Durable when it returns: a reader found damage in the log. It is in ``damaged_logs`` until it is repaired, and is given to
        no other node meanwhile."""
        ...

    async def read_segments(self, log: Key, first: int = 1, count: int | None = None) -> list[StoredSegment]:
        """Segments that hold entries at or after index ``first``, in order, at most ``count`` >= 1 of them (``None``: all);
        ``[]`` when there are none."""
        ...

    async def head(self, log: Key) -> LogHead | None: ...

    async def heads(
        self, kind: str, *, shards: Collection[int], prefix: str = "", after: str = "", count: int = 100
    ) -> list[LogHead]:
        """Described heads of a kind in these shards whose identity starts with ``prefix`` and is greater than ``after``, ordered by
        identity."""
        ...

    async def heads_with_open_work(self, shard: int) -> list[LogHead]: ...

    async def heads_due(self, before_ns: int, count: int, shards: Collection[int]) -> list[LogHead]:
        """Heads in these shards whose ``wake_ns`` <= ``before_ns``, earliest first."""
        ...

    async def next_wake_ns(self, shards: Collection[int]) -> int | None:
        """The earliest ``wake_ns`` in these shards."""
        ...

    async def undescribed_heads(self) -> list[LogHead]:
        """All of all shards: each is to be read and described by ``Batch.heads`` before its shard is served here."""
        ...

    async def put_blob(self, data: bytes) -> bytes:
        """Durable when it returns. Returns the SHA-256 (32 bytes). Putting the same bytes again is free."""
        ...

    async def get_blob(self, sha256: bytes) -> bytes:
        """Raises ``DataDamaged`` when missing or when the bytes do not match."""
        ...

    async def has_blob(self, sha256: bytes) -> bool:
        """Whether the blob is here. Its bytes are not looked at."""
        ...

    def blob_path(self, sha256: bytes) -> Path | None:
        """Where the blob lies as a file, or ``None`` when this storage has no files."""
        ...

    async def get_meta(self, name: str) -> bytes | None: ...

    async def put_meta(self, name: str, value: bytes) -> None: ...

    async def aclose(self) -> None: ...
