"""A client without a node behind it, for tests and benchmarks of the HTTP edge.

Infidelities:

* nothing is durable, compiled or checked: any bytes that start like WebAssembly are a component, all with the type given;
* functions are Python callables from parameters (bare values) to the result value; they never suspend, trap only by raising;
* invocations of one worker are not queued: they run as they come, and every worker is always Idle;
* filters look at names only (``eq``, ``ne``, ``like``, ``notlike``, ``startswith``) and combinations of these;
* time stands still at ``NOW_NS``; listing cursors are worker names; events come only from ``emit``.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from golemp2p.client import NodeInfo, OplogPage, WorkersPage
from golemp2p.errors import (
    ComponentAlreadyExists,
    ComponentNotFound,
    FunctionNotFound,
    InvalidComponent,
    InvocationNotFound,
    MalformedRequest,
    PromiseNotFound,
    WorkerAlreadyExists,
    WorkerNotFound,
    WrongArity,
)  # fmt: skip
from golemp2p.model.entries import Create, Entry
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.wit import ComponentType, Function, Interface, Primitive, Type
from golemp2p.model.worker import (
    AllOf,
    AnyOf,
    ComponentInfo,
    FieldFilter,
    InvocationResult,
    NotFilter,
    WorkerEvent,
    WorkerFilter,
    WorkerMetadata,
    WorkerStatus,
)  # fmt: skip
from golemp2p.ports import CompilationState

NOW_NS = 1_700_000_000_123_456_789
MESH = bytes(32)
U64 = Primitive("u64")

ADDER = ComponentType(
    imports=(Interface("wasi:clocks/wall-clock@0.2.3", (Function("now", (), U64),)),),
    exports=(Interface("demo:adder/api@1.0.0", (Function("add", (("a", U64), ("b", U64)), U64),)),),
)

Body = Callable[..., Any]


class FakeClient:
    """``functions``: name as asked for -> (arity, result type, callable). A callable may be async."""

    def __init__(self, component_type: ComponentType = ADDER) -> None:
        self.component_type = component_type
        self.functions: dict[str, tuple[int, Type | None, Body]] = {
            "demo:adder/api@1.0.0.{add}": (2, U64, lambda a, b: a + b),
            "add": (2, U64, lambda a, b: a + b),
        }
        self.versions: dict[ComponentId, list[ComponentInfo]] = {}
        self.binaries: dict[bytes, bytes] = {}
        self.compilations: dict[bytes, CompilationState] = {}
        self.metadata: dict[WorkerId, WorkerMetadata] = {}
        self.oplogs: dict[WorkerId, list[Entry]] = {}
        self.promises: dict[tuple[WorkerId, int], bytes | None] = {}
        self.pending: dict[tuple[WorkerId, str], bool] = {}
        self.listeners: dict[WorkerId, list[trio.MemorySendChannel[WorkerEvent]]] = {}
        self.export_failure: Exception | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.on_call: Callable[[str], Awaitable[None]] | None = None

    # components

    async def add_component(
        self, name: str, wasm: bytes, *, ephemeral: bool = False, env: dict[str, str] | None = None
    ) -> ComponentInfo:
        component = ComponentId.of(MESH, name)
        if component in self.versions:
            raise ComponentAlreadyExists(f"component {name!r} exists")
        return self._append(component, name, wasm, ephemeral, env or {})

    async def update_component(
        self, component: ComponentId, wasm: bytes, *, ephemeral: bool | None = None, env: dict[str, str] | None = None
    ) -> ComponentInfo:
        latest = await self.component(component)
        return self._append(
            component, latest.name, wasm,
            latest.ephemeral if ephemeral is None else ephemeral,
            dict(latest.env) if env is None else env,
        )  # fmt: skip

    def _append(self, component: ComponentId, name: str, wasm: bytes, ephemeral: bool, env: dict[str, str]) -> ComponentInfo:
        if not wasm.startswith(b"\0asm"):
            raise InvalidComponent("not a WebAssembly component")
        versions = self.versions.setdefault(component, [])
        digest = hashlib.sha256(wasm).digest()
        self.binaries[digest] = wasm
        info = ComponentInfo(
            component, name, len(versions), digest, len(wasm), ephemeral, tuple(env.items()), NOW_NS,
            self.component_type, 65536,
        )  # fmt: skip
        versions.append(info)
        return info

    async def components(self, name: str | None = None) -> list[ComponentInfo]:
        return [info for versions in self.versions.values() for info in versions if name in {None, info.name}]

    async def component_versions(self, component: ComponentId) -> list[ComponentInfo]:
        try:
            return list(self.versions[component])
        except KeyError:
            raise ComponentNotFound(f"no component {component}") from None

    async def component(self, component: ComponentId, version: int | None = None) -> ComponentInfo:
        versions = await self.component_versions(component)
        if version is not None and version >= len(versions):
            raise ComponentNotFound(f"component {component} has no version {version}")
        return versions[-1 if version is None else version]

    async def component_file(self, component: ComponentId, version: int | None = None) -> Path:
        wasm = self.binaries[(await self.component(component, version)).sha256]
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(wasm)
        return Path(file.name)

    def compilation(self, sha256: bytes) -> CompilationState | None:
        return self.compilations.get(sha256)

    # workers

    async def create_worker(
        self, worker: WorkerId, *, args: Sequence[str] = (), env: dict[str, str] | None = None
    ) -> WorkerMetadata:
        if worker in self.metadata:
            raise WorkerAlreadyExists(f"worker {worker} exists")
        info = await self.component(worker.component)
        created = WorkerMetadata(
            worker, tuple(args), tuple((env or {}).items()), WorkerStatus.IDLE, info.version, 0, 0, NOW_NS, None,
            info.size_bytes, info.memory_initial, (),
        )  # fmt: skip
        self.metadata[worker] = created
        self.oplogs[worker] = [
            Create(
                NOW_NS, str(worker.component), worker.name, info.version, created.args, created.env, None,
                info.size_bytes, info.ephemeral, "", info.memory_initial,
            )
        ]  # fmt: skip
        return created

    async def _target(self, component: ComponentId, worker: str | None) -> WorkerId:
        await self.component(component)
        target = WorkerId(component, f"fresh-{len(self.calls)}" if worker is None else worker)
        if target not in self.metadata:
            await self.create_worker(target)
        return target

    async def invoke(
        self, component: ComponentId, worker: str | None, function: str, params: Any, *, idempotency_key: str | None = None
    ) -> InvocationResult:
        target = await self._target(component, worker)
        if function not in self.functions:
            raise FunctionNotFound(f"no function {function!r}")
        arity, result, body = self.functions[function]
        if not isinstance(params, list):
            raise MalformedRequest("params must be a list")
        if len(params) != arity:
            raise WrongArity(f"{function} takes {arity} parameters, got {len(params)}")
        self.calls.append((target, function, params, idempotency_key))
        if self.on_call is not None:
            await self.on_call(function)
        value = body(*(p["value"] if isinstance(p, dict) and "value" in p else p for p in params))
        return InvocationResult(result, await value if hasattr(value, "__await__") else value, target)

    async def enqueue(
        self, component: ComponentId, worker: str | None, function: str, params: Any, *, idempotency_key: str | None = None
    ) -> WorkerId:
        await self.invoke(component, worker, function, params, idempotency_key=idempotency_key)
        target: WorkerId = self.calls[-1][0]
        return target

    async def worker(self, worker: WorkerId) -> WorkerMetadata:
        try:
            return self.metadata[worker]
        except KeyError:
            raise WorkerNotFound(f"no worker {worker}") from None

    async def workers(
        self, component: ComponentId, *, filter: WorkerFilter | None = None, cursor: str | None = None, count: int = 50
    ) -> WorkersPage:
        await self.component(component)
        found = [
            metadata
            for worker, metadata in sorted(self.metadata.items())
            if worker.component == component and (cursor is None or worker.name > cursor) and _matches(filter, worker.name)
        ]
        page = tuple(found[:count])
        return WorkersPage(page, page[-1].worker.name if len(found) > count else None)

    async def delete_worker(self, worker: WorkerId) -> None:
        await self.worker(worker)
        del self.metadata[worker], self.oplogs[worker]

    async def interrupt_worker(self, worker: WorkerId, *, recover_immediately: bool = False) -> None:
        metadata = await self.worker(worker)
        if not recover_immediately:
            self.metadata[worker] = replace(metadata, status=WorkerStatus.INTERRUPTED)
        self.calls.append(("interrupt", worker, recover_immediately))

    async def resume_worker(self, worker: WorkerId) -> None:
        self.metadata[worker] = replace(await self.worker(worker), status=WorkerStatus.IDLE)

    async def cancel_invocation(self, worker: WorkerId, idempotency_key: str) -> bool:
        await self.worker(worker)
        if (worker, idempotency_key) not in self.pending:
            raise InvocationNotFound(f"no invocation {idempotency_key!r}")
        return self.pending[worker, idempotency_key]

    async def complete_promise(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool:
        if (worker, oplog_index) not in self.promises:
            raise PromiseNotFound(f"no promise {oplog_index} of {worker}")
        if self.promises[worker, oplog_index] is not None:
            return False
        self.promises[worker, oplog_index] = data
        return True

    async def oplog(self, worker: WorkerId, *, first: int = 1, count: int = 100) -> OplogPage:
        await self.worker(worker)
        entries = self.oplogs[worker]
        chosen = tuple(enumerate(entries, 1))[first - 1 : first - 1 + count]
        last = chosen[-1][0] if chosen else first - 1
        info = await self.component(worker.component)
        return OplogPage(chosen, last + 1 if last < len(entries) else None, first, len(entries), info)

    async def export_worker(self, worker: WorkerId, *, with_component: bool = True) -> AsyncGenerator[bytes, None]:
        """``client.Histories``: the worker's name, then that of its component, then what ``export_failure`` says."""
        await self.worker(worker)

        async def pieces() -> AsyncGenerator[bytes, None]:
            yield worker.name.encode()
            if self.export_failure is not None:
                raise self.export_failure
            if with_component:
                yield str(worker.component).encode()

        return pieces()

    @asynccontextmanager
    async def connect(self, worker: WorkerId) -> AsyncIterator[AsyncIterator[WorkerEvent]]:
        await self._target(worker.component, worker.name)
        send, receive = trio.open_memory_channel[WorkerEvent](10_000)
        self.listeners.setdefault(worker, []).append(send)
        try:
            yield receive
        finally:
            self.listeners[worker].remove(send)

    def emit(self, worker: WorkerId, event: WorkerEvent) -> None:
        for listener in self.listeners.get(worker, []):
            listener.send_nowait(event)

    # the node

    def node_info(self) -> NodeInfo:
        return NodeInfo("node:" + "00" * 20, "0.1.0", "mesh", NOW_NS)

    def statistics(self) -> dict[str, float]:
        return {"invocations_total": float(len(self.calls)), "workers_loaded": float(len(self.metadata))}


def _matches(filter: WorkerFilter | None, name: str) -> bool:
    match filter:
        case None:
            return True
        case AllOf(filters):
            return all(_matches(child, name) for child in filters)
        case AnyOf(filters):
            return any(_matches(child, name) for child in filters)
        case NotFilter(child):
            return not _matches(child, name)
        case FieldFilter("name", comparator, value):
            hit = {"eq": name == value, "ne": name != value, "like": value in name, "notlike": value not in name}
            return hit.get(comparator, name.startswith(value))
        case _:
            raise NotImplementedError(f"the fake filters by name only, not {filter}")
