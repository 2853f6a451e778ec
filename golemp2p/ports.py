"""What golemp2p asks of the world. Each protocol here is a specification; its conformance suite (``golemp2p.testing``) is the
same text, executable. Adapters: ``storage`` (SQLite, memory), ``runtime`` (wasmtime), later ``mesh`` (TCP).

    client -> drivers -> core            thinking and doing apart
                |-> ports.Storage  <- storage
                |-> ports.Guests   <- runtime  -> ports.WorkerHost <- drivers
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from golemp2p.model.entries import Entry, RetryPolicy
from golemp2p.model.ids import ComponentId, Key, WorkerId
from golemp2p.model.membership import NodeRecord
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import Base, Head, LogSegment
from golemp2p.model.replication import Entry as ShardEntry
from golemp2p.model.wit import ComponentType

# ---------------------------------------------------------------------------------------------------------------- clock


class Clock(Protocol):
    """Time. ``wall_ns`` may jump; ``monotonic_ns`` never goes back within one process."""

    def wall_ns(self) -> int: ...

    def monotonic_ns(self) -> int: ...


RandomBytes = Callable[[int], bytes]
"""Cryptographically strong bytes in production, seeded in simulation."""


# -------------------------------------------------------------------------------------------------------------- storage


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
      follow from the one before it; whoever checks the chain cuts it there.
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
        self, shard: int, log: Key, *, first: int, tail: int, position: int, bytes_max: int
    ) -> list[LogSegment]:
        """What to send to a replica that asks for a log (``core.replica_effects.ReadSegments``): segments that hold entries from
        index ``first`` up to ``tail`` (exclusive), in order, without their descriptions; at least one if there is one, then as many
        as ``bytes_max`` allows. ``position`` > 0: as of the base there, if that is the base still; 0: as the log is now. ``[]``
        where there are none, for another base, and for a log that is marked as damaged.

        Raises ``DataDamaged`` when the first of them cannot be read; a later one ends the answer."""
        ...

    async def milestones(self, shard: int) -> list[ShardEntry]:
        """Every election, configuration and branch that this store has seen in the shard's log, and those in a base, oldest first.
        They outlive compaction; truncation takes those that it cuts, forgetting takes all."""
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


# ----------------------------------------------------------------------------------------------------------------- mesh


class Bulk(Protocol):
    """A bulk answer on its way: iterate over its chunks, then read ``final``. Both may raise any ``WorldError``."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    @property
    def final(self) -> bytes: ...


class Asked(Protocol):
    """A request of another node. For a bulk answer, ``send`` its chunks (it waits for the asker's credit) before the answer."""

    @property
    def peer(self) -> bytes: ...

    @property
    def payload(self) -> bytes: ...

    async def send(self, chunk: bytes) -> None: ...


class Mesh(Protocol):
    """The other nodes, as those who run workers and keep components see them. Nodes are named by their public keys (32 bytes);
    this node is one of them and may ask itself.

    * A shard has at most one primary that serves it. ``is_ready``: it is this node, and all that was committed before is in storage
      here. It may end at any moment between two awaits; what is appended then fails with ``Moved``.
    * ``ask`` finds the primary, wherever it goes meanwhile, and gives its answer once per ``key``; a payload may be executed by a node
      that dies, and be executed again by the next: what it does must depend on ``key``. Raises ``DeadlineExceeded`` or ``Overloaded``.
    * ``request`` and ``fetch`` go to one node. They raise ``Unreachable``, ``DeadlineExceeded``, or the error that the other raised
      (``RequestFailed`` when it is of a kind that this node does not know).
    """

    @property
    def own(self) -> bytes: ...

    @property
    def shards_count(self) -> int: ...

    def is_ready(self, shard: int) -> bool: ...

    def ready_shards(self) -> Sequence[int]: ...

    def primary(self, shard: int) -> bytes | None:
        """As far as this node knows; only a hint."""
        ...

    def holders(self, shard: int) -> Sequence[bytes]:
        """Nodes that should hold the shard's data, the likeliest first: its voters where this node knows them, else by placement."""
        ...

    def members(self) -> Sequence[NodeRecord]:
        """Of all nodes that are there, as far as this node knows, itself first."""
        ...

    async def ask(self, shard: int, key: str, payload: bytes, *, deadline_s: float) -> bytes: ...

    async def request(self, peer: bytes, kind: int, payload: bytes, *, deadline_s: float) -> bytes: ...

    def fetch(self, peer: bytes, kind: int, payload: bytes, *, progress_s: float) -> AbstractAsyncContextManager[Bulk]:
        """``progress_s``: how long the other may take for every next chunk."""
        ...


