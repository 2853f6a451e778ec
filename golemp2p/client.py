"""What an application or the gateway calls: the whole of golemp2p's service, whichever node does the work.

``Client`` is the contract; ``golemp2p.drivers.service.LocalClient`` serves it from the node itself. Everything here may raise
any ``Golemp2pError``; bad input raises a ``UsageError`` before anything changes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from golemp2p.model.entries import Entry
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.worker import ComponentInfo, InvocationResult, WorkerEvent, WorkerFilter, WorkerMetadata
from golemp2p.ports import CompilationState


class WorkersPage(NamedTuple):
    """``cursor`` continues the listing; ``None`` at its end. A page may be shorter than asked."""

    workers: tuple[WorkerMetadata, ...]
    cursor: str | None


class OplogPage(NamedTuple):
    """``entries`` are (index, entry) with payloads inlined; ``next_index`` is ``None`` at the end of the log."""

    entries: tuple[tuple[int, Entry], ...]
    next_index: int | None
    first_index: int
    last_index: int
    info: ComponentInfo


class NodeInfo(NamedTuple):
    node: str
    version: str
    mesh: str
    started_ns: int


class Client(Protocol):
    # components
    async def add_component(
        self, name: str, wasm: bytes, *, ephemeral: bool = False, env: dict[str, str] | None = None
    ) -> ComponentInfo:
        """Version 0 of a new component; returns when compiled. Raises ``ComponentAlreadyExists``, ``InvalidComponent``."""
        ...

    async def update_component(
        self, component: ComponentId, wasm: bytes, *, ephemeral: bool | None = None, env: dict[str, str] | None = None
    ) -> ComponentInfo:
        """One version more. ``None`` keeps what the latest version has."""
        ...

    async def components(self, name: str | None = None) -> list[ComponentInfo]:
        """All versions of all components, or of the one called ``name`` (``[]`` when unknown)."""
        ...

    async def component_versions(self, component: ComponentId) -> list[ComponentInfo]: ...

    async def component(self, component: ComponentId, version: int | None = None) -> ComponentInfo:
        """``None`` means the latest version."""
        ...

    async def component_file(self, component: ComponentId, version: int | None = None) -> Path: ...

    def compilation(self, sha256: bytes) -> CompilationState | None: ...

    # workers
    async def create_worker(
        self, worker: WorkerId, *, args: Sequence[str] = (), env: dict[str, str] | None = None
    ) -> WorkerMetadata:
        """Raises ``WorkerAlreadyExists``."""
        ...

    async def invoke(
        self,
        component: ComponentId,
        worker: str | None,
        function: str,
        params: Any,
        *,
        idempotency_key: str | None = None,
    ) -> InvocationResult:
        """Invoke and wait. ``worker`` ``None``: a fresh one. ``params`` is the JSON ``params`` value as received: a list whose
        elements are bare values, ``{"value": v}`` or ``{"typ": t, "value": v}``. ``function`` may be a short form."""
        ...

    async def enqueue(
        self,
        component: ComponentId,
        worker: str | None,
        function: str,
        params: Any,
        *,
        idempotency_key: str | None = None,
    ) -> WorkerId:
        """Returns when the invocation is durably accepted."""
        ...

    async def worker(self, worker: WorkerId) -> WorkerMetadata: ...

    async def workers(
        self, component: ComponentId, *, filter: WorkerFilter | None = None, cursor: str | None = None, count: int = 50
    ) -> WorkersPage: ...

    async def delete_worker(self, worker: WorkerId) -> None: ...

    async def interrupt_worker(self, worker: WorkerId, *, recover_immediately: bool = False) -> None:
        """``recover_immediately`` simulates a crash: the worker replays and goes on; awaiting callers notice nothing."""
        ...

    async def resume_worker(self, worker: WorkerId) -> None: ...

    async def cancel_invocation(self, worker: WorkerId, idempotency_key: str) -> bool:
        """True when it was still pending. Raises ``InvocationNotFound``."""
        ...

    async def complete_promise(self, worker: WorkerId, oplog_index: int, data: bytes) -> bool:
        """False when it was completed before. Raises ``PromiseNotFound``."""
        ...

    async def oplog(self, worker: WorkerId, *, first: int = 1, count: int = 100) -> OplogPage: ...

    def connect(self, worker: WorkerId) -> AbstractAsyncContextManager[AsyncIterator[WorkerEvent]]:
        """The worker's events: first up to 128 recent ones, then live. Raises ``WorkerNotFound`` on entering."""
        ...

    # the node
    def node_info(self) -> NodeInfo: ...

    def statistics(self) -> dict[str, float]:
        """Counters and gauges by metric name (without the ``golemp2p_`` prefix); names ending in ``_total`` are counters."""
        ...
