"""How a node is put together: ``open_service`` yields the client that serves everything a node does except listening for HTTP.

    MeshClient -> LocalClient -> Workers, Components, Timers -> Shards -> PeerDriver -> core.peer, Network, storage
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import trio

from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import PeerProfile
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.drivers.authority import MeshAuthority
from golemp2p.drivers.components import Components
from golemp2p.drivers.describing import described
from golemp2p.drivers.mesh_state import MeshState, find_or_found_mesh
from golemp2p.drivers.peer import PeerDriver
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
from golemp2p.ports import Clock, Guests, RandomBytes, Storage
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import Invite
from golemp2p.wire.notary import ShardNotary

STOP_DEADLINE_S = 5.0
"""How long leaving the service may take once nobody waits for it any more."""

SETTLE_S = 10.0
"""How long a start may wait for the shards that this node has alone; what is asked of it before that waits as well."""

ENTRIES_MAX = 1_024
"""Entries of one shard that a node keeps in memory for followers that lag; who lags further behind is given whole logs."""


@dataclass(slots=True)
class World:
    """What a node is given: everything that a simulation has its own of."""

    storage: Storage
    guests: Guests
    streams: Streams
    clock: Clock
    random_bytes: RandomBytes
    files_dir: Path
    scratch_dir: Path
    profile: PeerProfile = field(default_factory=lambda: PeerProfile(entries_max=ENTRIES_MAX))


@asynccontextmanager
async def open_service(
    world: World,
    signer: SigningKey,
    store_id: bytes,
    *,
    settings: ServiceSettings,
    mesh_settings: MeshSettings,
    version: str,
    join: Invite | None = None,
) -> AsyncIterator[LocalClient]:
    """Start everything a node does except listening for HTTP. On leaving, executions are stopped and the logs flushed; call
    ``LocalClient.drain`` before for a soft landing."""
    storage = world.storage
    mesh = await find_or_found_mesh(
        storage, signer, store_id, shards_count=settings.shards_count, clock=world.clock, random_bytes=world.random_bytes, join=join
    )
    async with trio.open_nursery() as nursery:
        spawn = nursery.start_soon
        peers = PeerDriver(await _peer(world, mesh, signer, mesh_settings), storage, spawn=spawn, shards_count=mesh.shards_count)
        shards = Shards(peers, storage, signer, spawn=spawn, describe=partial(described, storage))
        timers = Timers(storage, world.clock, settings.resume_concurrency, worker_of, peers.ready_shards)
        shards.add_tenant(timers.shards_started, lambda shard: None)
        components = Components(
            mesh=mesh.mesh_key,
            storage=storage,
            shards=shards,
            guests=world.guests,
            clock=world.clock,
            spawn=spawn,
            scratch_dir=world.scratch_dir,
            bytes_max=settings.component_bytes_max,
        )
        workers = Workers(
            settings=settings,
            storage=storage,
            shards=shards,
            components=components,
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
            workers=workers,
            timers=timers,
            version=version,
        )
        identity = Identity(signer, mesh.mesh_key, world.random_bytes, world.random_bytes(16))
        network = Network(identity, peers, streams=world.streams, dice=_dice(world))
        peers.attach(network, shards, {})
        bound = await nursery.start(network.run, mesh_settings.listen)
        _tell_addresses(peers, mesh_settings, bound)
        spawn(peers.run, mesh.contacts)
        spawn(workers.run_sweeper)
        spawn(timers.run, workers.wake)
        with trio.move_on_after(SETTLE_S):
            await peers.settled.wait()
        await components.start()
        try:
            yield client
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_DEADLINE_S):
                await workers.flush()
                await client.stop_workers()
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
    return Peer(
        record,
        durable,
        shards_count=mesh.shards_count,
        notary=lambda shard: ShardNotary(signer, mesh_id=mesh_id, shard=shard, operator=operator),
        authority=authority,
        proofs=authority,
        dice=_dice(world),
        profile=world.profile,
    )


def _tell_addresses(peers: PeerDriver, settings: MeshSettings, bound: list[str]) -> None:
    addresses = settings.advertise or tuple(bound)
    peers.peer.membership.update(peers.now_ns(), addresses=addresses, weight=settings.weight, domain=settings.domain)


def _dice(world: World) -> Random:
    return Random(world.random_bytes(16))