# --------------------------------------------------------------------------------------------------------------- guests


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """What one instance may use. Each has a setting of the same name in the daemon, a metric and a typed error."""

    memory_bytes_max: int = 1 << 30
    table_elements_max: int = 1 << 20
    instances_max: int = 10_000  # core instances inside one component instance
    wall_time_s: float = 60.0  # computing time between two host calls
    resources_max: int = 100_000  # host resources held at once
    files_bytes_max: int = 1 << 30


class Journal(Protocol):
    """The durable side of one worker, as host functions see it. Not for use from other threads than the event loop's."""

    @property
    def replaying(self) -> bool:
        """True while recorded calls are left to consume; turns False by itself."""
        ...

    def take(self, function: str, request_hash: bytes) -> bytes:
        """Consume the next recorded host call and return its encoded response. Raises ``Divergence`` when the name or the
        hash differ, or when the next entry is not a host call. Only while ``replaying``."""
        ...

    def record(self, function: str, function_type: str, request_hash: bytes, response: bytes) -> int:
        """Append a host call to the journal; returns its oplog index. Durable at the next commit. Only while live."""
        ...

    def mark(self) -> int:
        """A NoOp entry: live, appends one; replaying, consumes one. Returns its oplog index."""
        ...

    def note(self, entry: Entry) -> None:
        """Append a hint (log line, resource created, ...). While replaying, hints are not written again."""
        ...

    def control(self, entry: Entry) -> int:
        """Append a non-hint entry other than a host call (ChangeRetryPolicy, ...); while replaying, consume one of the same
        class instead (``Divergence`` if it is another). Returns its oplog index."""
        ...

    @property
    def last_index(self) -> int:
        """Index of the last entry appended (live) or consumed (replaying)."""
        ...

    async def commit(self) -> None:
        """Returns when all appended so far is durable in a majority (S6: wait for this before anything leaves the worker)."""
        ...

    def flush_nowait(self) -> None:
        """Start committing what is appended, without waiting: called when a guest parks on a wait."""
        ...


class PromiseHost(Protocol):
    """Promises as host functions see them. All live in the oplog of the worker that created them."""

    def create(self) -> int:
        """Writes or consumes the NoOp that names the promise; returns its oplog index."""
        ...

    def poll(self, worker: WorkerId, oplog_index: int) -> Awaitable[bytes | None]:
        """Raises ``PromiseNotFound``. Live only."""
        ...

    def wait(self, worker: WorkerId, oplog_index: int) -> Awaitable[bytes]:
        """Waits, and may raise ``Suspended`` to have the worker unloaded meanwhile. Live only."""
        ...

    def complete(self, worker: WorkerId, oplog_index: int, data: bytes) -> Awaitable[bool]:
        """True when this call completed it; durable on return. Live only."""
        ...

    def delete(self, worker: WorkerId, oplog_index: int) -> Awaitable[None]: ...


class Suspended(Exception):
    """Raised by a host function to have the worker unloaded until ``wake_ns`` (wall clock) or, if ``None``, until a promise
    wakes it. The call is executed again, live, when the worker has been replayed."""

    def __init__(self, wake_ns: int | None) -> None:
        super().__init__(f"suspended until {wake_ns}")
        self.wake_ns = wake_ns


