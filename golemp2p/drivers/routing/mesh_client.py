"""``Client`` for the whole mesh, on every node: what is asked for is done here, or by whoever leads the shard that it belongs to.

    HTTP ──> MeshClient ──┬─ here ──> Local
                          └─ there ─> Primaries ──> Mesh.ask ──> Forwards of another node ──> its Local

A request has a key from the first try on. An invocation's is made of its worker and its idempotency key, and both are made here when
the caller names none, so that every try is the same invocation; whatever else is asked for gets a random one. What a second try of it
does is told in ``drivers.routing.forwards``. A result comes with its type, so nothing has to be known of the component here.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from golemp2p.client import NodeInfo, OplogPage, WorkersPage
from golemp2p.drivers.components import check_environment
from golemp2p.drivers.oplog import payload_field
from golemp2p.drivers.routing.bodies import Bodies
from golemp2p.drivers.routing.forwards import Forwards, params_text
from golemp2p.drivers.routing.gathering import Gathering
from golemp2p.drivers.routing.local import Blobs, Local
from golemp2p.drivers.routing.mesh_components import MeshComponents
from golemp2p.drivers.routing.mesh_promises import MeshPromises
from golemp2p.drivers.routing.primaries import WORK_S, Primaries, invocation_key, malformed
from golemp2p.drivers.routing.watching import Watching
from golemp2p.errors import DataDamaged, MalformedRequest, ValueMismatch
from golemp2p.model import entries as e
from golemp2p.model import operations as o
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.listings import ListWorkers
from golemp2p.model.worker import ComponentInfo, InvocationResult, WorkerEvent, WorkerFilter, WorkerMetadata
from golemp2p.ports import Asked, CompilationState, Mesh, RandomBytes, Storage
from golemp2p.values.cbor import VALUE_BYTES_MAX, loads
from golemp2p.values.check import check
from golemp2p.wire import call_kinds
from golemp2p.wire.operations import BODY_BYTES_MAX

PAGE_MAX = 1000
"""Workers or entries in one page."""

Serve = Callable[[Asked], Awaitable[bytes]]


class MeshClient:
    """Made by ``routed``. ``mesh_id``: names the mesh in public; cursors of listings carry a mark made of it."""

    def __init__(
        self,
        local: Local,
        mesh: Mesh,
        *,
        primaries: Primaries,
        bodies: Bodies,
        components: MeshComponents,
        gathering: Gathering,
        watching: Watching,
        promises: MeshPromises,
        forwards: Forwards,
        random_bytes: RandomBytes,
        mesh_id: bytes,
    ) -> None:
        self.promises = promises
        self._local = local
        self._mesh = mesh
        self._primaries = primaries
        self._bodies = bodies
        self._components = components
        self._gathering = gathering
        self._watching = watching
        self._forwards = forwards
        self._random_bytes = random_bytes
        self._cursor_mark = hashlib.blake2b(mesh_id, digest_size=3).hexdigest() + "."

    # -- components -----------------------------------------------------------------------------------------------------

    async def add_component(
        self, name: str, wasm: bytes, *, ephemeral: bool = False, env: dict[str, str] | None = None
    ) -> ComponentInfo:
        return await self._components.add(name, wasm, ephemeral=ephemeral, env=env)

    async def update_component(
        self, component: ComponentId, wasm: bytes, *, ephemeral: bool | None = None, env: dict[str, str] | None = None
    ) -> ComponentInfo:
        return await self._components.update(component, wasm, ephemeral=ephemeral, env=env)

    async def components(self, name: str | None = None) -> list[ComponentInfo]:
        return await (self._components.all() if name is None else self._components.named(name))

    async def component_versions(self, component: ComponentId) -> list[ComponentInfo]:
        return await self._components.versions(component)

    async def component(self, component: ComponentId, version: int | None = None) -> ComponentInfo:
        return await self._components.version(component, version)

    async def component_file(self, component: ComponentId, version: int | None = None) -> Path:
        return await self._components.file(component, version)

    def compilation(self, sha256: bytes) -> CompilationState | None:
        return self._local.compilation(sha256)

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
        target = WorkerId(component, self._uuid() if worker is None else worker)
        key = self._uuid() if idempotency_key is None else idempotency_key

        async def here() -> InvocationResult:
            return await self._local.invoke(component, target.name, function, params, idempotency_key=key)

        async def there() -> InvocationResult:
            with self._bodies.lend(params_text(params)) as body:
                outcome = await self._primaries.ask_to_invoke(o.Invoke(target, function, body, key))
            return InvocationResult(outcome.type, await self._value(outcome, target), target)

        return await self._primaries.do(target.key, here, there)

    async def enqueue(
        self,
        component: ComponentId,
        worker: str | None,
        function: str,
        params: Any,
        *,
        idempotency_key: str | None = None,
    ) -> WorkerId:
        target = WorkerId(component, self._uuid() if worker is None else worker)
        key = self._uuid() if idempotency_key is None else idempotency_key

        async def here() -> WorkerId:
            return await self._local.enqueue(component, target.name, function, params, idempotency_key=key)

        async def there() -> WorkerId:
            with self._bodies.lend(params_text(params)) as body:
                enqueue = o.Enqueue(target, function, body, key)
                await self._primaries.ask(enqueue, key=invocation_key("enqueue", target, key), deadline_s=WORK_S)
            return target

        return await self._primaries.do(target.key, here, there)

    async def _value(self, outcome: o.Outcome, worker: WorkerId) -> Any:
        """The value of a result, checked against its type: it comes from another node."""
        data = await self._bodies.take(outcome.value, bytes_max=VALUE_BYTES_MAX, others=self._holders(worker))
        try:
            value = loads(data, what="result")
            return None if outcome.type is None else check(outcome.type, value, "result")
        except (DataDamaged, ValueMismatch) as error:
            raise malformed(str(error)) from error

    # -- workers --------------------------------------------------------------------------------------------------------

    async def create_worker(
        self, worker: WorkerId, *, args: Sequence[str] = (), env: dict[str, str] | None = None
    ) -> WorkerMetadata:
        check_environment(args, env or {})
        key = self._primaries.fresh_key()

        async def here() -> WorkerMetadata:
            return await self._local.create_worker(worker, args=args, env=env, request_key=key)

        operation = o.CreateWorker(worker, tuple(args), tuple((env or {}).items()))
        created: WorkerMetadata = await self._primaries.do_or_ask(operation, here, key=key)
        return created

    async def worker(self, worker: WorkerId) -> WorkerMetadata:
        here = partial(self._local.worker, worker)
        found: WorkerMetadata = await self._primaries.do_or_ask(o.DescribeWorker(worker), here)
        return found

    async def workers(
        self, component: ComponentId, *, filter: WorkerFilter | None = None, cursor: str | None = None, count: int = 50
    ) -> WorkersPage:
        after = "" if cursor is None else self._name_in(cursor)
        await self._local.component(component, 0)  # raises ``ComponentNotFound``
        listing = ListWorkers(component, filter, after, min(max(count, 1), PAGE_MAX))
        found, end = await self._gathering.workers(listing)
        return WorkersPage(tuple(found), None if end is None else self._cursor_mark + end)

    def _name_in(self, cursor: str) -> str:
        """The worker name in a cursor of this mesh."""
        if not cursor.startswith(self._cursor_mark):
            raise MalformedRequest("this cursor is none that a listing of this mesh handed out")
        return cursor.removeprefix(self._cursor_mark)

    async def delete_worker(self, worker: WorkerId) -> None:
        await self._primaries.do_or_ask(o.DeleteWorker(worker), lambda: self._local.delete_worker(worker))

    async def interrupt_worker(self, worker: WorkerId, *, recover_immediately: bool = False) -> None:
        await self._primaries.do_or_ask(
            o.InterruptWorker(worker, recover_immediately),
            lambda: self._local.interrupt_worker(worker, recover_immediately=recover_immediately),
        )

    async def resume_worker(self, worker: WorkerId) -> None:
        await self._primaries.do_or_ask(o.ResumeWorker(worker), lambda: self._local.resume_worker(worker))

    async def cancel_invocation(self, worker: WorkerId, idempotency_key: str) -> bool:
        canceled: bool = await self._primaries.do_or_ask(
            o.CancelInvocation(worker, idempotency_key), lambda: self._local.cancel_invocation(worker, idempotency_key)
        )
        return canceled

    async def complete_promise(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool:
        return await self.promises.complete(worker, oplog_index, data)

    async def oplog(self, worker: WorkerId, *, first: int = 1, count: int = 100) -> OplogPage:
        count = min(max(count, 1), PAGE_MAX)
        return await self._primaries.do(
            worker.key,
            lambda: self._local.oplog(worker, first=first, count=count),
            lambda: self._oplog_there(worker, max(first, 1), count),
        )

    async def _oplog_there(self, worker: WorkerId, first: int, count: int) -> OplogPage:
        """A page in as many parts as it takes."""
        entries: list[tuple[int, e.Entry]] = []
        while True:
            asked = o.ReadOplog(worker, first + len(entries), count - len(entries))
            answer = await self._primaries.answer(asked)
            part: o.OplogSlice = answer.value
            for index, entry in part.entries:
                entries.append((index, await self._inlined(entry, answer.node, worker)))
            if part.next_index is None or not part.entries or len(entries) >= count:
                break
        info = await self._local.component(worker.component, part.version)
        return OplogPage(tuple(entries), part.next_index, first, part.last_index, info)

    async def _inlined(self, entry: e.Entry, holder: bytes, worker: WorkerId) -> e.Entry:
        name = payload_field(entry)
        reference = None if name is None else getattr(entry, name)
        if name is None or not isinstance(reference, e.BlobRef):
            return entry
        lent = o.Lent(reference.sha256, reference.size_bytes, holder)
        data = await self._bodies.take(lent, bytes_max=BODY_BYTES_MAX, others=self._holders(worker))
        return entry._replace(**{name: data})

    def _holders(self, worker: WorkerId) -> Sequence[bytes]:
        """Who has the blobs of the worker's log, too."""
        return self._mesh.holders(worker.key.shard(self._mesh.shards_count))

    def close_streams(self) -> None:
        """End the events of all who listen at this node, of whatever worker: it is going to stop."""
        self._watching.close()

    def connect(self, worker: WorkerId) -> AbstractAsyncContextManager[AsyncIterator[WorkerEvent]]:
        return self._watching.connect(worker)

    # -- the node -------------------------------------------------------------------------------------------------------

    def node_info(self) -> NodeInfo:
        return self._local.node_info()

    def statistics(self) -> dict[str, float]:
        return {
            **self._local.statistics(),
            **self._forwards.statistics(),
            "requests_done_here_total": float(self._primaries.here_total),
            "requests_forwarded_total": float(self._primaries.asked_total),
            "request_bodies_bytes": float(self._bodies.lent_bytes),
            "workers_watched": float(self._watching.watched_count),
        }

    def primary(self, worker: WorkerId) -> str | None:
        """Where the node that leads the worker's shard serves HTTP, as far as this node knows: a hint for clients that want to go there
        themselves."""
        return self._primaries.http_of(worker)

    def _uuid(self) -> str:
        """A random UUID (version 4) as text; made here, since the class costs four times as much."""
        data = self._random_bytes(16)
        digits = data.hex()
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[data[8] & 3]}{digits[17:20]}-{digits[20:]}"


