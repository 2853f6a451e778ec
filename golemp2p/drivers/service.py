"""What one node does for the workers of the shards that it serves.

LocalClient -> Workers -> Worker -> Execution -> guests
            \\-> Components         \\-> LogWriter -> Shards -> PeerDriver -> the other nodes
                 Timers -> Workers

For a worker of another shard everything here raises ``Moved``: who asks for it goes elsewhere (``mesh_client``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from golemp2p.client import NodeInfo, OplogPage, WorkersPage
from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.drivers.components import Components, LoadedComponent
from golemp2p.drivers.listing import matches
from golemp2p.drivers.oplog import read_range
from golemp2p.drivers.peers.mesh_state import MeshState
from golemp2p.drivers.peers.peer import PeerDriver
from golemp2p.drivers.settings import ServiceSettings
from golemp2p.drivers.shards import Shards
from golemp2p.drivers.summary import WORKER, metadata_from, metadata_of, worker_of
from golemp2p.drivers.timers import Timers
from golemp2p.drivers.waiters import Waiter
from golemp2p.drivers.worker import Worker
from golemp2p.drivers.workers import Workers
from golemp2p.errors import (
    Draining,
    InvalidName,
    InvocationNotFound,
    PayloadTooLarge,
    WorkerFailure,
    WorkerInterrupted,
    WorkerNotFound,
)
from golemp2p.model.ids import IDEMPOTENCY_KEY_BYTES_MAX, ComponentId, WorkerId
from golemp2p.model.wit import Function, Handle, Type
from golemp2p.model.worker import ComponentInfo, InvocationResult, WorkerEvent, WorkerFilter, WorkerMetadata
from golemp2p.ports import Clock, CompilationState, Guests, RandomBytes, Storage
from golemp2p.values.cbor import dumps
from golemp2p.values.names import ResolvedFunction
from golemp2p.values.params import decode_params

STEP_ASIDE_S = 5.0
"""How long a node that stops tries to hand its shards over."""

PAGE_MAX = 1000
"""Workers or entries in one page."""


class LocalClient:
    """Serves ``golemp2p.client.Client`` for workers of ready shards. Made by ``open_service``."""

    def __init__(
        self,
        *,
        settings: ServiceSettings,
        storage: Storage,
        guests: Guests,
        clock: Clock,
        random_bytes: RandomBytes,
        mesh: MeshState,
        peers: PeerDriver,
        shards: Shards,
        components: Components,
        blobs: Blobs,
        workers: Workers,
        timers: Timers,
        version: str,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._guests = guests
        self._clock = clock
        self._random_bytes = random_bytes
        self._mesh = mesh
        self.peers = peers
        self._shards = shards
        self._components = components
        self._blobs = blobs
        self._workers = workers
        self._timers = timers
        self._version = version
        self._started_ns = clock.wall_ns()
        self._draining = False

    # -- components -----------------------------------------------------------------------------------------------------

    async def add_component(
        self, name: str, wasm: bytes, *, ephemeral: bool = False, env: dict[str, str] | None = None, request_key: str = ""
    ) -> ComponentInfo:
        return await self._components.add(name, wasm, ephemeral=ephemeral, env=env or {}, request_key=request_key)

    async def update_component(
        self,
        component: ComponentId,
        wasm: bytes,
        *,
        ephemeral: bool | None = None,
        env: dict[str, str] | None = None,
        request_key: str = "",
    ) -> ComponentInfo:
        return await self._components.update(component, wasm, ephemeral=ephemeral, env=env, request_key=request_key)

    async def components(self, name: str | None = None) -> list[ComponentInfo]:
        """Of all names: those whose shards this node serves."""
        return await self._components.owned() if name is None else await self._components.by_name(name)

    async def component_versions(self, component: ComponentId) -> list[ComponentInfo]:
        return await self._components.versions(component)

    async def component(self, component: ComponentId, version: int | None = None) -> ComponentInfo:
        return await self._components.version(component, version)

    async def component_file(self, component: ComponentId, version: int | None = None) -> Path:
        return await self._components.file(await self._components.version(component, version))

    def compilation(self, sha256: bytes) -> CompilationState | None:
        return self._guests.compilation(sha256)

    # -- invoking -------------------------------------------------------------------------------------------------------

    async def invoke(
        self,
        component: ComponentId,
        worker: str | None,
        function: str,
        params: Any,
        *,
        idempotency_key: str | None = None,
    ) -> InvocationResult:
        key, found, resolved, request = await self._prepare(component, worker, function, params, idempotency_key)
        waiter = await _submit(found, key, resolved.canonical, request)
        if waiter is None:
            value = await found.recorded(key)
        else:
            try:
                value = await waiter.wait()
            except trio.Cancelled:
                found.waiters.forget(key, waiter)
                raise
        return InvocationResult(_result_type(resolved), value, found.id)

    async def enqueue(
        self,
        component: ComponentId,
        worker: str | None,
        function: str,
        params: Any,
        *,
        idempotency_key: str | None = None,
    ) -> WorkerId:
        key, found, resolved, request = await self._prepare(component, worker, function, params, idempotency_key)
        waiter = await _submit(found, key, resolved.canonical, request)
        if waiter is not None:
            found.waiters.forget(key, waiter)
        await found.writer.commit()
        return found.id

    async def _prepare(
        self, component: ComponentId, worker: str | None, function: str, params: Any, key: str | None
    ) -> tuple[str, Worker, ResolvedFunction, bytes]:
        """Everything that can be wrong with an invocation is found here, before anything changes."""
        key = self._checked_key(key)
        identity = WorkerId(component, worker if worker is not None else self._uuid())
        leaving = self.peers.hand_overs.leaving
        if self._draining or (leaving and self._workers.shard_of(identity) in leaving):
            raise Draining("this node is shutting down; try again in a moment, or another node", 1.0)
        found = self._workers.in_memory(identity) or await self._workers.lookup(identity)
        version = (await self._components.latest(component)).version if found is None else found.create.component_version
        loaded = self._components.loaded_nowait(component, version) or await self._components.loaded(component, version)
        resolved, request = self._encode_request(loaded, identity, function, params)
        if found is None:
            found = await self._workers.lookup(identity) or await self._workers.create(identity, version)
        elif found.gone:
            found = await self._workers.find(identity)
        return key, found, resolved, request

    def _encode_request(
        self, loaded: LoadedComponent, worker: WorkerId, function: str, params: Any
    ) -> tuple[ResolvedFunction, bytes]:
        resolved = loaded.function(function)
        request = dumps(_arguments(resolved, params, worker))
        if len(request) > self._settings.invocation_bytes_max:
            most = self._settings.invocation_bytes_max
            raise PayloadTooLarge(f"the arguments take {len(request)} bytes, the limit is {most}")
        return resolved, request

    def _checked_key(self, key: str | None) -> str:
        if key is None:
            return self._uuid()
        if not 1 <= len(key.encode("utf-8", "surrogatepass")) <= IDEMPOTENCY_KEY_BYTES_MAX or not key.isprintable():
            raise InvalidName(f"an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable characters")
        return key

    def _uuid(self) -> str:
        """A random UUID (version 4) as text; made here, since the class costs four times as much."""
        data = self._random_bytes(16)
        digits = data.hex()
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[data[8] & 3]}{digits[17:20]}-{digits[20:]}"

    # -- workers --------------------------------------------------------------------------------------------------------

    async def create_worker(
        self, worker: WorkerId, *, args: Sequence[str] = (), env: dict[str, str] | None = None, request_key: str = ""
    ) -> WorkerMetadata:
        version = (await self._components.latest(worker.component)).version
        found = await self._workers.create(worker, version, args=args, env=(env or {}).items(), request_key=request_key)
        await found.writer.commit()
        return metadata_of(worker, found.state)

    async def worker(self, worker: WorkerId) -> WorkerMetadata:
        await self._components.require(worker.component)
        found = self._workers.in_memory(worker)
        if found is not None:
            return metadata_of(worker, found.state)
        await self._shards.level(self._workers.shard_of(worker))
        head = await self._storage.head(worker.key)
        if head is None:
            raise WorkerNotFound(f"component {worker.component} has no worker {worker.name!r}")
        return metadata_from(head)

    async def workers(
        self, component: ComponentId, *, filter: WorkerFilter | None = None, cursor: str | None = None, count: int = 50
    ) -> WorkersPage:
        await self._components.require(component)
        prefix = f"{component}/"
        after = prefix + cursor if cursor else ""
        await self._shards.level_all()
        most, shards = min(max(count, 1), PAGE_MAX), self._shards.ready_shards()
        heads = await self._storage.heads(WORKER, shards=shards, prefix=prefix, after=after, count=most)
        found = []
        for head in heads:
            worker = worker_of(head)
            live = self._workers.in_memory(worker)
            metadata = metadata_of(worker, live.state) if live is not None else metadata_from(head)
            if filter is None or matches(filter, metadata):
                found.append(metadata)
        full = len(heads) == most
        return WorkersPage(tuple(found), worker_of(heads[-1]).name if full else None)

    async def delete_worker(self, worker: WorkerId) -> None:
        await self._components.require(worker.component)
        await self._workers.delete(worker)

    async def interrupt_worker(self, worker: WorkerId, *, recover_immediately: bool = False) -> None:
        await (await self._workers.find(worker)).interrupt(recover_immediately=recover_immediately)

    async def resume_worker(self, worker: WorkerId) -> None:
        await (await self._workers.find(worker)).resume()

    async def cancel_invocation(self, worker: WorkerId, idempotency_key: str) -> bool:
        canceled = await (await self._workers.find(worker)).cancel_pending(idempotency_key)
        if canceled is None:
            raise InvocationNotFound(f"worker {worker.name!r} knows no invocation with key {idempotency_key!r}")
        return canceled

    async def complete_promise(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool:
        return await (await self._workers.find(worker)).promises.complete(oplog_index, data)

    async def promise(self, worker: WorkerId, oplog_index: int) -> bytes | None:
        """Of any worker here; durable. ``None`` while it has no value. Raises ``PromiseNotFound``."""
        return await (await self._workers.find(worker)).promises.poll(oplog_index, None)

    async def awaited_promise(self, worker: WorkerId, oplog_index: int) -> bytes:
        """The same, waited for."""
        while (value := await (await self._workers.find(worker)).promises.wait(oplog_index, None)) is None:
            pass  # its object is gone; there may be another
        return value

    async def delete_promise(self, worker: WorkerId, oplog_index: int) -> None:
        await (await self._workers.find(worker)).promises.delete(oplog_index)

    async def oplog(self, worker: WorkerId, *, first: int = 1, count: int = 100) -> OplogPage:
        found = self._workers.in_memory(worker)
        if found is not None:
            await found.writer.commit()
        await self._shards.level(self._workers.shard_of(worker))
        head = await self._storage.head(worker.key)
        if head is None:
            raise WorkerNotFound(f"component {worker.component} has no worker {worker.name!r}")
        first, count = max(first, 1), min(max(count, 1), PAGE_MAX)
        entries = await read_range(self._storage, self._blobs, head, first, count)
        last_index = head.tail - 1
        next_index = first + len(entries) if first + len(entries) <= last_index else None
        info = await self._components.version(worker.component, metadata_from(head).component_version)
        return OplogPage(tuple(enumerate(entries, first)), next_index, first, last_index, info)

    @asynccontextmanager
    async def connect(self, worker: WorkerId) -> AsyncIterator[AsyncIterator[WorkerEvent]]:
        stream = (await self._workers.find(worker)).events()
        events, listener = stream.listen()
        try:
            yield events
        finally:
            stream.leave(listener)

    # -- the node -------------------------------------------------------------------------------------------------------

    def node_info(self) -> NodeInfo:
        return NodeInfo(str(self._mesh.node), self._version, self._mesh.public_name, self._started_ns)

    def statistics(self) -> dict[str, float]:
        return {
            **self._workers.statistics(),
            **self._guests.statistics(),
            **_storage_statistics(self._storage),
            **self._components.statistics(),
            **self._blobs.statistics(),
            "segments_sealed_total": float(self._shards.segments_total),
            **self.peers.statistics(),
            "timers_fired_total": float(self._timers.fired_total),
        }

    async def drain(self, timeout_s: float) -> None:
        """Hand over what others can lead, then refuse new invocations and wait for what is under way, at most ``timeout_s``; make
        everything durable; send listeners home."""
        deadline = trio.current_time() + timeout_s
        await self.peers.hand_overs.run(timeout_s, self._workers.is_shard_busy)
        self._draining = True
        with trio.move_on_at(deadline):
            await self._workers.drain()
        await self._workers.flush()
        for worker in self._workers.loaded_workers():
            worker.close_events()
        await self.peers.hand_overs.run(STEP_ASIDE_S)

    async def stop_workers(self) -> None:
        """Every execution ends here; what is journalled goes on after the next start."""
        self._workers.close()
        reason = WorkerInterrupted("the node is stopping; the invocation goes on when it is back")
        for worker in list(self._workers.loaded_workers()):
            await worker.stop(reason)


async def _submit(worker: Worker, key: str, function: str, request: bytes) -> Waiter | None:
    """As ``Worker.submit``; a refusal for what the worker did before leaves only when that is durable (S6)."""
    try:
        return worker.submit(key, function, request)
    except WorkerFailure:
        await worker.writer.commit()
        raise


def _arguments(resolved: ResolvedFunction, params: Any, worker: WorkerId) -> tuple[Any, ...]:
    """The checked arguments of an invocation, from its JSON ``params``."""
    function = resolved.function
    if resolved.kind == "drop" or function is None:
        assert resolved.resource is not None
        handle = () if resolved.indexed is not None else (("self", Handle(resolved.resource, owned=True)),)
        return decode_params(Function("drop", handle, None), params, worker=worker)
    if resolved.indexed is not None and resolved.kind == "constructor":
        return decode_params(Function(function.name, (), None), params, worker=worker)
    return decode_params(function, params, skip_self=resolved.indexed is not None, worker=worker)


def _result_type(resolved: ResolvedFunction) -> Type | None:
    return resolved.function.result if resolved.function is not None else None


def _storage_statistics(storage: Storage) -> dict[str, float]:
    statistics = getattr(storage, "statistics", None)
    return {} if statistics is None else {f"storage_{name}": float(value) for name, value in statistics().items()}
