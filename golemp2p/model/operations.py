"""What may be asked of the node that leads the shard of a worker or of a component, and what it answers.

    operation   names a log (``log_of``), and so the shard whose primary does it                  answer's value
    ---------   ------------------------------------------------------------------------------   ----------------------------
    Invoke, Enqueue                            an invocation, waited for or only accepted         ``Outcome``; ``None``
    CreateWorker, DescribeWorker               a worker, made or looked at                        ``WorkerMetadata``
    DeleteWorker, InterruptWorker, ResumeWorker                                                   ``None``
    CancelInvocation, CompletePromise          true: it was this that changed something           ``bool``
    ReadPromise, AwaitPromise                  its value, ``None``: not yet                       ``Body | None``
    DeletePromise                                                                                 ``None``
    ReadOplog                                  some entries                                       ``OplogSlice``
    AddComponent, UpdateComponent              a version more                                     ``int``, its number
    CountVersions                              of a component                                     ``int``

A *body* is bytes, or ``Lent``: too many to be carried, and to be fetched from who holds them while the request is under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from golemp2p.errors import Golemp2pError
from golemp2p.model.entries import Entry
from golemp2p.model.ids import ComponentId, Key, WorkerId
from golemp2p.model.wit import Type


class Lent(NamedTuple):
    """Bytes that ``holder`` (public key) has; named by their SHA-256."""

    sha256: bytes
    size_bytes: int
    holder: bytes


Body: TypeAlias = bytes | Lent


@dataclass(frozen=True, slots=True)
class Invoke:
    """``params``: the JSON text of ``Client.invoke``'s, in UTF-8 (with lone surrogates as JSON has them)."""

    worker: WorkerId
    function: str
    params: Body
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Enqueue:
    """As ``Invoke``; answered when it is durably accepted."""

    worker: WorkerId
    function: str
    params: Body
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class CreateWorker:
    worker: WorkerId
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DescribeWorker:
    worker: WorkerId


@dataclass(frozen=True, slots=True)
class DeleteWorker:
    worker: WorkerId


@dataclass(frozen=True, slots=True)
class InterruptWorker:
    worker: WorkerId
    recover_immediately: bool


@dataclass(frozen=True, slots=True)
class ResumeWorker:
    worker: WorkerId


@dataclass(frozen=True, slots=True)
class CancelInvocation:
    worker: WorkerId
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class CompletePromise:
    worker: WorkerId
    oplog_index: int
    data: Body


@dataclass(frozen=True, slots=True)
class ReadPromise:
    worker: WorkerId
    oplog_index: int


@dataclass(frozen=True, slots=True)
class AwaitPromise:
    """Answered when it has a value, or after a while."""

    worker: WorkerId
    oplog_index: int


@dataclass(frozen=True, slots=True)
class DeletePromise:
    worker: WorkerId
    oplog_index: int


@dataclass(frozen=True, slots=True)
class ReadOplog:
    """Entries ``first`` .. ``first + count - 1``; fewer come when they are large, at least one if there is one."""

    worker: WorkerId
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class AddComponent:
    """``component``: the id that belongs to ``name``. ``wasm``: a blob that its holder keeps for good."""

    component: ComponentId
    name: str
    wasm: Lent
    ephemeral: bool
    env: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class UpdateComponent:
    """``None``: as the version before."""

    component: ComponentId
    wasm: Lent
    ephemeral: bool | None
    env: tuple[tuple[str, str], ...] | None


@dataclass(frozen=True, slots=True)
class CountVersions:
    component: ComponentId


OnWorker: TypeAlias = (
    Invoke
    | Enqueue
    | CreateWorker
    | DescribeWorker
    | DeleteWorker
    | InterruptWorker
    | ResumeWorker
    | CancelInvocation
    | CompletePromise
    | ReadPromise
    | AwaitPromise
    | DeletePromise
    | ReadOplog
)
OnComponent: TypeAlias = AddComponent | UpdateComponent | CountVersions
Operation: TypeAlias = OnWorker | OnComponent


def component_log(component: ComponentId) -> Key:
    """The log that holds the versions of ``component``."""
    return Key.of("component", str(component))


def log_of(operation: Operation) -> Key:
    """Whose shard's primary does it."""
    if isinstance(operation, AddComponent | UpdateComponent | CountVersions):
        return component_log(operation.component)
    return operation.worker.key


class Outcome(NamedTuple):
    """The result of an invocation. ``type``: ``None`` for a function without one; ``value``: CBOR (``values.cbor``)."""

    type: Type | None
    value: Body


class OplogSlice(NamedTuple):
    """As ``client.OplogPage``, of which it may be a part. Payloads of entries are ``BlobRef`` where they are large: the answering
    node has them as blobs. ``version``: of the component, which the worker runs."""

    entries: tuple[tuple[int, Entry], ...]
    next_index: int | None
    first_index: int
    last_index: int
    version: int


class Done(NamedTuple):
    """``node``: public key of who answers; ``http``: where it serves HTTP, ``""`` if it does not say. ``value``: as the table above."""

    node: bytes
    http: str
    value: Any


class Refused(NamedTuple):
    """The operation failed, for good or for now, with ``error``."""

    node: bytes
    http: str
    error: Golemp2pError


Answer: TypeAlias = Done | Refused
