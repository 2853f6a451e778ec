"""A worker for host functions to live in, without engine, driver or disk.

``Worker`` is what survives a restart (journal, log, clock); ``Worker.start()`` gives an instance that replays first.

Infidelities: commits only count; promises are a dict, and waiting for an open one always suspends; handles are never checked
for being owned or borrowed; ``Instance.drop`` runs the destructor, where the linker would do so.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import trio

from golemp2p.errors import Divergence, PromiseNotFound
from golemp2p.model.entries import RetryPolicy
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.ports import GuestLimits, Suspended
from golemp2p.runtime.host import cli, clocks, golem_api, io, logging, random, sockets
from golemp2p.runtime.host.context import Context
from golemp2p.runtime.host.dispatch import Dispatch, Waiting, dispatcher

MODULES = (io, clocks, random, cli, logging, sockets, golem_api)
DISPATCHERS: dict[str, Dispatch] = {
    f"{interface.name}.{name}": dispatcher(function)
    for module in MODULES
    for interface in module.INTERFACES
    for name, function in interface.functions.items()
}
DROPPED = {name: dropped for module in MODULES for face in module.INTERFACES for name, dropped in face.resources.items()}

BORN_WALL_NS = 1_700_000_000_000_000_000
ID = WorkerId(ComponentId(uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")), "w")


class Worker:
    """The durable part. ``entries``: ("call", name, request hash, response) | ("noop",) | ("policy", RetryPolicy)."""

    def __init__(self, *, suspend_after_s: float = 10.0) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self.lines: list[tuple[str, str, str]] = []
        self.suspend_after = suspend_after_s
        self.promises: dict[tuple[WorkerId, int], bytes | None] = {}
        self.commits: list[int] = []  # how many entries each commit made durable
        self.flushes = 0
        self.seed = 0
        self._born = trio.current_time()

    def elapsed_ns(self) -> int:
        return round((trio.current_time() - self._born) * 1e9)

    def start(self) -> Instance:
        return Instance(self)


class FakeJournal:
    def __init__(self, worker: Worker) -> None:
        self.worker, self.cursor, self.end = worker, 0, len(worker.entries)

    @property
    def replaying(self) -> bool:
        return self.cursor < self.end

    @property
    def last_index(self) -> int:
        return self.cursor if self.replaying else len(self.worker.entries)

    def entry(self, fresh: tuple[Any, ...]) -> tuple[int, tuple[Any, ...]]:
        """Append ``fresh``, or consume its like; the index and the entry that now counts."""
        if not self.replaying:
            self.worker.entries.append(fresh)
            return len(self.worker.entries), fresh
        recorded = self.worker.entries[self.cursor]
        self.cursor += 1
        if recorded[:3] != fresh[:3]:
            raise Divergence(self.cursor, str(recorded), str(fresh))
        return self.cursor, recorded

    def take(self, function: str, request_hash: bytes) -> bytes:
        assert self.replaying
        response: bytes = self.entry(("call", function, request_hash))[1][3]
        return response

    def record(self, function: str, function_type: str, request_hash: bytes, response: bytes) -> int:
        assert not self.replaying
        return self.entry(("call", function, request_hash, response))[0]

    def mark(self) -> int:
        return self.entry(("noop",))[0]

    async def commit(self) -> None:
        self.worker.commits.append(len(self.worker.entries))

    def flush_nowait(self) -> None:
        self.worker.flushes += 1


class FakePromises:
    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.values = host.durable.promises

    def create(self) -> int:
        index = self.host.journal.mark()
        self.values.setdefault((ID, index), None)
        return index

    def known(self, worker: WorkerId, index: int) -> bytes | None:
        if (worker, index) not in self.values:
            raise PromiseNotFound(f"no promise {index} of {worker}")
        return self.values[worker, index]

    async def poll(self, worker: WorkerId, index: int) -> bytes | None:
        return self.known(worker, index)

    async def wait(self, worker: WorkerId, index: int) -> bytes:
        value = self.known(worker, index)
        if value is None:
            raise Suspended(None)
        return value

    async def complete(self, worker: WorkerId, index: int, data: bytes) -> bool:
        if self.known(worker, index) is not None:
            return False
        self.values[worker, index] = data
        return True

    async def delete(self, worker: WorkerId, index: int) -> None:
        self.known(worker, index)
        del self.values[worker, index]


class FakeHost:
    """``WorkerHost``. Reading the world while replaying is an error here."""

    worker = ID
    component_version = 3
    args = ("-v", "ü")
    env = (("B", "2"), ("A", "1"), ("GOLEM_WORKER_NAME", "w"))
    files_root = Path("/nonexistent")
    limits = GuestLimits()
    status_text = "Running"
    retry_count = 1

    def __init__(self, durable: Worker) -> None:
        self.durable = durable
        self.journal = FakeJournal(durable)
        self.promises = FakePromises(self)
        self.retry_policy = RetryPolicy()

    def _check_live(self) -> None:
        assert not self.journal.replaying, "the world was asked while replaying"

    def wall_ns(self) -> int:
        self._check_live()
        return BORN_WALL_NS + self.durable.elapsed_ns()

    def monotonic_ns(self) -> int:
        self._check_live()
        return self.durable.elapsed_ns()

    def random_bytes(self, count: int) -> bytes:
        self._check_live()
        self.durable.seed += 1
        return bytes((self.durable.seed + i) % 256 for i in range(count))

    def suspend_after_s(self) -> float:
        return self.durable.suspend_after

    def log(self, level: str, context: str, message: str) -> None:
        if not self.journal.replaying:
            self.durable.lines.append((level, context, message))

    def set_retry_policy(self, policy: RetryPolicy) -> None:
        self.journal.entry(("policy", policy))
        self.retry_policy = policy

    def invocation_key(self) -> str | None:
        return "key"

    def resource_created(self, resource: int, name: str) -> None: ...

    def resource_dropped(self, resource: int) -> None: ...

    def memory_grown(self, delta_bytes: int) -> None: ...


class Instance(Context):
    """A fresh instance: the real context and dispatcher over the fakes."""

    __slots__ = ()

    def __init__(self, worker: Worker) -> None:
        host: Any = FakeHost(worker)
        super().__init__(host)

    async def call(self, name: str, *args: Any) -> Any:
        value = DISPATCHERS[name](self, args)
        return await value.finish() if isinstance(value, Waiting) else value

    def drop(self, rep: int, resource: str) -> None:
        DROPPED[resource](self.resources.take(rep, object))


def listed(value: Any) -> Any:
    """``value`` with every tuple as a list, which is how it comes back from the journal."""
    return [listed(part) for part in value] if isinstance(value, tuple | list) else value
