"""Workers and components as their users see them: metadata, status, filters, events."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NamedTuple, TypeAlias

from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.wit import ComponentType, Type


class WorkerStatus(Enum):
    """Ordered as Golem orders them for ``ge``/``lt`` filters."""

    RUNNING = "Running"
    IDLE = "Idle"
    SUSPENDED = "Suspended"
    INTERRUPTED = "Interrupted"
    RETRYING = "Retrying"
    FAILED = "Failed"
    EXITED = "Exited"


class OwnedResource(NamedTuple):
    """A guest resource that lives in the worker. ``indexed_params``: WAVE texts, or ``None`` for one made explicitly."""

    created_ns: int
    name: str
    indexed_params: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class WorkerMetadata:
    worker: WorkerId
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    status: WorkerStatus
    component_version: int
    retry_count: int
    pending_invocations: int
    created_ns: int
    last_error: str | None
    component_size: int
    memory_bytes: int
    resources: tuple[tuple[int, OwnedResource], ...]


@dataclass(frozen=True, slots=True)
class ComponentInfo:
    """One version of a component."""

    component: ComponentId
    name: str
    version: int
    sha256: bytes
    size_bytes: int
    ephemeral: bool
    env: tuple[tuple[str, str], ...]
    created_ns: int
    type: ComponentType
    memory_initial: int


Comparator: TypeAlias = Literal["eq", "ne", "ge", "gt", "le", "lt", "like", "notlike", "startswith"]


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """``field``: name, status, version, createdAt (value: ISO 8601 text) or ``env.KEY``. ``like`` means "contains"."""

    field: str
    comparator: Comparator
    value: str


@dataclass(frozen=True, slots=True)
class AllOf:
    filters: tuple[WorkerFilter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    filters: tuple[WorkerFilter, ...]


@dataclass(frozen=True, slots=True)
class NotFilter:
    filter: WorkerFilter


WorkerFilter: TypeAlias = FieldFilter | AllOf | AnyOf | NotFilter


class InvocationResult(NamedTuple):
    """``type`` is ``None`` for functions without a result. ``value`` as in ``model.wit``; handles are worker resource numbers,
    of ``worker``: who computed it, told at least when the caller named no worker."""

    type: Type | None
    value: Any
    worker: WorkerId | None = None


class WorkerEvent(NamedTuple):
    """``kind``: stdout, stderr, log, invocation-start, invocation-finished, close. Unused fields are empty."""

    kind: str
    time_ns: int
    level: str = ""
    context: str = ""
    message: str = ""
    function: str = ""
    idempotency_key: str = ""
