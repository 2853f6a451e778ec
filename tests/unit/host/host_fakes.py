"""A worker for host functions to live in, without engine, driver or disk.

``Worker`` is what survives a restart (journal, log, clock); ``Worker.start()`` gives an instance that replays first.
``Instance.call`` treats a declared function by its durability class, as the dispatcher does.

Infidelities: commits only count; promises are a dict, and waiting for one always suspends; handles and reps are one.
"""

from __future__ import annotations

import inspect
import uuid
from pathlib import Path
from typing import Any

import cbor2
import trio

from golemp2p.errors import Divergence, GuestTrapped, PromiseNotFound
from golemp2p.model.entries import RetryPolicy
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.ports import GuestLimits, Suspended
from golemp2p.runtime.host import cli, clocks, golem_api, io, logging, random, sockets
from golemp2p.runtime.host.declare import PURE, WRITE_LOCAL, WRITE_REMOTE, HostFunction

MODULES = (io, clocks, random, cli, logging, sockets, golem_api)
FUNCTIONS: dict[str, HostFunction] = {
    f"{interface.name}.{name}": function
    for module in MODULES
    for interface in module.INTERFACES
    for name, function in interface.functions.items()
}
DROPPED = {name: dropped for module in MODULES for face in module.INTERFACES for name, dropped in face.resources.items()}

BORN_WALL_NS = 1_700_000_000_000_000_000
ID = WorkerId(ComponentId(uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")), "w")


class Worker:
    """The durable part. ``entries``: ("call", name, request, response) | ("noop",) | ("policy", RetryPolicy)."""

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


class FakeResources:
    """Numbers count up and are reused smallest first, as a guest's own handle table does."""

    def __init__(self) -> None:
        self.held: dict[int, object] = {}

    def push(self, resource: object) -> int:
        rep = next(n for n in range(1, len(self.held) + 2) if n not in self.held)
        self.held[rep] = resource
        return rep

    def get(self, rep: int, kind: type[Any]) -> Any:
        resource = self.held.get(rep)
        if not isinstance(resource, kind):
            raise GuestTrapped(f"handle {rep} is no {kind.__name__}")
        return resource

    def take(self, rep: int, kind: type[Any]) -> Any:
        resource = self.get(rep, kind)
        del self.held[rep]
        return resource


class Instance:
    """``HostContext``, and the dispatcher around it."""

    def __init__(self, worker: Worker) -> None:
        self.host: Any = FakeHost(worker)
        self.resources = FakeResources()
        self._states: dict[type[Any], Any] = {}

    def state(self, kind: type[Any]) -> Any:
        if kind not in self._states:
            self._states[kind] = kind()
        return self._states[kind]

    def journalled(self, function: str, function_type: str, request: tuple[Any, ...], live: Any) -> Any:
        return self._settle(function, request, None if self.host.journal.replaying else live())

    def _settle(self, function: str, request: tuple[Any, ...], value: Any) -> Any:
        """Values go through CBOR, which turns tuples into lists, as in the real journal."""
        _, recorded = self.host.journal.entry(("call", function, cbor2.dumps(request), cbor2.dumps(value)))
        return cbor2.loads(recorded[3])

    async def call(self, name: str, *args: Any) -> Any:
        function = FUNCTIONS[name]
        if function.durability in {PURE, WRITE_LOCAL}:
            return await self._run(function, args)
        if self.host.journal.replaying:
            return self._settle(name, args, None)
        if function.durability == WRITE_REMOTE:
            await self.host.journal.commit()
        value = self._settle(name, args, await self._run(function, args))
        if function.durability == WRITE_REMOTE:
            await self.host.journal.commit()
        return value

    async def _run(self, function: HostFunction, args: tuple[Any, ...]) -> Any:
        value = function.body(self, *args)
        return await value if inspect.iscoroutine(value) else value

    def drop(self, rep: int, resource: str) -> None:
        DROPPED[resource](self.resources.take(rep, object))
