"""A log's head: what listings and a restarting node must know of a worker without reading its log.

The summary is a CBOR array, written with every segment, so it is kept small and flat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from golemp2p.core.worker_state import WorkerState
from golemp2p.errors import DataDamaged
from golemp2p.model.ids import ComponentId, Key, WorkerId
from golemp2p.model.worker import OwnedResource, WorkerMetadata, WorkerStatus
from golemp2p.ports import LogHead
from golemp2p.values.cbor import dumps, loads
from golemp2p.wire.schema import short

WORKER = "worker"

ERROR_BYTES_MAX = 4 << 10
RESOURCES_MAX = 256
RESOURCES_BYTES_MAX = 32 << 10
"""Of a guest that never drops what it creates, the oldest are shown. With arguments and environment, which are checked when a worker is
created, a summary stays below what a description may have (``model.replication.DESCRIPTION_BYTES_MAX``)."""


def head_of(key: Key, identity: str, shard: int, state: WorkerState) -> LogHead:
    """The head that goes with everything appended so far; its hash is filled in by whoever seals. ``identity``: the worker's
    id as text, which ``key`` is made of."""
    return LogHead(
        key=key,
        kind=WORKER,
        identity=identity,
        shard=shard,
        tail=state.tail,
        head_hash=b"",
        has_open_work=state.has_open_work,
        wake_ns=state.wake_ns if state.suspended and not state.interrupted else None,
        summary=_encode(state),
    )


def worker_of(head: LogHead) -> WorkerId:
    component, _, name = head.identity.partition("/")
    return WorkerId(ComponentId.parse(component), name)


def metadata_of(worker: WorkerId, state: WorkerState) -> WorkerMetadata:
    """As users see it."""
    create = state.create
    assert create is not None
    return WorkerMetadata(
        worker=worker,
        args=tuple(create.args),
        env=tuple((name, value) for name, value in create.env),
        status=state.status,
        component_version=create.component_version,
        retry_count=state.failures,
        pending_invocations=len(state.pending),
        created_ns=create.time_ns,
        last_error=_shortened(state.last_error),
        component_size=create.component_size,
        memory_bytes=state.memory_bytes,
        resources=tuple(_shown(state.resources)),
    )


def metadata_from(head: LogHead) -> WorkerMetadata:
    """The same, from the head alone. Raises ``DataDamaged``."""
    try:
        create, status, retries, pending, error, memory, resources = loads(head.summary)
        created_ns, version, size, args, env = create
        return WorkerMetadata(
            worker=worker_of(head),
            args=tuple(args),
            env=tuple((name, value) for name, value in env),
            status=WorkerStatus(status),
            component_version=version,
            retry_count=retries,
            pending_invocations=pending,
            created_ns=created_ns,
            last_error=error,
            component_size=size,
            memory_bytes=memory,
            resources=tuple(
                (number, OwnedResource(created, name, tuple(params) if params is not None else None))
                for number, created, name, params in resources
            ),
        )
    except (ValueError, TypeError) as error:
        raise DataDamaged(f"{head.kind} {head.identity}", f"its summary cannot be read: {error}") from error


def _encode(state: WorkerState) -> bytes:
    create = state.create
    assert create is not None
    return dumps(
        (
            (create.time_ns, create.component_version, create.component_size, create.args, create.env),
            state.status.value,
            state.failures,
            len(state.pending),
            _shortened(state.last_error),
            state.memory_bytes,
            [(number, *resource) for number, resource in _shown(state.resources)],
        )
    )


def _shortened(error: str | None) -> str | None:
    return None if error is None else short(error, ERROR_BYTES_MAX)


def _shown(resources: Mapping[int, OwnedResource]) -> Iterator[tuple[int, OwnedResource]]:
    left = RESOURCES_BYTES_MAX
    for number, resource in islice(resources.items(), RESOURCES_MAX):
        left -= sum(map(_size, (resource.name, *(resource.indexed_params or ()))))
        if left < 0:
            return
        yield number, resource


def _size(text: str) -> int:
    return 16 + len(text.encode("utf-8", "replace"))
