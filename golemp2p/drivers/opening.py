"""How a node is put together: ``open_service`` yields the client that serves everything a node does except listening for HTTP.

MeshClient -> LocalClient -> Workers, Components, Timers -> Shards -> PeerDriver -> core.peer, Network, storage
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import trio

from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import PeerProfile
from golemp2p.core.planner import PlacementProfile
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_rules import Limits
from golemp2p.drivers.administration.mesh_admin import MeshDesk
from golemp2p.drivers.administration.mesh_reports import load_of, reports_of
from golemp2p.drivers.administration.node_facts import NodeDirectory
from golemp2p.drivers.blobs.blob_repair import BlobRepair
from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.drivers.components import Components
from golemp2p.drivers.describing import described
from golemp2p.drivers.histories.history import Histories
from golemp2p.drivers.peers.authority import MeshAuthority
from golemp2p.drivers.peers.mesh_state import MeshState, find_or_found_mesh
from golemp2p.drivers.peers.peer import PeerDriver
from golemp2p.drivers.routing.mesh_client import MeshClient, Routed, routed
from golemp2p.drivers.service import LocalClient
from golemp2p.drivers.settings import MeshSettings, ServiceSettings
from golemp2p.drivers.shards import Shards
from golemp2p.drivers.summary import worker_of
from golemp2p.drivers.timers import Timers
from golemp2p.drivers.workers import Workers
from golemp2p.mesh.network import Network
from golemp2p.mesh.opening import Identity
from golemp2p.mesh.streams import Streams
from golemp2p.model.membership import NodeRecord
from golemp2p.model.node_status import NodeFacts
from golemp2p.model.replication import Election
from golemp2p.ports import Clock, Guests, RandomBytes, Storage
from golemp2p.wire import call_kinds
from golemp2p.wire.certificate import election_certificate
from golemp2p.wire.component_info import is_question
from golemp2p.wire.identity import Signer, SigningKey
from golemp2p.wire.notary import ShardNotary

STOP_DEADLINE_S = 5.0
"""How long leaving the service may take once nobody waits for it any more."""

SETTLE_S = 10.0
"""How long a start may wait for the shards that this node has alone; what is asked of it before that waits as well."""

ENTRIES_MAX = 1_024
"""Entries of one shard that a node keeps in memory for followers that lag; who lags further behind is given whole logs."""

MOVES_MAX = 64
"""Shards that one node changes at once: their messages and writes are what everything else has to wait behind, some 50 ms of work
for each of three nodes. A round of changes takes as long, so that more at once would not be faster."""

RETRY_NS = 1_000_000_000
"""Connections lose nothing while they stand, and what was under way is sent again over a new one. So a late answer means that somebody
is busy, and asking again soon would make him busier."""


def node_profile() -> PeerProfile:
    """The numbers of a real node, where they are not those of the cores."""
    return PeerProfile(
        entries_max=ENTRIES_MAX, placement=PlacementProfile(moves_max=MOVES_MAX), limits=Limits(retry_ns=RETRY_NS)
    )


@dataclass(slots=True)
class World:
    """What a node is given: everything that a simulation has its own of. ``operator``: the operator's key, if it is kept here;
    ``make_operator``: makes one, for a mesh about to be founded, and gives its public key; ``None``: the founder's own key is it."""

    storage: Storage
    guests: Guests
    streams: Streams
    clock: Clock
    random_bytes: RandomBytes
    files_dir: Path
    scratch_dir: Path
    operator: Callable[[], Signer | None] = lambda: None
    make_operator: Callable[[], bytes] | None = None
    profile: PeerProfile = field(default_factory=node_profile)


@dataclass(slots=True)
class Service:
    """A node that runs. ``client``, ``histories``: of the whole mesh; ``local``: of what this node leads, and what drains it. ``http``:
    where others reach its HTTP, told once that is known. ``ended``: it has left the mesh, or was removed from it: its process should
    end."""

    client: MeshClient
    local: LocalClient
    histories: Histories
    admin: MeshDesk
    peers: PeerDriver
    mesh_id: bytes
    http: str = ""
    ended: trio.Event = field(default_factory=trio.Event)
    reason: str = ""
    """Why it ended: ``left`` or ``removed``."""

    def end(self, reason: str) -> None:
        self.reason = reason
        self.ended.set()