class WorkerHost(Protocol):
    """What the host functions of one instance may use of the worker it belongs to. Implemented by the worker driver."""

    @property
    def worker(self) -> WorkerId: ...

    @property
    def component_version(self) -> int: ...

    @property
    def args(self) -> tuple[str, ...]: ...

    @property
    def env(self) -> tuple[tuple[str, str], ...]:  # complete and in the order the guest sees it
        ...

    @property
    def files_root(self) -> Path:  # this worker's own directory; may not exist yet; emptied before every replay
        ...

    @property
    def limits(self) -> GuestLimits: ...

    @property
    def journal(self) -> Journal: ...

    @property
    def promises(self) -> PromiseHost: ...

    @property
    def random_bytes(self) -> RandomBytes: ...

    @property
    def retry_policy(self) -> RetryPolicy: ...

    @property
    def status_text(self) -> str:  # current WorkerStatus value, for get-self-metadata
        ...

    @property
    def retry_count(self) -> int: ...

    def wall_ns(self) -> int:
        """Unix time. Live only: host functions journal what they read."""
        ...

    def monotonic_ns(self) -> int:
        """The worker's own monotonic clock: starts at 0 when the worker is created, never goes back, not even over restarts
        and moves between nodes. Live only."""
        ...

    def suspend_after_s(self) -> float:
        """A wait known to last at least this long should raise ``Suspended`` instead of parking the guest. Varies with
        memory pressure; ``math.inf`` for ephemeral workers."""
        ...

    def log(self, level: str, context: str, message: str) -> None:
        """One log line or piece of output: journalled as a hint and shown to listeners, exactly once over all replays."""
        ...

    def set_retry_policy(self, policy: RetryPolicy) -> None:
        """From now on ``retry_policy`` is ``policy``. Called live and replaying alike: writes a ChangeRetryPolicy entry by
        ``journal.control``, or consumes it."""
        ...

    def invocation_key(self) -> str | None:
        """Idempotency key of the invocation under way."""
        ...

    def resource_created(self, resource: int, name: str) -> None:
        """The guest handed out resource ``resource`` (numbers count from 0) of type ``interface#name``."""
        ...

    def resource_dropped(self, resource: int) -> None: ...

    def memory_grown(self, delta_bytes: int) -> None: ...


class GuestInstance(Protocol):
    """One instance of a component. Dead after any raised ``WorkerFailure`` or ``Suspended``: close it and replay."""

    async def call(self, interface: str, function: str, args: Sequence[Any]) -> Any:
        """Call an export; values as in ``model.wit``. ``interface`` is ``""`` for functions at world level.

        Resource handles in ``args`` and result are numbers of the table of guest resources this instance holds; an unknown or
        wrong one raises ``ValueMismatch`` before the guest runs. Raises ``GuestTrapped`` and its kin, ``GuestExited``,
        ``Suspended``, ``Divergence``, and whatever else a host function raised. When cancelled, the instance is dead.
        """
        ...

    async def drop_resource(self, resource: int) -> None:
        """Run the destructor of guest resource ``resource`` and forget it. Raises ``ValueMismatch`` if unknown."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Linear memory in use."""
        ...

    @property
    def computing_since_ns(self) -> int | None: ...

    def close(self) -> None:
        """Give everything back at once. May be called again."""
        ...


class GuestComponent(Protocol):
    """A compiled component, shared by all its instances."""

    type: ComponentType
    memory_initial: int  # bytes, 0 when unknown

    async def instantiate(self, host: WorkerHost) -> GuestInstance:
        """Host calls made while instantiating go through ``host.journal`` like any other."""
        ...


class CompilationState(NamedTuple):
    """``phase``: queued, compiling, ready or failed; ``elapsed_s`` since it was queued; ``error`` when failed."""

    phase: str
    elapsed_s: float
    size_bytes: int
    error: str | None


class Guests(Protocol):
    """The engine: compiles (in a child process of low priority, results cached on disk) and loads components."""

    async def load(self, sha256: bytes, path: Path) -> GuestComponent:
        """The component whose bytes lie in file ``path``. Compiles on first sight, else loads the cached code. Concurrent loads
        of one component share the work. Raises ``InvalidComponent``."""
        ...

    def compilation(self, sha256: bytes) -> CompilationState | None:
        """State of a compilation started in this process; ``None`` when nothing is known of it."""
        ...

    def statistics(self) -> dict[str, float]: ...

    async def aclose(self) -> None: ...


__all__ = [
    "Asked", "Batch", "Bulk", "Clock", "CompilationState", "ComponentId", "GuestComponent", "GuestInstance", "GuestLimits", "Guests",
    "Journal", "LogHead", "Mesh", "PromiseHost", "RandomBytes", "Storage", "StoredReplica", "StoredSegment", "Suspended",
    "WorkerHost",
]  # fmt: skip
