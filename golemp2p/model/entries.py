"""Oplog entries: what a worker's history is made of.

Each entry is a named tuple whose first field is its time (nanoseconds since the Unix epoch, UTC; for people only, nothing
decides by it). A named tuple because entries are made on the hot path: building and encoding one costs half of what a frozen
dataclass costs. ``KIND`` is the number on disk; numbers are never reused.

*Hints* (``HINT = True``) describe what happened around the execution and are skipped by replay; all other entries are
consumed by replay one by one, in order. Kinds and meanings follow Golem 1.2 where it has them; entries marked * are ours.

A ``Payload`` is an encoded value: CBOR bytes (``golemp2p.values.cbor``), or a ``BlobRef`` when larger than 64 KiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias


class BlobRef(NamedTuple):
    """A payload kept outside the log, addressed by content."""

    sha256: bytes
    size_bytes: int


Payload: TypeAlias = bytes | BlobRef

FunctionType: TypeAlias = Literal["pure", "read-local", "write-local", "read-remote", "write-remote", "write-remote-batched"]


class RetryPolicy(NamedTuple):
    """Delay before attempt n (n >= 1): min(delay_max, delay_min * multiplier^(n-1)), times 1 + jitter * random."""

    attempts_max: int = 3
    delay_min_s: float = 0.1
    delay_max_s: float = 1.0
    multiplier: float = 3.0
    jitter: float | None = 0.15


class Create(NamedTuple):
    """Index 1 of every worker's log. ``request_key``: of the request that made it, so that the same request makes it once."""

    time_ns: int
    component_id: str
    worker_name: str
    component_version: int
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    parent: str | None
    component_size: int
    ephemeral: bool
    created_by: str
    memory_initial: int
    request_key: str = ""


class ExportedFunctionInvoked(NamedTuple):
    """``function`` is the canonical name ``ns:pkg/iface@v.{fn}``; ``request`` the encoded tuple of arguments."""

    time_ns: int
    function: str
    idempotency_key: str
    request: Payload


class ExportedFunctionCompleted(NamedTuple):
    """``response`` encodes the result value (null when the function has none). ``outcome`` is the ``error`` text when the
    invocation was refused in a way that is itself a result (bad arguments found by the guest), else ``None``."""

    time_ns: int
    response: Payload
    consumed_fuel: int


class ImportedFunctionInvoked(NamedTuple):
    """A host call. ``request_hash``: 16-byte BLAKE2b over the encoded arguments; replay compares name and hash."""

    time_ns: int
    function: str
    function_type: str
    request_hash: bytes
    response: Payload


class BeginRemoteWrite(NamedTuple):
    time_ns: int


class EndRemoteWrite(NamedTuple):
    time_ns: int
    begin_index: int


class BeginAtomicRegion(NamedTuple):
    time_ns: int


class EndAtomicRegion(NamedTuple):
    time_ns: int
    begin_index: int


class Jump(NamedTuple):
    """Entries ``start`` to ``end`` (inclusive) are skipped from now on."""

    time_ns: int
    start: int
    end: int


class NoOp(NamedTuple):
    """Marks an index: create-promise and get-oplog-index write one."""

    time_ns: int


class ChangeRetryPolicy(NamedTuple):
    time_ns: int
    policy: RetryPolicy


class Suspend(NamedTuple):
    """The worker was unloaded while waiting. ``wake_ns``: wall-clock time to wake at, or ``None`` (a promise wakes it)."""

    time_ns: int
    wake_ns: int | None


class Interrupted(NamedTuple):
    time_ns: int


class Resumed(NamedTuple):
    """* An interrupted or suspended worker goes on: it was told to, or the time it waited for has come."""

    time_ns: int


class Exited(NamedTuple):
    time_ns: int
    status: int


class Failed(NamedTuple):
    """Golem's ``Error``: an execution failed. ``retried`` tells whether the retry policy allowed another try; if not,
    the worker is failed for good and every pending invocation fails with it."""

    time_ns: int
    code: str
    message: str
    retried: bool