@asynccontextmanager
async def open_service(
    world: World,
    signer: SigningKey,
    store_id: bytes,
    *,
    settings: ServiceSettings,
    mesh_settings: MeshSettings,
    version: str,
) -> AsyncIterator[Service]:
    """Start everything a node does except listening for HTTP. On leaving, executions are stopped and the logs flushed; call
    ``LocalClient.drain`` before for a soft landing."""
    storage = world.storage
    mesh = await find_or_found_mesh(
        storage, signer, store_id, shards_count=settings.shards_count, clock=world.clock, random_bytes=world.random_bytes,
        join=mesh_settings.join, operator=world.make_operator,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        spawn = partial(_start_unless_over, nursery)
        peer = await _peer(world, mesh, signer, mesh_settings)
        peers = PeerDriver(peer, storage, spawn=spawn, shards_count=mesh.shards_count)
        blobs = Blobs(storage, peers, spawn=spawn)
        repair = BlobRepair(blobs, storage)
        shards = Shards(peers, storage, signer, spawn=spawn, describe=partial(described, storage), repair=repair)
        timers = Timers(storage, world.clock, settings.resume_concurrency, worker_of, peers.ready_shards)
        shards.add_tenant(timers.shard_started, lambda shard: None)
        components = Components(
            mesh_key=mesh.mesh_key,
            mesh=peers,
            storage=storage,
            shards=shards,
            blobs=blobs,
            guests=world.guests,
            clock=world.clock,
            spawn=spawn,
            scratch_dir=world.scratch_dir,
            bytes_max=settings.component_bytes_max,
        )
        shards.add_tenant(components.shard_ready, components.shard_lost)
        shards.component_seen = components.warm
        workers = Workers(
            settings=settings,
            storage=storage,
            shards=shards,
            components=components,
            blobs=blobs,
            clock=world.clock,
            random_bytes=world.random_bytes,
            spawn=spawn,
            files_dir=world.files_dir,
            node_name=str(mesh.node),
            timer_set=timers.set,
        )
        client = LocalClient(
            settings=settings,
            storage=storage,
            guests=world.guests,
            clock=world.clock,
            random_bytes=world.random_bytes,
            mesh=mesh,
            peers=peers,
            shards=shards,
            components=components,
            blobs=blobs,
            workers=workers,
            timers=timers,
            version=version,
        )
        routing = routed(
            client,
            peers,
            storage,
            blobs,
            spawn=spawn,
            random_bytes=world.random_bytes,
            component_id=components.id_of,
            mesh_id=mesh.genesis.mesh_id,
            http=lambda: service.http,
        )
        workers.other_promises = routing.client.promises
        histories = Histories(
            genesis=mesh.genesis, signer=signer, mesh=peers, storage=storage, blobs=blobs, clock=world.clock,
            commit_position=partial(_commit_position, peer),
        )  # fmt: skip
        peers.asks.serve = partial(_serve_forward, components, routing)
        started_ns = world.clock.wall_ns()
        directory = NodeDirectory(
            peers,
            own=lambda: NodeFacts(version, service.http, started_ns),
            load=partial(load_of, peer),
            reports=partial(reports_of, peer),
            incarnation_of=partial(_incarnation_of, peer),
        )
        admin = MeshDesk(
            peers, peers, mesh, directory, storage, operator=world.operator, random_bytes=world.random_bytes, drained=peers.drained,
            expelled=peers.expelled, stop=lambda reason: service.end(reason),  # noqa: PLW0108 - made below
        )  # fmt: skip
        service = Service(routing.client, client, histories, admin, peers, mesh.genesis.mesh_id)
        identity = Identity(signer, mesh.mesh_key, world.random_bytes, world.random_bytes(16))
        network = Network(identity, peers, streams=world.streams, dice=_dice(world))
        calls = {
            **routing.calls,
            call_kinds.STATUS: directory.serve,
            call_kinds.BLOB: blobs.serve_blob,
            call_kinds.BLOB_OFFER: blobs.serve_offer,
            call_kinds.OVERRULED: admin.serve_overruled,
            call_kinds.HISTORY: histories.serve,
        }
        peers.attach(network, shards, calls)
        bound = await nursery.start(network.run, mesh_settings.listen)
        peer.membership.update(
            peers.now_ns(), addresses=mesh_settings.advertised(bound), weight=mesh_settings.weight, domain=mesh_settings.domain
        )
        await nursery.start(peers.run, mesh.contacts)
        spawn(workers.run_sweeper)
        spawn(timers.run, workers.wake)
        spawn(admin.run)
        spawn(repair.run)
        with trio.move_on_after(SETTLE_S):
            await peers.settled.wait()
        try:
            yield service
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_DEADLINE_S):
                await workers.flush()
                await client.stop_workers()
            peers.close()  # before the tasks end that could carry out what is still decided
            nursery.cancel_scope.cancel()


async def _peer(world: World, mesh: MeshState, signer: SigningKey, settings: MeshSettings) -> Peer:
    record = NodeRecord(
        signer.public_key, mesh.store_id, (), settings.weight, settings.domain, incarnation=world.clock.wall_ns() // 1_000_000
    )
    durable = {
        shard: ReplicaDurable(
            held.record, held.base, dict(held.heads), list(held.entries),
            staged={log: list(segments) for log, segments in held.staged.items()}, damaged_logs=held.damaged_logs,
        )
        for shard, held in (await world.storage.replicas()).items()
    }  # fmt: skip
    authority = MeshAuthority(signer, mesh.genesis)
    mesh_id, operator = mesh.genesis.mesh_id, mesh.genesis.operator

    def certify(shard: int) -> bytes:
        entry = peer.shards[shard].election
        assert entry is not None, "who serves a shard was elected"
        assert isinstance(entry.content, Election)
        return election_certificate(entry.content, mesh_id=mesh_id, shard=shard, term=entry.term).encoded()

    peer = Peer(
        record,
        durable,
        shards_count=mesh.shards_count,
        notary=lambda shard: ShardNotary(
            signer, mesh_id=mesh_id, shard=shard, operator=operator, shards_count=mesh.shards_count
        ),
        authority=authority,
        proofs=authority,
        dice=_dice(world),
        profile=world.profile,
        certify=certify,
    )
    return peer


async def _serve_forward(components: Components, routing: Routed, shard: int, key: str, payload: bytes) -> bytes:
    if is_question(payload):
        return await components.answer(shard, payload)
    return await routing.serve_forward(shard, key, payload)


def _commit_position(peer: Peer, shard: int) -> int | None:
    replica = peer.shards.held().get(shard)
    return None if replica is None else replica.commit_position


def _start_unless_over(nursery: trio.Nursery, function: Callable[..., Awaitable[object]], *args: object) -> None:
    """What the disk and the network still report while the service ends leads to nothing more."""
    if not nursery.cancel_scope.cancel_called:
        nursery.start_soon(function, *args)


def _incarnation_of(peer: Peer, public_key: bytes) -> int | None:
    member = peer.membership.members.get(public_key)
    return None if member is None else member.record.incarnation


def _dice(world: World) -> Random:
    return Random(world.random_bytes(16))  # noqa: S311  # chance, not secrets