class Routed(NamedTuple):
    """``serve_forward``: of requests that other nodes forward to this one; ``calls``: who serves which kind of call."""

    client: MeshClient
    serve_forward: Callable[[int, str, bytes], Awaitable[bytes]]
    calls: Mapping[int, Serve]


def routed(
    local: Local,
    mesh: Mesh,
    storage: Storage,
    blobs: Blobs,
    *,
    spawn: Callable[..., None],
    random_bytes: RandomBytes,
    component_id: Callable[[str], ComponentId],
    mesh_id: bytes,
    http: Callable[[], str],
) -> Routed:
    """The node's part in answering for the whole mesh. ``component_id``: of a name, in this mesh; ``http``: where this node serves
    HTTP for others, ``""`` if nowhere or not yet; ``spawn``: starts a task in the node's nursery."""
    bodies = Bodies(mesh, storage)
    primaries = Primaries(mesh, random_bytes=random_bytes, http=http)
    gathering = Gathering(local, mesh, http=http, learn=primaries.learn)
    watching = Watching(local, mesh, locate=primaries.locate, spawn=spawn)
    forwards = Forwards(local, mesh, bodies, blobs, component_id=component_id, http=http)
    client = MeshClient(
        local,
        mesh,
        primaries=primaries,
        bodies=bodies,
        components=MeshComponents(local, mesh, blobs, primaries, gathering, id_of=component_id),
        gathering=gathering,
        watching=watching,
        forwards=forwards,
        promises=MeshPromises(local, mesh, primaries, bodies),
        random_bytes=random_bytes,
        mesh_id=mesh_id,
    )
    calls = {
        call_kinds.EVENTS: watching.serve,
        call_kinds.LISTING: gathering.serve,
        call_kinds.BODY: bodies.serve,
    }
    return Routed(client, forwards.serve, calls)
