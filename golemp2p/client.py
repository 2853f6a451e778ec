"""What an application or the gateway calls: the whole of golemp2p's service, whichever node does the work.

``Client`` is the contract; ``drivers.routing.mesh_client.MeshClient`` serves it for the whole mesh. ``Histories`` gives away what
workers did, for whoever wants to check it. ``MeshAdmin`` is what a person asks of one node about the mesh, and has it do. Everything
here may raise any ``Golemp2pError``; bad input raises a ``UsageError`` before anything changes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
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


class Histories(Protocol):
    """The histories of the workers of the whole mesh, whichever nodes hold them. Served by ``golemp2p.drivers.histories.history``."""

    async def export_worker(self, worker: WorkerId, *, with_component: bool = True) -> AsyncGenerator[bytes, None]:
        """The worker's whole history as a file that anybody can check (``wire.history``), piece by piece: use it up, or close it.
        ``with_component``: and the bytes that it runs. Raises ``WorkerNotFound``, ``WorldError``, ``DataDamaged``; the pieces raise
        the two latter."""
        ...

    def statistics(self) -> dict[str, float]:
        """As ``Client.statistics``."""
        ...


# ------------------------------------------------------------------------------------------------------------ the mesh


class NodeStatus(NamedTuple):
    """This node's place in its mesh. ``node``: ``node:`` and 40 hex digits; ``public_key``: 32 bytes.

    ``state``: ``alone``, ``joining`` (nobody has let it in yet), ``member``, ``lonely`` (it hears nobody, and so serves nothing that
    others vote on), ``leaving``, ``left`` or ``removed``. ``addresses``: where other nodes reach it; ``http``: where its HTTP can be
    reached, as it tells others. ``shards_voting``: replicas with a vote, all of which must go before it can leave.
    ``keeps_operator_key``: whether ``forget`` and ``recover`` can be ordered here. ``health``: 0 is well, up to 8: slow or overloaded.
    """

    node: str
    public_key: bytes
    mesh: str
    state: str
    is_founder: bool
    keeps_operator_key: bool
    version: str
    started_ns: int
    addresses: tuple[str, ...]
    http: str
    domain: str
    weight: int
    incarnation: int
    health: int
    members_alive: int
    members_suspect: int
    members_dead: int
    shards_count: int
    shards_voting: int
    shards_learning: int
    shards_leading: int


class PeerInfo(NamedTuple):
    """A node as this one knows it. ``status``: ``alive``, ``suspect``, ``dead``, ``left``; ``since_s``: for how long. What only it can
    tell is ``None`` when it did not answer: ``version``, ``rtt_s``, ``shards_held``, ``shards_leading``; ``http`` is "" then."""

    node: str
    public_key: bytes
    is_self: bool
    status: str
    since_s: float
    addresses: tuple[str, ...]
    domain: str
    weight: int
    incarnation: int
    http: str
    version: str | None
    rtt_s: float | None
    shards_held: int | None
    shards_leading: int | None


class ShardInfo(NamedTuple):
    """A shard as a node that holds it sees it: ``seen_by``. Nodes by their ids; ``primary`` is "" while nobody is known to lead.

    ``role``: what ``seen_by`` is in it: ``primary``, ``candidate``, ``follower``, ``learner``. A shard that no node reported has no
    ``seen_by``, and 0 and "" elsewhere. ``position``: of the last entry; ``commit``: up to which position it is committed there."""

    shard: int
    primary: str
    term: int
    voters: tuple[str, ...]
    learners: tuple[str, ...]
    seen_by: str
    role: str
    is_serving: bool
    is_damaged: bool
    position: int
    commit: int


class RingNode(NamedTuple):
    """What the primaries say a node holds. ``share``: replicas that its weight would give it."""

    node: str
    status: str
    domain: str
    weight: int
    voting: int
    learning: int
    leading: int
    share: float


class Ring(NamedTuple):
    """``unled``: shards of which no node says that it leads them; ``silent``: members that did not answer in time."""

    nodes: tuple[RingNode, ...]
    shards_count: int
    unled: tuple[int, ...]
    silent: tuple[str, ...]


class MeshInvite(NamedTuple):
    """``text`` holds the mesh key: it is shown to who asked, and written nowhere. ``nodes``: (node id, addresses) of whom it names.
    ``is_local``: all addresses are of this machine, so that nobody else can use it."""

    text: str
    mesh: str
    nodes: tuple[tuple[str, tuple[str, ...]], ...]
    is_local: bool


class RecoveredShard(NamedTuple):
    """``branch``: name of the new history, hex. Entries after ``last_position`` may have been acknowledged and are missing; those from
    ``uncertain_from`` on are kept, though nobody knows whether they had been committed. ``lost``: voters that were given up."""

    shard: int
    branch: str
    uncertain_from: int
    last_position: int
    lost: tuple[str, ...]
    was_damaged: bool


class Recovery(NamedTuple):
    """``refused``: (shard, why not), nothing of which was changed."""

    recovered: tuple[RecoveredShard, ...]
    refused: tuple[tuple[int, str], ...]


class Figure(NamedTuple):
    """A metric of one shard or of one peer. Names without prefix; those that end in ``_total`` are counters."""

    name: str
    label: str
    of: str
    value: float


class MeshAdmin(Protocol):
    """Nodes are named by their id, by the first digits of it (at least 4), or by their public key in hex."""

    def status(self) -> NodeStatus: ...

    def figures(self) -> list[Figure]:
        """Of every shard that this node holds, and of every peer that it knows, as of now. Those of one name stand together."""
        ...

    async def peers(self) -> list[PeerInfo]:
        """All members and those that left or died lately, this node first. Asks each of them; takes two seconds if one is silent."""
        ...

    async def shards(self, *, everywhere: bool = False) -> list[ShardInfo]:
        """In order: those this node holds; or every shard of the mesh, as its primary sees it where one answered."""
        ...

    async def ring(self) -> Ring: ...

    def invite(self) -> MeshInvite:
        """Names this node and others. Raises ``InvalidState`` when this node listens for nobody."""
        ...

    async def leave(self) -> NodeStatus:
        """Begin to hand everything over; ``status`` tells how far it is, and the node stops at its end. Goes on after a restart; again
        is fine. Raises ``InvalidState`` when there is nobody to take over."""
        ...

    async def forget(self, node: str, *, even_alive: bool = False) -> str:
        """Remove a node from the mesh, for ever: its id. Needs the operator's key. Raises ``NodeNotFound``, ``InvalidState``."""
        ...

    async def recover(self, shards: Sequence[int] | None = None) -> Recovery:
        """Have this node's replicas of ``shards`` (``None``: of all that it holds) that have lost their majority for good go on alone.
        Needs the operator's key. What can recover by itself is refused; with ``None`` it is passed over. Raises ``InvalidState``."""
        ...
