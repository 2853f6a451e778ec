"""A mesh of nodes that share what they know, as though it were replicated: real routing over fake nodes and a fake mesh."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from golemp2p.client import OplogPage, WorkersPage
from golemp2p.drivers.events import EventStream
from golemp2p.drivers.routing.mesh_client import MeshClient, Routed, routed
from golemp2p.errors import (
    ComponentAlreadyExists,
    DataDamaged,
    Golemp2pError,
    MalformedRequest,
    Moved,
    Unreachable,
    WorkerAlreadyExists,
)
from golemp2p.model.ids import ComponentId, Key, WorkerId
from golemp2p.model.operations import component_log
from golemp2p.model.worker import ComponentInfo, FieldFilter, InvocationResult, WorkerEvent, WorkerFilter, WorkerMetadata
from golemp2p.storage.memory import MemoryStorage
from golemp2p.testing.client import MESH, FakeClient
from golemp2p.testing.meshes import FakeMesh, Town, open_meshes

WASM = b"\0asm" + b"adder"


class Shared:
    """What all nodes have. ``results``: of invocations, by worker and key; ``made``: under which request what was made."""

    def __init__(self) -> None:
        self.state = FakeClient()
        self.results: dict[tuple[WorkerId, str], Any] = {}
        self.made: dict[Any, str] = {}
        self.blobs: dict[bytes, bytes] = {}


class Node(FakeClient):
    """``Local`` of one member: refuses what belongs to others, and remembers keys."""

    def __init__(self, shared: Shared, mesh: FakeMesh) -> None:
        super().__init__()
        state = shared.state
        self.functions, self.versions, self.binaries = state.functions, state.versions, state.binaries
        self.metadata, self.oplogs, self.promises, self.pending = state.metadata, state.oplogs, state.promises, state.pending
        self.shared = shared
        self.mesh = mesh
        self.streams: dict[WorkerId, EventStream] = {}
        self.refuses: Golemp2pError | None = None
        """Raised by every operation on a worker."""
        self.dies_after: Callable[[], None] | None = None
        """Called when an operation has had its effect, before it returns; once."""
        self.unknown: set[ComponentId] = set()
        """Components that this node cannot describe."""

    def check(self, log: Key) -> None:
        if not self.mesh.is_ready(log.shard(self.mesh.shards_count)):
            raise Moved("not here", 0.01)
        if self.refuses is not None:
            raise self.refuses

    async def done(self, log: Key) -> None:
        """The effect is there; is this node still who may tell?"""
        dies, self.dies_after = self.dies_after, None
        if dies is not None:
            dies()
            await trio.lowlevel.checkpoint()
        self.check(log)

    # components

    async def add_component(
        self,
        name: str,
        wasm: bytes,
        *,
        ephemeral: bool = False,
        env: dict[str, str] | None = None,
        request_key: str = "",
    ) -> ComponentInfo:
        component = ComponentId.of(MESH, name)
        self.check(component_log(component))
        if request_key and self.shared.made.get((component, 0)) == request_key:
            return self.versions[component][0]
        if component in self.versions:
            raise ComponentAlreadyExists(f"component {name!r} exists")
        info = await super().add_component(name, wasm, ephemeral=ephemeral, env=env)
        self.shared.made[component, 0] = request_key
        await self.done(component_log(component))
        return info

    async def update_component(
        self,
        component: ComponentId,
        wasm: bytes,
        *,
        ephemeral: bool | None = None,
        env: dict[str, str] | None = None,
        request_key: str = "",
    ) -> ComponentInfo:
        self.check(component_log(component))
        latest = await super().component(component)
        if request_key and self.shared.made.get((component, latest.version)) == request_key:
            return latest
        info = await super().update_component(component, wasm, ephemeral=ephemeral, env=env)
        self.shared.made[component, info.version] = request_key
        await self.done(component_log(component))
        return info

    async def component_versions(self, component: ComponentId) -> list[ComponentInfo]:
        self.check(component_log(component))
        return await super().component_versions(component)

    async def component(self, component: ComponentId, version: int | None = None) -> ComponentInfo:
        if version is None:
            self.check(component_log(component))
        if component in self.unknown:
            raise Unreachable("nobody has it")
        versions = await FakeClient.component_versions(self, component)
        return versions[-1] if version is None else await self._known(component, version)

    async def _known(self, component: ComponentId, version: int) -> ComponentInfo:
        return await FakeClient.component(self.shared.state, component, version)

    # workers

    async def create_worker(
        self, worker: WorkerId, *, args: Sequence[str] = (), env: dict[str, str] | None = None, request_key: str = ""
    ) -> WorkerMetadata:
        self.check(worker.key)
        if request_key and self.shared.made.get(worker) == request_key:
            return self.metadata[worker]
        if worker in self.metadata:
            raise WorkerAlreadyExists(f"worker {worker} exists")
        created = await self.shared.state.create_worker(worker, args=args, env=env)
        self.shared.made[worker] = request_key
        await self.done(worker.key)
        return created

    async def invoke(
        self, component: ComponentId, worker: str | None, function: str, params: Any, *, idempotency_key: str | None = None
    ) -> InvocationResult:
        assert worker is not None, "named where the request came in"
        assert idempotency_key is not None, "made where the request came in"
        target = WorkerId(component, worker)
        self.check(target.key)
        known = self.shared.results.get((target, idempotency_key))
        if known is None:
            self.calls.append((target, function, params, idempotency_key))
            known = await self.shared.state.invoke(component, worker, function, params, idempotency_key=idempotency_key)
            self.check(target.key)
            self.shared.results[target, idempotency_key] = known
        await self.done(target.key)
        return InvocationResult(known.type, known.value, target)

    async def enqueue(
        self, component: ComponentId, worker: str | None, function: str, params: Any, *, idempotency_key: str | None = None
    ) -> WorkerId:
        result = await self.invoke(component, worker, function, params, idempotency_key=idempotency_key)
        assert result.worker is not None
        return result.worker

    async def worker(self, worker: WorkerId) -> WorkerMetadata:
        self.check(worker.key)
        return await super().worker(worker)

    async def workers(
        self, component: ComponentId, *, filter: WorkerFilter | None = None, cursor: str | None = None, count: int = 50
    ) -> WorkersPage:
        """As a node does it: ``count`` are looked at in this node's shards, and those that pass are told."""
        if isinstance(filter, FieldFilter) and filter.field == "nonsense":
            raise MalformedRequest("no such field")
        if self.refuses is not None:
            raise self.refuses
        ready = set(self.mesh.ready_shards())
        here = sorted(
            worker.name
            for worker in self.metadata
            if worker.component == component and worker.key.shard(self.mesh.shards_count) in ready
        )
        looked_at = [name for name in here if cursor is None or name > cursor][:count]
        page = await self.shared.state.workers(component, filter=filter, count=1_000_000)
        told = tuple(found for found in page.workers if found.worker.name in looked_at)
        return WorkersPage(told, looked_at[-1] if len(looked_at) == count else None)

    async def delete_worker(self, worker: WorkerId) -> None:
        self.check(worker.key)
        await super().delete_worker(worker)
        stream = self.streams.pop(worker, None)
        if stream is not None:
            stream.close()
        await self.done(worker.key)

    async def interrupt_worker(self, worker: WorkerId, *, recover_immediately: bool = False) -> None:
        self.check(worker.key)
        await super().interrupt_worker(worker, recover_immediately=recover_immediately)

    async def resume_worker(self, worker: WorkerId) -> None:
        self.check(worker.key)
        await super().resume_worker(worker)

    async def cancel_invocation(self, worker: WorkerId, idempotency_key: str) -> bool:
        self.check(worker.key)
        return await super().cancel_invocation(worker, idempotency_key)

    async def complete_promise(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool:
        self.check(worker.key)
        completed = await super().complete_promise(worker, oplog_index, data)
        await self.done(worker.key)
        return completed

    async def oplog(self, worker: WorkerId, *, first: int = 1, count: int = 100) -> OplogPage:
        self.check(worker.key)
        page = await self.shared.state.oplog(worker, first=first, count=count)
        return page._replace(last_index=len(self.oplogs[worker]))

    @asynccontextmanager
    async def connect(self, worker: WorkerId) -> AsyncIterator[AsyncIterator[WorkerEvent]]:
        self.check(worker.key)
        await super().worker(worker)
        stream = self.streams.setdefault(worker, EventStream())
        events, listener = stream.listen()
        try:
            yield events
        finally:
            stream.leave(listener)

    def publish(self, worker: WorkerId, event: WorkerEvent) -> None:
        self.streams.setdefault(worker, EventStream()).publish(event)

    def let_go(self, worker: WorkerId) -> None:
        """As when its shard moves away."""
        stream = self.streams.pop(worker, None)
        if stream is not None:
            stream.close()


class FakeBlobs:
    """Blobs of one node: what it has, and what it gets from others."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number
        self.held: dict[bytes, bytes] = {}

    async def put(self, data: bytes, *, shard: int | None = None) -> bytes:
        digest = hashlib.sha256(data).digest()
        self.held[digest] = data
        return digest

    async def get(self, sha256: bytes, *, size: int, holders: Sequence[bytes]) -> bytes:
        for number, blobs in enumerate(self._world.blobs):
            mesh = self._world.town.members[number]
            if mesh.own in holders and sha256 in blobs.held and mesh.is_up:
                data = self.held[sha256] = blobs.held[sha256]
                if len(data) != size:
                    raise DataDamaged("blob", "another size")
                return data
        raise Unreachable("nobody has it")


class World:
    """``clients[n]`` is what callers of node n talk to."""

    def __init__(self, town: Town, spawn: Callable[..., None]) -> None:
        self.town = town
        self.shared = Shared()
        self.storages = [MemoryStorage() for _ in town.members]
        self.nodes = [Node(self.shared, mesh) for mesh in town.members]
        self.blobs = [FakeBlobs(self, number) for number in range(len(town.members))]
        self.routed = [self._routed(number, spawn) for number in range(len(town.members))]
        self._counter = 0

    def _routed(self, number: int, spawn: Callable[..., None]) -> Routed:
        mesh = self.town.members[number]
        made = routed(
            self.nodes[number], mesh, self.storages[number], self.blobs[number],
            spawn=spawn,
            random_bytes=self._random_bytes,
            component_id=lambda name: ComponentId.of(MESH, name),
            mesh_id=b"this mesh",
            http=lambda: f"http://node{number}:9881",
        )  # fmt: skip
        mesh.serve_forward, mesh.calls = made.serve_forward, made.calls
        return made

    @property
    def clients(self) -> list[MeshClient]:
        return [each.client for each in self.routed]

    def _random_bytes(self, count: int) -> bytes:
        self._counter += 1
        return hashlib.blake2b(self._counter.to_bytes(8, "big"), digest_size=count).digest()

    async def adder(self) -> ComponentId:
        """A component that everybody knows."""
        component = ComponentId.of(MESH, "adder")
        if component not in self.shared.state.versions:
            await self.shared.state.add_component("adder", WASM)
        return component

    def shard(self, log: Key) -> int:
        return log.shard(self.town.shards_count)

    def worker_at(self, component: ComponentId, number: int, *, prefix: str = "w") -> WorkerId:
        """A worker that lives in a shard which member ``number`` leads."""
        for counter in range(10_000):
            worker = WorkerId(component, f"{prefix}{counter}")
            if self.town.leaders.get(self.shard(worker.key)) == number:
                return worker
        raise AssertionError("that member leads nothing")

    def move(self, worker: WorkerId, to: int | None) -> None:
        shard = self.shard(worker.key)
        before = self.town.leaders.get(shard)
        self.town.move(shard, to=to)
        if before is not None:
            self.nodes[before].let_go(worker)

    def crash(self, number: int, *, successor: int) -> None:
        """The member is gone, and another leads what it led."""
        self.town.stop(number)
        for shard, leader in list(self.town.leaders.items()):
            if leader == number:
                self.town.move(shard, to=successor)


@asynccontextmanager
async def open_world(count: int = 3, *, shards_count: int = 8) -> AsyncIterator[World]:
    async with open_meshes(count, shards_count=shards_count) as town, trio.open_nursery() as nursery:
        yield World(town, nursery.start_soon)
        nursery.cancel_scope.cancel()


__all__ = ["WASM", "Node", "World", "open_world"]
