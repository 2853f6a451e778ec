"""The engine that runs guests, and what it may ask of the worker that a guest belongs to."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from golemp2p.model.entries import Entry, RetryPolicy
from golemp2p.model.ids import WorkerId
from golemp2p.model.wit import ComponentType
from golemp2p.ports.clock import RandomBytes


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
