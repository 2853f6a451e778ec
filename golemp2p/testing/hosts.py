"""A worker host without a worker, and a journal in memory: enough to run guests and host functions in tests.

Not faithful to the real ones: nothing is durable (``commit`` returns at once, and counts); entries are not numbered together
with those of invocations; promises live in one dictionary and never suspend; time stands still unless moved; random bytes
count up; memory growth and resources are only written down.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import trio

from golemp2p.errors import Divergence, PromiseNotFound
from golemp2p.model.entries import Entry, RetryPolicy
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.ports import GuestLimits


class RecordedCall(NamedTuple):
    function: str
    function_type: str
    request_hash: bytes
    response: bytes


class MemoryJournal:
    """``ports.Journal``. ``calls`` is what was recorded; hand it to a second journal as ``replay`` to replay it."""

    def __init__(self, replay: list[Any] | None = None) -> None:
        self.calls: list[Any] = []  # RecordedCall, "mark", or entries of ``control``
        self.notes: list[Entry] = []
        self.commits = 0
        self.flushes = 0
        self._replay = list(replay or [])
        self._position = 0

    @property
    def replaying(self) -> bool:
        return self._position < len(self._replay)

    def take(self, function: str, request_hash: bytes) -> bytes:
        found = self._consume()
        if not isinstance(found, RecordedCall):
            raise Divergence(self.last_index, repr(found), function)
        if (found.function, found.request_hash) != (function, request_hash):
            expected = f"{found.function} ({found.request_hash.hex()})"
            raise Divergence(self.last_index, expected, f"{function} ({request_hash.hex()})")
        return found.response

    def record(self, function: str, function_type: str, request_hash: bytes, response: bytes) -> int:
        return self._append(RecordedCall(function, function_type, request_hash, response))

    def mark(self) -> int:
        if not self.replaying:
            return self._append("mark")
        found = self._consume()
        if found != "mark":
            raise Divergence(self.last_index, repr(found), "mark")
        return self.last_index

    def note(self, entry: Entry) -> None:
        if not self.replaying:
            self.notes.append(entry)

    def control(self, entry: Entry) -> int:
        if not self.replaying:
            return self._append(entry)
        found = self._consume()
        if type(found) is not type(entry):
            raise Divergence(self.last_index, repr(found), repr(entry))
        return self.last_index

    @property
    def last_index(self) -> int:
        return len(self.calls)

    async def commit(self) -> None:
        await trio.lowlevel.checkpoint()
        self.commits += 1

    def flush_nowait(self) -> None:
        self.flushes += 1

    def _append(self, call: Any) -> int:
        self.calls.append(call)
        return len(self.calls)

    def _consume(self) -> Any:
        found = self._replay[self._position]
        self._position += 1
        self.calls.append(found)
        return found


class MemoryPromises:
    """``ports.PromiseHost``: all promises of all workers in one dictionary."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self._values: dict[tuple[WorkerId, int], bytes | None] = {}
        self._changed = trio.Event()
        self.worker: WorkerId | None = None

    def create(self) -> int:
        index = self._journal.mark()
        assert self.worker is not None
        self._values.setdefault((self.worker, index), None)
        return index

    async def poll(self, worker: WorkerId, oplog_index: int) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return self._find(worker, oplog_index)

    async def wait(self, worker: WorkerId, oplog_index: int) -> bytes:
        while True:
            found = self._find(worker, oplog_index)
            if found is not None:
                return found
            await self._changed.wait()

    async def complete(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        if self._find(worker, oplog_index) is not None:
            return False
        self._values[worker, oplog_index] = data
        self._changed.set()
        self._changed = trio.Event()
        return True

    async def delete(self, worker: WorkerId, oplog_index: int) -> None:
        await trio.lowlevel.checkpoint()
        self._values.pop((worker, oplog_index), None)

    def _find(self, worker: WorkerId, oplog_index: int) -> bytes | None:
        try:
            return self._values[worker, oplog_index]
        except KeyError:
            raise PromiseNotFound(f"no promise {oplog_index} of {worker}") from None


def _counting_bytes() -> Callable[[int], bytes]:
    counter = 0

    def random_bytes(count: int) -> bytes:
        nonlocal counter
        out = bytes((counter + index) % 256 for index in range(count))
        counter += count
        return out

    return random_bytes


@dataclass
class MemoryWorkerHost:
    """``ports.WorkerHost``. Move ``wall``, ``monotonic`` (ns) by hand; ``logs``, ``resources``, ``grown`` show what came in."""

    journal: MemoryJournal = field(default_factory=MemoryJournal)
    worker: WorkerId = field(default_factory=lambda: WorkerId(ComponentId(UUID(int=1)), "worker"))
    component_version: int = 0
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    files_root: Path = Path("/nonexistent")
    limits: GuestLimits = field(default_factory=GuestLimits)
    random_bytes: Callable[[int], bytes] = field(default_factory=_counting_bytes)
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    status_text: str = "Running"
    retry_count: int = 0
    wall: int = 1_700_000_000_000_000_000
    monotonic: int = 0
    suspend_after: float = math.inf
    key: str | None = None
    logs: list[tuple[str, str, str]] = field(default_factory=list)
    resources: dict[int, str] = field(default_factory=dict)
    grown: int = 0
    promises: MemoryPromises = field(init=False)

    def __post_init__(self) -> None:
        self.promises = MemoryPromises(self.journal)
        self.promises.worker = self.worker

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def suspend_after_s(self) -> float:
        return self.suspend_after

    def log(self, level: str, context: str, message: str) -> None:
        if not self.journal.replaying:
            self.logs.append((level, context, message))

    def set_retry_policy(self, policy: RetryPolicy) -> None:
        self.retry_policy = policy

    def invocation_key(self) -> str | None:
        return self.key

    def resource_created(self, resource: int, name: str) -> None:
        self.resources[resource] = name

    def resource_dropped(self, resource: int) -> None:
        del self.resources[resource]

    def memory_grown(self, delta_bytes: int) -> None:
        self.grown += delta_bytes