class PendingInvocation(NamedTuple):
    """Golem's ``PendingWorkerInvocation``: accepted and queued; the order of these entries is the order of execution."""

    time_ns: int
    function: str
    idempotency_key: str
    request: Payload


class CancelPendingInvocation(NamedTuple):
    time_ns: int
    idempotency_key: str


class InvocationRefused(NamedTuple):
    """* A started or pending invocation ended with an error that leaves the worker usable (an unknown resource, say)."""

    time_ns: int
    idempotency_key: str
    code: str
    message: str


class GrowMemory(NamedTuple):
    time_ns: int
    delta_bytes: int


class CreateResource(NamedTuple):
    time_ns: int
    resource: int
    name: str


class DescribeResource(NamedTuple):
    """``params`` are WAVE texts: the indexed resource ``name(params...)`` lives under handle ``resource``."""

    time_ns: int
    resource: int
    name: str
    params: tuple[str, ...]


class DropResource(NamedTuple):
    time_ns: int
    resource: int


class Log(NamedTuple):
    """``level``: stdout, stderr, trace, debug, info, warn, error or critical."""

    time_ns: int
    level: str
    context: str
    message: str


class Restart(NamedTuple):
    time_ns: int


class PromiseCreated(NamedTuple):
    """* The NoOp at ``promise_index`` names a promise (other NoOps only mark an index)."""

    time_ns: int
    promise_index: int


class PromiseCompleted(NamedTuple):
    """* The promise created at ``promise_index`` of this log has its value."""

    time_ns: int
    promise_index: int
    data: Payload


class PromiseDeleted(NamedTuple):
    """* The promise created at ``promise_index`` is gone."""

    time_ns: int
    promise_index: int


class ComponentVersionAdded(NamedTuple):
    """* The one entry of a component's log: version n is the n-th, counting from 0. ``type``: CBOR (``values.cbor_types``);
    ``metadata``: CBOR of [initial bytes of memory, key of the request that added it or ""]."""

    time_ns: int
    component_id: str
    name: str
    version: int
    sha256: bytes
    size_bytes: int
    ephemeral: bool
    env: tuple[tuple[str, str], ...]
    type: Payload
    metadata: Payload


class Elected(NamedTuple):
    """* The one entry of a shard's own log: who may append to the shard's logs from here on, and the votes that say so."""

    time_ns: int
    term: int
    certificate: bytes


Entry: TypeAlias = Any  # one of the classes below; the union is checked by KIND, a closed table

HINTS: frozenset[type] = frozenset(
    {
        Suspend, Interrupted, Resumed, Exited, Failed, PendingInvocation, CancelPendingInvocation, InvocationRefused,
        GrowMemory, CreateResource, DescribeResource, DropResource, Log, Restart, PromiseCreated,
        PromiseCompleted, PromiseDeleted,
    }
)  # fmt: skip


def blobs_named(entry: Entry) -> Iterator[BlobRef]:
    """The blobs that whoever keeps ``entry`` keeps too: large payloads, and the bytes of a component. Fields are flat, so the entry's
    own are all there is."""
    for field in entry:
        if field.__class__ is BlobRef:
            yield field
    if entry.__class__ is ComponentVersionAdded:
        yield BlobRef(entry.sha256, entry.size_bytes)


KINDS: dict[type, int] = {
    Create: 1, ExportedFunctionInvoked: 2, ExportedFunctionCompleted: 3, ImportedFunctionInvoked: 4,
    BeginRemoteWrite: 5, EndRemoteWrite: 6, BeginAtomicRegion: 7, EndAtomicRegion: 8, Jump: 9, NoOp: 10,
    ChangeRetryPolicy: 11, Suspend: 12, Interrupted: 13, Resumed: 14, Exited: 15, Failed: 16, PendingInvocation: 17,
    CancelPendingInvocation: 18, InvocationRefused: 19, GrowMemory: 20, CreateResource: 21, DescribeResource: 22,
    DropResource: 23, Log: 24, Restart: 25, PromiseCompleted: 26, PromiseDeleted: 27, PromiseCreated: 28,
    ComponentVersionAdded: 64, Elected: 65,
}  # fmt: skip
